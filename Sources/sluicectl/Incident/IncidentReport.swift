// An incident as one HTML file that needs nothing beside it: the plot, the timeline, the targets, the
// kernel's objects.
// Invariant: every text of others is escaped; nothing is loaded from elsewhere, and nothing runs.

import ControlAPI

/// All that there is on an incident.
struct IncidentReport {
    var incident: Incident
    /// Whether the port has it now.
    var isOpen: Bool
    /// The port as `explain` says it; nil where it is not watched now.
    var explanation: Explanation?
    /// What the sample of its packets held; nil where there is none.
    var evidence: EvidenceReport?
    /// What stands in the kernel; empty where nothing does.
    var listings: [KernelListing] = []
    /// The picture; nil where the recording does not hold it.
    var chart: Chart?
    /// What is missing here, and why.
    var notes: [String] = []
    /// Where and by what it was made.
    var host: String
    var version: String
    /// In seconds since 1970.
    var madeAt: Double

    private static let style = """
        :root { color-scheme: light dark; --ink: #14181f; --soft: #59636e; --line: #d5dae1;
                --ground: #fff; --page: #f4f6f8; --warn: #b35900; --alert: #b3261e; --calm: #1a7f37 }
        @media (prefers-color-scheme: dark) {
          :root { --ink: #f0f3f6; --soft: #9aa4af; --line: #39414d; --ground: #14181f;
                  --page: #0b0e12; --warn: #f0b429; --alert: #ff7b72; --calm: #56d364 } }
        body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.45;
               font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
        main { max-width: 1000px; margin: 0 auto; padding: 24px 20px 48px }
        h1 { font-size: 24px; margin: 8px 0 2px } h2 { font-size: 17px; margin: 32px 0 8px }
        p.lead { color: var(--soft); margin: 0 0 20px } .note { color: var(--warn) }
        dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0 }
        dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
        section, figure { background: var(--ground); border: 1px solid var(--line);
               border-radius: 8px; padding: 14px 18px; margin: 0 }
        figure { padding: 0; border: 0; background: none } svg { display: block; width: 100% }
        table { border-collapse: collapse; width: 100%; font-size: 14px }
        th { text-align: left; color: var(--soft); font-weight: 500 }
        td, th { padding: 4px 12px 4px 0; vertical-align: top; border-bottom: 1px solid var(--line);
                 overflow-wrap: anywhere }
        td.severity { white-space: nowrap }
        td.number, th.number { text-align: right; white-space: nowrap }
        td.time { white-space: nowrap; font-variant-numeric: tabular-nums; color: var(--soft) }
        tr:last-child td { border-bottom: 0 }
        .alert, .error { color: var(--alert) } .warning { color: var(--warn) }
        .columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr));
                   gap: 8px 32px }
        h3 { font-size: 14px; font-weight: 500; color: var(--soft); margin: 10px 0 2px }
        pre { font: 12px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; margin: 4px 0;
               white-space: pre-wrap; overflow-wrap: anywhere }
        summary { cursor: pointer; font: 13px ui-monospace, "DejaVu Sans Mono", monospace }
        footer { color: var(--soft); margin-top: 28px; font-size: 13px }
        @media print { body { background: #fff } section { break-inside: avoid } }
        """

    /// The whole file.
    func html() -> String {
        let title = "Incident \(incident.number) on \(host): \(incident.port)"
        let state = IncidentText.heading(incident, isOpen: isOpen)
        let parts = [
            "<h1>\(Self.text(title))</h1>", "<p class=\"lead\">\(Self.text(state))</p>",
            facts(), figure(), targets(), timeline(), kernel(),
        ]
        return """
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(Self.text(title))</title>
            <style>
            \(Self.style)
            </style>
            </head>
            <body>
            <main>
            \(parts.filter { !$0.isEmpty }.joined(separator: "\n"))
            <footer>Made \(EventReport.time(madeAt)) on \(Self.text(host)) by sluicectl \
            \(Self.text(version)). Times are UTC. Offered is what was sent to or by the VM, delivered \
            what passed the limits.</footer>
            </main>
            </body>
            </html>

            """
    }

