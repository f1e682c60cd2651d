// What the daemon sees while another process holds the kernel's lock, RTNL.
import ControlAPI
import Doctor
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct LookoutTests {
    /// Guards against: a daemon that is blind while its requests wait, so that a flood of that time has
    /// its whole time once more; and a reader beside the turn that reads when nothing waits.
    @Test(.needs(.ifb, .tbf, .clsact)) func aFloodIsSeenWhileTheLockIsHeld() async throws {
        try await Namespace.run {
            let stage = try Stage()
            let rogue = try stage.startWatched(vm: 1)
            try Lab.wait(for: "quiet turns", within: .seconds(20)) {
                let before = try Self.standbyPolls(stage)
                measure(for: .seconds(1))
                return try Self.standbyPolls(stage) == before
            }
            let before = try Self.standbyPolls(stage)
            let flood = try rogue.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: Stage.mark * 5 / 2, duration: .seconds(30)))
            let begin = Moment.now
            let lock = try KernelLock()
            measure(for: .seconds(2))
            lock.release()
            let end = Moment.now
            let held = (end - begin).inSeconds
            try stage.wait(for: "police", of: rogue.name, within: .seconds(10))
            let reaction = (Moment.now - end).inSeconds
            let seen = try Self.standbyPolls(stage) - before
            report(
                "the lock was held for \(held) s, \(seen) polls were read beside the turn, and the "
                    + "flood was policed \(reaction) s after it")
            // One in a poll's time but for the first and the last.
            #expect(seen >= held * 10 - 5 && seen <= held * 10 + 2)
            // The rule asks for a second over the mark, which it had by then.
            #expect(reaction < 0.7)
            flood.stop()
        }
    }

    private static func standbyPolls(_ stage: borrowing Stage) throws -> Double {
        let metrics = Metrics(try stage.daemon.request("GET", "/v1/metrics"))
        return try #require(metrics["sluice_standby_polls_total"])
    }
}
