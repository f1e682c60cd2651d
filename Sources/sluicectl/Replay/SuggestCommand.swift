// `sluicectl suggest`: marks for each class from what was recorded, each choice with the ports that it
// would have touched.

import ArgumentParser
import ControlAPI
import LinuxSystem
import Mitigation
import Recording
import Settings

struct SuggestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "suggest",
        abstract: "Propose marks for each class from what was recorded.",
        discussion: """
            For each class, marks that lie half as high again above the highest loads of all its \
            ports, of 99%, 95% and 90% of them, as each load lasted for trip.sustain; and how many \
            ports of the class each of them would have limited, found by replaying. A port of which \
            nothing was written in detail is known by its averages over recording.interval.

            Reads what `sluicectl replay` reads.

            Exit status: 0 done, 2 it cannot be read, 64 wrong usage.
            """)

    @Option(
        help: ArgumentHelp(
            "A recording, a folder of them, a table, or collectd's folder.",
            valueName: "path"), completion: .file())
    var from = ReplayCommand.defaultSource

    @Option(
        name: .customLong("class"),
        help: ArgumentHelp("Only of this class.", valueName: "class"),
        completion: .list(PortClass.allCases.map(\.rawValue)))
    var portClass: String?

    @Option(
        name: [.short, .long],
        help: "The configuration whose other keys are to hold; by default the recorded one.",
        completion: .file())
    var config: String?

    @Flag(help: "One JSON object.")
    var json = false

    func validate() throws {
        guard let portClass, PortClass(rawValue: portClass) == nil else { return }
        let names = PortClass.allCases.map(\.rawValue).joined(separator: ", ")
        throw ValidationError("there is no class \(portClass): write one of \(names)")
    }

    func run() throws {
        let suggestions: [MarkSuggestion]
        do throws(ReplayError) {
            let source = try ReplaySource(path: from)
            let rules = try ReplayRules(path: config, interval: source.interval)
            suggestions = try Suggester(source, rules).suggestions(
                of: portClass.flatMap(PortClass.init(rawValue:)).map { [$0] }
                    ?? PortClass.allCases)
        } catch {
            Terminal.complain("sluicectl: \(error)")
            throw ExitCode(ReplayError.exitStatus)
        }
        if json {
            Terminal.printJSON(["classes": suggestions])
        } else {
            Terminal.print(suggestions.flatMap(\.lines))
        }
    }
}

/// Marks for one class.
struct MarkSuggestion: Encodable {
    /// A choice.
    struct Choice: Encodable {
        /// The loads of this share of the ports lie below the marks.
        var portsPercent: Int
        var from: MarkPair
        var to: MarkPair
        /// Ports of the class that would have been limited, or were held back by the breaker alone.
        var touched: Int
        var touchedPorts: [String]
        /// Ports of the class that would only have been alerted of.
        var alerted: Int
        /// The marks lie below what was recorded at every poll: shorter floods are not known.
        var isCoarse: Bool

        enum CodingKeys: String, CodingKey {
            case from, to, touched, alerted
            case portsPercent = "ports_percent"
            case touchedPorts = "touched_ports"
            case isCoarse = "is_coarse"
        }
    }

    /// Marks of one direction.
    struct MarkPair: Encodable {
        var packetsPerSecond: UInt64
        var bitsPerSecond: UInt64

        enum CodingKeys: String, CodingKey {
            case packetsPerSecond = "packets_per_second"
            case bitsPerSecond = "bits_per_second"
        }

        /// As it stands in a configuration.
        var text: String {
            let packets = QuantityKind.packetRate.text(packetsPerSecond)
            return
                "{ packets = \"\(packets)\", bits = \"\(QuantityKind.bitRate.text(bitsPerSecond))\" }"
        }

        var short: String {
            StatusReport.packets(Double(packetsPerSecond)) + " "
                + StatusReport.bits(Double(bitsPerSecond))
        }
    }

    var portClass: String
    var ports: Int
    var choices: [Choice]

    enum CodingKeys: String, CodingKey {
        case ports, choices
        case portClass = "class"
    }

    /// For human eyes; the last lines can be pasted into a configuration.
    var lines: [String] {
        let rows = choices.map { choice in
            [
                "\(choice.portsPercent)%", choice.from.short, choice.to.short,
                "\(choice.touched) of \(ports)", "\(choice.alerted)",
                choice.isCoarse ? "averages only" : "",
            ]
        }
        let noun = ports == 1 ? "port" : "ports"
        // The highest load of all may be a flood that was recorded.
        let chosen = choices.first { $0.portsPercent < 100 } ?? choices.first
        guard let chosen else { return [] }
        return ["# class \(portClass), \(ports) \(noun): marks above the loads of so many of them"]
            + StatusReport.aligned([["PORTS", "FROM", "TO", "LIMITED", "ALERTS", ""]] + rows)
            .map { "# " + $0 }
            + ["[class.\(portClass)]"]
            + choices.flatMap { choice in
                let mark = choice.portsPercent == chosen.portsPercent ? "" : "# "
                return [
                    "\(mark)from = \(choice.from.text)  # \(choice.portsPercent)%",
                    "\(mark)to = \(choice.to.text)",
                ]
            } + [""]
    }
}

/// Finds them.
struct Suggester {
    private static let shares = [100, 99, 95, 90]
    private static let headroom = 1.5

    private let source: ReplaySource
    private let rules: ReplayRules
    private let policy: Policy
    private let loads: [PortClass: [PortLoads]]
    private let classes: [PortName: PortClass]