    // MARK: Parts

    private func facts() -> String {
        var rows = IncidentText.facts(incident, isOpen: isOpen, now: madeAt)
        if let port = explanation?.port {
            let netid = port.netid.map { ", cloudspace \($0)" } ?? ""
            rows.append(
                ("port", "\(port.portClass) by \(port.pattern)\(netid), ifindex \(port.index)"))
            if let order = port.order { rows.append(("order", order.order)) }
        }
        let items = rows.map { "<dt>\($0.label)</dt><dd>\(Self.text($0.text))</dd>" }
        let missing = notes.map { "<p class=\"note\">\(Self.text($0))</p>" }
        return "<section><dl>\(items.joined())</dl>\(missing.joined())</section>"
    }

    private func figure() -> String {
        guard let chart else { return "" }
        return "<h2>What it sent, and what passed</h2>\n<figure>\(chart.draw())</figure>"
    }

    private func targets() -> String {
        guard let evidence else { return "" }
        let summary = evidence.summary
        var lead = "\(summary.packets) packets within \(StatusReport.time(summary.spanSeconds)): "
        lead += summary.line
        if let forged = summary.forged, forged.packets > 0 {
            lead +=
                "; \(Self.percent(forged.share)) with a forged source (by \(forged.rule.rawValue))"
        }
        let tallies = [
            ("destinations", summary.destinations), ("destination ports", summary.destinationPorts),
            ("protocols", summary.protocols), ("sources", summary.sources),
            ("source ports", summary.sourcePorts), ("source MACs", summary.sourceMACs),
            ("VLANs", summary.vlans),
            ("lengths in bytes", summary.sizes?.common ?? SampleTally(distinct: 0, top: [])),
        ]
        let tables = tallies.filter { $0.1.distinct > 0 }.map(Self.table)
        return """
            <h2>Targets</h2>
            <section><p>\(Self.text(lead))</p><div class="columns">\(tables.joined())</div></section>
            """
    }

    private static func table(_ title: String, _ tally: SampleTally) -> String {
        let rows = tally.top.prefix(5).map { share in
            "<tr><td>\(text(share.what))</td><td class=\"number\">\(percent(share.share))</td></tr>"
        }
        return "<div><h3>\(tally.distinct) \(title)</h3><table>\(rows.joined())</table></div>"
    }

    private func timeline() -> String {
        let rows = (incident.events ?? []).map { event in
            """
            <tr><td class="time">\(EventReport.time(event.at))</td><td class="severity \(Self.text(event.severity))">\
            \(Self.text(event.severity))</td><td>\(Self.text(IncidentText.sentence(event)))</td></tr>
            """
        }
        return
            "<h2>Timeline</h2>\n<section><table>\(rows.joined(separator: "\n"))</table></section>"
    }

    private func kernel() -> String {
        guard !listings.isEmpty else { return "" }
        let parts = listings.map { listing in
            """
            <details open><summary>\(Self.text(listing.command))</summary>\
            <pre>\(Self.text(listing.output))</pre></details>
            """
        }
        return
            "<h2>What stands in the kernel</h2>\n<section>\(parts.joined(separator: "\n"))</section>"
    }

    // MARK: Texts

    /// What is not printable shown as `\xNN`, lines kept.
    private static func text(_ text: String) -> String {
        Markup.escaped(
            text.split(separator: "\n", omittingEmptySubsequences: false)
                .map { Terminal.printable(String($0).replacing("\t", with: "    ")) }
                .joined(separator: "\n"))
    }

    static func percent(_ share: Double) -> String {
        share.isFinite ? "\(Int((min(max(share, 0), 1) * 100).rounded()))%" : "?"
    }
}
