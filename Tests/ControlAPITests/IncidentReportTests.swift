// An incident for people: in the terminal, as an HTML file, as a mail.

import ControlAPI
import FoundationEssentials
import Mitigation
import Testing

@testable import Recording
@testable import sluicectl

@Suite struct IncidentReportTests {
    private static let port = "vm-1-00df"

    private static func line(_ at: Double, _ text: String) -> ToldLine {
        ToldLine(number: UInt64(at), at: at, severity: "warning", line: text)
    }

    private static func move(
        _ at: Double, _ from: String, _ to: String, _ rule: String, pps: Int = 20_000,
        direction: String = "from"
    ) -> ToldLine {
        line(
            at,
            "event=move seq=\(Int(at)) incident=7 port=\(port) ifindex=12 from=\(from) to=\(to) "
                + "rule=\(rule) direction=\(direction) pps=\(pps) bps=40000000 against_pps=10000 "
                + "against_bps=0 mode=enforce")
    }

    private static let told = [
        move(1_000, "normal", "police", "sustained"),
        line(1_001, "event=repaired port=\(port) missing=\"<b>police & co</b>\""),
        move(1_060, "police", "shape", "unresponsive", pps: 30_000),
        move(1_120, "shape", "police", "calm", pps: 0),
        move(1_180, "police", "normal", "calm", pps: 0),
    ]

    private static func incident(_ told: [ToldLine] = told) throws -> Incident {
        try #require(Incident.all(in: told).first)
    }

    private static var evidence: EvidenceReport {
        func tally(_ values: (String, Int)...) -> SampleTally {
            SampleTally(
                distinct: values.count,
                top: values.map {
                    SampleShare(what: $0.0, packets: $0.1, share: Double($0.1) / 256)
                })
        }
        var summary = SampleSummary()
        summary.packets = 256
        summary.spanSeconds = 0.0128
        summary.line = "92% UDP to 198.51.100.7:53, 64 B, 1 source"
        summary.protocols = tally(("UDP", 250), ("ARP", 6))
        summary.destinations = tally(("198.51.100.7", 236), ("198.51.100.8", 20))
        summary.sourcePorts = tally(("40000", 250))
        summary.destinationPorts = tally(("53", 236), ("<script>", 14))
        summary.sources = tally(("192.0.2.9", 256))
        summary.forged = SampleForgery(packets: 13, share: 0.05, rule: .guards, own: nil)
        return EvidenceReport(
            incident: 7, port: port, direction: "from", mode: "enforce", takenAt: 1_000.1,
            unseen: 0, cutShort: nil, summary: summary)
    }

