// A port that is flooded from outside: an alert, at most shape, and never what it sends.

import Mitigation
import Testing

@Suite struct VictimTests {
    @Test("Guards against a victim that is limited where only an alert is wanted")
    func alert() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flooded(60_000)
        stage.run(60)
        #expect(stage.kinds == [.victim(true)] && stage.asked.isEmpty)
        #expect(stage.events.first?.reason?.direction == .to)
        #expect(stage.view(id)?.isVictim == true && stage.rung(id) == .normal)
        stage.loads[id] = .quiet
        stage.run(4)
        #expect(stage.kinds == [.victim(true), .victim(false)])
        #expect(stage.view(id)?.incident == nil)
    }

    @Test("Guards against a victim above shape, policed, or limited in what it sends")
    func shape() throws {
        var policy = Stage.policy
        policy.victim = .shape
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flooded(20_000)
        stage.run(60)
        #expect(stage.kinds == [.victim(true), .moved(from: .normal, to: .shape)])
        let limits = try #require(stage.lastLimits)
        #expect(limits.rung == .shape && limits.from == nil)
        #expect(limits.to?.cap.packets.perSecond == 2_000)
        #expect(limits.to?.delay == .milliseconds(200))
        stage.loads[id] = .quiet
        stage.run(4)
        #expect(stage.asked.last?.action == .limit(id, nil))
        #expect(
            stage.kinds.suffix(2) == [.moved(from: .shape, to: .normal), .victim(false)])
        #expect(stage.view(id)?.incident == nil)
    }

    @Test("Guards against a shaped victim that looks calm because we shape it")
    func shapedIsNotCalm() {
        var policy = Stage.policy
        policy.victim = .shape
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flooded(20_000)
        stage.run(1)
        // What is sent to the VM is counted behind the shaper: it stands at the cap.
        stage.loads[id] = .flooded(2_000)
        stage.run(60)
        #expect(stage.rung(id) == .shape)
        stage.loads[id] = .flooded(1_700)
        stage.run(4)
        #expect(stage.rung(id) == .normal)
    }

    @Test("Guards against a sender that is spared because it is flooded as well")
    func sendsToo() throws {
        var policy = Stage.policy
        policy.victim = .shape
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flooded(20_000)
        stage.run(1)
        stage.loads[id] = Load(packets: 20_000, toPackets: 2_000)
        stage.run(0.8)
        // Policed in what it sends, still shaped in what it is sent.
        let mixed = try #require(stage.lastLimits)
        #expect(mixed.from?.delay == nil && mixed.from != nil && mixed.to?.delay != nil)
        #expect(mixed.rung == .shape && stage.rung(id) == .shape)
        #expect(stage.view(id)?.fromRung == .police && stage.view(id)?.toRung == .shape)
        stage.run(15.1)
        #expect(stage.rung(id) == .shutDown)
        let from = stage.events.filter { $0.reason?.direction == .from }.map(\.kind)
        #expect(
            from == [
                .moved(from: .normal, to: .police), .moved(from: .police, to: .shape),
                .moved(from: .shape, to: .tighten), .moved(from: .tighten, to: .shutDown),
            ])
        #expect(Set(stage.events.map(\.incident)) == [1])
        #expect(stage.release(id))
        #expect(stage.rung(id) == .normal && stage.asked.last?.action == .limit(id, nil))
    }

    @Test("Guards against a VM that stays limited in what it sends while others flood it")
    func eachDirectionCalms() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = Load(packets: 20_000, toPackets: 20_000)
        stage.run(1)
        #expect(stage.rung(id) == .police && stage.view(id)?.isVictim == true)
        stage.loads[id] = .flooded(20_000)
        stage.run(4.5)
        #expect(stage.rung(id) == .normal && stage.view(id)?.isVictim == true)
        stage.run(20)
        #expect(stage.moves == [.police, .normal])
    }

    @Test("Guards against an alert that comes and goes with each burst")
    func oneAlert() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        for poll in 0..<600 {
            stage.loads[id] = poll % 30 < 15 ? .flooded(60_000) : .quiet
            stage.poll()
        }
        #expect(stage.kinds == [.victim(true)])
    }
}
