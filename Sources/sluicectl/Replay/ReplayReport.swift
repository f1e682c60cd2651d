// What a replay found, in words and as JSON: pure, so that it can be tested.

import ControlAPI
import Mitigation
import Recording

/// A replay's findings.
struct ReplayReport: Encodable {
    /// One thing that was told.
    struct Told: Encodable {
        /// Seconds since 1970.
        var at: Double
        var sequence: UInt64
        var incident: UInt32
        var port: String
        var event: String
        var from: String?
        var to: String?
        var rule: String?
        var direction: String?
        var packetsPerSecond: UInt64?
        var bitsPerSecond: UInt64?
        var detail: String?

        enum CodingKeys: String, CodingKey {
            case at, sequence, incident, port, event, from, to, rule, direction, detail
            case packetsPerSecond = "packets_per_second"
            case bitsPerSecond = "bits_per_second"
        }
    }

    /// A port that was limited, or would have been.
    struct Touched: Encodable {
        var port: String
        /// Seconds since 1970.
        var firstAt: Double
        var highestRung: String
        var rule: String
        /// What it may send at most, in packets a second; nil: there is no such mark.
        var mark: UInt64?
        /// How often it went from normal to a limit.
        var times: Int
        /// Seconds above normal, up to the end.
        var seconds: Double

        enum CodingKeys: String, CodingKey {
            case port, rule, mark, times, seconds
            case firstAt = "first_at"
            case highestRung = "highest_rung"
        }
    }

    /// Where both accounts part.
    struct Difference: Encodable {
        var recorded: Told?
        var replayed: Told?
    }

    /// Seconds since 1970.
    var first: Double
    var last: Double
    var polls: Int
    var ports: Int
    /// With the recorded configuration: whether all was told as it was then. With another: whether that
    /// would have made no difference. nil: there is no recorded account.
    var same: Bool?
    var touched: [Touched]
    var events: [Told]
    var differences: [Difference]
    var notes: [String]
}

extension ReplayReport {
    /// - Parameters:
    ///   - window: seconds since 1970; what was told outside is left out.
    ///   - isExact: the recorded configuration was replayed: numbers count.
    ///   - isCompared: there is a recorded account.
    init(
        _ replay: Replayer, window: ClosedRange<Double>, isExact: Bool, isCompared: Bool = true,
        notes: [String]
    ) {
        let clock = Clock(replay)
        first = replay.span.map { clock.first($0.first) } ?? 0
        last = replay.span.map { clock.last($0.last) } ?? 0
        polls = replay.pollCount
        ports = replay.portCount
        let told = replay.told.enumerated().map { ($0.element, clock.told($0.element, $0.offset)) }
            .filter { window.contains($0.1) }
        events = told.map { Told($0.0, $0.1) }
        touched = Self.touched(told, last)
        for place in touched.indices {
            let name = PortName(escaped: touched[place].port)
            touched[place].mark = name.flatMap { replay.marks[$0]?.from.packets?.perSecond }
        }
        self.notes = notes
        differences = []
        if isCompared {
            let isByNumber = isExact && replay.inherited == 0
            let both = isByNumber ? replay.differences : Self.differences(replay)
            differences = both.map { difference in
                Difference(
                    recorded: difference.recorded.map { Told($0, clock.recorded($0)) },
                    replayed: difference.replayed.map { Told($0, clock.replayed($0)) })
            }.filter { window.contains(($0.recorded ?? $0.replayed)?.at ?? 0) }
            same = differences.isEmpty
        }
        if replay.inherited > 0 {
            self.notes.append(
                "it begins in the middle, with \(replay.inherited) incidents under way: events are "
                    + "compared by moment, port and kind")
        }
        if replay.gaps > 0 {
            self.notes.append("\(replay.gaps) times the daemon was started again, or lost a part")
        }
        if replay.isPolicyUnknown {
            self.notes.append("a recorded configuration is not one of this version: name --config")
        }
    }

    /// Events that only one account has, by moment, port and kind.
    private static func differences(_ replay: Replayer) -> [EventDifference] {
        let recorded = Set(replay.recorded.map(moment))
        let told = Set(replay.told.map(moment))
        return replay.recorded.filter { !told.contains(moment($0)) }
            .map { EventDifference(recorded: $0, replayed: nil) }
            + replay.told.filter { !recorded.contains(moment($0)) }
            .map { EventDifference(recorded: nil, replayed: $0) }
    }

    private static func moment(_ event: Event) -> String {
        "\(event.at.nanoseconds) \(event.name) \(event.kind)"
    }

    /// The wall clock of a daemon's own.
    private struct Clock {
        private let clocks: [Replayer.WallClock]
        private let placesTold: [Event: Int]
        private let placesRecorded: [Event: Int]

        init(_ replay: Replayer) {
            clocks = replay.wallClocks
            placesTold = Self.places(replay.told)
            placesRecorded = Self.places(replay.recorded)
        }

        private static func places(_ events: [Event]) -> [Event: Int] {
            Dictionary(events.enumerated().map { ($0.element, $0.offset) }) { first, _ in first }
        }

        func first(_ at: Instant) -> Double { seconds(at, clocks.first) }
        func last(_ at: Instant) -> Double { seconds(at, clocks.last) }

        func told(_ event: Event, _ place: Int) -> Double {
            seconds(event.at, clocks.last { $0.fromTold <= place })
        }

        func replayed(_ event: Event) -> Double { told(event, placesTold[event] ?? 0) }

        func recorded(_ event: Event) -> Double {
            let place = placesRecorded[event] ?? 0
            return seconds(event.at, clocks.last { $0.fromRecorded <= place })
        }

