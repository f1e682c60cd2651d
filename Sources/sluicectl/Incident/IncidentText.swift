// Incidents for human eyes: pure, so that they can be tested line by line.

import ControlAPI

/// Makes lines of incidents.
enum IncidentText {
    /// A table, the oldest first.
    ///
    /// - Parameter open: the incidents that ports have now.
    static func table(_ incidents: [Incident], open: Set<UInt32>) -> [String] {
        guard !incidents.isEmpty else { return ["no incidents in what is kept"] }
        let rows = incidents.map { incident in
            [
                "\(incident.number)", incident.port, EventReport.time(incident.startedAt),
                length(incident, isOpen: open.contains(incident.number)), incident.rung,
                incident.highest, incident.rule ?? "-", StatusReport.load(incident.peak),
                incident.mode,
            ]
        }
        let heading = [
            "NUMBER", "PORT", "BEGAN (UTC)", "LASTED", "RUNG", "HIGHEST", "RULE", "PEAK", "MODE",
        ]
        return StatusReport.aligned([heading] + rows)
    }

    /// A heading, the facts, and the timeline.
    static func lines(_ incident: Incident, isOpen: Bool, now: Double) -> [String] {
        [heading(incident, isOpen: isOpen)]
            + facts(incident, isOpen: isOpen, now: now)
            .map { label, text in
                "  " + label + String(repeating: " ", count: 9 - label.utf8.count) + text
            } + ["", "timeline (UTC)"]
            + (incident.events ?? []).map { "  \(EventReport.time($0.at))  \(sentence($0))" }
    }

    /// `incident 7: vm-1-00df, police at most, over`
    static func heading(_ incident: Incident, isOpen: Bool) -> String {
        let state = isOpen ? "on \(incident.rung) now" : "over"
        let would = incident.mode == "observe" ? " (observe: nothing was limited)" : ""
        return
            "incident \(incident.number): \(incident.port), \(incident.highest) at most, \(state)"
            + would
    }

    /// Labels and what there is to say.
    static func facts(
        _ incident: Incident, isOpen: Bool, now: Double
    ) -> [(label: String, text: String)] {
        var facts: [(label: String, text: String)] = []
        let end = incident.endedAt.map { " to \(EventReport.time($0))" } ?? ""
        let length = length(incident, isOpen: isOpen, now: now)
        let lasted = length == "-" ? "" : ", \(length)"
        facts.append(("time", "\(EventReport.time(incident.startedAt))\(end)\(lasted)"))
        if let rule = incident.rule {
            let side = incident.direction == "to" ? "sent to the VM" : "sent by the VM"
            facts.append(
                (
                    "why",
                    "\(rule): \(StatusReport.load(incident.measured)) \(side), against "
                        + StatusReport.load(incident.against)
                ))
        } else {
            facts.append(("why", "its beginning is no longer kept: syslog has it"))
        }
        facts.append(("peak", StatusReport.load(incident.peak)))
        if let path = incident.path { facts.append(("path", path)) }
        if incident.wasVictim { facts.append(("note", "it was flooded from outside")) }
        return facts
    }

    /// What the sample of its packets held; nothing where there is none.
    static func targets(_ evidence: EvidenceReport?) -> [String] {
        guard let summary = evidence?.summary else { return [] }
        let tallies = [
            ("to", summary.destinations), ("ports", summary.destinationPorts),
            ("sources", summary.sources), ("MACs", summary.sourceMACs),
        ]
        let rows = tallies.filter { $0.1.distinct > 0 }.map { label, tally in
            let top = tally.top.prefix(3).map { "\($0.what) \(IncidentReport.percent($0.share))" }
            let blanks = String(repeating: " ", count: 9 - label.utf8.count)
            return "  \(label)\(blanks)\(tally.distinct): \(top.joined(separator: ", "))"
        }
        return ["", "sample of \(summary.packets) packets: \(summary.line)"] + rows
    }

    /// What happened, in words where it was a move.
    static func sentence(_ event: ToldLine) -> String {
        guard ExplanationReport.isMove(event) else { return event.line }
        let would = event["event"] == "would-move" ? "would go " : ""
        return would + ExplanationReport.reason(event)
    }

    private static func length(
        _ incident: Incident, isOpen: Bool, now: Double? = nil
    ) -> String {
        if let end = incident.endedAt { return StatusReport.time(end - incident.startedAt) }
        guard isOpen else { return "-" }
        return now.map { "\(StatusReport.time(max($0 - incident.startedAt, 0))) so far" }
            ?? "goes on"
    }
}
