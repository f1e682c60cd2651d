// What the operator reads: lines and JSON of an examination and of a self-test.
import Doctor
import FoundationEssentials
import Mitigation
import Testing

@testable import sluicectl

@Suite struct DoctorReportTests {
    /// Guards against: a finding that is not shown, is shown under another group, or breaks its line.
    @Test func examination() throws {
        var facts = FindingTests.healthy()
        facts.unclaimed = [UnclaimedLink(name: PortName(bytes: [0x74, 0x0a, 0x39]), kind: .tap)]
        facts.daemon = .silent("gone")
        let examination = Examination(facts)
        let lines = DoctorReport.lines(examination)
        #expect(lines.count == examination.findings.count + FindingGroup.allCases.count + 1)
        #expect(lines.first == "kernel:")
        #expect(
            lines.contains {
                $0.hasPrefix("  problem  sluiced  it does not answer: gone; cure: systemctl status")
            })
        #expect(lines.contains { $0.hasPrefix("  warning  t\\x0a9  a tap that no class claims") })
        #expect(lines.last == "1 problem, 1 warning")
        #expect(DoctorReport.lines(Examination(FindingTests.healthy())).last == "all is well")
        let json = try JSONEncoder().encode(examination)
        #expect(try JSONDecoder().decode(Examination.self, from: json) == examination)
        #expect(String(decoding: json, as: UTF8.self).contains("\"state\":\"problem\""))
    }

    /// Guards against: a table that hides a rung that does not hold, or what was left behind.
    @Test func selfTest() throws {
        var report = SelfTestReport(kernel: "6.1", kernelNotes: ["no netem (unknown)"])
        var police = RungResult(
            rung: .police, direction: .from, heldBy: "act_police", verdict: .holds)
        police.asked = TestLoad(packetsPerSecond: 1_000, bitsPerSecond: 2e6)
        police.measured = TestLoad(packetsPerSecond: 996, bitsPerSecond: 1.99e6)
        (police.laneSent, police.lanePassed) = (76, 75)
        report.rungs = [police]
        var lines = DoctorReport.lines(report)
        #expect(
            lines[1].hasPrefix("police  from  1.0 kpps 2.0 Mbit/s  996 pps 2.0 Mbit/s  75 of 76"))
        #expect(lines[1].hasSuffix("act_police  holds"))
        #expect(lines[2] == "kernel: no netem (unknown)")
        #expect(lines.last == "kernel 6.1: every rung holds, and the release leaves nothing")
        report.rungs[0].firstTry = "1300 pps came through"
        lines = DoctorReport.lines(report)
        #expect(lines[1].hasSuffix("holds; at the first try: 1300 pps came through"))
        report.rungs.append(
            RungResult(rung: .shape, direction: .to, verdict: .refused, problem: "no tbf"))
        report.left = ["+link ifb-f3"]
        lines = DoctorReport.lines(report)
        #expect(lines[2].hasSuffix("refused: no tbf"))
        #expect(lines.contains("left behind: +link ifb-f3"))
        #expect(lines.last == "kernel 6.1: not as asked: shape to, release")
        let json = try JSONEncoder().encode(report)
        #expect(try JSONDecoder().decode(SelfTestReport.self, from: json) == report)
        #expect(String(decoding: json, as: UTF8.self).contains("\"packets_per_second\":996"))
    }
}
