// Private network namespaces: one for a test and the host in it, further ones for the VMs inside.
// Invariant: what runs in a namespace runs on a thread that was made for it, since unshare(2) and
// setns(2) act on a thread and a thread of the runtime's pool must never be left in another one.

internal import CLab
internal import Glibc
internal import Synchronization

/// A network namespace that lives at least as long as this object.
public final class Namespace: Sendable {
    private let file: Descriptor

    var descriptor: Int32 { file.number }

    /// A path by which others name it while this object lives (`ip link set NAME netns PATH`).
    public var path: String { "/proc/\(getpid())/fd/\(file.number)" }

    /// A new, empty network namespace with its loopback up (`ip netns add`, without a name).
    ///
    /// - Throws: `LabError`; EPERM where the process may not make namespaces.
    public init() throws(LabError) {
        let number = try onFreshThread("unshare") { () throws(LabError) in
            try checked(clab_unshare_network(), "unshare a network namespace")
            return try checked(clab_open_network_namespace(), "open the network namespace")
        }
        file = try Descriptor(number, "namespace")
    }

    /// Runs `body` in this namespace, on a fresh thread, and waits for it (`ip netns exec`).
    /// Sockets that it opens and processes that it starts stay in the namespace.
    ///
    /// - Throws: what `body` throws.
    public func perform<Value: Sendable>(
        _ body: @escaping @Sendable () throws(LabError) -> Value
    ) throws(LabError) -> Value {
        let number = file.number
        return try onFreshThread("netns") { () throws(LabError) in
            try checked(clab_enter_network_namespace(number), "enter the network namespace")
            return try body()
        }
    }

    /// Runs `body` on a fresh thread in a new network namespace, with a mount namespace in which
    /// /sys shows that one's devices. Child processes started from `body` are in both. The body is
    /// part of the calling task: expectations in it are booked to the test that made them.
    ///
    /// - Throws: `LabError` where the namespace cannot be made, else what `body` throws.
    public static func run<Value: Sendable>(
        _ body: @Sendable () throws -> Value
    ) async throws -> Value {
        let thread = try NamespaceThread()
        defer { thread.finish() }
        return try await withTaskExecutorPreference(thread) {
            try thread.entered.get()
            return try body()
        }
    }
}

/// Runs `body` on a thread of its own and waits for its end.
func onFreshThread<Value: Sendable>(
    _ name: String, _ body: @escaping @Sendable () throws(LabError) -> Value
) throws(LabError) -> Value {
    let result = ResultBox<Value>()
    let thread = try startThread(name) {
        do throws(LabError) {
            result.set(.success(try body()))
        } catch {
            result.set(.failure(error))
        }
    }
    pthread_join(thread, nil)
    return try result.get()
}

private final class ResultBox<Value: Sendable>: Sendable {
    private let value = Mutex<Result<Value, LabError>?>(nil)

    func set(_ result: Result<Value, LabError>) { value.withLock { $0 = result } }

    func get() throws(LabError) -> Value {
        guard let result = value.withLock({ $0 }) else { throw LabError("a thread without result") }
        return try result.get()
    }
}

/// One thread in namespaces of its own that runs the jobs of one task.
private final class NamespaceThread: TaskExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var isFinished = false
        var entered: Result<Void, LabError> = .success(())
    }

    private let state = Mutex(State())
    private let wake: Descriptor

    init() throws(LabError) {
        wake = try Descriptor(clab_eventfd(true), "eventfd")
        let thread = try startThread("namespace") { [self] in work() }
        // Nobody waits for this thread: it ends with `finish`, and its namespaces with it.
        pthread_detach(thread)
    }

    var entered: Result<Void, LabError> { state.withLock { $0.entered } }

    func enqueue(_ job: consuming ExecutorJob) {
        let unowned = UnownedJob(job)
        state.withLock { $0.jobs.append(unowned) }
        clab_eventfd_add(wake.number)
    }

    func finish() {
        state.withLock { $0.isFinished = true }
        clab_eventfd_add(wake.number)
    }

    private func work() {
        if clab_unshare_network_and_sysfs() < 0 {
            let error = LabError("make private namespaces", errno: errno)
            state.withLock { $0.entered = .failure(error) }
        }
        while true {
            clab_eventfd_take(wake.number)
            let (job, isFinished) = state.withLock { state in
                (state.jobs.isEmpty ? nil : state.jobs.removeFirst(), state.isFinished)
            }
            if let job {
                unsafe job.runSynchronously(on: asUnownedTaskExecutor())
            } else if isFinished {
                return
            }
        }
    }
}
