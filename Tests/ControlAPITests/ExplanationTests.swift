// What sluicectl says of events and of a port.

import ControlAPI
import Testing

@testable import sluicectl

@Suite struct ExplanationTests {
    private static let move = ToldLine(
        number: 4, at: 1_764_144_000.345, severity: "warning",
        line: "event=move seq=1 incident=3 port=vm-1-ff ifindex=7 from=normal to=police rule=fast "
            + "direction=from pps=60000 bps=480000000 against_pps=50000 against_bps=500000000 "
            + "mode=enforce")

    /// Guards against: a value with blanks or an equals sign that is cut, and a line that never ends.
    @Test func linesAreTakenApart() {
        let line = ToldLine(
            number: 1, at: 0, severity: "error",
            line: #"event=refused kernel="no such = qdisc" empty="" rung=shape"#)
        #expect(line.fields.map(\.key) == ["event", "kernel", "empty", "rung"])
        #expect(line["kernel"] == "no such = qdisc")
        #expect(line["empty"] == "" && line["rung"] == "shape" && line["none"] == nil)
        let broken = ToldLine(number: 1, at: 0, severity: "error", line: #"a="b c=d"#)
        #expect(broken.fields.count <= 2)
    }

    /// Guards against: a moment that is off by a zone or by a millisecond.
    @Test func momentsAreUTC() {
        #expect(
            EventReport.line(Self.move).hasPrefix(
                "2025-11-26 08:00:00.345Z  warning  event=move seq=1 "))
        #expect(EventReport.time(.nan) == "?")
    }

    /// Guards against: durations that are taken for others.
    @Test(
        arguments: [
            ("30s", 30), ("10m", 600), ("2h", 7_200), ("1d", 86_400), ("0s", 0), ("5", nil),
            ("m", nil), ("-1s", nil), ("1.5h", nil), ("", nil), ("9999999999d", nil),
        ] as [(String, Double?)])
    func durations(_ text: String, _ seconds: Double?) {
        #expect(ShortDuration(argument: text)?.seconds == seconds)
    }

    private static func explanation(_ rung: String) -> Explanation {
        let load = Load(packetsPerSecond: 60_000, bitsPerSecond: 480_000_000)
        let cap = Load(packetsPerSecond: 10_000, bitsPerSecond: 80_000_000)
        let isHeld = rung != "normal"
        let port = PortStatus(
            name: "vm-1-ff", index: 7, portClass: "vm", pattern: "vm-<num>-<netid>", netid: "00ff",
            rung: rung, onRungSeconds: isHeld ? 12 : nil, incident: isHeld ? 3 : nil,
            isVictim: false, offered: Loads(from: load, to: nil),
            delivered: isHeld ? Loads(from: cap, to: nil) : nil, lane: nil,
            cap: isHeld ? Loads(from: cap, to: nil) : nil, delayMilliseconds: nil,
            enforcement: isHeld ? "act_police" : nil, problem: nil)
        return Explanation(
            port: port, mode: "enforce",
            marks: MarksStatus(
                from: MarkStatus(packetsPerSecond: 50_000, bitsPerSecond: 500_000_000),
                to: MarkStatus(packetsPerSecond: nil, bitsPerSecond: nil)),
            lowShare: 0.5, strikes: 0, calmSeconds: 0, calmNeededSeconds: 60, pending: nil,
            up: isHeld
                ? StepStatus(rung: "shape", direction: "from", rule: "unresponsive", inSeconds: 48)
                : nil,
            down: isHeld
                ? StepStatus(rung: "normal", direction: "from", rule: "calm", inSeconds: 60) : nil)
    }

    /// Guards against: an operator who is not told why, against what, and what comes next.
    @Test func aLimitedPort() {
        #expect(
            ExplanationReport.lines(Self.explanation("police"), events: [Self.move]) == [
                "vm-1-ff (vm by \"vm-<num>-<netid>\", cloudspace 00ff, ifindex 7): police for "
                    + "12.0s, incident 3",
                "  why      normal to police: 60.0 kpps 480.0 Mbit/s sent by the VM, far over the "
                    + "mark of 50.0 kpps 500.0 Mbit/s, at 2025-11-26 08:00:00.345Z",
                "  from     60.0 kpps 480.0 Mbit/s offered, 10.0 kpps 80.0 Mbit/s delivered, at most "
                    + "10.0 kpps 80.0 Mbit/s",
                "  marks    from 50.0 kpps or 500.0 Mbit/s; calm below 50% of them",
                "  held by  act_police",
                "  next     shape in 48.0s, if it still floods (unresponsive)",
                "  next     normal in 1min 0s, if it stays low (0.0s of 1min 0s so far)",
                "  told     2025-11-26 08:00:00.345Z \(Self.move.line)",
            ])
        let forgotten = ExplanationReport.lines(Self.explanation("police"), events: [])
        #expect(forgotten[1] == "  why      what was told of it is no longer kept: syslog has it")
    }

    /// Guards against: a healthy port that reads like a limited one.
    @Test func aHealthyPort() {
        #expect(
            ExplanationReport.lines(Self.explanation("normal"), events: [Self.move]) == [
                "vm-1-ff (vm by \"vm-<num>-<netid>\", cloudspace 00ff, ifindex 7): normal",
                "  from     60.0 kpps 480.0 Mbit/s offered",
                "  marks    from 50.0 kpps or 500.0 Mbit/s; calm below 50% of them",
            ])
    }
}
