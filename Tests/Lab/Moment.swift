// A moment on CLOCK_MONOTONIC, which all namespaces and the daemon share, and waiting for things.

internal import Glibc

/// A moment on CLOCK_MONOTONIC.
public struct Moment: Hashable, Comparable, Sendable {
    /// Nanoseconds since the clock's origin.
    public var nanoseconds: UInt64

    /// The moment `nanoseconds` after the clock's origin.
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// The present moment.
    public static var now: Moment {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Moment(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// What the calling thread has had of a processor (CLOCK_THREAD_CPUTIME_ID).
    static var processorNanoseconds: Int {
        var time = timespec()
        unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
    }

    /// The earlier moment comes first.
    public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The moment `duration` later (earlier where it is negative, at most to the clock's origin).
    public static func + (moment: Self, duration: Duration) -> Self {
        let sum = Int64(moment.nanoseconds) + duration.nanoseconds
        return Moment(nanoseconds: UInt64(max(0, sum)))
    }

    /// The moment `duration` earlier.
    public static func - (moment: Self, duration: Duration) -> Self {
        moment + (.zero - duration)
    }

    /// The time from `right` to `left`; negative where `right` is later.
    public static func - (left: Self, right: Self) -> Duration {
        .nanoseconds(Int64(left.nanoseconds) - Int64(right.nanoseconds))
    }

    /// Waits until this moment (clock_nanosleep, absolute).
    func sleep() {
        var time = timespec(
            tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        while unsafe clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
    }
}

extension Duration {
    /// In nanoseconds; durations of a laboratory are far from 292 years.
    var nanoseconds: Int64 {
        components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
    }

    /// In seconds.
    public var inSeconds: Double { Double(nanoseconds) / 1e9 }

    /// In milliseconds.
    public var inMilliseconds: Double { Double(nanoseconds) / 1e6 }
}

/// Waits until `condition` holds, looking at it after every `pause`.
///
/// - Throws: `LabError` that names `what` when `limit` has passed first.
public func wait(
    for what: String, within limit: Duration, every pause: Duration = .milliseconds(5),
    until condition: () throws -> Bool
) throws {
    let deadline = Moment.now + limit
    while try !condition() {
        let now = Moment.now
        guard now < deadline else {
            throw LabError("\(what) within \(limit)", detail: "never came")
        }
        min(deadline, now + pause).sleep()
    }
}

/// Lets traffic run for this long, for tests that measure a rate over a window of time.
///
/// - Returns: the window.
@discardableResult
public func measure(for duration: Duration) -> ClosedRange<Moment> {
    let begin = Moment.now
    let end = begin + duration
    end.sleep()
    return begin...end
}
