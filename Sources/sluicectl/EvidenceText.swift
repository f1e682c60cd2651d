// Samples for human eyes: pure, so that they can be tested line by line.

import ControlAPI

/// Makes lines of samples.
enum EvidenceText {
    /// As many values of each property stand in a report.
    private static let shown = 5

    /// A table of the samples that are kept.
    static func lines(_ list: EvidenceList) -> [String] {
        guard !list.evidence.isEmpty else { return ["no samples are kept"] }
        let rows = list.evidence.map { item in
            [
                "\(item.incident)", EventReport.time(item.takenAt), item.port, item.direction,
                "\(item.packets)", item.line,
            ]
        }
        let heading = ["INCIDENT", "TAKEN", "PORT", "DIRECTION", "PACKETS", "OF WHAT"]
        return StatusReport.aligned([heading] + rows)
    }

    /// One sample.
    static func lines(_ report: EvidenceReport) -> [String] {
        let way = report.direction == "to" ? "sent to it" : "sent by it"
        var lines = [
            "incident \(report.incident): \(report.port), \(way), \(report.mode)",
            "  taken      \(EventReport.time(report.takenAt))",
        ]
        if let why = report.cutShort { lines.append("  cut short  \(why)") }
        if report.unseen > 0 {
            lines.append("  beyond     \(report.unseen) more while it was full")
        }
        return lines + Self.lines(report.summary)
    }

    /// What packets hold.
    static func lines(_ summary: SampleSummary) -> [String] {
        var rows = [
            ("summary", summary.line),
            (
                "packets",
                "\(summary.packets) in \(milliseconds(summary.spanSeconds)) ms, "
                    + "\(summary.bytes) bytes"
            ),
        ]
        let tallies = [
            ("protocols", summary.protocols), ("to", summary.destinations),
            ("to port", summary.destinationPorts), ("from", summary.sources),
            ("from port", summary.sourcePorts), ("from MAC", summary.sourceMACs),
            ("VLAN", summary.vlans),
        ]
        rows += tallies.compactMap { label, tally in text(tally).map { (label, $0) } }
        if let sizes = summary.sizes {
            rows.append(
                (
                    "bytes",
                    "\(sizes.minimum) to \(sizes.maximum), half of them up to \(sizes.median)"
                ))
            rows += text(sizes.common).map { [("bytes", $0)] } ?? []
        }
        rows += summary.forged.map { [("forged", text($0))] } ?? []
        return rows.map { label, text in
            "  \(label)\(String(repeating: " ", count: max(1, 11 - label.utf8.count)))\(text)"
        }
    }

    /// `198.51.100.7 92%, 10.0.0.9 8%, of 2`; nil where there is none.
    private static func text(_ tally: SampleTally) -> String? {
        guard !tally.top.isEmpty else { return nil }
        let values = tally.top.prefix(shown).map { "\($0.what) \(percent($0.share))" }
        let rest = tally.distinct > shown ? ["of \(tally.distinct)"] : []
        return (values + rest).joined(separator: ", ")
    }

    private static func text(_ forged: SampleForgery) -> String {
        let own = forged.own ?? "none"
        let by =
            switch forged.rule {
            case .guards: "by its guards"
            case .ethernet: "no guards; \(own) was taken for its own address"
            case .scatter:
                "no guards; \(own) was taken for its own address, and so many sources for none"
            }
        return "\(percent(forged.share)) (\(by))"
    }

    /// 99.6% is not all of them.
    private static func percent(_ share: Double) -> String {
        guard share.isFinite, share >= 0 else { return "?" }
        return share > 0 && share < 0.01 ? "<1%" : "\(Int(min(share, 1) * 100 + 1e-9))%"
    }

    private static func milliseconds(_ seconds: Double) -> String {
        let tenths = (seconds * 10_000).rounded()
        guard tenths.isFinite, tenths < 1e15 else { return "?" }
        return "\(tenths / 10)"
    }
}
