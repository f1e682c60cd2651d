// Down the ladder: calm, one rung at a time; relapses; the probe.

import Mitigation
import Testing

@Suite struct CalmTests {
    /// A port on `tighten` whose flood has just ended.
    private func tightened(_ policy: Policy = Stage.policy) -> (Stage, PortID) {
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        _ = stage.run(until: { $0.rung(id) == .tighten })
        stage.loads[id] = .quiet
        return (stage, id)
    }

    @Test("Guards against a release all at once, early, late, or with something left")
    func oneRungAtATime() {
        let (stage, id) = tightened()
        let before = stage.events.count
        stage.run(12.5)
        let down = stage.events[before...]
        #expect(
            down.map(\.kind) == [
                .moved(from: .tighten, to: .shape), .moved(from: .shape, to: .police),
                .moved(from: .police, to: .normal),
            ])
        let times = down.map(\.at)
        #expect(times[1].since(times[0]) == .seconds(4) && times[2].since(times[1]) == .seconds(4))
        #expect(down.allSatisfy { $0.reason?.rule == .calm })
        #expect(stage.asked.last?.action == .limit(id, nil))
        #expect(stage.view(id)?.incident == nil && stage.engine.mitigatedCount == 0)
    }

    @Test("Guards against a load between the marks that is taken as calm")
    func betweenTheMarks() {
        let (stage, id) = tightened()
        stage.loads[id] = .flood(5_000)
        stage.engine.replace(policy: stage.engine.policy, now: stage.now)
        stage.run(1)
        #expect(stage.view(id)?.calm == .zero)
        stage.loads[id] = .flood(4_990)
        stage.run(4)
        #expect(stage.rung(id) == .shape)
    }

    @Test("Guards against calm that one loud poll does not end")
    func interrupted() {
        let (stage, id) = tightened()
        for _ in 0..<10 {
            stage.loads[id] = .quiet
            stage.run(3.9)
            stage.loads[id] = .flood(6_000)
            stage.poll()
        }
        #expect(stage.rung(id) == .tighten)
    }

    @Test("Guards against stale data that is taken as calm")
    func stale() {
        let (stage, id) = tightened()
        stage.run(2)
        stage.stale = [id]
        stage.run(600)
        #expect(stage.rung(id) == .tighten)
        stage.stale = []
        // The gap makes the first sample void.
        stage.run(2)
        #expect(stage.rung(id) == .tighten)
        stage.run(0.2)
        #expect(stage.rung(id) == .shape)
    }

    @Test(
        "Guards against relapses that cost nothing: each within forgiveness doubles calm, up to a limit"
    )
    func relapse() throws {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        var calms: [Double] = []
        for _ in 0..<5 {
            stage.loads[id] = .flood(20_000)
            _ = try #require(stage.run(until: { $0.rung(id) == .police }))
            stage.loads[id] = .quiet
            let calm = try #require(stage.run(until: { $0.rung(id) == .normal }))
            calms.append(calm)
        }
        #expect(calms == [4, 8, 16, 20, 20])
        #expect(Set(stage.events.map(\.incident)) == [1, 2, 3, 4, 5])
        stage.run(61)
        stage.loads[id] = .flood(20_000)
        _ = stage.run(until: { $0.rung(id) == .police })
        stage.loads[id] = .quiet
        #expect(stage.run(until: { $0.rung(id) == .normal }) == 4)
    }

    @Test(
        "Guards against an oscillator within one incident: a climb after a step down doubles calm")
    func relapseWithinTheIncident() throws {
        let (stage, id) = tightened()
        _ = stage.run(until: { $0.rung(id) == .shape })
        stage.loads[id] = .flood(20_000)
        #expect(stage.view(id)?.strikes == 0)
        // By the rule of its dwell, not at once.
        #expect(try #require(stage.run(until: { $0.rung(id) == .tighten })) == 5)
        #expect(stage.view(id)?.strikes == 1)
        stage.loads[id] = .quiet
        #expect(stage.run(until: { $0.rung(id) == .shape }) == 8)
        #expect(Set(stage.events.map(\.incident)) == [1])
    }

    @Test("Guards against a port that is shut down and comes up by calm")
    func shutDownStays() {
        let (stage, id) = tightened()
        stage.loads[id] = .flood(20_000)
        _ = stage.run(until: { $0.rung(id) == .shutDown })
        stage.loads[id] = Load()
        stage.run(300)
        #expect(stage.rung(id) == .shutDown)
        #expect(stage.view(id)?.descent == nil)
    }

    @Test("Guards against a probe that comes early, comes up unlimited, or skips the dwell")
    func probe() {
        var policy = Stage.policy
        policy.probe = .seconds(15)
        let (stage, id) = tightened(policy)
        stage.loads[id] = .flood(20_000)
        _ = stage.run(until: { $0.rung(id) == .shutDown })
        let asked = stage.asked.count
        #expect(stage.run(until: { $0.rung(id) == .tighten }) == 15)
        #expect(stage.asked[asked...].map(\.action) == [.shutDown(id, false)])
        #expect(stage.events.last?.reason?.rule == .probe)
        #expect(stage.view(id)?.limits?.rung == .tighten)
        #expect(stage.run(until: { $0.rung(id) == .shutDown }) == 7)
    }

    @Test("Guards against an incident that survives its port, or acts for it")
    func vanish() {
        let (stage, id) = tightened()
        let asked = stage.asked.count
        stage.vanish(id)
        #expect(stage.kinds.last == .vanished(.tighten))
        #expect(stage.engine.mitigatedCount == 0 && stage.engine.slot(of: id) == nil)
        stage.run(30)
        stage.confirm(id, .done)
        #expect(!stage.release(id))
        #expect(stage.asked.count == asked && stage.kinds.last == .vanished(.tighten))
        // The same place for another port: nothing of the old one is left on it.
        let next = stage.add(1, generation: 2)
        stage.run(10)
        #expect(stage.rung(next) == .normal && stage.view(next)?.strikes == 0)
    }
}
