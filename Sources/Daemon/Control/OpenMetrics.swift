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
    static func text(_ status: Status, _ health: SelfHealth) -> String {
        var metrics = OpenMetrics()
        metrics.addDaemon(status)
        metrics.addPunctuality(status, health)
        metrics.addFaults(health)
        metrics.addBreaker(status, health)
        metrics.addHost(status.ports, health)
        metrics.addPorts(status.ports, health)
        metrics.addGuards(status.ports)
        return metrics.text + "# EOF\n"
    }

    private mutating func addDaemon(_ status: Status) {
        begin("sluice", "info", "The daemon, what it may do, and the kernel it runs on.")
        add(
            "sluice_info",
            [
                ("version", status.version), ("mode", status.mode), ("kernel", status.kernel),
                ("counters", status.counters),
            ], 1)
        begin("sluice_uptime_seconds", "gauge", "Time since the daemon started.")
        add("sluice_uptime_seconds", [], status.uptimeSeconds)
        begin("sluice_kernel_lacks", "gauge", "Parts that the kernel lacks, made up for.")
        add("sluice_kernel_lacks", [], Double(status.kernelNotes.count))
    }

    private mutating func addPunctuality(_ status: Status, _ health: SelfHealth) {
        addCounter("sluice_polls", "Times that the counters of all ports were read.", status.polls)
        addCounter(
            "sluice_late_polls", "Polls that began more than half an interval late.",
            status.latePolls)
        addCounter(
            "sluice_standby_polls", "Polls read beside a turn that waited for the kernel.",
            health.counts.standbyPolls)
        begin("sluice_poll_lateness_worst_seconds", "gauge", "The latest poll since the start.")
        add(
            "sluice_poll_lateness_worst_seconds", [],
            Double(status.worstLatenessMicroseconds) / 1e6)
        addHistogram("sluice_poll_lateness_seconds", "How late polls began.", health.lateness)
        addHistogram(
            "sluice_turn_seconds", "How long turns took, from the poll to the last change.",
            health.turnTime)
        addHistogram(
            "sluice_change_seconds",
            "From decisions to the kernel's acknowledgement of all that they changed.",
            health.changeTime)
    }

    private mutating func addFaults(_ health: SelfHealth) {
        let counts = health.counts
        addCounters(
            "sluice_netlink_errors", "Requests to the kernel that failed, by what was to be done.",
            "operation",
            [
                ("poll", counts.failedPolls), ("list", counts.failedLists),
                ("look", counts.failedLooks), ("limit", counts.failedChanges),
                ("guard", counts.failedGuards),
            ])
        addCounter(
            "sluice_repairs", "Limits that somebody took out and that were put back.",
            counts.repairs)
        addCounter(
            "sluice_redirects_taken_out", "Redirects that led nowhere and were taken out.",
            counts.redirectsTakenOut)
        addCounter(
            "sluice_contests", "Times that a port was left to who keeps taking its limits out.",
            counts.contests)
        begin("sluice_contested_ports", "gauge", "Ports that are left so at present.")
        add("sluice_contested_ports", [], Double(health.contestedPorts))
        let journals = [("memory", health.journal), ("disk", health.durableJournal)]
        addCounters(
            "sluice_journal_failures", "Times that the journal could not be written, by copy.",
            "copy", journals.map { ($0, $1.failures) })
        begin("sluice_journal_broken", "gauge", "1 while a copy of the journal is not written.")
        for (copy, journal) in journals {
            add("sluice_journal_broken", [("copy", copy)], journal.isBroken ? 1 : 0)
        }
        addCounters(
            "sluice_log_lines_dropped",
            "Lines that are not in the log: over its limit of one a second, or not taken in time.",
            "reason", [("limit", health.suppressedLines), ("reader", health.lostLines)])
        addCounters(
            "sluice_socket_refusals", "Connections and requests that the socket refused.",
            "reason", ControlRefusal.allCases.map { ($0.rawValue, health.refusals[$0] ?? 0) })
        let evidence = health.evidence
        addCounters(
            "sluice_evidence_samples", "Trips, by what became of their packet samples.", "result",
            [
                ("kept", evidence.kept), ("unkept", evidence.unkept), ("failed", evidence.failed),
                ("skipped", evidence.skipped),
            ])
    }

    private mutating func addBreaker(_ status: Status, _ health: SelfHealth) {
        addCounters(
            "sluice_moves", "Transitions of ports, by the rung that they led to.", "to",
            Rung.allCases.map { ($0.description, health.counts.moves[$0] ?? 0) })
        begin("sluice_breaker_open", "gauge", "1 while nothing climbs any further.")
        for cause in Event.BreakerCause.allCases.map(\.rawValue) {
            add("sluice_breaker_open", [("cause", cause)], status.breaker == cause ? 1 : 0)
        }
        guard let room = health.breaker else { return }
        let counts: [(Event.BreakerCause, Int, Int)] = [
            (.share, room.mitigated, room.mitigatedLimit),
            (.shutdowns, room.shutdowns, room.shutdownLimit),
        ]
        begin(
            "sluice_breaker_counted", "gauge",
            "Limited ports, and machines shut down within an hour: what the breaker counts.")
        for (cause, counted, _) in counts {
            add("sluice_breaker_counted", [("cause", cause.rawValue)], Double(counted))
        }
        begin("sluice_breaker_limit", "gauge", "The count at which nothing climbs any further.")
        for (cause, _, limit) in counts {
            add("sluice_breaker_limit", [("cause", cause.rawValue)], Double(limit))
        }
    }

    private mutating func addHost(_ ports: [PortStatus], _ health: SelfHealth) {
        begin("sluice_ports", "gauge", "Watched ports.")
        for name in PortClass.allCases.map(\.rawValue) {
            add("sluice_ports", [("class", name)], count(ports) { $0.portClass == name })
        }
        begin("sluice_mitigated_ports", "gauge", "Ports on a rung; in observe mode, that would be.")
        for mode in Mode.allCases {
            for rung in Self.rungs {
                add(
                    "sluice_mitigated_ports", [("rung", rung), ("mode", mode.rawValue)],
                    count(ports) { $0.rung == rung && health.mode(of: $0) == mode })
            }
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

    private mutating func addPorts(_ ports: [PortStatus], _ health: SelfHealth) {
        let held = ports.filter { $0.rung != "normal" }
        begin("sluice_port_rung", "gauge", "A port's rung: 1 police, 2 shape, 3 tighten, 4 down.")
        for port in held {
            let place = Self.rungs.firstIndex(of: port.rung).map { $0 + 1 } ?? 0
            add(
                "sluice_port_rung", labels(port, "mode", health.mode(of: port).rawValue),
                Double(place))
        }
        let others = most(ports) { $0.rung == "normal" ? sent($0) : nil }
        addLoads("offered", "What a VM sends and is sent", held + others) {
            $0.offered
        }
        addLoads("delivered", "What gets through the limits", held) { $0.delivered }
        addLoads("lane", "What of it is the management lane's", held) { $0.lane }
        addLoads("cap", "What may pass", held) { $0.cap }
    }

    private mutating func addLoads(
        _ what: String, _ help: String, _ ports: [PortStatus], _ loads: (PortStatus) -> Loads?
    ) {
        // Bytes, as Prometheus wants them of everybody, where all else here is in bits.
        let units: [(String, (Load) -> Double)] = [
            ("packets", \.packetsPerSecond), ("bytes", { $0.bitsPerSecond / 8 }),
        ]
        for (unit, value) in units {
            let name = "sluice_port_\(what)_\(unit)_per_second"
            begin(name, "gauge", "\(help), in \(unit) a second.")
            for port in ports {
                guard let loads = loads(port) else { continue }
                for (direction, load) in [("from", loads.from), ("to", loads.to)] {
                    guard let load else { continue }
                    add(name, labels(port, "direction", direction), value(load))
                }
            }
        }
    }

    private mutating func addGuards(_ ports: [PortStatus]) {
        begin(
            "sluice_port_guard_refused_packets", "counter",
            "Frames that a port's guards refused, or would have, of the ten ports with most.")
        let refusing = most(ports) { port in
            let count = refused(port)
            return count > 0 ? count : nil
        }
        for port in refusing {
            let packets = port.guards?.refusedPackets ?? [:]
            for (reason, count) in packets.sorted(by: { $0.key < $1.key }) {
                add(
                    "sluice_port_guard_refused_packets_total",
                    labels(port, "reason", reason), Double(count))
            }
        }
    }

    // MARK: Lines

    /// The few ports with most of something, the first first; nil: not one of them.
    private func most<Amount: Comparable>(
        _ ports: [PortStatus], _ amount: (PortStatus) -> Amount?
    ) -> [PortStatus] {
        // Not the ports themselves are put in order: there are many, and they are large.
        let amounts = ports.indices.compactMap { place in
            amount(ports[place]).map { (place: place, amount: $0) }
        }
        return amounts.sorted { ($1.amount, $0.place) < ($0.amount, $1.place) }.prefix(Self.top)
            .map { ports[$0.place] }
    }

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

    private mutating func addCounter(_ name: String, _ help: String, _ value: UInt64) {
        begin(name, "counter", help)
        add("\(name)_total", [], Double(value))
    }

    private mutating func addCounters(
        _ name: String, _ help: String, _ key: String, _ values: [(String, UInt64)]
    ) {
        begin(name, "counter", help)
        for (label, value) in values { add("\(name)_total", [(key, label)], Double(value)) }
    }

    private mutating func addHistogram(
        _ name: String, _ help: String, _ reading: DurationHistogram.Reading
    ) {
        begin(name, "histogram", help)
        var count: UInt64 = 0
        let bounds = DurationHistogram.boundsSeconds.map { "\($0)" } + ["+Inf"]
        for (step, bound) in bounds.enumerated() {
            count += step < reading.counts.count ? reading.counts[step] : 0
            add("\(name)_bucket", [("le", bound)], Double(count))
        }
        add("\(name)_sum", [], reading.sumSeconds)
        add("\(name)_count", [], Double(count))
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

extension SelfHealth {
    fileprivate func mode(of port: PortStatus) -> Mode {
        observed.contains(port.index) ? .observe : .enforce
    }
}
