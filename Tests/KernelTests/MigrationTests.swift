// A limited VM on its way to another host: the rung, its clock and the strikes are there before it.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct MigrationTests {
    private static let address = "52:54:00:00:00:01"

    /// Guards against: a flood that gets away by a live migration, or that is policed anew from the
    /// first rung; a document that is refused without saying why, or in part taken.
    @Test(.needs(.ifb, .tbf, .clsact)) func theLimitsArriveWithTheMachine() async throws {
        let exported = try await Namespace.run { try Self.export() }
        try await Namespace.run {
            let stage = try Stage(police: 30, shape: 60)
            let program = try DaemonProcess.binary("sluicectl")
            let socket = stage.daemon.socket
            func importing(_ text: String) throws -> (Lab.ExitStatus, String) {
                let file = try stage.folder.write(text, to: "port.json")
                return try Tool.status(program, ["import", file, "--socket", socket])
            }
            let before = try stage.daemon.request("GET", "/v1/status").count
            for (good, bad, why) in [
                (#""shape""#, #""shaped""#, "there is no rung shaped"),
                ("vm-1-00aa", "eth0", "no class claims"), (#"{"#, "", "no JSON"),
            ] {
                let (status, output) = try importing(exported.replacing(good, with: bad))
                #expect(status == .exited(1) && output.contains(why), "\(output)")
            }
            #expect(try stage.daemon.request("GET", "/v1/status").count - before < 20)
            #expect(!stage.daemon.lines.contains { $0.contains("event=imported") })

            // By standard input.
            let file = try stage.folder.write(exported, to: "port.json")
            let output = try Tool.run(
                "sh", "-c", "\(program) import --json --socket \(socket) < \(file)")
            #expect(output == "{\"port\":\"vm-1-00aa\",\"rung\":\"shape\",\"waits\":true}\n")
            // What waits outlives a crash.
            stage.daemon.kill()
            let daemon = try stage.startAgain()

            let rogue = try stage.host.start(vm: 1)
            try Tool.run("ip", "link", "set", rogue.name, "address", Self.address)
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: 20_000, duration: .seconds(20)))
            try Lab.wait(for: "the rung", within: .seconds(5)) {
                try daemon.port(rogue.name)?.enforcement != nil
            }
            let port = try #require(try daemon.port(rogue.name))
            #expect(port.rung == "shape")
            #expect((port.onRungSeconds ?? 0) >= 1, "its clock goes on")
            measure(for: .milliseconds(1_500))
            let tally = try stage.host.uplink.received.delivered(
                from: rogue.mac, during: measure(for: .seconds(1)))
            report("after the migration: \(tally.packetsPerSecond) pps of \(Stage.target)")
            #expect(tally.packetsPerSecond <= Double(Stage.target) * 1.06)
            #expect(tally.packetsPerSecond >= Double(Stage.target) * 0.5)
            #expect(!daemon.lines.contains { $0.contains("event=move ") })
            let again = try Tool.run(program, "export", rogue.name, "--socket", socket)
            #expect(again.contains(#""strikes":1"#))

            let (status, sentence) = try importing(exported)
            #expect(status == .exited(1) && sentence.contains("sluicectl release vm-1-00aa"))
            flood.stop()
            try daemon.request("POST", "/v1/release", body: #"{"all": true}"#)
            #expect(try ifbs() == [])
            _ = try daemon.stop()
        }
    }

    /// Guards against: a wrong command line, and a daemon that cannot be reached, with the status of
    /// something else.
    @Test func exitStatuses() throws {
        let program = try DaemonProcess.binary("sluicectl")
        for command in ["export", "import"] {
            #expect(
                try Tool.run(program, command, "--help").contains("USAGE: sluicectl \(command)"))
        }
        let (usage, _) = try Tool.status(program, ["export"])
        #expect(usage == .exited(64))
        let (unread, why) = try Tool.status(program, ["import", "/nonexistent"])
        #expect(unread == .exited(2) && why.contains("/nonexistent"))
        let (unreached, _) = try Tool.status(
            program, ["export", "vm-1-00aa", "--socket", "/nonexistent"])
        #expect(unreached == .exited(2))
    }

    /// The host that the machine leaves: on shape, after a relapse.
    private static func export() throws -> String {
        let stage = try Stage(police: 1)
        let rogue = try stage.startWatched(vm: 1)
        try Tool.run("ip", "link", "set", rogue.name, "address", address)
        let flood = try rogue.flood(
            Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(30)))
        try stage.wait(for: "police", of: rogue.name, within: .seconds(5))
        try stage.daemon.request("POST", "/v1/release", body: #"{"all": true}"#)
        try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))
        measure(for: .milliseconds(1_100))
        let exported = try Tool.run(
            try DaemonProcess.binary("sluicectl"), "export", rogue.name, "--socket",
            stage.daemon.socket)
        flood.stop()
        _ = try stage.daemon.stop()
        return exported
    }
}
