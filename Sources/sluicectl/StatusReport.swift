// The daemon's status for human eyes: pure, so that it can be tested line by line.

import ControlAPI

/// Makes lines of a status.
enum StatusReport {
    /// A summary line, notes, and a table of the ports above normal, or of all.
    static func lines(_ status: Status, withAllPorts all: Bool) -> [String] {
        var lines = [summary(status)]
        lines += status.kernelNotes.map { "kernel: \($0)" }
        if let note = status.countersNote {
            lines.append("counters: \(status.counters) (bpf: \(note))")
        } else if status.counters != "netlink" {
            lines.append("counters: \(status.counters)")
        }
        if let breaker = status.breaker {
            lines.append("breaker: open (\(breaker)): nothing climbs any further")
        }
        let said = status.classes.filter { $0.origin == "operator" }
        if !said.isEmpty { lines += modes(said) }
        let ports = status.ports.filter { all || isNotable($0) }
        if !ports.isEmpty { lines += table(ports) }
        for port in ports { lines += remarks(on: port).map { "\(port.name): \($0)" } }
        return lines
    }

    /// The way of its flood, on whose account it is limited, and what is in the way of its limits.
    static func remarks(on port: PortStatus) -> [String] {
        var remarks: [String] = []
        if let order = port.order { remarks.append(words(order)) }
        if let path = port.path, path.count > 1 {
            let legs = path.map { "\($0.port) (\(packets($0.load.packetsPerSecond)))" }
            let companion = port.companion.map { "; \($0) is limited along" } ?? ""
            remarks.append("its flood went " + legs.joined(separator: " -> ") + companion)
        }
        if !port.limitedFor.isEmpty {
            remarks.append("limited along with " + port.limitedFor.joined(separator: ", "))
        }
        if let guards = port.guards, let problem = guards.problem {
            let state = guards.inForce ? "stand" : "are not in force"
            remarks.append("its guards (\(guards.origin)) \(state): \(problem)")
        }
        return remarks + port.advisories
    }

    /// What each guarded port may never send, who says so, and what was refused.
    static func guards(_ ports: [PortStatus]) -> [String] {
        let rows = ports.compactMap { port in port.guards.map { (port.name, $0) } }
            .sorted { $0.0 < $1.0 }.map { name, guards in
                [
                    name, guards.profile ?? "-", guards.switches.joined(separator: " "),
                    guards.inForce ? guards.mode : "not in force", guards.origin,
                    "\(guards.refusedPackets.values.reduce(0, +))", reasons(guards),
                    guards.problem ?? "",
                ]
            }
        let heading = [
            "PORT", "PROFILE", "SWITCHES", "MODE", "BY", "REFUSED", "WHY", "PROBLEM",
        ]
        return rows.isEmpty ? ["no port is guarded"] : aligned([heading] + rows)
    }

    /// `source-mac 120 (~40 addresses), arp 3`, the most first.
    private static func reasons(_ guards: GuardStatus) -> String {
        guards.refusedPackets.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { reason, count in
                guard reason == "source-mac", let sources = guards.sourceMACs, sources > 1 else {
                    return "\(reason) \(count)"
                }
                return "\(reason) \(count) (~\(sources) addresses)"
            }.joined(separator: ", ")
    }

    /// What each port was taken for, and why.
    static func classes(_ ports: [PortStatus]) -> [String] {
        let rows = ports.sorted { ($0.netid ?? "~", $0.name) < ($1.netid ?? "~", $1.name) }.map {
            [
                $0.name, $0.portClass, $0.netid ?? "-",
                "class.\($0.portClass).names \"\($0.pattern)\"",
            ]
        }
        guard !rows.isEmpty else {
            return ["no interface is claimed by a class: class.*.names say which names are"]
        }
        return aligned([["PORT", "CLASS", "CLOUDSPACE", "BECAUSE OF"]] + rows)
    }

    /// What became of a word on a port.
    static func line(_ reply: OrderReply) -> String {
        let order = reply.order.map(words) ?? "the rules decide"
        return "\(reply.port): \(reply.rung); \(order)"
    }

    /// `exempt for 1h 59min more (uid 0: migration of the customer's database)`
    private static func words(_ order: OrderStatus) -> String {
        let what = order.order == "hold" ? "held where it is" : "exempt: not limited"
        let end = order.secondsLeft.map { "for \(Self.time($0)) more" } ?? "until it is enabled"
        return "\(what), \(end) (uid \(order.user)" + (order.reason.map { ": \($0)" } ?? "") + ")"
    }

