// The first day: everything is decided and told, nothing is programmed; and the reload that arms it.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct ObserveTests {
    /// Guards against: an observing daemon that touches a port, one that keeps silent, a reload that
    /// is not taken or loses what goes on, and a broken file that replaces a running configuration.
    @Test(.needs(.ifb, .tbf, .clsact)) func observesThenIsArmed() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 1, shape: 60, settings: "", mode: "observe")
            let rogue = try stage.startWatched(vm: 1)
            let before = try Snapshot()
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(40)))
            try stage.daemon.line(with: "event=would-move ", within: .seconds(5))
            try wait(for: "the would-be shape", within: .seconds(5)) {
                try stage.daemon.port(rogue.name)?.rung == "shape"
            }
            let touched = try Snapshot().difference(from: before)
            #expect(touched == [])
            let passed = try stage.host.uplink.received.delivered(
                from: rogue.mac, during: measure(for: .seconds(1)))
            report("observed: \(passed.packetsPerSecond) pps pass of \(Stage.floodRate)")
            #expect(passed.packetsPerSecond > Double(Stage.floodRate) * 0.8)

            let file = stage.folder.file("sluiced.toml")
            let text = try readFile(file)
            try writeFile("mode = \"armed\"\n" + text.dropFirst(17), to: file)
            stage.daemon.signal(1)
            let refusal = try stage.daemon.line(with: "event=reload-refused ", within: .seconds(5))
            #expect(refusal.contains("sluiced.toml:1:8") && refusal.contains("enforce"))
            #expect(try stage.daemon.status().mode == "observe")

            try writeFile("mode = \"enforce\"\n" + text.dropFirst(17), to: file)
            stage.daemon.signal(1)
            try stage.daemon.line(with: "event=reloaded mode=enforce", within: .seconds(5))
            try stage.daemon.line(with: "to=police rule=", within: .seconds(5))
            try wait(for: "the police", within: .seconds(5)) {
                try stage.daemon.port(rogue.name)?.enforcement != nil
            }
            measure(for: .seconds(1))
            let held = try stage.host.uplink.received.delivered(
                from: rogue.mac, during: measure(for: .seconds(1)))
            report("armed: \(held.packetsPerSecond) pps pass of \(Stage.floodRate)")
            #expect(held.packetsPerSecond <= Double(Stage.target) * 1.05)
            flood.stop()
            _ = try stage.daemon.stop()
        }
    }
}
