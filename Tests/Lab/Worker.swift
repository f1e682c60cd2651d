// A pthread that is told to stop and waited for.
// Invariant: `stop` returns only when the thread has ended, so what it used can be closed after.

internal import CLab
internal import Glibc
internal import Synchronization

/// A descriptor with one close.
struct Descriptor: ~Copyable {
    let number: Int32

    /// Takes what a C call returned.
    ///
    /// - Throws: `LabError` with errno where that is -1.
    init(_ result: Int32, _ operation: @autoclosure () -> String) throws(LabError) {
        number = try checked(result, operation())
    }

    deinit { _ = close(number) }
}

/// Tells a worker to stop: a flag to look at and a descriptor to poll.
final class StopSignal: Sendable {
    private let flag = Atomic<Bool>(false)
    private let event: Descriptor

    init() throws(LabError) { event = try Descriptor(clab_eventfd(false), "eventfd") }

    /// Readable from `raise` on.
    var descriptor: Int32 { event.number }

    var isRaised: Bool { flag.load(ordering: .acquiring) }

    func raise() {
        flag.store(true, ordering: .releasing)
        clab_eventfd_add(event.number)
    }
}

/// A thread of the laboratory.
final class Worker: Sendable {
    private let signal: StopSignal
    private let thread: Mutex<pthread_t?>

    /// Runs `body` on a new thread, in `namespace` where one is given, else in the caller's.
    ///
    /// - Throws: `LabError` where there is no thread to be had or the namespace cannot be entered.
    init(
        _ name: String, in namespace: Namespace? = nil,
        body: @escaping @Sendable (StopSignal) -> Void
    ) throws(LabError) {
        let signal = try StopSignal()
        self.signal = signal
        let started = try startThread(name) {
            // A namespace that cannot be entered must not let the body run in another one.
            if let namespace, clab_enter_network_namespace(namespace.descriptor) < 0 { return }
            body(signal)
        }
        thread = Mutex(started)
    }

    deinit { stop() }

    /// Tells the body to stop and waits for its end. Again: nothing.
    func stop() {
        signal.raise()
        join()
    }

    /// Waits for the body's own end. Again: nothing.
    func join() {
        thread.withLock { thread in
            guard let running = thread else { return }
            pthread_join(running, nil)
            thread = nil
        }
    }
}

private final class Box: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(_ name: String, _ body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}

/// pthread_create; the caller owes a join.
func startThread(
    _ name: String, _ body: @escaping @Sendable () -> Void
) throws(LabError) -> pthread_t {
    var thread = pthread_t()
    let box = unsafe Unmanaged.passRetained(Box(name, body))
    let code = unsafe pthread_create(
        &thread, nil,
        { raw in
            guard let raw = unsafe raw else { return nil }
            let box = unsafe Unmanaged<Box>.fromOpaque(raw).takeRetainedValue()
            unsafe clab_name_thread(box.name)
            box.body()
            return nil
        }, box.toOpaque())
    guard code == 0 else {
        unsafe box.release()
        throw LabError("start thread \(name)", errno: code)
    }
    return thread
}