    /// Each class's mode, and who says so.
    static func modes(_ classes: [ClassMode]) -> [String] {
        classes.map { each in
            let who = each.user.map {
                "uid \($0)" + (each.reason.map { ": \($0)" } ?? "")
            }
            return "class \(each.portClass): \(each.mode) (\(who ?? "as configured"))"
        }
    }

    private static func isNotable(_ port: PortStatus) -> Bool {
        port.rung != "normal" || port.isVictim || port.problem != nil
            || port.guards?.problem != nil || port.order != nil
    }

    private static func summary(_ status: Status) -> String {
        let ports = status.ports.count == 1 ? "1 port" : "\(status.ports.count) ports"
        let held = status.mitigated == 0 ? "none held" : "\(status.mitigated) held"
        var line = "sluiced \(status.version), \(status.mode), up \(time(status.uptimeSeconds)), "
        line += "kernel \(status.kernel): \(ports), \(held)"
        if status.latePolls > 0 { line += ", \(status.latePolls) of \(status.polls) polls late" }
        return line
    }

    private static let heading = [
        "PORT", "CLASS", "RUNG", "SINCE", "", "OFFERED", "DELIVERED", "CAP", "LANE", "HELD BY",
        "PROBLEM",
    ]

    /// A line for what each VM sends, and one for what is sent to it where that matters.
    static func table(_ ports: [PortStatus]) -> [String] {
        var rows = [heading]
        for port in ports {
            rows.append([
                port.name, port.portClass + (port.isVictim ? " (victim)" : ""), port.rung,
                port.onRungSeconds.map(time) ?? "-", "from", load(port.offered.from),
                load(port.delivered?.from), load(port.cap?.from), load(port.lane?.from),
                port.enforcement ?? "-", port.problem ?? "",
            ])
            guard port.isVictim || port.cap?.to != nil else { continue }
            rows.append([
                "", "", "", "", "to", load(port.offered.to), load(port.delivered?.to),
                load(port.cap?.to), load(port.lane?.to), "", "",
            ])
        }
        return aligned(rows)
    }

    static func load(_ load: Load?) -> String {
        guard let load else { return "-" }
        return "\(packets(load.packetsPerSecond)) \(bits(load.bitsPerSecond))"
    }

    /// Columns two blanks apart; a column that is empty but for its heading is left out.
    static func aligned(_ rows: [[String]]) -> [String] {
        guard let heading = rows.first else { return [] }
        let rows = rows.map { $0.map(Terminal.printable) }
        let columns = heading.indices.filter { column in
            rows.dropFirst().contains { !$0[column].isEmpty && $0[column] != "-" }
        }
        let widths = columns.map { column in rows.map { $0[column].utf8.count }.max() ?? 0 }
        return rows.map { row in
            var line = ""
            for (column, width) in zip(columns, widths) {
                let blanks = width - row[column].utf8.count + 2
                line += row[column] + String(repeating: " ", count: blanks)
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

// MARK: - Units

extension StatusReport {
    /// `950 pps`, `12.3 kpps`, `1.2 Mpps`
    static func packets(_ rate: Double) -> String {
        scaled(rate, units: ["pps", "kpps", "Mpps", "Gpps"])
    }

    /// `950 bit/s`, `16.0 Mbit/s`
    static func bits(_ rate: Double) -> String {
        scaled(rate, units: ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
    }

    private static func scaled(_ rate: Double, units: [String]) -> String {
        guard rate.isFinite, rate >= 0 else { return "?" }
        // Below a thousand as printed: 999,960 is not "1000.0 k".
        guard rate >= 999.5 else { return "\(Int(rate.rounded())) \(units[0])" }
        var value = rate / 1000
        var unit = 1
        while value >= 999.95, unit + 1 < units.count {
            value /= 1000
            unit += 1
        }
        guard value < 1e15 else { return "?" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }

    /// `4.2s`, `3min 20s`, `2h 5min`, `12d 3h`
    static func time(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "?" }
        if seconds < 59.95 {
            let tenths = Int((seconds * 10).rounded())
            return "\(tenths / 10).\(tenths % 10)s"
        }
        let whole = Int(seconds.rounded())
        if whole < 3600 { return "\(whole / 60)min \(whole % 60)s" }
        if whole < 86_400 { return "\(whole / 3600)h \(whole % 3600 / 60)min" }
        return "\(whole / 86_400)d \(whole % 86_400 / 3600)h"
    }
}
