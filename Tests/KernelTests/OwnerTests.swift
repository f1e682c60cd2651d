// Others at the same port as the real daemon: what they take out comes back, a fight ends, and what is
// in the way of a limit is told.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct OwnerTests {
    /// What another program takes out of a port.
    enum Wipe: CaseIterable, Sendable {
        case hook, filters, queue, ifb

        func run(on port: String, ifb: String?) throws {
            switch (self, ifb) {
            case (.filters, _): try Tool.run("tc", "filter", "del", "dev", port, "ingress")
            case (.queue, let ifb?): try Tool.run("tc", "qdisc", "del", "dev", ifb, "root")
            case (.ifb, let ifb?): try Tool.run("ip", "link", "del", ifb)
            default: try Tool.run("tc", "qdisc", "del", "dev", port, "ingress")
            }
        }
    }

    /// Guards against: limits that another owner's restart takes out, and that come back only at the
    /// next look; the acceptance says a second for 99 of 100. A virtual kernel, where each takes thrice as
    /// long, repairs 40.
    @Test(.needs(.ifb, .tbf, .clsact)) func whatIsTakenOutComesBackAtOnce() async throws {
        try await Namespace.run {
            let stage = try Stage(
                police: 1, shape: 600, settings: "[tc]\nrepairs_per_minute = 600\n")
            let rogue = try stage.startWatched(vm: 1)
            let before = try Snapshot.settled()
            // A virtual kernel has time left for the repairs.
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: 8_000, duration: .seconds(300)))
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))
            let held = try shape(of: rogue.name)
            let rounds = Program.isInVirtualKernel ? 40 : 100
            var times: [Duration] = []
            for round in 0..<rounds {
                // Somewhere between two polls.
                measure(for: .milliseconds(round * 37 % 100))
                let ifb = try ifbs(of: rogue.name).first
                try Wipe.allCases[round % Wipe.allCases.count].run(on: rogue.name, ifb: ifb)
                let wiped = Moment.now
                try Lab.wait(for: "what was taken out", within: .seconds(5)) {
                    try shape(of: rogue.name) == held
                }
                times.append(Moment.now - wiped)
            }
            flood.stop()
            times.sort()
            report(
                "repaired after a wipe: median \(times[rounds / 2].milliseconds) ms, all of \(rounds) "
                    + "but one within \(times[rounds - 2].milliseconds) ms, the latest "
                    + "\(times[rounds - 1].milliseconds) ms")
            #expect(times[rounds - 2] < .seconds(1))
            #expect(try stage.daemon.port(rogue.name)?.rung == "shape")
            try stage.daemon.request("POST", "/v1/release", body: "{\"all\": true}")
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
        }
    }

    /// Guards against: two programs that undo each other for ever, and an operator who is not told.
    @Test(.needs(.ifb, .tbf, .clsact)) func aFightEndsAndIsTold() async throws {
        try await Namespace.run {
            let stage = try Stage(settings: "[tc]\nrepairs_per_minute = 3\n")
            let rogue = try stage.startWatched(vm: 1)
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(30)))
            try stage.wait(for: "police", of: rogue.name, within: .seconds(5))
            for repairs in 1...3 {
                try Wipe.hook.run(on: rogue.name, ifb: nil)
                try Lab.wait(for: "repair \(repairs)", within: .seconds(5)) {
                    stage.daemon.lines.count { $0.contains("event=repaired ") } == repairs
                }
            }
            try stage.daemon.line(with: "event=contested ", within: .seconds(5))
            try Wipe.hook.run(on: rogue.name, ifb: nil)
            measure(for: .milliseconds(2_500))
            #expect(try shape(of: rogue.name).hook == 0, "it is left so")
            let port = try #require(try stage.daemon.port(rogue.name))
            #expect(port.rung == "police" && port.problem != nil)
            #expect(stage.daemon.lines.count { $0.contains("event=contested ") } == 1)
            flood.stop()
        }
    }

    /// Guards against: another owner's program in front of our limits, or rules behind a redirect,
    /// of which the operator learns nothing; and one advisory told at each look, or at each start.
    @Test(.needs(.ifb, .tbf, .clsact)) func whatIsInTheWayIsToldOnce() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 1)
            let rogue = try stage.startWatched(vm: 1)
            try Tool.run("tc", "qdisc", "add", "dev", rogue.name, "clsact")
            // Passes everything, and so ends classification.
            try addProgram("6 0 0 0", on: rogue.name, preference: 49_152)
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(60)))
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))
            try advisory("policed and not delayed", on: rogue, stage)
            stage.daemon.kill()
            let successor = try DaemonProcess(
                in: stage.folder, config: stage.folder.file("sluiced.toml"),
                socket: stage.daemon.socket)
            try addProgram("6 0 0 0", on: rogue.name, preference: 1)
            try successor.line(with: "goes past its limits", within: .seconds(10))
            let port = try #require(try successor.port(rogue.name))
            #expect(port.rung == "shape" && port.advisories.count == 2)
            measure(for: .milliseconds(2_500))
            #expect(successor.lines.count { $0.contains("event=advisory ") } == 1)
            try Tool.run("tc", "filter", "del", "dev", rogue.name, "ingress", "pref", "1")
            try Tool.run("tc", "filter", "del", "dev", rogue.name, "ingress", "pref", "49152")
            try Lab.wait(for: "no advisory", within: .seconds(10)) {
                try successor.port(rogue.name)?.advisories == []
            }
            flood.stop()
            _ = try successor.stop()
        }
    }

    private func advisory(_ text: String, on vm: Station, _ stage: borrowing Stage) throws {
        try stage.daemon.line(with: text, within: .seconds(5))
        let port = try #require(try stage.daemon.port(vm.name))
        #expect(port.advisories.contains { $0.contains(text) })
    }

    private func addProgram(_ code: String, on port: String, preference: Int) throws {
        try Tool.run(
            "tc", "filter", "add", "dev", port, "ingress", "pref", "\(preference)", "protocol",
            "all", "bpf", "da", "bytecode", "1,\(code)")
    }

    /// How many lines tc prints of a port's hook and filters and of its ifb's queues.
    private struct Shape: Equatable {
        var hook: Int
        var queues: Int
    }

    private func shape(of port: String) throws -> Shape {
        let filters = try Tool.run("tc", "filter", "show", "dev", port, "ingress")
        let queues = try ifbs(of: port).map { ifb in
            lines(try Tool.run("tc", "qdisc", "show", "dev", ifb))
        }
        return Shape(hook: lines(filters), queues: queues.reduce(0, +))
    }

    private func lines(_ text: String) -> Int { text.split(separator: "\n").count }

    /// The ifbs of the namespace: only one port is limited in these tests.
    private func ifbs(of port: String) throws -> [String] {
        try Tool.run("ip", "-brief", "link", "show", "type", "ifb").split(separator: "\n")
            .compactMap { $0.split(separator: " ").first.map { String($0) } }
    }
}
