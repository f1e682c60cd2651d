// Incidents, as the told lines say them: one port's way up and down the ladder, from its trip to its end.

/// One incident of one port.
public struct Incident: Codable, Hashable, Sendable {
    /// Counted from 1, over restarts of the daemon too.
    public var number: UInt32
    /// The port's name.
    public var port: String
    /// Whether it was carried out: `enforce` or `observe`.
    public var mode: String
    /// When it began, in seconds since 1970; where its beginning is no longer kept, the oldest of it
    /// that is.
    public var startedAt: Double
    /// When it ended; nil: no end was told.
    public var endedAt: Double?
    /// The rung on which it was last.
    public var rung: String
    /// The highest rung that it reached.
    public var highest: String
    /// Flooded from outside, at some time.
    public var wasVictim: Bool
    /// The rule that began it; nil where its beginning is no longer kept.
    public var rule: String?
    /// `from` or `to` the VM, by the rule that began it.
    public var direction: String?
    /// What that rule measured.
    public var measured: Load?
    /// The mark that it was held against.
    public var against: Load?
    /// The highest load that any rule of it measured.
    public var peak: Load?
    /// The flood's way over the host, where it is known.
    public var path: String?
    /// All that was told of it and of its port meanwhile, the oldest first; nil in a list.
    public var events: [ToldLine]?

    enum CodingKeys: String, CodingKey {
        case number, port, mode, rung, highest, rule, direction, measured, against, peak, path
        case events
        case startedAt = "started_at"
        case endedAt = "ended_at"
        case wasVictim = "was_victim"
    }

    /// The rungs, from the lowest.
    private static let rungs = ["normal", "police", "shape", "tighten", "shutdown"]

    /// All incidents that these lines tell of, the oldest first, each with its lines.
    public static func all(in lines: [ToldLine]) -> [Incident] {
        var open: [UInt32: Draft] = [:]
        var former: [Incident] = []
        for line in lines {
            let fields = Fields(line)
            guard let number = fields["incident"].flatMap({ UInt32($0) }), number > 0 else {
                // Of a port while it has an incident: a repair, a word of an operator, a sample.
                guard let port = fields["port"] else { continue }
                for (number, draft) in open
                where draft.incident.port == port && draft.incident.endedAt == nil {
                    open[number]?.incident.events?.append(line)
                }
                continue
            }
            if let draft = open[number], draft.isOfAnotherCount(line, fields) {
                former.append(draft.incident)
                open[number] = nil
            }
            open[number, default: Draft(number, line, fields)].take(line, fields)
        }
        return (former + open.values.map(\.incident)).sorted {
            ($0.startedAt, $0.number) < ($1.startedAt, $1.number)
        }
    }

    /// The same without its lines, for a list.
    public var withoutEvents: Incident {
        var short = self
        short.events = nil
        return short
    }

    /// A line's fields by their keys.
    private struct Fields {
        private let fields: [String: String]

        init(_ line: ToldLine) {
            fields = Dictionary(line.fields.map { ($0.key, $0.value) }) { first, _ in first }
        }

        subscript(key: String) -> String? { fields[key] }

        func load(_ prefix: String) -> Load? {
            guard let packets = Double(self["\(prefix)pps"] ?? ""),
                let bits = Double(self["\(prefix)bps"] ?? "")
            else { return nil }
            return Load(packetsPerSecond: packets, bitsPerSecond: bits)
        }
    }

    private struct Draft {
        var incident: Incident
        /// The rung of each direction.
        private var rungs: [String: Int] = [:]
        private var alarms: Set<String> = []
        /// Events that a former daemon may have told before it ended are told again.
        private var sequences: [String: String] = [:]

        init(_ number: UInt32, _ line: ToldLine, _ fields: Fields) {
            incident = Incident(
                number: number, port: fields["port"] ?? "?", mode: fields["mode"] ?? "enforce",
                startedAt: line.at, rung: "normal", highest: "normal", wasVictim: false,
                events: [])
            guard fields["from"] ?? "normal" == "normal" else { return }
            incident.rule = fields["rule"]
            incident.direction = fields["direction"]
            incident.measured = fields.load("")
            incident.against = fields.load("against_")
        }

        /// Without its journal a daemon counts incidents and events anew: another event has the number
        /// of one of these.
        func isOfAnotherCount(_ line: ToldLine, _ fields: Fields) -> Bool {
            fields["seq"].flatMap { sequences[$0] }.map { $0 != line.line } ?? false
        }

        mutating func take(_ line: ToldLine, _ fields: Fields) {
            if let sequence = fields["seq"] {
                guard sequences.updateValue(line.line, forKey: sequence) == nil else { return }
            }
            incident.events?.append(line)
            // Armed in its midst, it was carried out.
            if fields["mode"] == "enforce" { incident.mode = "enforce" }
            if let load = fields.load("") {
                let former = incident.peak ?? load
                incident.peak = Load(
                    packetsPerSecond: max(load.packetsPerSecond, former.packetsPerSecond),
                    bitsPerSecond: max(load.bitsPerSecond, former.bitsPerSecond))
            }
            let direction = fields["direction"] ?? "from"
            let word = fields["event"].map { $0.hasPrefix("would-") ? String($0.dropFirst(6)) : $0 }
            switch word {
            case "move":
                rungs[direction] = fields["to"].flatMap { Incident.rungs.firstIndex(of: $0) } ?? 0
            case "victim", "watched-flood":
                alarms.insert(direction)
                incident.wasVictim = incident.wasVictim || word == "victim"
            case "victim-over", "watched-flood-over": alarms.remove(direction)
            case "path": incident.path = fields["path"]
            case "vanished":
                rungs = [:]
                alarms = []
            default: return
            }
            let rung = rungs.values.max() ?? 0
            incident.rung = Incident.rungs[rung]
            let highest = Incident.rungs.firstIndex(of: incident.highest) ?? 0
            incident.highest = Incident.rungs[max(rung, highest)]
            let isOver = rung == 0 && alarms.isEmpty && word != "path"
            incident.endedAt = isOver ? line.at : nil
        }
    }
}

/// The incidents that are in what was told: the answer to `GET /v1/incidents`.
public struct IncidentsReply: Codable, Hashable, Sendable {
    /// The oldest first, without their lines.
    public var incidents: [Incident]

    /// These.
    public init(incidents: [Incident]) { self.incidents = incidents }
}
