// An incident as a mail for an abuse desk, in X-ARF: a part for people, a part that names the format
// (RFC 5965, as X-ARF uses it), and the report as JSON by the schema connection/ddos of version 4
// (xarf.org).
// Invariant: lines end in CR LF, are ASCII, and no value of others makes another header.

import ControlAPI
import FoundationEssentials

/// What cannot be said in a report.
struct AbuseMailError: Error, CustomStringConvertible {
    /// One sentence and its cure.
    var description: String
}

/// Writes the mail.
struct AbuseMail {
    /// Who reports.
    struct Reporter: Codable, Hashable {
        var org: String
        var contact: String
        var domain: String

        /// `Example Hosting <abuse@example.net>`; nil where it is no such thing.
        init?(_ text: String) {
            guard let open = text.lastIndex(of: "<"), text.hasSuffix(">") else { return nil }
            let contact = text[text.index(after: open)...].dropLast()
            let parts = contact.split(separator: "@", omittingEmptySubsequences: false)
            let name = text[..<open].split(separator: " ").joined(separator: " ")
            let isPlain = text.utf8.allSatisfy {
                (0x20..<0x7f).contains($0) && $0 != UInt8(ascii: "\"")
            }
            guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty && !$0.contains(" ") }), isPlain,
                !name.isEmpty, parts[1].contains("."), name.utf8.count <= 200
            else { return nil }
            org = name
            self.contact = String(contact)
            domain = String(parts[1])
        }
    }

    private struct Evidence: Encodable {
        var content_type = "text/plain"
        var description: String
        var payload: String
        var size: Int
    }

    private struct Report: Encodable {
        var xarf_version = "4.2.0"
        var report_id: String
        var timestamp: String
        var reporter: Reporter
        var sender: Reporter
        var source_identifier: String
        var source_port: Int?
        var category = "connection"
        var type = "ddos"
        var evidence_source = "traffic_monitoring"
        var destination_ip: String?
        var destination_port: Int?
        var `protocol`: String
        var attack_vector: String?
        var peak_pps: Int?
        var peak_bps: Int?
        var duration_seconds: Int?
        var first_seen: String
        var last_seen: String
        var mitigation_applied: Bool
        var description: String
        var evidence: [Evidence]
    }

    var incident: Incident
    var evidence: EvidenceReport?
    var reporter: Reporter
    /// The VM's address; nil: the most frequent source of the sample.
    var source: String?
    /// In seconds since 1970.
    var madeAt: Double
    /// As RFC 9562 writes it.
    var identifier = UUID().uuidString.lowercased()

    /// The whole mail, without a recipient.
    func text() throws(AbuseMailError) -> String {
        let report = try report()
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(report) else {
            throw AbuseMailError(description: "the report holds what JSON cannot say")
        }
        let boundary = "sluice-\(identifier)"
        let subject = "Abuse report: \(report.type) from \(report.source_identifier)"
        var lines = [
            "From: \(reporter.org) <\(reporter.contact)>", "Subject: \(subject)",
            "Date: \(Self.mailDate(madeAt))", "Message-ID: <\(identifier)@\(reporter.domain)>",
            "MIME-Version: 1.0", "Auto-Submitted: auto-generated",
            "Content-Type: multipart/report; report-type=feedback-report;",
            "\tboundary=\"\(boundary)\"", "", "--\(boundary)",
            "Content-Type: text/plain; charset=us-ascii", "",
        ]
        lines += words(report) + ["", "--\(boundary)", "Content-Type: message/feedback-report", ""]
        lines += [
            "Feedback-Type: xarf", "User-Agent: sluicectl/\(Product.version)", "Version: 1",
            "", "--\(boundary)", "Content-Type: application/json; name=\"xarf.json\"",
            "Content-Disposition: attachment; filename=\"xarf.json\"",
            "Content-Transfer-Encoding: base64", "",
        ]
        lines += Self.folded(data.base64EncodedString()) + ["", "--\(boundary)--", ""]
        return lines.map(Terminal.printableWithTabs).joined(separator: "\r\n")
    }

    // MARK: The report

    private func report() throws(AbuseMailError) -> Report {
        let summary = evidence?.summary
        guard let source = source ?? summary?.sources.top.first?.what else {
            throw AbuseMailError(
                description:
                    "no sample of its packets says which address sent them; name the VM's by "
                    + "--source-address")
        }
        let line = incident.direction == "to" ? "was flooded" : "flooded"
        guard incident.direction != "to" else {
            throw AbuseMailError(
                description: "incident \(incident.number) is of what was sent to the VM: its port "
                    + "\(line), and did not flood")
        }
        let transport = summary?.protocols.top.first?.what.lowercased() ?? ""
        let known = ["tcp", "udp", "icmp", "sctp"].first { transport.hasPrefix($0) }
        guard let known else {
            let found = transport.isEmpty ? "no sample says which" : "it was mostly \(transport)"
            throw AbuseMailError(
                description:
                    "X-ARF knows floods of TCP, UDP, ICMP and SCTP only: \(found); report it "
                    + "by hand, `sluicectl incident \(incident.number) --report FILE` helps")
        }
        let end = incident.endedAt ?? madeAt
        // For strangers: nothing of the host's own names and files.
        let moves = (incident.events ?? []).filter { ExplanationReport.isMove($0) }
        let details = moves.map { "\(EventReport.time($0.at)) \(IncidentText.sentence($0))\n" }
            .joined()
        return Report(
            report_id: identifier, timestamp: Self.time(incident.startedAt), reporter: reporter,
            sender: reporter, source_identifier: source,
            source_port: summary?.sourcePorts.top.first.flatMap { Self.port($0.what) },
            destination_ip: summary?.destinations.top.first?.what,
            destination_port: summary?.destinationPorts.top.first.flatMap { Self.port($0.what) },
            protocol: known,
            attack_vector: transport.contains("syn") ? "syn_flood" : "\(known)_flood",
            peak_pps: incident.peak.flatMap { Self.whole($0.packetsPerSecond) },
            peak_bps: incident.peak.flatMap { Self.whole($0.bitsPerSecond) },
            duration_seconds: Self.whole(end - incident.startedAt),
            first_seen: Self.time(incident.startedAt), last_seen: Self.time(end),
            mitigation_applied: incident.mode == "enforce" && incident.highest != "normal",
            description: "A virtual machine behind \(source) sent a flood: "
                + (summary?.line ?? "\(StatusReport.load(incident.peak)) at most"),
            evidence: [
                Evidence(
                    description: "What the hypervisor's flood mitigation told, times in UTC",
                    payload: Data(details.utf8).base64EncodedString(), size: details.utf8.count)
            ])
    }

    /// The part for people.
    private func words(_ report: Report) -> [String] {
        var lines = [
            "Hello,", "", "a flood came from \(report.source_identifier).", "",
            "first seen:  \(report.first_seen)", "last seen:   \(report.last_seen)",
            "protocol:    \(report.protocol)",
        ]
        if let address = report.destination_ip {
            let port = report.destination_port.map { ", port \($0)" } ?? ""
            lines.append("target:      \(address)\(port)")
        }
        lines.append("at most:     \(StatusReport.load(incident.peak))")
        if let summary = evidence?.summary {
            lines.append("sample:      \(summary.packets) packets: \(summary.line)")
        }
        lines.append(
            report.mitigation_applied
                ? "It was limited at its source (\(incident.highest))." : "It was not limited.")
        return lines + [
            "", "The attached xarf.json says the same for programs (xarf.org).", "", reporter.org,
        ]
    }

    // MARK: Texts

    private static func port(_ text: String) -> Int? {
        Int(text).flatMap { (1...65_535).contains($0) ? $0 : nil }
    }

    private static func whole(_ value: Double) -> Int? {
        value.isFinite && value >= 1 && value < 1e15 ? Int(value.rounded()) : nil
    }

    private static func time(_ seconds: Double) -> String {
        let text = EventReport.time(seconds)
        return text.replacing(" ", with: "T")
    }

    /// RFC 5322, section 3.3.
    private static func mailDate(_ seconds: Double) -> String {
        let parts = EventReport.time(seconds).split { "-: .Z".contains($0) }
        guard parts.count >= 6, let month = Int(parts[1]), (1...12).contains(month) else {
            return ""
        }
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        return
            "\(parts[2]) \(months[month - 1]) \(parts[0]) \(parts[3]):\(parts[4]):\(parts[5]) +0000"
    }

    /// Lines of 76 characters: RFC 2045, section 6.8.
    private static func folded(_ text: String) -> [String] {
        var lines: [String] = []
        var rest = text[...]
        while !rest.isEmpty {
            lines.append(String(rest.prefix(76)))
            rest = rest.dropFirst(76)
        }
        return lines
    }
}
