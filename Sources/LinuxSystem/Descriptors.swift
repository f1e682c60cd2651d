// One owner for each kernel descriptor: closed exactly once, when the owner goes.
internal import CLinux
public import SystemPackage

/// Turns a C shim's answer (0 or a value, or a negative errno) into a value or an error.
@discardableResult
func checked(_ result: Int32) throws(Errno) -> Int32 {
    guard result >= 0 else { throw Errno(rawValue: -result) }
    return result
}

/// The owner of one descriptor.
struct OwnedDescriptor: ~Copyable {
    let number: Int32

    init(_ result: Int32) throws(Errno) { number = try checked(result) }

    deinit { try? FileDescriptor(rawValue: number).close() }
}

/// An epoll(7) instance: waits for several descriptors, level-triggered, for input.
public struct Poller: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor

    /// A poller of nothing. Calls epoll_create1(2).
    public init() throws(Errno) { descriptor = try OwnedDescriptor(sluice_epoll_create()) }

    /// Watches a descriptor; `tag` comes back from `wait`. The caller keeps the descriptor open.
    public func add(_ watched: Int32, tag: UInt64) throws(Errno) {
        _ = try checked(sluice_epoll_add(descriptor.number, watched, tag))
    }

    /// Waits until at least one watched descriptor has input, and calls `body` with the tag of each
    /// (at most 16 at once). A signal may end the wait with none.
    public func wait(
        timeoutMilliseconds: Int32 = -1, _ body: (UInt64) -> Void
    ) throws(Errno) {
        var tags = InlineArray<16, UInt64>(repeating: 0)
        var span = tags.mutableSpan
        let count = try unsafe checked(
            span.withUnsafeMutableBufferPointer { buffer in
                unsafe sluice_epoll_wait(
                    descriptor.number, buffer.baseAddress, Int32(buffer.count), timeoutMilliseconds)
            })
        for index in 0..<Int(count) { body(span[index]) }
    }
}

/// A timerfd(2) on the monotonic clock.
public struct IntervalTimer: ~Copyable, Sendable {
    private let owned: OwnedDescriptor

    /// A timer that is not started. Calls timerfd_create(2).
    public init() throws(Errno) { owned = try OwnedDescriptor(sluice_timer_create()) }

    /// For a `Poller`.
    public var descriptor: Int32 { owned.number }

    /// Fires at `firstNanoseconds` of the monotonic clock and each `intervalNanoseconds` after.
    public func start(firstNanoseconds: UInt64, intervalNanoseconds: UInt64) throws(Errno) {
        _ = try checked(sluice_timer_start(owned.number, firstNanoseconds, intervalNanoseconds))
    }

    /// How often it fired since the last call; 0 where it did not. Never waits.
    public func takeExpirations() -> UInt64 {
        UInt64(max(0, sluice_timer_read(owned.number)))
    }
}

/// An eventfd(2): one thread wakes another.
public final class WakeUp: Sendable {
    private let owned: OwnedDescriptor

    /// A wake-up that is not signalled.
    public init() throws(Errno) { owned = try OwnedDescriptor(sluice_event_create()) }

    /// For a `Poller`.
    public var descriptor: Int32 { owned.number }

    /// Wakes the waiter; any thread may call it. Never waits.
    public func signal() { _ = sluice_event_signal(owned.number) }

    /// Takes the signals that came. Never waits.
    public func take() { _ = sluice_event_read(owned.number) }
}

/// Signals as input of a `Poller`: a sigaction(2) handler writes each one's number to a pipe.
/// (signalfd(2) loses signals to libdispatch's threads, whose masks are empty.)
public struct SignalPipe: Sendable {
    /// A signal the daemon obeys.
    public enum Signal: Int32, Sendable, CaseIterable {
        /// SIGHUP: read the configuration again.
        case hangUp = 1
        /// SIGINT: stop.
        case interrupt = 2
        /// SIGTERM: stop.
        case terminate = 15
    }

    /// For a `Poller`.
    public let descriptor: Int32

    /// Handles all of `Signal` from now on, and ignores SIGPIPE. The pipe lives as long as the
    /// process.
    public init() throws(Errno) {
        let numbers = Signal.allCases.map(\.rawValue)
        descriptor = try unsafe checked(
            numbers.withUnsafeBufferPointer { buffer in
                unsafe sluice_signals_open(buffer.baseAddress, Int32(buffer.count))
            })
        sluice_ignore_sigpipe()
    }

    /// The next signal that came, nil where there is none. Never waits.
    public func next() -> Signal? {
        let number = sluice_signals_read(descriptor)
        return Signal(rawValue: number)
    }
}
