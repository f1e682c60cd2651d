// How the daemon is, by its own words: punctuality, faults, repairs, breaker.
internal import ControlAPI

extension HostFacts {
    /// Of the daemon.
    var daemonFindings: [Finding] {
        switch daemon {
        case .silent(let why):
            return [
                Finding(
                    .problem, .daemon, "sluiced", "it does not answer: \(why)",
                    cure:
                        "systemctl status sluiced, systemctl start sluiced, or name its socket by "
                        + "--socket")
            ]
        case .denied(let why):
            return [
                Finding(
                    .note, .daemon, "sluiced", "it does not answer us: \(why)",
                    cure: "run this as root, or as a member of the group that control.group names")
            ]
        case .answers(let status, let metrics):
            return [presence(status), punctuality(status, metrics)]
                + turnFindings(status, metrics) + faultFindings(metrics) + portProblems(status)
                + breakerFindings(status, metrics)
        }
    }

    private func presence(_ status: Status) -> Finding {
        let ports = status.ports.count == 1 ? "1 port" : "\(status.ports.count) ports"
        let fact =
            "\(status.version), \(status.mode), pid \(status.pid): \(ports), \(status.mitigated) held"
        guard status.version == version else {
            return Finding(
                .warning, .daemon, "sluiced", "\(fact); this sluicectl is \(version)",
                cure: "systemctl restart sluiced: the limits stay in the kernel meanwhile")
        }
        guard status.mode == "observe" else { return Finding(.ok, .daemon, "sluiced", fact) }
        return Finding(
            .note, .daemon, "sluiced", "\(fact); it decides and tells, and limits nothing",
            cure: "arm it when its would-be alerts are right: sluicectl arm vm, or --all")
    }

    private func punctuality(_ status: Status, _ metrics: Metrics) -> Finding {
        let worst = Self.milliseconds(Double(status.worstLatenessMicroseconds) / 1e6)
        let usual = metrics.bound("sluice_poll_lateness_seconds", share: 0.99)
        let percentile = usual.map { ", 99% below \(Self.milliseconds($0))" } ?? ""
        let fact =
            "\(status.latePolls) of \(status.polls) polls more than half of "
            + "\(Int(status.pollMilliseconds)) ms late\(percentile), the latest \(worst)"
        let isLate = status.polls >= 20 && Double(status.latePolls) > Double(status.polls) / 100
        return Finding(
            isLate ? .warning : .ok, .daemon, "polls", fact,
            cure: isLate
                ? "let it run in real time (CPUSchedulingPolicy=fifo, as the unit has it); see who keeps "
                    + "the kernel's RTNL"
                : nil)
    }

    private func turnFindings(_ status: Status, _ metrics: Metrics) -> [Finding] {
        guard let bound = metrics.bound("sluice_turn_seconds", share: 0.99) else { return [] }
        let isSlow = bound > status.pollMilliseconds / 2_000
        return [
            Finding(
                isSlow ? .warning : .ok, .daemon, "turns",
                bound.isFinite
                    ? "99% take less than \(Self.milliseconds(bound))"
                    : "some take more than a second",
                cure: isSlow ? "see who keeps the kernel's RTNL, or poll less often ([poll])" : nil)
        ]
    }

    private func faultFindings(_ metrics: Metrics) -> [Finding] {
        var findings: [Finding] = []
        let errors = metrics.nonZero("sluice_netlink_errors_total")
        findings.append(
            errors.isEmpty
                ? Finding(.ok, .daemon, "netlink", "no request failed since the start")
                : Finding(
                    .note, .daemon, "netlink",
                    "requests failed since the start: "
                        + errors.map { "\($0.label) \(Self.whole($0.value))" }.joined(
                            separator: ", "),
                    cure: "sluicectl events says which, and why"))
        let counts = [
            (
                "sluice_repairs_total", FindingState.note,
                "limits that somebody took out were put back"
            ),
            (
                "sluice_redirects_taken_out_total", .note,
                "redirects that led nowhere were taken out"
            ),
            ("sluice_contested_ports", .warning, "ports are left to who keeps taking limits out"),
            ("sluice_log_lines_dropped_total{reason=\"reader\"}", .warning, "log lines were lost"),
        ]
        for (name, state, what) in counts {
            guard let value = metrics[name], value > 0 else { continue }
            findings.append(
                Finding(
                    state, .daemon, state == .note ? "repairs" : "losses",
                    "\(Self.whole(value)): \(what)",
                    cure: name.contains("log") ? "see that a log daemon takes them" : Self.seeEvents
                ))
        }
        for copy in ["memory", "disk"]
        where metrics["sluice_journal_broken{copy=\"\(copy)\"}"] == 1 {
            findings.append(
                Finding(
                    .problem, .daemon, "journal",
                    "its copy \(copy == "disk" ? "on" : "in") \(copy) "
                        + "cannot be written",
                    cure: "see the state below, and free space there"))
        }
        return findings
    }

    private static let seeEvents = "sluicectl events says which and when"

    private func portProblems(_ status: Status) -> [Finding] {
        status.ports.flatMap { port in
            ([port.problem, port.guards?.problem].compactMap { $0 }).map {
                Finding(.problem, .daemon, port.name, $0, cure: "sluicectl explain \(port.name)")
            }
        }
    }

    private func breakerFindings(_ status: Status, _ metrics: Metrics) -> [Finding] {
        if let cause = status.breaker {
            return [
                Finding(
                    .problem, .daemon, "breaker", "open (\(cause)): nothing climbs any further",
                    cure: "see sluicectl status; release what need not be limited")
            ]
        }
        let room = ["share", "shutdowns"].compactMap { cause -> String? in
            let label = "{cause=\"\(cause)\"}"
            guard let counted = metrics["sluice_breaker_counted" + label],
                let limit = metrics["sluice_breaker_limit" + label]
            else { return nil }
            return "\(cause) \(Self.whole(counted)) of \(Self.whole(limit))"
        }
        let told = room.isEmpty ? "" : ": " + room.joined(separator: ", ")
        return [Finding(.ok, .daemon, "breaker", "closed\(told)")]
    }

    private static func whole(_ value: Double) -> String {
        value.isFinite && abs(value) < 1e15 ? "\(Int64(value))" : "?"
    }

    private static func milliseconds(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e6 else { return "a second or more" }
        let tenths = Int((seconds * 10_000).rounded())
        return "\(tenths / 10).\(tenths % 10) ms"
    }
}
