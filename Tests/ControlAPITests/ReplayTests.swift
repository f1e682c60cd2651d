// What replay and suggest say, from files as operators name them.
import FoundationEssentials
import Mitigation
import Testing

@testable import Settings
@testable import sluicectl

@Suite struct ReplayTests {
    private static let heading = "time,port,pps_from,bps_from,pps_to,bps_to\n"

    /// Forty quiet ports, of which one floods from 1,000 s on.
    private static func table(ports: Int = 40) -> String {
        var text = heading
        for row in 0..<200 {
            for port in 1...ports {
                let packets = port == 7 && row >= 100 ? 90_000 : 100 * port
                text += "\(1_700_000_000 + row * 10),vm-\(port)-00aa,\(packets),"
                text += "\(packets * 2_400),\(port * 10),\(port * 24_000)\n"
            }
        }
        return text
    }

    private static func written(_ text: String, _ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.path() + "/replay.\(UUID())"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/loads.csv"
        #expect(FileManager.default.createFile(atPath: path, contents: Data(text.utf8)))
        try body(path)
    }

    /// Guards against: a flood in a table that is not found, at another time, or on another port; and
    /// a picture that is no whole one.
    @Test func aTableIsReplayed() throws {
        try Self.written(Self.table()) { path in
            let source = try ReplaySource(path: path)
            let rules = try ReplayRules(path: nil, interval: source.interval)
            let report = try ReplayCommand.report(
                source, rules, window: -.infinity ... .infinity)
            #expect(report.ports == 40 && report.same == nil)
            #expect(report.touched.map(\.port) == ["vm-7-00aa"])
            #expect(report.touched.first?.highestRung == "shutdown")
            let first = try #require(report.touched.first?.firstAt)
            #expect(abs(first - 1_700_001_000) < 15)
            let lines = report.lines(isExact: false)
            #expect(lines[1] == "1 port would have been limited:")
            #expect(
                lines.contains {
                    $0.hasSuffix("normal to police (sustained: 90.0 kpps 216.0 Mbit/s)")
                })

            let early = try ReplayCommand.report(source, rules, window: 0...1_700_000_500)
            #expect(early.touched.isEmpty && early.events.isEmpty)

            var loads = PlottedLoads(report)
            try source.read({ loads.take($0) }, note: { _ in })
            let picture = ReplayPlot(report: report, loads: loads).draw()
            #expect(picture.hasPrefix("<svg ") && picture.hasSuffix("</svg>\n"))
            #expect(picture.contains("class=\"police\"") && picture.contains(">vm-7-00aa<"))
            #expect(!picture.contains("nan") && !picture.contains("href"))
        }
    }

    /// Guards against: marks that touch other ports than they say, and lines that no configuration
    /// takes.
    @Test func marksAreSuggested() throws {
        try Self.written(Self.table()) { path in
            let source = try ReplaySource(path: path)
            let rules = try ReplayRules(path: nil, interval: source.interval)
            let found = try Suggester(source, rules).suggestions(of: PortClass.allCases)
            #expect(found.map(\.portClass) == ["vm"])
            let choices = try #require(found.first?.choices)
            #expect(choices.map(\.portsPercent) == [100, 95])
            #expect(choices.map(\.touched) == [0, 1])
            #expect(choices.last?.touchedPorts == ["vm-7-00aa"])
            let lines = try #require(found.first?.lines)
            try Self.written(lines.joined(separator: "\n")) { pasted in
                let marks = try ReplayRules(path: pasted, interval: nil).configuration?.policy.marks
                let packets = marks?[.vm]?.from.packets?.perSecond
                #expect(packets == choices.last?.from.packetsPerSecond)
            }
        }
    }

    /// Guards against: something that cannot be read and is said to be quiet, or a mistake without its
    /// place.
    @Test func mistakesAreSentences() throws {
        for (text, sentence) in [
            (Self.heading + "1,vm-1-00aa,1,x,3,4\n", "loads.csv:2:15: error: "),
            ("what is this", "loads.csv:1:1: error: these are no columns"),
        ] {
            try Self.written(text) { path in
                let error = #expect(throws: ReplayError.self) { try ReplaySource(path: path) }
                #expect("\(error.map { "\($0)" } ?? "")".contains(sentence))
            }
        }
        let missing = #expect(throws: ReplayError.self) { try ReplaySource(path: "/nonexistent") }
        #expect("\(missing.map { "\($0)" } ?? "")".contains("cannot read /nonexistent"))
        #expect(WallMoment(argument: "2023-11-14T22:13:20Z")?.seconds == 1_700_000_000)
        #expect(WallMoment(argument: "1700000000")?.seconds == 1_700_000_000)
        #expect(WallMoment(argument: "yesterday") == nil)
    }
}
