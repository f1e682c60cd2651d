// A replay tells what the live decision told, event for event.
import Mitigation
import Seeded
import Testing

@testable import Recording

@Suite struct ExactnessTests {
    /// Guards against: a sample that was left out and mattered, an input that is not recorded, an
    /// answer at another time: over thousands of histories every event comes back with its number,
    /// moment, incident, rule and measures. SLUICE_SEED and SLUICE_HISTORIES choose others.
    @Test(arguments: 0..<2) func everyEventComesBack(part: UInt64) throws {
        let first = SeededRun.setting("SLUICE_SEED") ?? .random(in: 0..<1_000_000_000_000)
        let count = SeededRun.setting("SLUICE_HISTORIES").map { min($0, 20_000) } ?? 3_000
        print("recorded histories: seeds \(first)..<\(first + count), every second from \(part)")
        var events = 0
        var kinds: [String: Int] = [:]
        var failures = 0
        for seed in first..<(first + count) where seed % 2 == part {
            var settings = RecorderSettings()
            // Several files, and looks at all ports now and then.
            settings.fileBytes = 6_000
            settings.interval = .seconds(2)
            let history = RecordedHistory(seed: seed, settings: settings)
            history.run(polls: 300)
            let replay = try replayed(history)
            events += history.told.count
            for event in history.told { kinds[Self.word(event), default: 0] += 1 }
            let isWhole = replay.recorded == history.told
            guard !isWhole || replay.told != history.told || replay.gaps > 8 else { continue }
            failures += 1
            let difference = replay.differences.first
            Issue.record(
                """
                seed \(seed): recorded \(isWhole ? "all" : "not all") of \(history.told.count); \
                first difference: then \(String(describing: difference?.recorded)), \
                now \(String(describing: difference?.replayed))
                """)
            guard failures < 3 else { return }
        }
        print("\(events) events; \(kinds.sorted { $0.key < $1.key })")
        guard count >= 1_000 else { return }
        for rule in Reason.Rule.allCases { #expect(kinds["\(rule)", default: 0] > 5, "\(rule)") }
        for kind in ["path", "held", "refused", "unknown", "vanished", "victim"] {
            #expect(kinds[kind, default: 0] > 5, "\(kind)")
        }
    }

    private static func word(_ event: Event) -> String {
        switch event.kind {
        case .moved, .watched: event.reason.map { "\($0.rule)" } ?? "?"
        case .victim: "victim"
        case .held: "held"
        case .refused: "refused"
        case .unknown: "unknown"
        case .path: "path"
        case .vanished: "vanished"
        }
    }
}
