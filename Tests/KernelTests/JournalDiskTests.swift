// The journal's places full, while the real daemon has a flood to deal with.
import ControlAPI
import Lab
import LabTesting
import LinuxSystem
import Testing

@testable import Daemon

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
    /// Guards against: a full disk that costs what was told before, by files without a line that take
    /// the place of one that has some; and lines that are lost though there is room again.
    @Test func whatWasToldOutlivesAFullDisk() async throws {
        try await Namespace.run {
            let folder = try ScratchFolder()
            try Tool.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder.path)
            defer { _ = try? Tool.run("umount", folder.path) }
            let path = folder.file("events")
            let history = EventHistory(startedAt: 7)
            let archive = EventArchive(folder: path, history: history) { _ in }
            func tell(_ numbers: ClosedRange<Int>) {
                for number in numbers {
                    history.add(AlertLine(.notice, [("event", "a"), ("n", "\(number)")]), at: 7)
                    archive.flush()
                }
            }
            tell(1...100)
            _ = try Tool.status("dd", ["if=/dev/zero", "of=\(folder.file("filler"))", "bs=4k"])
            tell(101...500)
            #expect(try FolderEntry.list(path, suffix: ".log", most: 100).count == 1)
            try Tool.run("rm", folder.file("filler"))
            tell(501...501)
            let read = EventArchive.read(folder: path, now: 9).reply(to: EventsRequest())
            #expect(read.events.map(\.number) == Array(1...501))
        }
    }
}
