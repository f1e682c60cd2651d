// The daemon killed at every step that it takes, and the real process killed under a flood: what comes
// after goes on, and nothing was open in between.
import ControlAPI
import Daemon
import Lab
import LabTesting
import Mitigation
import Testing

@Suite(.serialized) struct CrashTests {
    /// Guards against: a crash, after whatever request to the kernel in whatever transition, after which
    /// the next start comes to another state than an undisturbed run, leaves an object behind when it
    /// is released, or tells a transition twice or never. Each kill is a SIGKILL of a real process on
    /// real traffic control and real files.
    @Test(.needs(.ifb, .tbf, .clsact)) func everyKillPointConverges() async throws {
        // The stop alone asks nothing of the kernel.
        try await rehearse("netlink", atLeast: 70, idle: 1)
    }

    /// Guards against: the same after whatever step of writing the journal. Only the kernel's repairs
    /// write nothing.
    @Test(.needs(.ifb, .tbf, .clsact)) func everyKillPointOfTheJournalConverges() async throws {
        try await rehearse("journal", atLeast: 150, idle: 3)
    }

    /// All transitions, died in at each step of one sort: so many steps, and none in so many of them.
    private func rehearse(_ steps: String, atLeast fewest: Int, idle: Int) async throws {
        try await Namespace.run {
            let folder = try ScratchFolder()
            let begin = Moment.now
            let (status, output) = try Tool.status(
                try DaemonProcess.binary("sluice-rehearsal"), [folder.path, steps],
                within: .seconds(900))
            let lines = output.split(separator: "\n").map { String($0) }
            for line in lines { report(line) }
            report("enumerated in \((Moment.now - begin).inSeconds) s")
            #expect(status == .exited(0))
            let acts = lines.filter { $0.hasPrefix("act: ") }
            #expect(acts.count == 21)
            #expect(acts.count { $0.contains(": 0 kill points") } == idle)
            let sum = try #require(lines.last { $0.hasPrefix("sum: ") })
            let points = sum.split(separator: " ").compactMap { Int($0) }.dropFirst().first ?? 0
            #expect(points >= fewest)
        }
    }

    /// Guards against: a crash under a flood that opens a port for a moment, loses the rung, its clock
    /// or the strikes, or tells again what was told; and a lost or broken journal that loses a limit.
    @Test(.needs(.ifb, .tbf, .clsact)) func aCrashUnderAFloodChangesNothing() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 1, calm: 60)
            let rogue = try stage.startWatched(vm: 1)
            let before = try Snapshot()
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(60)))
            try stage.wait(for: "police", of: rogue.name, within: .seconds(5))
            // A relapse: one strike.
            try stage.daemon.request("POST", "/v1/release", body: #"{"all": true}"#)
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))
            measure(for: .seconds(1))
            let begin = Moment.now
            stage.daemon.kill()
            let killed = try Self.memory(stage)
            #expect(killed.incident?.strikes == 1)

            let second = try stage.startAgain()
            try expectGoesOn(second, rogue, ["adopted ports=1 shape=1"])
            let after = try #require(try second.port(rogue.name))
            #expect((after.onRungSeconds ?? 0) >= 1, "its clock goes on")
            #expect(after.incident == killed.incident?.number)
            second.kill()
            #expect(try Self.memory(stage).incident?.strikes == 1)

            for file in Self.files(stage) { try Tool.run("rm", file) }
            let third = try stage.startAgain()
            try expectGoesOn(third, rogue, ["adopted ports=1 shape=1 unremembered=1"])
            third.kill()

            for file in Self.files(stage) { try writeFile("{\"version\":1", to: file) }
            let fourth = try stage.startAgain()
            try expectGoesOn(
                fourth, rogue, ["adopted ports=1 shape=1 unremembered=1", "journal-broken"])
            for file in Self.files(stage) {
                #expect(try readFile(file + ".broken") == "{\"version\":1")
            }
            let tally = try stage.host.uplink.received.delivered(
                from: rogue.mac, during: begin...Moment.now)
            report("delivered over three crashes: \(tally.packetsPerSecond) pps of \(Stage.target)")
            #expect(tally.packetsPerSecond <= Double(Stage.target) * 1.05)
            flood.stop()
            try fourth.request("POST", "/v1/release", body: #"{"all": true}"#)
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
            _ = try fourth.stop()
        }
    }

    /// The port is where it was, each of `told` is said, the first of them once, and nothing moved.
    private func expectGoesOn(
        _ daemon: DaemonProcess, _ rogue: Station, _ told: [String]
    ) throws {
        for text in told { try daemon.line(with: "event=\(text)", within: .seconds(5)) }
        let polls = try daemon.status().polls
        try wait(for: "ten polls", within: .seconds(10)) {
            try daemon.status().polls >= polls + 10
        }
        #expect(try daemon.port(rogue.name)?.rung == "shape")
        #expect(daemon.lines.count { $0.contains("event=adopted ") } == 1)
        #expect(!daemon.lines.contains { $0.contains("event=move ") })
        #expect(daemon.lines.count <= 10, "no storm: \(daemon.lines)")
    }

    private static func files(_ stage: borrowing Stage) -> [String] {
        ["run", "state"].map { stage.folder.file($0) + "/journal.json" }
    }

    /// What the journal in memory remembers of the only port.
    private static func memory(_ stage: borrowing Stage) throws -> PortMemory {
        let text = try readFile(files(stage)[0])
        let document = try JournalDocument(bytes: Array(text.utf8))
        return try #require(document.state.ports.first?.memory)
    }
}