    /// Looks at all loads once.
    init(_ source: ReplaySource, _ rules: ReplayRules) throws(ReplayError) {
        self.source = source
        self.rules = rules
        var policy = rules.policy([])
        var maxima: LoadMaxima?
        try source.read(
            { item in
                if case .start(let start) = item, let recorded = rules.policy(start.configuration) {
                    policy = recorded
                }
                var known = maxima ?? LoadMaxima(sustain: policy?.sustain ?? .seconds(1))
                maxima = nil
                known.take(item)
                maxima = known
            }, note: { _ in })
        guard let policy, let maxima else {
            throw ReplayError(
                description: "\(source.path): its configuration is not one of this version: "
                    + "name --config")
        }
        self.policy = policy
        var loads: [PortClass: [PortLoads]] = [:]
        var classes: [PortName: PortClass] = [:]
        for (port, highest) in maxima.ports {
            guard let port = rules.classify(port) else { continue }
            loads[port.portClass, default: []].append(highest)
            classes[port.name] = port.portClass
        }
        self.loads = loads
        self.classes = classes
    }

    func suggestions(of classes: [PortClass]) throws(ReplayError) -> [MarkSuggestion] {
        var suggestions: [MarkSuggestion] = []
        for portClass in classes {
            guard let loads = loads[portClass], !loads.isEmpty else { continue }
            var choices: [MarkSuggestion.Choice] = []
            for share in Self.shares {
                let marks = marks(loads, share, isLimited: portClass != .backend)
                // As many ports as there are tell no finer shares apart.
                if let last = choices.last, last.from.short == marks.from.short,
                    last.to.short == marks.to.short
                {
                    continue
                }
                choices.append(try choice(share, marks, portClass))
            }
            suggestions.append(
                MarkSuggestion(
                    portClass: portClass.rawValue, ports: loads.count, choices: choices))
        }
        return suggestions
    }

    private typealias Pairs = (from: MarkSuggestion.MarkPair, to: MarkSuggestion.MarkPair)

    private func marks(_ loads: [PortLoads], _ share: Int, isLimited: Bool) -> Pairs {
        let needed = max((loads.count * share + 99) / 100, 1)
        func highest(_ lane: Int, _ unit: Double) -> UInt64 {
            let sorted = loads.map { $0[lane] }.sorted()
            return Self.rounded(sorted[needed - 1] * Self.headroom * unit)
        }
        // A port that is held at the target must be able to fall below the low mark.
        let target = isLimited ? Double(policy.target.perSecond) : 0
        let least = Self.rounded(target / policy.lowShare * 1.01)
        let leastBits = Self.rounded(target * 12_000 / policy.lowShare * 1.01)
        func pair(_ lane: Int) -> MarkSuggestion.MarkPair {
            MarkSuggestion.MarkPair(
                packetsPerSecond: max(highest(lane, 1), least, 1),
                bitsPerSecond: max(highest(lane + 1, 8), leastBits, 1_000))
        }
        return (pair(0), pair(2))
    }

    /// Up to two digits.
    private static func rounded(_ value: Double) -> UInt64 {
        guard value > 0, value < 9e14 else { return value > 0 ? 900_000_000_000_000 : 0 }
        var unit: UInt64 = 1
        while UInt64(value) / unit >= 100 { unit *= 10 }
        let whole = UInt64(value.rounded(.up))
        return (whole + unit - 1) / unit * unit
    }

    private func choice(
        _ share: Int, _ marks: Pairs, _ portClass: PortClass
    ) throws(ReplayError) -> MarkSuggestion.Choice {
        let chosen = Marks(from: Self.mark(marks.from), to: Self.mark(marks.to))
        var replay = Replayer(
            answers: .assumed,
            policy: { text in
                guard var policy = rules.policy(text) else { return nil }
                policy.marks[portClass] = chosen
                return policy
            }, classify: rules.classify)
        try source.read({ replay.take($0) }, note: { _ in })
        replay.finish()
        var touched: Set<PortName> = []
        var alerted: Set<PortName> = []
        for event in replay.told where classes[event.name] == portClass {
            switch event.kind {
            case .moved(from: .normal, _) where event.reason?.rule != .companion:
                touched.insert(event.name)
            case .held: touched.insert(event.name)
            case .victim(true), .watched(true): alerted.insert(event.name)
            default: continue
            }
        }
        return MarkSuggestion.Choice(
            portsPercent: share, from: marks.from, to: marks.to, touched: touched.count,
            touchedPorts: touched.map { "\($0)" }.sorted(), alerted: alerted.count,
            isCoarse: source.interval == nil && isBelowDetail(chosen, portClass))
    }

    private static func mark(_ pair: MarkSuggestion.MarkPair) -> Mark {
        Mark(
            packets: PacketRate(perSecond: pair.packetsPerSecond),
            bits: BitRate(bitsPerSecond: pair.bitsPerSecond))
    }

    /// Every poll is recorded from a quarter of the low mark on.
    private func isBelowDetail(_ marks: Marks, _ portClass: PortClass) -> Bool {
        let recorded = policy.marks[portClass] ?? Marks()
        let share = policy.lowShare / 4
        func isBelow(_ new: UInt64?, _ old: UInt64?) -> Bool {
            Double(new ?? 0) < (old.map { Double($0) } ?? .infinity) * share
        }
        return isBelow(marks.from.packets?.perSecond, recorded.from.packets?.perSecond)
            || isBelow(marks.from.bits?.bitsPerSecond, recorded.from.bits?.bitsPerSecond)
            || isBelow(marks.to.packets?.perSecond, recorded.to.packets?.perSecond)
            || isBelow(marks.to.bits?.bitsPerSecond, recorded.to.bits?.bitsPerSecond)
    }
}
