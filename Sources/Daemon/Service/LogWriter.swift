// Lines on their way to the log, beside the turn: a log daemon that does not read delays nobody.
//
// Invariants: at most `capacity` lines wait; a flood of lines becomes one line a second and a count;
// what is dropped is counted and said.
internal import Dispatch
package import LinuxSystem
internal import Synchronization

/// How often lines may pass: a burst, then one a second. Time is an argument.
package struct LineLimiter: Sendable {
    /// What is done with a line.
    package enum Verdict: Hashable, Sendable {
        /// It is written; before it, that this many were not.
        case write(suppressed: Int)
        /// It is counted.
        case suppress
    }

    private static let burst = 30.0
    private var tokens = LineLimiter.burst
    private var refilledAt: UInt64 = 0
    private var suppressed = 0
    /// How many lines were not written, since the start.
    package private(set) var suppressedInAll: UInt64 = 0

    /// A limiter whose burst is whole.
    package init() {}

    /// A line at a moment of the monotonic clock.
    package mutating func take(nanoseconds now: UInt64) -> Verdict {
        guard spend(at: now) else {
            suppressed += 1
            suppressedInAll += 1
            return .suppress
        }
        defer { suppressed = 0 }
        return .write(suppressed: suppressed)
    }

    /// How many lines were not written and are to be counted now, in a line that is one of those that
    /// may pass; 0 where there are none, or none may. To ask is no line.
    package mutating func takeSuppressed(nanoseconds now: UInt64) -> Int {
        guard suppressed > 0, spend(at: now) else { return 0 }
        defer { suppressed = 0 }
        return suppressed
    }

    private mutating func spend(at now: UInt64) -> Bool {
        let elapsed = now > refilledAt ? now - refilledAt : 0
        refilledAt = max(refilledAt, now)
        tokens = min(Self.burst, tokens + Double(elapsed) / 1e9)
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
    }
}

/// Writes lines on a thread of its own.
package final class LogWriter: Sendable {
    /// Where lines go.
    package enum Sink: Sendable {
        /// syslog(3).
        case system(SystemLog)
        /// Standard error, with the severity's number in front as systemd reads it (sd-daemon(3)).
        case standardError
    }

    private static let capacity = 1_000
    private let sink: Sink
    private let queue = DispatchQueue(label: "log")
    private let waiting = Atomic<Int>(0)
    private let dropped = Atomic<Int>(0)
    private let droppedInAll = Atomic<UInt64>(0)

    /// A writer to `sink`.
    package init(_ sink: Sink) { self.sink = sink }

    /// How many lines were lost since the start, since nobody took them. Never waits.
    package var lostInAll: UInt64 { droppedInAll.load(ordering: .relaxed) }

    /// Leaves a line to be written; never waits. Where too many wait already it is counted.
    package func write(_ line: AlertLine) {
        guard waiting.load(ordering: .relaxed) < Self.capacity else {
            dropped.add(1, ordering: .relaxed)
            droppedInAll.add(1, ordering: .relaxed)
            return
        }
        waiting.add(1, ordering: .relaxed)
        queue.async { [self] in
            let lost = dropped.exchange(0, ordering: .relaxed)
            if lost > 0 {
                emit(AlertLine(.warning, [("event", "lines-lost"), ("count", "\(lost)")]))
            }
            emit(line)
            waiting.subtract(1, ordering: .relaxed)
        }
    }

    /// Waits until all that was left is written, at most a second.
    package func flush() {
        let group = DispatchGroup()
        queue.async(group: group) {}
        _ = group.wait(timeout: .now() + .seconds(1))
    }

    private func emit(_ line: AlertLine) {
        switch sink {
        case .system(let log): log.write(line.severity, line.text)
        case .standardError: StandardError.write("<\(line.severity.rawValue)>\(line.text)\n")
        }
    }
}
