// The latest lines that were told, for those who ask later: also those that syslog's limit kept back.
//
// Invariants: at most `capacity` lines are kept; numbers grow by one; an answer costs the turn no more
// than `EventsRequest.most` copies.
internal import ControlAPI

/// The latest lines that were told.
struct EventHistory {
    /// What is kept of them.
    static let capacity = 2_048

    private let startedAt: Double
    private var lines: [ToldLine] = []
    private var last: UInt64 = 0

    /// Of a daemon that starts at a moment of the wall clock in seconds.
    init(startedAt: Double) { self.startedAt = startedAt }

    /// A line is told, at a moment of the wall clock in seconds.
    mutating func add(_ line: AlertLine, at seconds: Double) {
        last += 1
        let told = ToldLine(
            number: last, at: seconds, severity: "\(line.severity)", line: line.text)
        if lines.count < Self.capacity {
            lines.append(told)
        } else {
            lines[place(of: last)] = told
        }
    }

    /// What was told after a number.
    func reply(to request: EventsRequest) -> EventsReply {
        let oldest = last - UInt64(lines.count) + 1
        // A number of a daemon before this one, which had told more: from the beginning.
        let first = request.after > last ? oldest : max(request.after + 1, oldest)
        let lost = request.after < oldest ? oldest - 1 - request.after : 0
        let count = min(UInt64(max(0, request.limit)), last + 1 - first)
        let events = (first..<first + count).map { lines[place(of: $0)] }
        return EventsReply(startedAt: startedAt, events: events, last: last, lost: lost)
    }

    private func place(of number: UInt64) -> Int { Int((number - 1) % UInt64(Self.capacity)) }
}
