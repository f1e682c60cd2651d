// The status as a scraper reads it: OpenMetrics text, version 1.0.0.
//
// Invariants: a host of ten thousand healthy ports gives as many lines as one of ten: what is told of
// single ports is told of those with limits and of the ten that send most; label values are escaped.
internal import ControlAPI
internal import Mitigation
internal import TrafficControl

/// Writes metrics.
struct OpenMetrics {
    /// What the answer is.
    static let mediaType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    /// Of how many healthy ports something is told.
    private static let top = 10
    private static let rungs = Rung.allCases.filter { $0 > .normal }.map(\.description)

    private var text = ""

    /// The whole answer.
    static func text(_ status: Status) -> String {
        var metrics = OpenMetrics()
        metrics.addDaemon(status)
        metrics.addHost(status.ports)
        metrics.addPorts(status.ports)
        metrics.addGuards(status.ports)
        return metrics.text + "# EOF\n"
    }

    private mutating func addDaemon(_ status: Status) {
        begin("sluice", "info", "The daemon, what it may do, and the kernel it runs on.")
        add(
            "sluice_info",
            [("version", status.version), ("mode", status.mode), ("kernel", status.kernel)], 1)
        begin("sluice_uptime_seconds", "gauge", "Time since the daemon started.")
        add("sluice_uptime_seconds", [], status.uptimeSeconds)
        begin("sluice_polls", "counter", "Times that the counters of all ports were read.")
        add("sluice_polls_total", [], Double(status.polls))
        begin("sluice_late_polls", "counter", "Polls that began more than half an interval late.")
        add("sluice_late_polls_total", [], Double(status.latePolls))
        begin("sluice_poll_lateness_worst_seconds", "gauge", "The latest poll since the start.")
        add(
            "sluice_poll_lateness_worst_seconds", [],
            Double(status.worstLatenessMicroseconds) / 1e6)
        begin("sluice_poll_lateness_mean_seconds", "gauge", "How late polls are on average.")
        add("sluice_poll_lateness_mean_seconds", [], Double(status.meanLatenessMicroseconds) / 1e6)
        begin("sluice_kernel_lacks", "gauge", "Parts that the kernel lacks, made up for.")
        add("sluice_kernel_lacks", [], Double(status.kernelNotes.count))
        begin("sluice_breaker_open", "gauge", "1 while nothing climbs any further.")
        for cause in Event.BreakerCause.allCases.map(\.rawValue) {
            add("sluice_breaker_open", [("cause", cause)], status.breaker == cause ? 1 : 0)
        }
    }

    private mutating func addHost(_ ports: [PortStatus]) {
        begin("sluice_ports", "gauge", "Watched ports.")
        for name in PortClass.allCases.map(\.rawValue) {
            add("sluice_ports", [("class", name)], count(ports) { $0.portClass == name })
        }
        begin("sluice_mitigated_ports", "gauge", "Ports on a rung; in observe mode, that would be.")
        for rung in Self.rungs {
            add("sluice_mitigated_ports", [("rung", rung)], count(ports) { $0.rung == rung })
        }
        begin("sluice_victim_ports", "gauge", "Ports that are flooded from outside.")
        add("sluice_victim_ports", [], count(ports, \.isVictim))
        begin("sluice_troubled_ports", "gauge", "Ports whose limits or guards have a problem.")
        add(
            "sluice_troubled_ports", [],
            count(ports) { $0.problem != nil || $0.guards?.problem != nil })
        begin("sluice_guarded_ports", "gauge", "Ports with guards in force, by mode.")
        for mode in Guards.Mode.allCases.map(\.rawValue) {
            add(
                "sluice_guarded_ports", [("mode", mode)],
                count(ports) { $0.guards?.mode == mode && $0.guards?.inForce == true })
        }
    }

    private mutating func addPorts(_ ports: [PortStatus]) {
        let held = ports.filter { $0.rung != "normal" }
        begin("sluice_port_rung", "gauge", "A port's rung: 1 police, 2 shape, 3 tighten, 4 down.")
        for port in held {
            let place = Self.rungs.firstIndex(of: port.rung).map { $0 + 1 } ?? 0
            add("sluice_port_rung", labels(port), Double(place))
        }
        let others = ports.filter { $0.rung == "normal" }.sorted { sent($0) > sent($1) }
        addLoads("offered", "What a VM sends and is sent", held + others.prefix(Self.top)) {
            $0.offered
        }
        addLoads("delivered", "What gets through the limits", held) { $0.delivered }
        addLoads("cap", "What may pass", held) { $0.cap }
    }

    private mutating func addLoads(
        _ what: String, _ help: String, _ ports: [PortStatus], _ loads: (PortStatus) -> Loads?
    ) {
        let units: [(String, String, KeyPath<Load, Double>)] = [
            ("packets", "packets a second", \.packetsPerSecond),
            ("bits", "bits a second", \.bitsPerSecond),
        ]
        for (unit, words, path) in units {
            let name = "sluice_port_\(what)_\(unit)_per_second"
            begin(name, "gauge", "\(help), in \(words).")
            for port in ports {
                guard let loads = loads(port) else { continue }
                if let load = loads.from {
                    add(name, labels(port, "direction", "from"), load[keyPath: path])
                }
                if let load = loads.to {
                    add(name, labels(port, "direction", "to"), load[keyPath: path])
                }
            }
        }
    }

    private mutating func addGuards(_ ports: [PortStatus]) {
        let refusing = ports.filter { refused($0) > 0 }.sorted { refused($0) > refused($1) }
        begin(
            "sluice_port_guard_refused_packets", "counter",
            "Frames that a port's guards refused, or would have, of the ten ports with most.")
        for port in refusing.prefix(Self.top) {
            let packets = port.guards?.refusedPackets ?? [:]
            for (reason, count) in packets.sorted(by: { $0.key < $1.key }) {
                add(
                    "sluice_port_guard_refused_packets_total",
                    labels(port, "reason", reason), Double(count))
            }
        }
    }

    // MARK: Lines

    private func sent(_ port: PortStatus) -> Double { port.offered.from?.packetsPerSecond ?? 0 }

    private func refused(_ port: PortStatus) -> UInt64 {
        port.guards?.refusedPackets.values.reduce(0, &+) ?? 0
    }

    private func count(_ ports: [PortStatus], _ isOne: (PortStatus) -> Bool) -> Double {
        Double(ports.count(where: isOne))
    }

    private func labels(_ port: PortStatus) -> [(String, String)] {
        [("port", port.name), ("class", port.portClass), ("netid", port.netid ?? "")]
    }

    private func labels(_ port: PortStatus, _ key: String, _ value: String) -> [(String, String)] {
        var labels = labels(port)
        labels.append((key, value))
        return labels
    }

    private mutating func begin(_ name: String, _ type: String, _ help: String) {
        text += "# TYPE \(name) \(type)\n# HELP \(name) \(help)\n"
    }

    private mutating func add(_ name: String, _ labels: [(String, String)], _ value: Double) {
        let inside = labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
        let isWhole = value == value.rounded() && abs(value) < 1e15
        text += labels.isEmpty ? name : "\(name){\(inside)}"
        text += isWhole ? " \(Int64(value))\n" : " \(value)\n"
    }

    private static func escaped(_ value: String) -> String {
        value.reduce(into: "") { text, character in
            switch character {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.append(character)
            }
        }
    }
}
