// Events and explanations for human eyes: pure, so that they can be tested line by line.

import ControlAPI
import FoundationEssentials

/// Makes lines of events.
enum EventReport {
    /// `2026-11-26 08:50:12.345Z  warning  event=move …`
    static func line(_ event: ToldLine) -> String {
        let blanks = String(repeating: " ", count: max(1, 9 - event.severity.utf8.count))
        return "\(time(event.at))  \(event.severity)\(blanks)\(event.line)"
    }

    /// A moment in UTC, to the millisecond.
    static func time(_ seconds: Double) -> String {
        guard seconds.isFinite, abs(seconds) < 1e11 else { return "?" }
        // To the next millisecond before it is cut: a Double holds .345 as .34499.
        let date = Date(timeIntervalSince1970: (seconds * 1_000).rounded() / 1_000 + 0.000_1)
        return date.formatted(
            Date.ISO8601FormatStyle(dateTimeSeparator: .space, includingFractionalSeconds: true))
    }
}

/// Makes lines of an explanation.
enum ExplanationReport {
    /// A heading and a line for each thing that is to be said.
    ///
    /// - Parameter events: what was told of the port, the oldest first.
    static func lines(_ explanation: Explanation, events: [ToldLine]) -> [String] {
        let port = explanation.port
        var rows: [(String, String)] = []
        if let move = events.last(where: { isMove($0) }), port.incident != nil {
            rows.append(("why", "\(reason(move)), at \(EventReport.time(move.at))"))
        } else if port.rung != "normal" {
            rows.append(("why", "what was told of it is no longer kept: syslog has it"))
        }
        rows += loads(port)
        rows.append(("marks", marks(explanation)))
        if let enforcement = port.enforcement {
            let delay = port.delayMilliseconds.map { ", \(Int($0)) ms later" } ?? ""
            rows.append(("held by", enforcement + delay))
        }
        rows += next(explanation).map { ("next", $0) }
        if explanation.strikes > 0 {
            rows.append(
                ("strikes", "\(explanation.strikes): calm takes \(calmNeeded(explanation))"))
        }
        if let problem = port.problem { rows.append(("problem", problem)) }
        rows += StatusReport.remarks(on: port).map { ("note", $0) }
        let told = events.filter { $0["incident"] == port.incident.map { "\($0)" } }
        rows += told.suffix(10).map { ("told", "\(EventReport.time($0.at)) \($0.line)") }
        return [heading(explanation)]
            + rows.map { label, text in
                "  " + label + String(repeating: " ", count: 9 - label.utf8.count) + text
            }
    }

    private static func heading(_ explanation: Explanation) -> String {
        let port = explanation.port
        var line = "\(port.name) (\(port.portClass) by \"\(port.pattern)\""
        line += port.netid.map { ", cloudspace \($0)" } ?? ""
        line += ", ifindex \(port.index)): \(port.rung)"
        line += port.onRungSeconds.map { " for \(StatusReport.time($0))" } ?? ""
        line += port.incident.map { ", incident \($0)" } ?? ""
        line += port.isVictim ? ", flooded from outside" : ""
        line += explanation.pending.map { ", \($0) asked for" } ?? ""
        return line + (explanation.mode == "observe" ? " (observe: nothing is limited)" : "")
    }

    static func isMove(_ event: ToldLine) -> Bool {
        event["event"] == "move" || event["event"] == "would-move"
    }

    /// The rule that fired, with its numbers.
    static func reason(_ move: ToldLine) -> String {
        let side = move["direction"] == "to" ? "sent to the VM" : "sent by the VM"
        let measured = "\(rate(move, "pps", "bps")) \(side)"
        let against = "\(rate(move, "against_pps", "against_bps"))"
        let step = "\(move["from"] ?? "?") to \(move["to"] ?? "?")"
        switch move["rule"] {
        case "sustained": return "\(step): \(measured), over the mark of \(against)"
        case "fast": return "\(step): \(measured), far over the mark of \(against)"
        case "unresponsive":
            return "\(step): \(measured), over the cap of \(against) for the whole dwell"
        case "saturated":
            return "\(step): \(measured), at the cap of \(against) for the whole dwell"
        case "calm": return "\(step): \(measured), low against \(against)"
        case "probe": return "\(step): it was down for its time, and is tried again"
        case "operator": return "\(step): an operator said so, or no class claimed it"
        case "group": return "\(step): its cloudspace was over its mark, and it sent much of it"
        case "companion": return "\(step): along with the VM whose flood it carries"
        default: return step
        }
    }

    private static func rate(_ event: ToldLine, _ packets: String, _ bits: String) -> String {
        let numbers = (Double(event[packets] ?? ""), Double(event[bits] ?? ""))
        guard let packets = numbers.0, let bits = numbers.1 else { return "?" }
        return "\(StatusReport.packets(packets)) \(StatusReport.bits(bits))"
    }

    private static func loads(_ port: PortStatus) -> [(String, String)] {
        let sides = [
            ("from", port.offered.from, port.delivered?.from, port.cap?.from),
            ("to", port.offered.to, port.delivered?.to, port.cap?.to),
        ]
        return sides.compactMap { label, offered, delivered, cap in
            guard let offered else { return nil }
            var text = "\(StatusReport.load(offered)) offered"
            if let delivered { text += ", \(StatusReport.load(delivered)) delivered" }
            if let cap { text += ", at most \(StatusReport.load(cap))" }
            return (label, text)
        }
    }

    private static func marks(_ explanation: Explanation) -> String {
        let sides = [("from", explanation.marks.from), ("to", explanation.marks.to)]
        let texts = sides.compactMap { side, mark -> String? in
            let parts = [
                mark.packetsPerSecond.map { StatusReport.packets(Double($0)) },
                mark.bitsPerSecond.map { StatusReport.bits(Double($0)) },
            ].compactMap { $0 }
            return parts.isEmpty ? nil : "\(side) \(parts.joined(separator: " or "))"
        }
        guard !texts.isEmpty else { return "none: it is watched and never limited" }
        let share = Int((explanation.lowShare * 100).rounded())
        return texts.joined(separator: ", ") + "; calm below \(share)% of them"
    }

    private static func next(_ explanation: Explanation) -> [String] {
        var lines: [String] = []
        if let up = explanation.up {
            lines.append("\(up.rung) \(after(up)), if it still floods (\(up.rule))")
        }
        if let down = explanation.down {
            let calm =
                down.rule == "calm"
                ? ", if it stays low (\(StatusReport.time(explanation.calmSeconds)) of "
                    + "\(calmNeeded(explanation)) so far)" : ", to see whether it floods again"
            lines.append("\(down.rung) \(after(down))\(calm)")
        } else if explanation.port.rung != "normal" {
            let isHeld = explanation.port.order?.order == "hold"
            let cure = isHeld ? "enable" : "release"
            lines.append("nothing by itself: `sluicectl \(cure) \(explanation.port.name)`")
        }
        return lines
    }

    private static func after(_ step: StepStatus) -> String {
        step.inSeconds < 0.05 ? "now" : "in \(StatusReport.time(step.inSeconds))"
    }

    private static func calmNeeded(_ explanation: Explanation) -> String {
        StatusReport.time(explanation.calmNeededSeconds)
    }
}
