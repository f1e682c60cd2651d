// What the daemon told: the lines of its log, each with its number and its time.

/// A line that was told.
public struct ToldLine: Codable, Hashable, Sendable {
    /// Counted from 1, over restarts of the daemon too.
    public var number: UInt64
    /// When, in seconds since 1970 (UTC).
    public var at: Double
    /// As syslog has it: `alert`, `error`, `warning`, `notice` or `info`.
    public var severity: String
    /// `key=value` fields, the event's kind first; values with blanks stand in double quotes.
    public var line: String

    /// A line.
    public init(number: UInt64, at: Double, severity: String, line: String) {
        self.number = number
        self.at = at
        self.severity = severity
        self.line = line
    }

    /// The line taken apart, in its order.
    public var fields: [(key: String, value: String)] {
        var fields: [(key: String, value: String)] = []
        var rest = line[...]
        while let equals = rest.firstIndex(of: "=") {
            let key = String(rest[..<equals])
            rest = rest[rest.index(after: equals)...]
            let isQuoted = rest.first == "\""
            if isQuoted { rest = rest.dropFirst() }
            let value = rest.prefix { $0 != (isQuoted ? "\"" : " ") }
            rest = rest[value.endIndex...].drop { $0 == "\"" || $0 == " " }
            fields.append((key, String(value)))
        }
        return fields
    }

    /// The value of a field; nil where the line has none of this key.
    public subscript(key: String) -> String? { fields.first { $0.key == key }?.value }
}

/// Which lines: the query of `GET /v1/events`.
public struct EventsRequest: Hashable, Sendable {
    /// As many as one answer holds.
    public static let most = 1_000

    /// Those with a higher number.
    public var after: UInt64
    /// As many of them as these, the oldest first.
    public var limit: Int

    /// Lines after a number; 0: from the oldest that is kept.
    public init(after: UInt64 = 0, limit: Int = EventsRequest.most) {
        self.after = after
        self.limit = limit
    }
}

/// What was told: the answer to `GET /v1/events`.
public struct EventsReply: Codable, Hashable, Sendable {
    /// When the count began, in seconds since 1970: a daemon that does not find what was told before
    /// counts anew.
    public var startedAt: Double
    /// The oldest first.
    public var events: [ToldLine]
    /// The number of the last line that was told, here or not.
    public var last: UInt64
    /// Lines that were asked for and are no longer kept: syslog has them.
    public var lost: UInt64

    enum CodingKeys: String, CodingKey {
        case events, last, lost
        case startedAt = "started_at"
    }

    /// What was told.
    public init(startedAt: Double, events: [ToldLine], last: UInt64, lost: UInt64) {
        self.startedAt = startedAt
        self.events = events
        self.last = last
        self.lost = lost
    }
}
