// Thousands of seeded histories. A failure names its seed: SLUICE_SEED=<seed> SLUICE_HISTORIES=1 runs
// that one again, and SLUICE_TRACE=1 prints it.

import Mitigation
import Seeded
import Testing

@Suite struct SimulationTests {
    @Test("Guards against a history, of thousands, that breaks a rule", arguments: 0..<4)
    func histories(part: UInt64) {
        let first = SeededRun.setting("SLUICE_SEED") ?? 1
        let count = SeededRun.setting("SLUICE_HISTORIES") ?? Self.histories
        var tally: [String: Int] = [:]
        for seed in first..<(first + count) where seed % 4 == part {
            let simulation = Simulation(seed: seed)
            simulation.isTraced = SeededRun.setting("SLUICE_TRACE") != nil
            simulation.run()
            if let failure = simulation.failure {
                Issue.record("\(failure); again with SLUICE_SEED=\(seed) SLUICE_HISTORIES=1")
                return
            }
            tally.merge(simulation.tally, uniquingKeysWith: +)
        }
        guard count >= 400 else { return }
        // A simulation in which nothing happens proves nothing.
        let needed = [
            "normal to police, from", "police to shape, from", "shape to tighten, from",
            "tighten to shutdown, from", "shutdown to tighten, from", "tighten to shape, from",
            "shape to police, from", "police to normal, from", "normal to shape, to",
            "shape to normal, to", "held", "refused", "unknown",
        ]
        for what in needed { #expect(tally[what, default: 0] > 10, "\(what)") }
    }

    @Test(
        "Guards against a decision that depends on more than its events: a seed gives one history")
    func deterministic() {
        let first = Simulation(seed: 11)
        let second = Simulation(seed: 11)
        first.run()
        second.run()
        #expect(first.tally == second.tally && first.now == second.now)
    }

    private static var histories: UInt64 {
        #if DEBUG
            400
        #else
            2_500
        #endif
    }
}
