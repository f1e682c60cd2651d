// A real flood, recorded by the real daemon, and run again by the real sluicectl.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct RecordingTests {
    /// Guards against: a recording that leaves out what a decision was made of, that is lost with a
    /// daemon that is killed, or that holds another configuration than the daemon's; and a replay of
    /// another configuration that says nothing of it.
    @Test(.needs(.ifb, .tbf, .clsact)) func aFloodIsReplayed() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 2, shape: 60, calm: 1)
            let rogue = try stage.startWatched(vm: 1)
            _ = try stage.startWatched(vm: 2)
            let flood = try rogue.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(60)))
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(15))
            flood.stop()
            try stage.wait(for: "normal", of: rogue.name, within: .seconds(30))
            measure(for: .seconds(3))
            let moves = stage.rungs(of: rogue.name)
            // A crash: what a file holds ends with a whole frame.
            stage.daemon.kill()
            let folder = stage.folder.file("state/record")
            let program = try DaemonProcess.binary("sluicectl")

            let (status, said) = try Tool.status(program, ["replay", "--from", folder])
            report(said)
            #expect(status == .exited(0))
            #expect(said.contains("as it was recorded, event for event"))
            #expect(said.contains(rogue.name))

            let json = try Tool.run(program, ["replay", "--from", folder, "--json"])
            #expect(json.contains(#""same":true"#))
            for rung in moves { #expect(json.contains("\"to\":\"\(rung)\"")) }
            #expect(moves == ["police", "shape", "police", "normal"])

            let config = try stage.folder.write(
                Stage.configuration(socket: stage.daemon.socket, mark: 50_000),
                to: "higher.toml")
            let (higher, other) = try Tool.status(
                program, ["replay", "--from", folder, "--config", config])
            report(other)
            #expect(higher == .exited(0))
            #expect(other.contains("no port would have been limited"))
        }
    }
}
