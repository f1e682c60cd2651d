// What the kernel answers: done, refused, unknown, late; and the operator's release, adoption, reload.

import Mitigation
import Testing

@Suite struct RequestTests {
    @Test(
        "Guards against an alert of what has not happened, and against a second request meanwhile")
    func pending() {
        let stage = Stage(Stage.policy)
        stage.answer = { _ in nil }
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(60)
        #expect(stage.asked.count == 1 && stage.events.isEmpty)
        #expect(stage.rung(id) == .normal && stage.view(id)?.pending == .police)
        stage.confirm(id, .done)
        #expect(stage.moves == [.police])
        #expect(stage.view(id)?.since == stage.now)
        // The dwell begins with the confirmation.
        stage.run(2.9)
        #expect(stage.asked.count == 1)
        stage.run(0.1)
        #expect(stage.asked.count == 2)
    }

    @Test("Guards against a confirmation that nobody asked for")
    func unasked() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.confirm(id, .done)
        stage.confirm(PortID(index: 77, generation: 1), .refused("no"))
        #expect(stage.events.isEmpty)
        stage.loads[id] = .flood(20_000)
        stage.run(1)
        let before = stage.events
        stage.confirm(id, .refused("late"))
        stage.confirm(id, .done)
        #expect(stage.events == before && stage.rung(id) == .police)
    }

    @Test("Guards against a refused trip that is asked for ten times a second, or told each time")
    func refusedTrip() {
        let stage = Stage(Stage.policy)
        stage.answer = { _ in .refused("no module") }
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(200)
        #expect(stage.kinds == [.refused(.police, "no module")])
        #expect(stage.rung(id) == .normal && stage.view(id)?.problem == "no module")
        let times = stage.asked.map(\.at)
        let waits = zip(times.dropFirst(), times).map { $0.since($1) }
        #expect(
            waits == [
                .seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(16), .seconds(32),
                .seconds(60), .seconds(60),
            ])
        stage.answer = { _ in .done }
        #expect(stage.run(until: { $0.rung(id) == .police }, limit: 61) != nil)
        #expect(stage.view(id)?.problem == nil)
    }

    @Test("Guards against a refused rung that takes the present one away, or is asked for at once")
    func refusedClimb() {
        let stage = Stage(Stage.policy)
        stage.answer = { action in
            if case .limit(_, let limits) = action, limits?.rung == .shape {
                return .refused("ifb: no such device")
            }
            return .done
        }
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(20)
        #expect(
            stage.kinds == [
                .moved(from: .normal, to: .police), .refused(.shape, "ifb: no such device"),
            ])
        #expect(stage.view(id)?.limits?.rung == .police)
        let times = stage.asked.dropFirst().map(\.at)
        for (later, earlier) in zip(times.dropFirst(), times) {
            #expect(later.since(earlier) == .seconds(3))
        }
        #expect(times.count > 3)
    }

    @Test("Guards against a refused release that is asked for ten times a second")
    func refusedRelease() {
        let stage = Stage(Stage.policy)
        stage.answer = { $0 == .limit($0.port, nil) ? .refused("busy") : .done }
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(1)
        stage.loads[id] = .quiet
        stage.run(20)
        #expect(stage.rung(id) == .police)
        #expect(stage.kinds == [.moved(from: .normal, to: .police), .refused(.normal, "busy")])
        #expect(stage.asked.count == 6)
    }

    @Test(
        "Guards against unknown that climbs, releases, or is not asked again with the same limits")
    func unknown() {
        let stage = Stage(Stage.policy)
        stage.answer = { _ in .unknown("no answer") }
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(100)
        #expect(stage.kinds == [.unknown(.police, "no answer")])
        #expect(stage.rung(id) == .normal)
        #expect(Set(stage.asked.map(\.action)).count == 1)
        let times = stage.asked.map(\.at)
        let waits = zip(times.dropFirst(), times).map { $0.since($1) }
        #expect(
            waits == [
                .seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(16), .seconds(30),
                .seconds(30),
            ])
        // The flood ends; what is unknown is still asked for, then released by calm.
        stage.loads[id] = .quiet
        stage.answer = { _ in .done }
        stage.run(40)
        #expect(stage.moves == [.police, .normal])
        #expect(stage.view(id)?.incident == nil)
    }

    @Test("Guards against a release that waits for calm, skips the link, or tells too much")
    func releaseShutDown() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        _ = stage.run(until: { $0.rung(id) == .shutDown })
        let asked = stage.asked.count
        let told = stage.events.count
        #expect(stage.release(id))
        #expect(
            stage.asked[asked...].map(\.action) == [.shutDown(id, false), .limit(id, nil)])
        #expect(
            stage.events[told...].map(\.kind) == [
                .moved(from: .shutDown, to: .tighten), .moved(from: .tighten, to: .normal),
            ])
        #expect(stage.events.last?.reason?.rule == .operator)
        #expect(stage.rung(id) == .normal && !stage.release(id))
        // A flood that goes on takes a whole trip again, and is a relapse.
        stage.run(0.7)
        #expect(stage.rung(id) == .normal)
        stage.run(0.1)
        #expect(stage.rung(id) == .police && stage.view(id)?.strikes == 1)
    }

    @Test("Guards against a release that overtakes an answer that is due")
    func releaseWhilePending() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(1)
        stage.answer = { _ in nil }
        stage.run(3)
        #expect(stage.view(id)?.pending == .shape)
        let asked = stage.asked.count
        #expect(stage.release(id) && stage.asked.count == asked)
        stage.confirm(id, .done)
        #expect(stage.moves == [.police, .shape])
        #expect(stage.asked.last?.action == .limit(id, nil))
        stage.confirm(id, .done)
        #expect(stage.moves == [.police, .shape, .normal])
        #expect(stage.view(id)?.incident == nil)
    }

    @Test("Guards against a release that is lost behind an unknown request, or never ends")
    func releaseAfterUnknown() {
        let stage = Stage(Stage.policy)
        stage.answer = { _ in .unknown("timeout") }
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(1)
        stage.loads[id] = .quiet
        #expect(stage.release(id))
        #expect(stage.asked.last?.action == .limit(id, nil))
        stage.answer = { _ in .done }
        stage.run(2)
        #expect(stage.view(id)?.incident == nil && stage.moves.isEmpty)
        #expect(!stage.release(id))
    }

    @Test("Guards against a refused release that holds the port for ever, or tells only once")
    func releaseRefused() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(1)
        stage.answer = { _ in .refused("busy") }
        #expect(stage.release(id) && stage.release(id))
        #expect(
            stage.kinds == [
                .moved(from: .normal, to: .police), .refused(.normal, "busy"),
                .refused(.normal, "busy"),
            ])
        stage.answer = { _ in .done }
        stage.run(10)
        #expect(stage.rung(id) == .tighten || stage.rung(id) == .shape)
    }

    @Test("Guards against adopted limits that get another rung, other clocks, or a used incident")
    func adopt() {
        let stage = Stage(Stage.policy)
        let lane = stage.engine.policy.lane
        let cap = Cap(
            packets: PacketRate(perSecond: 500), bits: BitRate(bitsPerSecond: 1_000_000))
        let tight = Limit(cap: cap, delay: .milliseconds(400))
        let shaped = Limit(cap: cap, delay: .milliseconds(200))
        let cases: [(Limits, Bool, Rung, Rung, Rung)] = [
            (
                Limits(rung: .police, incident: 7, from: Limit(cap: cap), to: nil, lane: lane),
                false, .police, .police, .normal
            ),
            (
                Limits(rung: .shape, incident: 8, from: shaped, to: shaped, lane: lane), false,
                .shape, .shape, .normal
            ),
            (
                Limits(rung: .shape, incident: 9, from: nil, to: shaped, lane: lane), false, .shape,
                .normal, .shape
            ),
            (
                Limits(rung: .shape, incident: 9, from: Limit(cap: cap), to: shaped, lane: lane),
                false, .shape, .police, .shape
            ),
            (
                Limits(rung: .tighten, incident: 6, from: tight, to: tight, lane: lane), false,
                .tighten, .tighten, .normal
            ),
            (
                Limits(rung: .tighten, incident: 5, from: tight, to: tight, lane: lane), true,
                .shutDown, .shutDown, .normal
            ),
        ]
        var ids: [PortID] = []
        for (index, (limits, linkIsDown, rung, from, to)) in cases.enumerated() {
            let id = stage.add(Int32(index + 1))
            ids.append(id)
            stage.adopt(id, limits, linkIsDown: linkIsDown)
            let view = stage.view(id)
            #expect(view?.rung == rung && view?.fromRung == from && view?.toRung == to)
            #expect(view?.limits == limits && view?.incident == limits.incident)
            #expect(stage.events.isEmpty)
        }
        #expect(stage.asked.isEmpty)
        let tightened = ids[4]
        stage.loads[tightened] = .flood(20_000)
        stage.run(4.3)
        // Its neighbours are released by calm; a flood that goes on is shut down after its dwell.
        #expect(stage.rung(ids[0]) == .normal && stage.rung(ids[2]) == .normal)
        #expect(stage.run(until: { $0.rung(tightened) == .shutDown }, limit: 4) != nil)
        let other = stage.add(100)
        stage.loads[other] = .flood(20_000)
        stage.run(1)
        #expect(stage.view(other)?.incident == 10)
        // Down again from an adopted rung with the limits that belong there.
        stage.loads[tightened] = .quiet
        #expect(stage.release(tightened) && stage.rung(tightened) == .normal)
        #expect(stage.rung(ids[5]) == .shutDown)
    }

    @Test(
        "Guards against limits that are found beside a remembered alert, and that nobody takes out")
    func adoptBesideAlert() {
        var policy = Stage.policy
        policy.breakerMinimum = 0
        policy.breakerShare = 0
        let stage = Stage(policy)
        let id = stage.add(1)
        var memory = PortMemory()
        memory.incident = IncidentMemory(number: 3)
        memory.incident?.to.isAlarmed = true
        guard let slot = stage.engine.slot(of: id) else { return #expect(Bool(false)) }
        stage.engine.restore(slot, memory, now: stage.now)
        let cap = Cap(
            packets: PacketRate(perSecond: 500), bits: BitRate(bitsPerSecond: 1_000_000))
        let limits = Limits(
            rung: .police, incident: 3, from: Limit(cap: cap), to: nil, lane: policy.lane)
        let isFirst = stage.engine.adopt(slot, limits, linkIsDown: false, now: stage.now)
        #expect(isFirst && stage.rung(id) == .police && stage.view(id)?.limits == limits)
        let isSecond = stage.engine.adopt(slot, limits, linkIsDown: false, now: stage.now)
        #expect(!isSecond)
        #expect(stage.release(id) && stage.rung(id) == .normal)
    }

    @Test("Guards against an adopted quarter that is quartered again")
    func adoptTightened() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        let cap = Cap(
            packets: PacketRate(perSecond: 500), bits: BitRate(bitsPerSecond: 1_000_000))
        let tight = Limit(cap: cap, delay: .milliseconds(400))
        stage.adopt(
            id,
            Limits(
                rung: .tighten, incident: 3, from: tight, to: tight, lane: stage.engine.policy.lane)
        )
        stage.run(4.2)
        #expect(stage.lastLimits?.rung == .shape)
        #expect(stage.lastLimits?.from?.cap.packets.perSecond == 2_000)
        #expect(stage.lastLimits?.from?.delay == .milliseconds(200))
    }

    @Test("Guards against a VM that is cut off by a shutdown which was unknown, and then released")
    func unknownShutDownReleased() {
        let stage = Stage(Stage.policy)
        stage.answer = { action in
            if case .shutDown(_, true) = action { .unknown("timeout") } else { .done }
        }
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(until: { $0.kinds.last == .unknown(.shutDown, "timeout") })
        #expect(stage.rung(id) == .tighten)
        stage.asked = []
        #expect(stage.release(id))
        #expect(stage.asked.map(\.action) == [.shutDown(id, false), .limit(id, nil)])
        #expect(stage.moves.suffix(2) == [.tighten, .normal])
    }

    @Test("Guards against limits that stay in the kernel: unknown, then refused, then calm")
    func unknownThenRefused() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        var answers: [Outcome] = [.unknown("timeout"), .refused("busy"), .refused("busy")]
        stage.answer = { _ in answers.isEmpty ? .done : answers.removeFirst() }
        stage.loads[id] = .flood(20_000)
        stage.run(1)
        stage.loads[id] = .quiet
        stage.run(1)
        // What belongs to normal is asked for until it is done, and only then it is over.
        #expect(stage.asked.last?.action == .limit(id, nil) && stage.view(id)?.incident == 1)
        #expect(stage.view(id)?.problem == "busy" && stage.engine.mitigatedCount == 0)
        stage.run(5.5)
        #expect(stage.asked.count == 4 && stage.asked.last?.action == .limit(id, nil))
        #expect(stage.view(id)?.incident == nil)
        #expect(stage.kinds == [.unknown(.police, "timeout"), .refused(.police, "busy")])
    }

    @Test("Guards against evidence that was gathered while the kernel's state was unknown")
    func uncertainIsNoEvidence() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(3.7)
        var answers: [Outcome] = [
            .unknown("timeout"), .refused("busy"), .refused("busy"), .refused("busy"), .done,
        ]
        stage.answer = { _ in answers.isEmpty ? .done : answers.removeFirst() }
        // The policer may be gone for more than a dwell before it is sure to be there again.
        stage.run(until: { _ in answers.isEmpty })
        #expect(stage.asked.last?.action == stage.asked.first?.action)
        #expect(stage.rung(id) == .police)
        #expect(stage.run(until: { $0.rung(id) == .shape }) == 3)
    }

    @Test("Guards against a reload that forgets rungs, clocks or strikes")
    func reload() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(0.8)
        stage.run(2)
        var policy = stage.engine.policy
        policy.target = PacketRate(perSecond: 100)
        policy.shapeDwell = .seconds(8)
        stage.engine.replace(policy: policy, now: stage.now)
        #expect(stage.rung(id) == .police)
        stage.run(1)
        #expect(stage.rung(id) == .shape)
        #expect(stage.lastLimits?.from?.cap.packets.perSecond == 2_000)
        #expect(stage.run(until: { $0.rung(id) == .tighten }) == 8)
        #expect(stage.moves == [.police, .shape, .tighten])
    }
}
