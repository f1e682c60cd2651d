// `sluiced undo` after a crash that took the journal along: everything of ours goes, nothing else.
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct UndoTests {
    /// Guards against: an object of ours that only its daemon could find, a link that stays down, a
    /// foreign object that goes along or changes, and an undo that fights a running daemon.
    @Test(.needs(.ifb, .tbf, .clsact, .u32), arguments: ["shape", "tighten", "shutdown"])
    func takesOutEverythingOfOurs(_ rung: String) async throws {
        try await Namespace.run {
            let stage = try Stage(
                police: 1, shape: rung == "shape" ? 60 : 2, tighten: rung == "shutdown" ? 2 : 60,
                calm: 60, mark: 2_100,
                settings: "[shutdown.hook]\ngentle = \"none\"\nhard = \"none\"\n")
            let rogues = try (1...2 as ClosedRange<UInt16>).map { try stage.startWatched(vm: $0) }
            let neighbour = try stage.startWatched(vm: 3)
            try putForeign(on: rogues[1], neighbour)
            let before = try Snapshot()
            // One after the other, for a slow kernel; calm is long, so that each stays where it is.
            for rogue in rogues {
                let flood = try rogue.flood(
                    Flood(to: Host.outside, packetsPerSecond: 4_500, duration: .seconds(60)))
                try stage.wait(for: rung, of: rogue.name, within: .seconds(40))
                flood.stop()
            }

            // The kernel frees replaced actions a moment later; a picture itself takes a slow one long.
            measure(for: .seconds(1))
            let limited = try Snapshot()
            let (refusal, sentence) = try undo(stage)
            #expect(refusal == .exited(1))
            #expect(sentence.contains("--force") && sentence.contains("systemctl stop sluiced"))
            let touched = try Snapshot.settledDifference(from: limited)
            #expect(touched == [])

            stage.daemon.kill()
            for name in ["run", "state"] { try Tool.run("rm", "-r", stage.folder.file(name)) }
            let (status, output) = try undo(stage)
            #expect(status == .exited(0), "\(output)")
            for rogue in rogues { #expect(output.contains("\(rogue.name): taken out")) }
            #expect(!output.contains(neighbour.name))
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
            for rogue in rogues { #expect(try rogue.isUp()) }
            let (again, nothing) = try undo(stage)
            #expect(again == .exited(0) && nothing.contains("nothing of the daemon's was there"))
        }
    }

    /// Another owner's hook on a port that will be limited, and a queue and a filter on one that will not.
    private func putForeign(on rogue: Station, _ neighbour: Station) throws {
        try Tool.run("tc", "qdisc", "add", "dev", rogue.name, "clsact")
        let name = neighbour.name
        try Tool.run(
            "tc", "qdisc", "add", "dev", name, "root", "handle", "1:", "tbf", "rate", "1gbit",
            "burst", "100000", "limit", "1000000")
        try Tool.run("tc", "qdisc", "add", "dev", name, "ingress")
        try Tool.run(
            "tc", "filter", "add", "dev", name, "ingress", "pref", "12", "protocol", "ip", "u32",
            "match", "ip", "dport", "9", "0xffff", "classid", "1:1")
    }

    private func undo(_ stage: borrowing Stage) throws -> (Lab.ExitStatus, String) {
        try Tool.status(
            try DaemonProcess.binary("sluiced"),
            ["undo", "--config", stage.folder.file("sluiced.toml")])
    }
}
