// What may stand on a port by a request that was not answered plainly is not forgotten before it is out.

import Mitigation
import Netlink
import Recording
import Testing

@testable import Daemon

@Suite struct DoubtTests {
    /// One port that floods; nothing happens by chance.
    private static func history() -> History {
        var policy = Policy()
        policy.grace = .zero
        policy.setMarks()
        let history = History(seed: 1, policy: policy)
        history.world.taps[history.world.plug("vm-1-a", .flood)]?.hook = .none
        history.start()
        return history
    }

    private static func run(_ history: History, until isOver: () -> Bool) {
        for _ in 0..<300 where history.world.failure == nil && !isOver() {
            history.step(milliseconds: 100)
        }
    }

    /// The daemon dies between a hook of ours and its first filter.
    private static func leaveAnEmptyHook(_ history: History) {
        let world = history.world
        run(history) {
            // The next call but one: the journal announces it first.
            world.death = (world.calls + 2, .half)
            return !world.leftovers.isEmpty
        }
        #expect(world.leftovers.count == 1)
    }

    /// Guards against: the first limits of a port set without an answer, a rename out of every class
    /// before they are asked for again, and limits that stay for ever on a port that nobody watches.
    @Test func aRenameAfterALostAnswer() {
        let history = Self.history()
        let world = history.world
        world.script = [.lost, .unanswered]
        Self.run(history) { !world.leftovers.isEmpty }
        #expect(history.turn.engine.mitigatedCount == 0)
        for tap in world.taps.values {
            tap.link.name = Array("tap1".utf8)
            tap.ledger.isReleasing = true
            world.notify(.link(tap.link))
        }
        Self.run(history) { history.turn.table.watched.isEmpty }
        #expect(world.failure == nil)
        #expect(world.script.isEmpty)
        #expect(world.leftovers == [])
        #expect(history.turn.table.watched.isEmpty)
    }

    /// Guards against: a death between a hook of ours and its first filter, a successor whose order to
    /// take out what may stand is refused once, and its own successor that no longer knows that the
    /// port had no hook before us: an empty one would stay.
    @Test func aRefusalAfterADeath() {
        let history = Self.history()
        let world = history.world
        Self.leaveAnEmptyHook(history)
        world.death = nil
        for tap in world.taps.values { tap.vm.isDone = true }
        world.script = [.refused]
        Self.run(history) { world.script.isEmpty }
        #expect(world.leftovers.count == 1)
        history.restart()
        for _ in 0..<20 where world.failure == nil { history.step(milliseconds: 100) }
        #expect(world.failure == nil)
        #expect(world.leftovers == [])
    }

    /// Guards against: the same death, a rename out of every class, a successor that cannot look at
    /// what stands and dies too, and its own successor that no longer knows whose hook it is.
    @Test func aRenameBetweenTwoDeaths() {
        let history = Self.history()
        let world = history.world
        Self.leaveAnEmptyHook(history)
        for tap in world.taps.values {
            tap.link.name = Array("tap1".utf8)
            tap.vm.isDone = true
        }
        world.script = [.lost]
        history.restart()
        #expect(world.script.isEmpty)
        #expect(world.leftovers.count == 1)
        history.restart()
        for _ in 0..<20 where world.failure == nil { history.step(milliseconds: 100) }
        #expect(world.failure == nil)
        #expect(world.leftovers == [])
    }

    /// Guards against: so many limited ports that what each lets through is measured too seldom to be a
    /// rate, and none of them climbs.
    @Test func aCrowdIsMeasured() {
        var policy = Policy()
        policy.grace = .zero
        policy.setMarks()
        policy.stillFlooding = .saturated
        policy.breakerShare = 1
        let history = History(seed: 1, policy: policy)
        for number in 1...300 {
            history.world.plug("vm-\(number)-\(String(number, radix: 16))", .flood)
        }
        history.start()
        func count(from rung: Rung) -> Int {
            history.turn.engine.slots.count { history.turn.engine.view($0).rung >= rung }
        }
        Self.run(history) { count(from: .police) == 300 }
        #expect(count(from: .police) == 300)
        // The dwell of a minute, and some.
        for _ in 0..<3 { Self.run(history) { count(from: .shape) == 300 } }
        #expect(history.world.failure == nil)
        #expect(count(from: .shape) == 300)
    }

    /// Guards against: the index of a limited port given to another machine's, unseen, limits that
    /// are put back there before it is seen, a death before they are taken out, and a successor that
    /// adopts them as the other machine's own.
    @Test func anInheritedIndex() {
        let history = Self.history()
        let world = history.world
        Self.run(history) { !world.leftovers.isEmpty }
        let standing = world.taps[2]?.standing
        #expect(standing != nil)
        world.unplug(2)
        world.plug("vm-2-b", .quiet, index: 2)
        world.taps[2]?.hook = .ours
        world.taps[2]?.standing = standing
        history.restart()
        for _ in 0..<20 where world.failure == nil { history.step(milliseconds: 100) }
        #expect(world.failure == nil)
        #expect(world.leftovers == [])
        #expect(history.turn.engine.mitigatedCount == 0)
    }
}
