// What the kernel tells of changes to traffic control, with the time of each: `tc -tshort monitor`.
// Invariant: it has ended when its owner is gone.

internal import CLab

/// A listener to the traffic control of the calling thread's namespace.
public final class TrafficControlMonitor: Sendable {
    /// One change.
    public struct Event: Hashable, Sendable {
        /// When tc read of it, from the beginning of the day.
        public var time: Duration
        /// What tc prints, without the time; the first line.
        public var text: String

        /// The time from an earlier event to this one, over a midnight too.
        public func since(_ earlier: Event) -> Duration {
            time >= earlier.time ? time - earlier.time : time - earlier.time + .seconds(86_400)
        }
    }

    private let child: ChildProcess
    private let output: Descriptor

    /// Begins to listen, a moment after this returns.
    ///
    /// - Throws: `LabError` where tc cannot be started.
    public init() throws(LabError) {
        output = try Descriptor(unsafe clab_memory_file("monitor"), "memory file")
        child = try ChildProcess(
            "/sbin/tc", ["-tshort", "monitor"], environment: ["LC_ALL=C", "TZ=UTC"],
            output: output.number, errors: output.number)
    }

    /// What was told so far.
    public var events: [Event] {
        // [2026-11-26T01:06:31.554338] deleted qdisc ingress ffff: dev br0 …
        contents(of: output.number).split(separator: "\n").compactMap { line in
            guard line.first == "[", let end = line.firstIndex(of: "]") else { return nil }
            let parts = line[..<end].suffix(15).split { $0 == ":" || $0 == "." }
            let numbers = parts.compactMap { Int64($0) }
            guard numbers.count == 4 else { return nil }
            let seconds = (numbers[0] * 60 + numbers[1]) * 60 + numbers[2]
            return Event(
                time: .seconds(seconds) + .microseconds(numbers[3]),
                text: String(line[line.index(after: end)...].drop { $0 == " " }))
        }
    }
}