        private func seconds(_ at: Instant, _ clock: Replayer.WallClock?) -> Double {
            guard let clock else { return 0 }
            return Double(clock.wall) / 1e9
                + (Double(at.nanoseconds) - Double(clock.monotonic)) / 1e9
        }
    }

    private static func touched(_ events: [(Event, Double)], _ end: Double) -> [Touched] {
        var ports: [String: Touched] = [:]
        var rungs: [String: (rung: Rung, highest: Rung, since: Double)] = [:]
        for (event, at) in events {
            let name = "\(event.name)"
            var to: Rung?
            if case .moved(_, let rung) = event.kind { to = rung }
            if case .vanished = event.kind { to = .normal }
            guard let to, event.reason?.direction != .to || ports[name] != nil || to > .normal
            else { continue }
            let former = rungs[name] ?? (.normal, .normal, at)
            if former.rung > .normal { ports[name]?.seconds += at - former.since }
            rungs[name] = (to, max(former.highest, to), at)
            guard to > .normal else { continue }
            let rule = event.reason.map { "\($0.rule)" } ?? ""
            ports[
                name,
                default: Touched(
                    port: name, firstAt: at, highestRung: "", rule: rule, times: 0, seconds: 0)
            ].highestRung = "\(max(former.highest, to))"
            if former.rung == .normal { ports[name]?.times += 1 }
        }
        for (name, last) in rungs where last.rung > .normal {
            ports[name]?.seconds += max(0, end - last.since)
        }
        return ports.values.sorted { ($0.firstAt, $0.port) < ($1.firstAt, $1.port) }
    }
}

extension ReplayReport.Told {
    init(_ event: Event, _ at: Double) {
        self.at = at
        sequence = event.sequence
        incident = event.incident
        port = "\(event.name)"
        rule = event.reason.map { "\($0.rule)" }
        direction = event.reason?.direction.rawValue
        packetsPerSecond = event.reason?.measured.packets.perSecond
        bitsPerSecond = event.reason?.measured.bits.bitsPerSecond
        switch event.kind {
        case .moved(let former, let rung):
            (self.event, from, to) = ("move", "\(former)", "\(rung)")
        case .victim(let isOn): self.event = isOn ? "victim" : "victim-over"
        case .watched(let isOn): self.event = isOn ? "watched-flood" : "watched-flood-over"
        case .held(let rung, let cause):
            (self.event, to, detail) = ("held", "\(rung)", cause.rawValue)
        case .refused(let rung, let sentence):
            (self.event, to, detail) = ("refused", "\(rung)", sentence)
        case .unknown(let rung, let sentence):
            (self.event, to, detail) = ("unknown", "\(rung)", sentence)
        case .path(let path): (self.event, detail) = ("path", path.description)
        case .vanished(let rung): (self.event, from) = ("vanished", "\(rung)")
        }
    }

    /// `vm-7-00aa  normal to police (sustained: 20.0 kpps 40.0 Mbit/s)`
    var line: String {
        var text = port + "  "
        if event == "move" {
            text += "\(from ?? "?") to \(to ?? "?")"
        } else {
            text += event + (to.map { " \($0)" } ?? "")
        }
        if let rule, let packets = packetsPerSecond, let bits = bitsPerSecond {
            let side = direction == "to" ? ", to it" : ""
            text += " (\(rule): \(StatusReport.packets(Double(packets))) "
            text += "\(StatusReport.bits(Double(bits)))\(side))"
        }
        return text + (detail.map { ": \($0)" } ?? "")
    }
}

extension ReplayReport {
    private static let mostLines = 40

    /// For human eyes.
    ///
    /// - Parameter isExact: the recorded configuration was replayed.
    func lines(isExact: Bool) -> [String] {
        var lines = [
            "\(EventReport.time(first)) to \(EventReport.time(last)) "
                + "(\(StatusReport.time(last - first))): \(ports) ports, \(polls) polls"
        ]
        lines += touchedLines(isExact: isExact)
        let shown = events.suffix(Self.mostLines)
        if events.count > shown.count {
            lines.append("  ... \(events.count - shown.count) events before; --json has them all")
        }
        lines += shown.map { "\(EventReport.time($0.at))  \($0.line)" }
        guard let same else { return lines }
        if same {
            lines.append(
                isExact
                    ? "\(events.count) events: as it was recorded, event for event"
                    : "\(events.count) events: the same as with the recorded configuration")
        } else {
            lines.append(
                isExact
                    ? "it differs from what was recorded in \(differences.count) events:"
                    : "against what was recorded, \(differences.count) events differ:")
            for difference in differences.prefix(Self.mostLines) {
                if let then = difference.recorded {
                    lines.append("- \(EventReport.time(then.at))  \(then.line)")
                }
                if let now = difference.replayed {
                    lines.append("+ \(EventReport.time(now.at))  \(now.line)")
                }
            }
            if differences.count > Self.mostLines {
                lines.append("  ... and \(differences.count - Self.mostLines) more")
            }
        }
        return lines
    }

    private func touchedLines(isExact: Bool) -> [String] {
        let would = isExact ? "was" : "would have been"
        guard !touched.isEmpty else { return ["no port \(would) limited"] }
        let rows = touched.prefix(Self.mostLines).map { port in
            [
                port.port, EventReport.time(port.firstAt), port.rule, port.highestRung,
                "\(port.times)", StatusReport.time(port.seconds),
            ]
        }
        let noun = touched.count == 1 ? "port" : "ports"
        return [
            "\(touched.count) \(noun) \(touched.count == 1 ? would : isExact ? "were" : would) limited:"
        ]
            + StatusReport.aligned(
                [["PORT", "FIRST AT", "RULE", "HIGHEST", "TIMES", "LIMITED FOR"]] + rows)
    }
}
