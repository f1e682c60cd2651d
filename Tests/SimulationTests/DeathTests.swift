// A daemon that dies at each call in turn, and one that runs for a day.

import Mitigation
import Netlink
import Recording
import Seeded
import Testing

@testable import Daemon
@testable import Settings

@Suite struct DeathTests {
    private static var policy: Policy {
        var policy = Policy()
        policy.grace = .zero
        policy.policeDwell = .seconds(2)
        policy.shapeDwell = .seconds(2)
        policy.tightenDwell = .seconds(2)
        policy.calm = .seconds(2)
        policy.target = PacketRate(perSecond: 2_000)
        policy.victim = .shape
        policy.breakerMinimum = 1_000
        policy.breakerShutdowns = 1_000
        policy.setMarks()
        return policy
    }

    /// A host with one port of each kind.
    private static func history(_ seed: UInt64) -> History {
        let history = History(seed: seed, policy: policy)
        for (place, source) in Source.allCases.enumerated() where source != .oscillator {
            history.world.plug("vm-\(place + 1)-a\(place)", source)
        }
        return history
    }

    private static func run(_ history: History) {
        history.start()
        for _ in 0..<300 where history.world.failure == nil { history.step(milliseconds: 100) }
    }

    /// What the kernel holds, but for the incidents' numbers and the caps of calibrations.
    private static func rungs(_ world: World) -> [String] {
        world.taps.values.map { tap in
            let limits = tap.standing
            return "\(tap.name): \(limits?.rung ?? .normal), from \(limits?.from != nil), "
                + "to \(limits?.to != nil), up \(tap.link.isUp), \(tap.hook)"
        }.sorted() + world.ifbs.values.map { "\($0.role) of \($0.owner)" }.sorted()
    }

    /// Guards against: a call of traffic control or of the journal, of all that a host's way up makes,
    /// at which a death leaves another state behind than the way without it, 20 seconds later.
    @Test(arguments: 1...3 as ClosedRange<UInt64>) func everyCall(seed: UInt64) {
        let whole = Self.history(seed)
        Self.run(whole)
        #expect(whole.world.failure == nil)
        let calls = whole.world.calls
        #expect(calls > 60)
        for call in 1...calls {
            for kind in Death.allCases {
                let history = Self.history(seed)
                history.world.death = (call, kind)
                Self.run(history)
                if let failure = history.world.failure {
                    Issue.record("seed \(seed), \(kind) call \(call): \(failure)")
                }
                #expect(
                    Self.rungs(history.world) == Self.rungs(whole.world),
                    "seed \(seed), \(kind) call \(call) of \(calls)")
            }
        }
        print("every call: seed \(seed), \(calls) calls, each before, half and after")
    }

    /// How much everything holds.
    private static func sizes(_ history: History) -> [String: Int] {
        let world = history.world
        let bytes = world.written.flatMap { try? world.document($0, world.instant).bytes().count }
        return [
            "interfaces": history.turn.table.indexes.count,
            "known generations": history.turn.table.generationCount,
            "slots": Array(history.turn.engine.slots).count, "held": history.turn.held.count,
            "disturbed": history.turn.disturbed.count, "leaving": history.turn.leaving.count,
            "unmeasured": history.turn.unmeasured.count, "untold": history.turn.output.untold.count,
            "events": history.turn.output.events.count, "notes": history.turn.output.notes.count,
            "departed": history.turn.departed.remaining(now: world.instant).count,
            "journal bytes": bytes ?? 0, "incidents": history.turn.engine.mitigatedCount,
            "ifbs": world.ifbs.count, "control": history.turn.control.size,
            "reader": history.reader.size,
        ]
    }

    /// Guards against: a day of floods, with taps that come and go and some that are given another's
    /// index, after which the daemon holds more than it held after three hours.
    @Test func aDay() {
        var policy = Self.policy
        policy.pollInterval = .milliseconds(500)
        policy.sustain = .seconds(2)
        policy.forgiveness = .seconds(1_800)
        let history = History(seed: SeededRun.setting("SLUICE_SEED") ?? 24, policy: policy)
        let world = history.world
        for _ in 0..<12 { history.plugOne() }
        history.start()
        let polls = 24 * 3_600 * 2
        var peaks: [[String: Int]] = Array(repeating: [:], count: 8)
        for poll in 0..<polls where world.failure == nil {
            if poll % 200 == 0 { churn(history) }
            history.step(milliseconds: 500)
            guard poll % 50 == 0 else { continue }
            peaks[poll * 8 / polls].merge(Self.sizes(history), uniquingKeysWith: max)
        }
        if let failure = world.failure { Issue.record("\(failure)") }
        print("a day: the first three hours \(peaks[0].sorted { $0.key < $1.key })")
        print("a day: the last three hours \(peaks[7].sorted { $0.key < $1.key })")
        for (name, early) in peaks[0] {
            let last = peaks[7][name, default: 0]
            #expect(last <= early * 3 / 2 + 8, "\(name): \(early), then \(last)")
        }
    }

    /// One tap goes and one comes; now and then at the same index.
    private func churn(_ history: History) {
        let world = history.world
        let all = world.taps.values.filter { !$0.ledger.isForeign }.map(\.index).sorted()
        guard let index = all.randomElement(using: &world.random) else {
            return history.plugOne()
        }
        world.unplug(index)
        history.plugOne(index: world.random.once(in: 3) ? index : nil)
    }
}
