// An operator's word on ports and classes, in simulated time.

import Mitigation
import Testing

@Suite struct OrderTests {
    private func order(_ stage: Stage, _ id: PortID, _ order: PortOrder?) {
        var actions: [Action] = []
        stage.engine.order(id, order, now: stage.now, into: &actions)
        stage.process(actions)
    }

    private func escalate(_ stage: Stage, _ id: PortID) -> EscalationRefusal? {
        var actions: [Action] = []
        let refusal = stage.engine.escalate(id, now: stage.now, into: &actions)
        stage.process(actions)
        return refusal
    }

    @Test("Guards against an exempt port that is limited, or not told of")
    func exempt() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        order(stage, id, .exempt)
        stage.loads[id] = .flood(60_000)
        stage.run(30)
        #expect(stage.asked.isEmpty && stage.moves == [.police, .shape, .tighten, .shutDown])
        #expect(stage.events.allSatisfy { $0.mode == .observe })
        #expect(stage.view(id)?.mode == .observe && stage.view(id)?.order == .exempt)
        order(stage, id, nil)
        stage.run(0.1)
        #expect(stage.lastLimits?.rung == .police && stage.view(id)?.mode == .enforce)
    }

    @Test("Guards against a limit that stays on a port which is exempt from now on")
    func exemptReleases() {
        let stage = Stage(Stage.policy)
        let (id, other) = (stage.add(1), stage.add(2))
        stage.loads[id] = .flood(20_000)
        stage.loads[other] = .flood(20_000)
        stage.run(5)
        #expect(stage.rung(id) == .shape && stage.rung(other) == .shape)
        order(stage, id, .exempt)
        #expect(stage.asked.last?.action == .limit(id, nil) && stage.rung(id) == .normal)
        let asked = stage.asked.count
        stage.run(3)
        #expect(stage.rung(other) == .shape && stage.asked.count == asked)
    }

    @Test("Guards against an exemption that a port which was shut down does not come up by")
    func exemptComesUp() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(20)
        #expect(stage.rung(id) == .shutDown)
        order(stage, id, .exempt)
        #expect(stage.asked.suffix(2).map(\.action) == [.shutDown(id, false), .limit(id, nil)])
        #expect(stage.rung(id) == .normal)
    }

    @Test("Guards against an exempt port whose limits come back, where the kernel would not let go")
    func refusedExemption() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(2)
        stage.answer = { _ in .refused("busy") }
        order(stage, id, .exempt)
        #expect(stage.rung(id) == .police && stage.view(id)?.problem == "busy")
        stage.answer = { _ in .done }
        stage.run(30)
        #expect(stage.rung(id) == .police && stage.moves == [.police])
        stage.loads[id] = .quiet
        stage.run(5)
        #expect(stage.rung(id) == .normal && stage.asked.last?.action == .limit(id, nil))
    }

    @Test("Guards against a held port that climbs or comes down, and one that is not let go on")
    func hold() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(2)
        order(stage, id, .hold)
        stage.run(20)
        #expect(stage.rung(id) == .police)
        stage.loads[id] = .quiet
        stage.run(20)
        #expect(stage.rung(id) == .police && stage.asked.count == 1)
        order(stage, id, nil)
        stage.run(0.2)
        #expect(stage.rung(id) == .normal)
    }

    @Test("Guards against a word that outlives what it was said of: a held port on normal trips")
    func heldOnNormal() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        order(stage, id, .hold)
        stage.loads[id] = .flood(20_000)
        stage.run(2)
        #expect(stage.rung(id) == .police)
        #expect(stage.release(id))
        #expect(stage.rung(id) == .normal)
    }

    @Test(
        "Guards against a rung by an operator's word that is not calibrated, or knows no relapse"
    )
    func escalate() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = Load(packets: 4_000, size: 500)
        stage.run(1)
        #expect(escalate(stage, id) == nil)
        let cap = stage.lastLimits?.from?.cap
        #expect(cap?.packets.perSecond == 2_000 && cap?.bits.bitsPerSecond == 8_000_000)
        #expect(stage.rung(id) == .police && stage.events.last?.reason?.rule == .operator)
        #expect(escalate(stage, id) == nil && escalate(stage, id) == nil)
        #expect(stage.rung(id) == .tighten)
        #expect(stage.lastLimits?.from?.cap.packets.perSecond == 500)
        #expect(escalate(stage, id) == nil && escalate(stage, id) == .highest(.shutDown))
        stage.release(id)
        #expect(escalate(stage, id) == nil)
        stage.loads[id] = .quiet
        let time = stage.run(until: { $0.rung(id) == .normal })
        #expect(time.map { $0 > 7.5 && $0 < 9 } == true)
    }

    @Test("Guards against an escalation of what is not to be limited, or is being changed")
    func refusedEscalation() {
        var policy = Stage.policy
        policy.modes = [.vtep: .observe]
        let stage = Stage(policy)
        let (vm, router) = (stage.add(1), stage.add(2, .router))
        let (vtep, backend) = (stage.add(3, .vtep), stage.add(4, .backend))
        #expect(escalate(stage, PortID(index: 9, generation: 1)) == .unknownPort)
        #expect(escalate(stage, backend) == .highest(.normal))
        #expect(escalate(stage, vtep) == .observed)
        for _ in 0..<3 { #expect(escalate(stage, router) == nil) }
        #expect(escalate(stage, router) == .highest(.tighten))
        order(stage, vm, .exempt)
        #expect(escalate(stage, vm) == .observed)
        order(stage, vm, nil)
        stage.answer = { _ in nil }
        #expect(escalate(stage, vm) == nil && escalate(stage, vm) == .busy)
    }

    @Test("Guards against a class that is limited though it is only observed, and its opposite")
    func classes() {
        var policy = Stage.policy
        policy.mode = .observe
        policy.modes = [.vm: .enforce]
        let stage = Stage(policy)
        let (vm, router) = (stage.add(1), stage.add(2, .router))
        stage.loads[vm] = .flood(20_000)
        stage.loads[router] = .flood(20_000)
        stage.run(2)
        #expect(stage.asked.map(\.action.port) == [vm])
        #expect(stage.rung(router) == .police && stage.view(router)?.mode == .observe)
        #expect(stage.view(vm)?.mode == .enforce)
    }

    @Test("Guards against an observed class that keeps the breaker from letting others climb")
    func breaker() {
        var policy = Stage.policy
        policy.breakerMinimum = 2
        policy.breakerShare = 0
        policy.breakerShutdowns = 1
        policy.modes = [.router: .observe]
        let stage = Stage(policy)
        let routers = (1...4).map { stage.add($0, .router) }
        let vms = (5...6).map { stage.add($0) }
        for id in routers { stage.loads[id] = .flood(20_000) }
        stage.run(2)
        #expect(routers.count { stage.rung($0) == .police } == 3)
        #expect(stage.kinds.contains(.held(.police, .share)))
        for id in vms { stage.loads[id] = .flood(20_000) }
        stage.run(2)
        #expect(vms.allSatisfy { stage.rung($0) == .police })
        #expect(stage.engine.breaker == nil)
    }

    @Test("Guards against an observed VM on whose account a router is limited, or the reverse")
    func companions() {
        var policy = Stage.policy
        policy.modes = [.vm: .observe]
        for (mode, isLimited) in [(Mode.observe, false), (.enforce, true)] {
            policy.modes = [.vm: mode]
            let stage = Stage(policy)
            let vm = stage.add(1, netid: 7)
            let vtep = stage.add(2, .vtep, netid: 7)
            stage.loads[vm] = .flood(20_000)
            stage.run(3)
            #expect(stage.rung(vm) == .police)
            #expect(stage.asked.contains { $0.action.port == vtep } == isLimited)
            #expect((stage.rung(vtep) == .police) == isLimited)
            order(stage, vm, .exempt)
            stage.run(1)
            #expect(stage.rung(vtep) == .normal)
        }
    }
}
