// What sluicectl shows: units, the table, and what it does not let through.

import ControlAPI
import Testing

@testable import sluicectl

@Suite struct StatusReportTests {
    /// Guards against: a unit that is off by a thousand, and `1000.0 k`.
    @Test(
        arguments: [
            (0, "0 pps"), (999.4, "999 pps"), (999.6, "1.0 kpps"), (12_345, "12.3 kpps"),
            (999_949, "999.9 kpps"), (999_960, "1.0 Mpps"), (1e9, "1.0 Gpps"),
            (5e12, "5000.0 Gpps"),
            (-1, "?"), (.infinity, "?"), (.nan, "?"), (1e300, "?"),
        ] as [(Double, String)])
    func packets(_ rate: Double, _ text: String) {
        #expect(StatusReport.packets(rate) == text)
    }

    @Test func bitsAndTimes() {
        #expect(StatusReport.bits(16_000_000) == "16.0 Mbit/s")
        #expect(StatusReport.bits(400) == "400 bit/s")
        let times: [(Double, String)] = [
            (0, "0.0s"), (4.25, "4.3s"), (59.96, "1min 0s"), (200, "3min 20s"),
            (7500, "2h 5min"), (90_000, "1d 1h"), (.infinity, "?"), (-1, "?"),
        ]
        for (seconds, text) in times { #expect(StatusReport.time(seconds) == text) }
    }

    private func port(
        _ name: String, _ rung: String, isVictim: Bool = false, problem: String? = nil
    ) -> PortStatus {
        let load = Load(packetsPerSecond: 20_000, bitsPerSecond: 40_000_000)
        let isHeld = rung != "normal"
        return PortStatus(
            name: name, index: 1, portClass: "vm", pattern: "vm-<num>-<netid>", netid: nil,
            rung: rung,
            onRungSeconds: isHeld ? 65 : nil, incident: nil, isVictim: isVictim,
            offered: Loads(from: load, to: Load(packetsPerSecond: 10, bitsPerSecond: 20)),
            delivered: isHeld ? Loads(from: load, to: nil) : nil, lane: nil,
            cap: nil, delayMilliseconds: nil, enforcement: isHeld ? "act_police" : nil,
            problem: problem)
    }

    private func status(_ ports: [PortStatus], notes: [String] = []) -> Status {
        Status(
            version: "1", pid: 2, mode: "enforce", uptimeSeconds: 61, kernel: "6.1.0",
            kernelNotes: notes, polls: 100, pollMilliseconds: 100, latePolls: 0,
            mitigated: ports.filter { $0.rung != "normal" }.count, breaker: nil, ports: ports)
    }

    /// Guards against: noise where all is well.
    @Test func quiet() {
        let quiet = status([port("a", "normal"), port("b", "normal")])
        #expect(
            StatusReport.lines(quiet, withAllPorts: false)
                == ["sluiced 1, enforce, up 1min 1s, kernel 6.1.0: 2 ports, none held"])
    }

    /// Guards against: columns that do not stand under each other, and a victim that is not shown.
    @Test func table() {
        let busy = status(
            [port("vm-1-ff", "police"), port("b", "normal"), port("c", "normal", isVictim: true)],
            notes: ["no netem"])
        let from = "from  20.0 kpps 40.0 Mbit/s"
        #expect(
            StatusReport.lines(busy, withAllPorts: false) == [
                "sluiced 1, enforce, up 1min 1s, kernel 6.1.0: 3 ports, 1 held",
                "kernel: no netem",
                "PORT     CLASS        RUNG    SINCE          OFFERED                "
                    + "DELIVERED              HELD BY",
                "vm-1-ff  vm           police  1min 5s  \(from)  "
                    + "20.0 kpps 40.0 Mbit/s  act_police",
                "c        vm (victim)  normal  -        \(from)  -                      -",
                "                                       to    10 pps 20 bit/s        -",
            ])
        #expect(StatusReport.lines(busy, withAllPorts: true).count == 7)
    }

    /// Guards against: another owner in the way of a limit that the table does not tell of.
    @Test func advisories() {
        var held = port("vm-1-ff", "police")
        held.advisories = ["filter pref 1 (bpf) stands before ours"]
        let lines = StatusReport.lines(status([held]), withAllPorts: false)
        #expect(lines.last == "vm-1-ff: filter pref 1 (bpf) stands before ours")
    }

    /// Guards against: a flood's way, or a limit on others' account, that the table does not tell of.
    @Test func pathAndCompanion() {
        var vm = port("vm-1-ff", "police")
        let load = Load(packetsPerSecond: 20_000, bitsPerSecond: 1)
        vm.path = ["vm-1-ff", "spc-ff", "pub-ff"].map { PathLeg(port: $0, load: load) }
        vm.companion = "spc-ff"
        var router = port("spc-ff", "police")
        router.limitedFor = ["vm-1-ff", "vm-2-ff"]
        let lines = StatusReport.lines(status([vm, router]), withAllPorts: false).suffix(2)
        #expect(
            Array(lines) == [
                "vm-1-ff: its flood went vm-1-ff (20.0 kpps) -> spc-ff (20.0 kpps) -> pub-ff "
                    + "(20.0 kpps); spc-ff is limited along",
                "spc-ff: limited along with vm-1-ff, vm-2-ff",
            ])
    }

    /// Guards against: a port whose class nobody can account for.
    @Test func classes() {
        var other = port("tap0", "normal")
        other.pattern = "tap*"
        var vm = port("vm-1-ff", "normal")
        vm.netid = "00ff"
        #expect(
            StatusReport.classes([other, vm])
                == [
                    "PORT     CLASS  CLOUDSPACE  BECAUSE OF",
                    "vm-1-ff  vm     00ff        class.vm.names 'vm-<num>-<netid>'",
                    "tap0     vm     -           class.vm.names 'tap*'",
                ].map { $0.replacing("'", with: "\"") })
    }

    /// Guards against: a name that moves the operator's cursor.
    @Test func hostileText() {
        let text = StatusReport.table([port("a\u{1b}[2Jé", "police", problem: "x\ny")])
            .joined(separator: "\n")
        #expect(text.contains("a\\x1b[2J\\xc3\\xa9"))
        #expect(text.hasSuffix("x\\x0ay"))
    }
}
