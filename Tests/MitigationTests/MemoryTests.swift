// What is remembered over a restart: rungs, clocks, calibration and strikes go on as if nothing had
// happened, and nothing is decided before the kernel has answered.

import Mitigation
import Testing

@Suite struct MemoryTests {
    /// A flood of 20,000 packets a second that has been on a rung for a while.
    private static func flooding(_ seconds: Double) -> (stage: Stage, id: PortID) {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(until: { $0.rung(id) == .police }, limit: 5)
        stage.run(seconds)
        return (stage, id)
    }

    /// The same port under a decision that starts anew with what the former one remembers.
    private static func restarted(
        _ old: Stage, _ id: PortID, seconds: UInt64 = 0
    ) throws -> (stage: Stage, id: PortID) {
        let slot = try #require(old.engine.slot(of: id))
        let memory = try #require(old.engine.memory(slot, now: old.now))
        let stage = Stage(Stage.policy, at: old.now.advanced(by: .seconds(seconds)))
        let again = stage.add(1)
        stage.engine.restore(old.engine.memory, now: stage.now)
        stage.engine.restore(
            try #require(stage.engine.slot(of: again)), memory, now: stage.now)
        return (stage, again)
    }

    @Test("Guards against a restart that forgets a rung, its time, its caps, or tells it again")
    func goesOn() throws {
        let (old, id) = Self.flooding(2)
        let before = try #require(old.view(id))
        let (stage, again) = try Self.restarted(old, id)
        let after = try #require(stage.view(again))
        #expect(after.rung == .police && after.since == before.since)
        #expect(after.limits == before.limits && after.incident == before.incident)
        #expect(stage.events.isEmpty)
        // First what belongs to the rung is asked for, and then nothing until the dwell is over.
        stage.loads[again] = .flood(20_000)
        stage.run(0.2)
        #expect(stage.asked.map(\.action) == [.limit(again, before.limits)])
        #expect(stage.events.isEmpty)
        let due = try #require(before.climb?.at)
        stage.run(until: { $0.rung(again) == .shape }, limit: 10)
        #expect(stage.rung(again) == .shape)
        let late = stage.now.since(due)
        #expect(late < .milliseconds(1_200) && stage.now >= due)
    }

    @Test("Guards against a decision on a port of which nothing is confirmed yet")
    func nothingBeforeTheAnswer() throws {
        let (old, id) = Self.flooding(2.9)
        let (stage, again) = try Self.restarted(old, id)
        stage.answer = { _ in .unknown("timeout") }
        stage.loads[again] = .flood(20_000)
        stage.run(10)
        #expect(stage.rung(again) == .police && stage.moves.isEmpty)
        stage.answer = { _ in .done }
        stage.run(60)
        #expect(stage.moves.first == .shape)
    }

    @Test("Guards against calm that begins anew, and against calm that counts while nobody looked")
    func calmGoesOn() throws {
        let (old, id) = Self.flooding(0.5)
        old.loads[id] = .quiet
        old.run(1)
        let calm = try #require(old.view(id)?.calm)
        #expect(calm > .milliseconds(500))
        let (stage, again) = try Self.restarted(old, id, seconds: 3600)
        #expect(stage.view(again)?.calm == calm && stage.rung(again) == .police)
        let needed = try #require(stage.view(again)?.calmNeeded)
        let begin = stage.now
        stage.run(until: { $0.rung(again) == .normal }, limit: 20)
        let took = stage.now.since(begin)
        #expect(took >= needed - calm && took <= needed - calm + .milliseconds(500))
    }

    @Test("Guards against strikes that a restart, or another interface of the machine, forgives")
    func strikes() throws {
        let (old, id) = Self.flooding(0.5)
        old.loads[id] = .quiet
        old.run(until: { $0.rung(id) == .normal }, limit: 20)
        let (stage, again) = try Self.restarted(old, id)
        stage.loads[again] = .flood(20_000)
        stage.run(until: { $0.rung(again) == .police }, limit: 5)
        #expect(stage.view(again)?.strikes == 1)
        #expect(stage.view(again)?.incident == 2)
        let slot = try #require(stage.engine.slot(of: again))
        let memory = try #require(stage.engine.memory(slot, now: stage.now))
        let forgiveness = Stage.policy.forgiveness
        let rest = memory.outlived(now: stage.now, forgiveness: forgiveness)
        #expect(rest?.strikes == 1 && rest?.incident == nil)
        #expect(rest?.relapseUntil == stage.now.advanced(by: forgiveness))
    }

    @Test("Guards against a machine cut off by a shutdown that was asked for when the daemon ended")
    func askedAndNeverAnswered() throws {
        let stage = Stage(Stage.policy)
        stage.answer = { action in
            if case .shutDown = action { nil } else { .done }
        }
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(until: { $0.view(id)?.pending == .shutDown }, limit: 60)
        let (next, again) = try Self.restarted(stage, id)
        next.run(0.3)
        // The link as the rung has it, then the limits, and nothing more.
        #expect(
            next.asked.map(\.action).first == .shutDown(again, false)
                && next.asked.count == 2 && next.moves.isEmpty)
    }

