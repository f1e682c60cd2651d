// The latest lines that were told, for those who ask later or listen: also those that syslog's limit
// kept back.
//
// Invariants: the turn's thread adds and never waits; where another thread just reads, what was added
// is to be read from the next turn on. At most `capacity` lines are kept; numbers grow by one, over
// restarts too where the former lines are found.
package import ControlAPI
internal import Synchronization

/// The latest lines that were told.
package final class EventHistory: Sendable {
    /// What is kept of them.
    static let capacity = 2_048

    private struct Kept {
        var lines: [ToldLine] = []
        var last: UInt64
        /// The number of the line that was kept first of all.
        let base: UInt64

        mutating func add(_ line: ToldLine) {
            last = line.number
            if lines.count < EventHistory.capacity {
                lines.append(line)
            } else {
                lines[place(of: last)] = line
            }
        }

        func place(of number: UInt64) -> Int {
            Int((number - base) % UInt64(EventHistory.capacity))
        }

        func lines(after number: UInt64, limit: Int) -> (lines: [ToldLine], lost: UInt64) {
            let oldest = last + 1 - UInt64(lines.count)
            // A number of another count, which had come further: from the beginning.
            let first = number > last ? oldest : max(number + 1, oldest)
            let lost = number < oldest ? oldest - 1 - number : 0
            let count = min(UInt64(max(0, limit)), last + 1 - first)
            return ((first..<first + count).map { lines[place(of: $0)] }, lost)
        }
    }

    /// When the count began, in seconds since 1970.
    let startedAt: Double
    private let kept: Mutex<Kept>
    /// Owned by the turn's thread: what is not to be read yet, and the number of the latest line.
    private let added: Mutex<(lines: [ToldLine], last: UInt64)>
    private let listeners = Mutex<[@Sendable () -> Void]>([])

    /// A history that goes on from these lines, the oldest first, whose count began at `startedAt`.
    package init(startedAt: Double, _ lines: [ToldLine] = []) {
        self.startedAt = startedAt
        let last = lines.last?.number ?? 0
        // Where a line is missing, what is before it is left out: numbers grow by one.
        let whole = lines.suffix(Self.capacity).reversed().enumerated().prefix { ago, line in
            line.number == last &- UInt64(ago)
        }
        let kept = whole.map(\.element).reversed()
        self.kept = Mutex(Kept(lines: Array(kept), last: last, base: kept.first?.number ?? 1))
        added = Mutex(([], last))
    }

    /// Has this called whenever there is something new, on the turn's thread: it must not wait. Before
    /// the first turn.
    func listen(_ wake: @escaping @Sendable () -> Void) { listeners.withLock { $0.append(wake) } }

    // MARK: The turn's thread

    /// A line is told, at a moment of the wall clock in seconds.
    func add(_ line: AlertLine, at seconds: Double) {
        added.withLock { added in
            added.last += 1
            added.lines.append(
                ToldLine(
                    number: added.last, at: seconds, severity: "\(line.severity)", line: line.text))
        }
        publish()
    }

    /// Lets others read what was added, where none of them is reading just now.
    func publish() {
        let isNew = added.withLock { added in
            guard !added.lines.isEmpty else { return false }
            let isOut: Void? = kept.withLockIfAvailable { kept in
                for line in added.lines { kept.add(line) }
            }
            if isOut != nil { added.lines.removeAll(keepingCapacity: true) }
            return isOut != nil
        }
        guard isNew else { return }
        _ = listeners.withLockIfAvailable { for wake in $0 { wake() } }
    }

    // MARK: Any thread

    /// What was told after a number.
    func reply(to request: EventsRequest) -> EventsReply {
        kept.withLock { kept in
            let (lines, lost) = kept.lines(after: request.after, limit: request.limit)
            return EventsReply(startedAt: startedAt, events: lines, last: kept.last, lost: lost)
        }
    }
}
