// A daemon under attack for as long as SLUICE_SOAK_SECONDS says (20 by default; `make soak`: 20
// minutes): a flood that never ends, VMs that flood and vanish, taps that come and go.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct SoakTests {
    private static var seconds: Int {
        Program.environment("SLUICE_SOAK_SECONDS").flatMap { Int($0) } ?? 20
    }

    /// Guards against: descriptors, resident memory, ifbs or actions that grow with time, however
    /// slowly; a daemon that gets late, and one that forgets the flood that goes on.
    @Test(.needs(.ifb, .tbf, .clsact)) func everythingStaysFlat() async throws {
        let length = Duration.seconds(Self.seconds)
        try await Namespace.run {
            let stage = try Stage(police: 1, shape: 3_600, calm: 60, mark: 2_100)
            let before = try Snapshot()
            let steady = try stage.startWatched(vm: 1)
            let end = Moment.now + length
            let flood = try steady.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: 3_500, duration: length + .seconds(60)))
            try stage.wait(for: "shape", of: steady.name, within: .seconds(60))
            let alone = try Figures(of: stage.daemon, settledTo: nil)

            let begin = Moment.now
            var rounds: [Figures] = []
            var reported = begin
            while Moment.now < end || rounds.count < 4 {
                try churn(stage, UInt16(rounds.count % 8))
                rounds.append(try Figures(of: stage.daemon, settledTo: alone))
                if Moment.now - reported > .seconds(60) {
                    reported = .now
                    report("soak: \(rounds.count) rounds, \(rounds[rounds.count - 1])")
                }
            }
            try judge(rounds, alone, stage, after: (Moment.now - begin).inSeconds)
            #expect(try stage.daemon.port(steady.name)?.rung == "shape")
            flood.stop()
            try stage.daemon.request("POST", "/v1/release", body: #"{"all": true}"#)
            steady.close()
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
            _ = try stage.daemon.stop()
        }
    }

    /// A VM floods, climbs and vanishes under its limits; taps come and go beside it.
    private func churn(_ stage: borrowing Stage, _ number: UInt16) throws {
        let rogue = try stage.startWatched(vm: 10 + number)
        let flood = try rogue.flood(
            Flood(to: Host.outside, packetsPerSecond: 6_000, duration: .seconds(90)))
        var batch = ""
        for each in 1...20 { batch += "tuntap add dev vm-\(each)-00cc mode tap\n" }
        for each in 1...20 { batch += "link del vm-\(each)-00cc\n" }
        try Tool.run("ip", "-batch", try stage.folder.write(batch, to: "churn"))
        let begin = Moment.now
        do {
            // Not by the log, whose limit of a line a second keeps some of an attack's back.
            try Lab.wait(for: "police and shape", within: .seconds(60)) {
                try stage.daemon.port(rogue.name)?.rung == "shape"
            }
        } catch {
            // A virtual kernel on a busy machine may not get a flood out that is one.
            let rate = Double(flood.sent) / (Moment.now - begin).inSeconds
            report("soak: \(rogue.name) sent \(rate) pps and did not climb")
            guard rate < 4_000 else {
                throw LabError(
                    "\(error)", detail: stage.daemon.lines.suffix(10).joined(separator: "\n"))
            }
        }
        flood.stop()
        rogue.close()
        try Lab.wait(for: "the steady port alone", within: .seconds(30)) {
            try stage.daemon.status().ports.count == 1 && ifbs().count == 1
        }
    }

    /// The first quarter is for caches to fill; what comes after is held to it.
    private func judge(
        _ rounds: [Figures], _ alone: Figures, _ stage: borrowing Stage, after seconds: Double
    ) throws {
        let early = rounds[rounds.count / 4]
        let late = rounds[rounds.count - 1]
        let status = try stage.daemon.status()
        report(
            "soak of \(Int(seconds)) s: \(rounds.count) rounds; after a quarter \(early); at the end "
                + "\(late); most \(rounds.map(\.descriptors).max() ?? 0) descriptors, "
                + "\(rounds.map(\.kilobytes).max() ?? 0) kB; \(status.polls) polls, "
                + "\(status.latePolls) late, \(stage.daemon.lines.count) lines")
        #expect(alone.ifbs == 1)
        for round in rounds { #expect(round.counts(as: alone), "\(round), not \(alone)") }
        #expect(late.kilobytes <= early.kilobytes + early.kilobytes / 20)
    }
}