    @Test(
        "Guards against another host's rung where this host's rules end below it",
        arguments: [Rung.normal, .police, .shape, .tighten, .shutDown])
    func bounded(_ ceiling: Rung) throws {
        let (old, id) = Self.flooding(0)
        old.run(until: { $0.rung(id) == .shutDown }, limit: 600)
        let slot = try #require(old.engine.slot(of: id))
        let memory = try #require(old.engine.memory(slot, now: old.now)).bounded(by: ceiling)
        #expect(memory.incident?.rung ?? .normal == ceiling)
        #expect(memory.incident?.isSound ?? true)
        guard ceiling > .normal else { return }
        let stage = Stage(Stage.policy, at: old.now)
        let again = stage.add(1)
        let place = try #require(stage.engine.slot(of: again))
        stage.engine.restore(place, memory, now: stage.now)
        stage.loads[again] = .flood(20_000)
        stage.run(0.3)
        #expect(stage.rung(again) == ceiling)
        let isDown = stage.asked.contains { asked in asked.action == .shutDown(again, true) }
        #expect(isDown == (ceiling == .shutDown))
    }

    @Test("Guards against a ceiling that is not the policy's")
    func ceilings() {
        var policy = Stage.policy
        policy.highestRung = .shape
        for (policy, highest) in [(Stage.policy, Rung.shutDown), (policy, .shape)] {
            let engine = Stage(policy).engine
            func ceiling(_ portClass: PortClass) -> Rung {
                engine.ceiling(
                    of: Port(
                        id: PortID(index: 1, generation: 1), name: PortName("vm-1-1"),
                        portClass: portClass, netid: 1))
            }
            #expect(ceiling(.vm) == highest && ceiling(.backend) == .normal)
            #expect(ceiling(.router) == min(highest, .tighten))
        }
    }

    @Test("Guards against a memory that makes no sense and cuts a machine off, or traps")
    func unsound() {
        let cap = Cap(packets: PacketRate(perSecond: 0), bits: BitRate(bitsPerSecond: 0))
        var incident = IncidentMemory(number: 7)
        incident.from.rung = .police
        incident.from.cap = cap
        incident.limits = Limits(
            rung: .police, incident: 7, from: Limit(cap: cap), to: nil, lane: Stage.policy.lane)
        var memory = PortMemory()
        memory.incident = incident
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.engine.restore(stage.engine.slot(of: id) ?? 0, memory, now: stage.now)
        #expect(stage.view(id)?.rung == .normal && stage.view(id)?.incident == nil)
        stage.engine.restore(99, memory, now: stage.now)
        // Every number at its limit.
        let one = Cap(packets: PacketRate(perSecond: 1), bits: BitRate(bitsPerSecond: 1))
        incident.from.cap = one
        incident.limits?.from = Limit(cap: one)
        incident.from.since = Instant(nanoseconds: .max)
        incident.from.calm = .max
        incident.from.evidence.start = Instant(nanoseconds: .max)
        incident.from.evidence.polls = .max
        incident.from.evidence.valid = .max
        incident.from.evidence.flooding = .max
        incident.from.evidence.covered = .max
        incident.from.evidence.packets = .max
        incident.strikes = .max
        memory.incident = incident
        memory.strikes = .max
        memory.relapseUntil = Instant(nanoseconds: .max)
        stage.engine.restore(stage.engine.slot(of: id) ?? 0, memory, now: stage.now)
        stage.loads[id] = .flood(20_000)
        stage.run(20)
        #expect(stage.view(id)?.incident == 7)
    }

    @Test("Guards against a repair fight that the decision takes for a flood, or for calm")
    func distrust() throws {
        let (stage, id) = Self.flooding(1)
        stage.engine.distrust(id, "somebody", until: stage.now.advanced(by: .seconds(30)))
        stage.asked = []
        stage.run(29)
        #expect(stage.asked.isEmpty && stage.rung(id) == .police)
        #expect(stage.view(id)?.problem == "somebody")
        stage.run(2)
        #expect(stage.asked.count == 1 && stage.view(id)?.problem == nil)
        stage.run(until: { $0.rung(id) == .shape }, limit: 10)
        #expect(stage.rung(id) == .shape)
    }
}
