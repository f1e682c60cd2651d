// The real turn over thousands of simulated hosts. A failure names its seed: SLUICE_SEED=<seed>
// SLUICE_HISTORIES=1 runs that one again, and SLUICE_TRACE=1 prints it.

import Mitigation
import Seeded
import Testing

@testable import Daemon

@Suite struct HistoryTests {
    /// Guards against: a history, of thousands, in which the daemon breaks one of the rules of
    /// `HistoryRules.swift`, leaves something behind, or does not come to rest.
    @Test(arguments: 0..<2) func histories(part: UInt64) {
        let first = Self.firstSeed
        let count = SeededRun.setting("SLUICE_HISTORIES") ?? Self.histories
        print("simulated hosts: seeds \(first)..<\(first + count), every second from \(part)")
        var failures = 0
        var tally: [String: Int] = [:]
        for seed in first..<(first + count) where seed % 2 == part {
            let history = History(seed: seed)
            history.world.isTraced = SeededRun.setting("SLUICE_TRACE") != nil
            history.run()
            if let failure = history.world.failure {
                Issue.record(
                    "\(failure); again: SLUICE_SEED=\(seed) SLUICE_HISTORIES=1 SLUICE_TRACE=1")
                failures += 1
                guard failures < 5 else { return }
            }
            tally.merge(history.world.tally, uniquingKeysWith: +)
        }
        guard count >= 1_000 else { return }
        // A simulation in which nothing happens proves nothing.
        let needed = [
            "normal to police", "police to shape", "shape to tighten", "tighten to shutdown",
            "shutdown to tighten", "tighten to shape", "shape to police", "police to normal",
            "to the VM: shape", "to the VM: normal", "restart", "death before", "death half",
            "death after", "death after telling", "wrecked", "repaired", "release", "hold",
            "exempt",
            "escalated", "observe", "enforce", "caught up", "a companion", "a companion is let go",
            "together",
        ]
        for what in needed { #expect(tally[what, default: 0] > 5, "\(what)") }
        if part == 0 { print(tally.sorted { $0.key < $1.key }) }
    }

    /// Another one each time, printed.
    private static let firstSeed =
        SeededRun.setting("SLUICE_SEED") ?? .random(in: 0..<1_000_000_000_000)

    private static var histories: UInt64 {
        #if DEBUG
            400
        #else
            10_000
        #endif
    }
}
