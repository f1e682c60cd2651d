// The journal's places full, while the real daemon has a flood to deal with.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct JournalDiskTests {
    /// Guards against: a full disk that holds up a limit, is told at each write, or goes unnoticed
    /// when there is room again; and clocks that are lost although there was.
    @Test(.needs(.ifb, .tbf, .clsact)) func aFullDiskDelaysNothing() async throws {
        try await Namespace.run {
            let stage = try Stage(calm: 60)
            let places = ["run", "state"].map { stage.folder.file($0) }
            for place in places {
                try Tool.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place)
            }
            defer { for place in places { _ = try? Tool.run("umount", place) } }
            for place in places {
                // Ends with ENOSPC, as it should.
                _ = try Tool.status("dd", ["if=/dev/zero", "of=\(place)/filler", "bs=4k"])
            }
            let rogue = try stage.startWatched(vm: 1)
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(40)))
            let policed = try stage.wait(for: "police", of: rogue.name, within: .seconds(5))
            let first = try #require(flood.firstPacket)
            #expect(policed - first <= .seconds(1))
            measure(for: .seconds(6))
            #expect(try stage.daemon.port(rogue.name)?.rung == "police")
            func told(_ event: String) -> [String] {
                stage.daemon.lines.filter { $0.contains("event=\(event)") }
            }
            for place in places {
                #expect(told("journal-failed").count { $0.contains("\(place)/journal.json") } == 1)
            }
            for place in places { try Tool.run("rm", "\(place)/filler") }
            try Lab.wait(for: "both places", within: .seconds(15)) {
                told("journal-works").count == 2
            }
            let files = try places.map { try readFile("\($0)/journal.json") }
            #expect(files[0] == files[1] && files[0].contains(rogue.name))
            stage.daemon.kill()
            flood.stop()
            let successor = try DaemonProcess(
                in: stage.folder, config: stage.folder.file("sluiced.toml"),
                socket: stage.daemon.socket)
            try successor.line(with: "event=adopted ports=1 police=1", within: .seconds(5))
            #expect(!successor.lines.contains { $0.contains("unremembered") })
            _ = try successor.stop()
        }
    }
}