    /// Guards against: an incident in the terminal that says another story than its lines.
    @Test func inTheTerminal() throws {
        let incident = try Self.incident()
        #expect(
            IncidentText.lines(incident, isOpen: false, now: 2_000) == [
                "incident 7: vm-1-00df, shape at most, over",
                "  time     1970-01-01 00:16:40.000Z to 1970-01-01 00:19:40.000Z, 3min 0s",
                "  why      sustained: 20.0 kpps 40.0 Mbit/s sent by the VM, against 10.0 kpps 0 bit/s",
                "  peak     30.0 kpps 40.0 Mbit/s",
                "",
                "timeline (UTC)",
                "  1970-01-01 00:16:40.000Z  normal to police: 20.0 kpps 40.0 Mbit/s sent by the VM, "
                    + "over the mark of 10.0 kpps 0 bit/s",
                "  1970-01-01 00:16:41.000Z  event=repaired port=vm-1-00df "
                    + "missing=\"<b>police & co</b>\"",
                "  1970-01-01 00:17:40.000Z  police to shape: 30.0 kpps 40.0 Mbit/s sent by the VM, "
                    + "over the cap of 10.0 kpps 0 bit/s for the whole dwell",
                "  1970-01-01 00:18:40.000Z  shape to police: 0 pps 40.0 Mbit/s sent by the VM, low "
                    + "against 10.0 kpps 0 bit/s",
                "  1970-01-01 00:19:40.000Z  police to normal: 0 pps 40.0 Mbit/s sent by the VM, low "
                    + "against 10.0 kpps 0 bit/s",
            ])
        #expect(
            IncidentText.targets(Self.evidence)[1...2] == [
                "sample of 256 packets: 92% UDP to 198.51.100.7:53, 64 B, 1 source",
                "  to       2: 198.51.100.7 92%, 198.51.100.8 8%",
            ])
        let begun = try Self.incident(Array(Self.told.prefix(3)))
        let table = IncidentText.table([incident.withoutEvents, begun], open: [7])
        #expect(table.count == 3 && table[1].contains("3min 0s") && table[2].contains("goes on"))
        #expect(IncidentText.table([], open: []) == ["no incidents in what is kept"])
    }

    // MARK: - The report

    /// A recording of the port: 20,000 pps offered for three minutes, 10,000 of them delivered.
    private static func recording() throws -> [RecordedItem] {
        let name = try #require(PortName(escaped: port))
        let id = PortID(index: 12, generation: 1)
        let port = Port(id: id, name: name, portClass: .vm, netid: 0xdf)
        let start = RecordedStart(
            continues: false, startedAt: Instant(nanoseconds: 0), now: Instant(nanoseconds: 0),
            wallNanoseconds: 990_000_000_000, configuration: [], modes: [:], memory: EngineMemory(),
            ports: [RecordedStart.PlacedPort(port: port, place: 3)])
        var items: [RecordedItem] = [.start(start)]
        for second in 0..<220 as Range<UInt64> {
            let at = Instant(nanoseconds: second * 1_000_000_000)
            let counters = Counters(
                fromPackets: second * 20_000, fromBytes: second * 5_000_000, toPackets: 0,
                toBytes: 0)
            items.append(
                .poll(
                    RecordedPoll(
                        at: at, decidedAt: at,
                        samples: [RecordedSample(place: 3, counters: counters)])))
            let passed = DeliveredCounters(packets: second * 10_000, bytes: second * 2_500_000)
            items.append(.input(.delivered(id, .from, passed), at: at))
        }
        return items
    }

    private static func report() throws -> IncidentReport {
        let incident = try incident()
        var loads = IncidentLoads(incident, now: 2_000)
        for item in try recording() { loads.take(item) }
        #expect(!loads.isEmpty)
        return IncidentReport(
            incident: incident, isOpen: false, evidence: evidence,
            listings: [KernelListing(command: "tc qdisc", output: "qdisc ingress\n\tSent 0 <x>\n")],
            chart: loads.chart(incident, title: port, subtitle: "180 s"), host: "cpu-1",
            version: "9.9.9", madeAt: 2_000)
    }

    /// Guards against: a picture without what passed, a rung or a mark; numbers of another column.
    @Test func thePicture() throws {
        let incident = try Self.incident()
        var loads = IncidentLoads(incident, now: 2_000)
        for item in try Self.recording() { loads.take(item) }
        let chart = loads.chart(incident, title: "", subtitle: "")
        #expect(chart.panels.map(\.title) == ["packets sent by the VM", "bits sent by the VM"])
        let packets = try #require(chart.panels.first)
        #expect(packets.lines.map(\.kind) == ["offered", "delivered"])
        #expect(packets.lines.map { $0.values.max() } == [20_000, 10_000])
        #expect(packets.mark == 10_000 && chart.panels[1].mark == nil)
        #expect(packets.bands.map(\.rung) == ["police", "shape", "police"])
        #expect(packets.bands.map(\.from) == [1_000, 1_060, 1_120])
        #expect(chart.panels[1].lines.map { $0.values.max() } == [40_000_000, 20_000_000])
        var other = IncidentLoads(incident, now: 2_000)
        for item in try Self.recording().dropFirst(216) { other.take(item) }
        #expect(other.isEmpty)
    }

    /// Guards against: a file that needs another, names of strangers that are taken for markup, and
    /// tags that are not closed.
    @Test func oneFile() throws {
        let html = try Self.report().html()
        for foreign in ["href", "src=", "http:", "https:", "<script", "@import", "url("] {
            #expect(!html.replacing("http://www.w3.org/2000/svg", with: "").contains(foreign))
        }
        #expect(
            html.contains("&lt;b&gt;police &amp; co&lt;/b&gt;") && html.contains("&lt;script&gt;"))
        #expect(html.contains("<pre>qdisc ingress\n    Sent 0 &lt;x&gt;\n</pre>"))
        #expect(
            html.contains("92% UDP to 198.51.100.7:53") && html.contains("5% with a forged source"))
        #expect(html.contains("class=\"delivered\"") && html.contains("class=\"police\""))
        for tag in [
            "section", "table", "td", "tr", "div", "dl", "figure", "svg", "style", "details",
        ] {
            let opened = html.ranges(of: "<\(tag)>").count + html.ranges(of: "<\(tag) ").count
            #expect(opened == html.ranges(of: "</\(tag)>").count, "\(tag)")
        }
    }

    // MARK: - The mail

    private static func mail(
        _ incident: Incident, _ evidence: EvidenceReport?, source: String? = nil
    ) throws -> AbuseMail {
        AbuseMail(
            incident: incident, evidence: evidence,
            reporter: try #require(AbuseMail.Reporter("Example Hosting <abuse@example.net>")),
            source: source, madeAt: 2_000, identifier: "458017ee-b2ab-4944-a7c1-07add95f11fe")
    }

    /// Guards against: a mail that a desk's programs cannot take: parts, lines, values, the report's
    /// required keys (xarf.org, connection/ddos, version 4).
    @Test func aMail() throws {
        let text = try Self.mail(try Self.incident(), Self.evidence).text()
        #expect(text.utf8.allSatisfy { $0 < 0x80 })
        let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines.allSatisfy { $0.utf8.count <= 998 && !$0.contains("\n") })
        #expect(lines[0] == "From: Example Hosting <abuse@example.net>")
        #expect(lines[2] == "Date: 01 Jan 1970 00:33:20 +0000")
        let boundary = "--sluice-458017ee-b2ab-4944-a7c1-07add95f11fe"
        #expect(lines.count { $0 == boundary } == 3 && lines.count { $0 == boundary + "--" } == 1)
        #expect(lines.contains("Content-Type: message/feedback-report"))
        let begin = try #require(lines.lastIndex { $0.hasPrefix("Content-Transfer-Encoding") })
        let encoded = lines[(begin + 2)...].prefix { !$0.isEmpty }.joined()
        let data = try #require(Data(base64Encoded: encoded))
        let report = String(decoding: data, as: UTF8.self)
        for part in [
            #""xarf_version" : "4.2.0""#, #""category" : "connection""#, #""type" : "ddos""#,
            #""source_identifier" : "192.0.2.9""#, #""protocol" : "udp""#,
            #""first_seen" : "1970-01-01T00:16:40.000Z""#, #""peak_pps" : 30000"#,
            #""source_port" : 40000"#, #""destination_port" : 53"#, #""duration_seconds" : 180"#,
            #""mitigation_applied" : true"#,
            #""report_id" : "458017ee-b2ab-4944-a7c1-07add95f11fe""#, #""domain" : "example.net""#,
        ] {
            #expect(report.contains(part), "\(part)")
        }
    }

    /// Guards against: a report that blames an address nobody saw, a victim, or a protocol that the
    /// format does not know; and who reports taken for a header of its own.
    @Test func whatCannotBeReported() throws {
        let incident = try Self.incident()
        var arp = Self.evidence
        arp.summary.protocols = SampleTally(
            distinct: 1, top: [SampleShare(what: "ARP", packets: 256, share: 1)])
        let victim = try Self.incident([
            Self.move(1_000, "normal", "police", "sustained", direction: "to")
        ])
        let refused = [
            (try Self.mail(incident, nil), "--source-address"),
            (try Self.mail(incident, nil, source: "192.0.2.1"), "no sample says which"),
            (try Self.mail(incident, arp), "mostly arp"),
            (try Self.mail(victim, Self.evidence), "did not flood"),
        ]
        for (mail, why) in refused {
            let error = #expect(throws: AbuseMailError.self) { try mail.text() }
            #expect(error?.description.contains(why) == true, "\(why)")
        }
        for wrong in [
            "a@b.c", "<a@b.c>", "A <a@b>", "A <@b.c>", "A <a b@c.d>", "A\r\nX: y <a@b.c>",
            "A <a@b.c",
        ] {
            #expect(AbuseMail.Reporter(wrong) == nil, "\(wrong)")
        }
    }

    /// Guards against: a stream that is taken apart wrongly where it is cut in other places.
    @Test func streams() throws {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        let text = head + "6\r\n{\"a\":1\r\n3\r\n}\n{\r\n4\r\n\"b\"}\r\n1\r\n\n\r\n0\r\n\r\n"
        for cut in 1...text.utf8.count {
            var stream = HTTPStream()
            var lines: [String] = []
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                let isTaken = stream.take(Array(rest.prefix(cut)))
                #expect(isTaken)
                rest = rest.dropFirst(cut)
                while let line = stream.next() {
                    lines.append(String(decoding: line, as: UTF8.self))
                }
            }
            #expect(lines == [#"{"a":1}"#, #"{"b"}"#] && stream.isOver)
        }
        for broken in ["x", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"] {
            var stream = HTTPStream()
            let isTaken = stream.take(Array((broken + "\r\n\r\n").utf8))
            #expect(!isTaken && !stream.isOver, "\(broken)")
        }
        var refusal = HTTPStream()
        let answer = "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}"
        let isTaken = refusal.take(Array(answer.utf8))
        #expect(isTaken && refusal.isOver && refusal.status == 503)
        #expect(refusal.rest == Array("{}".utf8))
    }
}
