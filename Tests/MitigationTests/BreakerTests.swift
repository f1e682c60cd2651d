// The breaker, and observe mode.

import Mitigation
import Testing

@Suite struct BreakerTests {
    private func crowd(_ policy: Policy, ports: Int32, floods: Int32) -> (Stage, [PortID]) {
        let stage = Stage(policy)
        let ids = (1...ports).map { stage.add($0) }
        for id in ids.prefix(Int(floods)) { stage.loads[id] = .flood(20_000) }
        return (stage, ids)
    }

    private var policy: Policy {
        var policy = Stage.policy
        policy.breakerMinimum = 3
        policy.breakerShare = 0.2
        return policy
    }

    @Test("Guards against a thousand trips that pass in one poll", arguments: [true, false])
    func simultaneous(isAnswered: Bool) {
        let (stage, ids) = crowd(policy, ports: 40, floods: 20)
        if !isAnswered { stage.answer = { _ in nil } }
        stage.run(1)
        // 20% of 40 are 8; the ninth is more than that, and the tenth is held.
        #expect(stage.asked.count == 9)
        #expect(stage.engine.breaker == .share)
        #expect(stage.engine.breakerRoom.mitigated == 9)
        #expect(stage.engine.breakerRoom.mitigatedLimit == 9)
        #expect(stage.kinds.filter { $0 == .held(.police, .share) }.count == 11)
        stage.run(10)
        #expect(stage.asked.count == 9)
        #expect(stage.kinds.count == (isAnswered ? 29 : 11))
        for id in ids { stage.loads[id] = .quiet }
        stage.run(5)
        if isAnswered { #expect(stage.engine.breaker == nil && stage.engine.mitigatedCount == 0) }
    }

    @Test("Guards against a share that stops the first few ports of a small host")
    func minimum() {
        let (stage, _) = crowd(policy, ports: 5, floods: 5)
        stage.run(2)
        #expect(stage.engine.mitigatedCount == 4)
        #expect(stage.engine.breaker == .share)
    }

    @Test("Guards against a distance to the breaker that is another one than its own")
    func room() {
        let (stage, ids) = crowd(policy, ports: 30, floods: 0)
        for (count, id) in ids.prefix(7).enumerated() {
            let room = stage.engine.breakerRoom
            #expect(room.mitigated == count && room.mitigatedLimit == 7)
            #expect(stage.engine.breaker == nil)
            stage.loads[id] = .flood(20_000)
            stage.run(2)
        }
        #expect(stage.engine.breakerRoom.mitigated == 7 && stage.engine.breaker == .share)
    }

    @Test("Guards against held climbs that are told each poll, and against releases that are held")
    func releasesGoOn() throws {
        let (stage, ids) = crowd(policy, ports: 5, floods: 5)
        stage.run(60)
        #expect(stage.moves.allSatisfy { $0 == .police })
        let held = stage.kinds.filter { if case .held = $0 { true } else { false } }
        #expect(held.count == 5)
        #expect(stage.kinds.filter { $0 == .held(.shape, .share) }.count == 4)
        let policed = try #require(ids.first { stage.rung($0) == .police })
        stage.loads[policed] = .quiet
        stage.run(4.1)
        #expect(stage.rung(policed) == .normal)
        // Its place is taken by a port that was held, and the breaker stands again.
        stage.run(1)
        #expect(stage.engine.mitigatedCount == 4 && stage.engine.breaker == .share)
    }

    @Test(
        "Guards against more shutdowns than are allowed in an hour, and against climbs after them")
    func shutdowns() {
        var policy = Stage.policy
        policy.breakerShutdowns = 3
        let (stage, ids) = crowd(policy, ports: 10, floods: 6)
        stage.run(30)
        #expect(stage.moves.filter { $0 == .shutDown }.count == 3)
        #expect(stage.kinds.filter { $0 == .held(.shutDown, .shutdowns) }.count == 3)
        #expect(stage.engine.breaker == .shutdowns)
        #expect(stage.engine.breakerRoom.shutdowns == 3)
        #expect(stage.engine.breakerRoom.shutdownLimit == 3)
        stage.loads[ids[9]] = .flood(20_000)
        stage.run(5)
        #expect(stage.rung(ids[9]) == .normal)
        #expect(stage.kinds.last == .held(.police, .shutdowns))
        // An hour later they are forgotten.
        stage.poll(after: .seconds(3600))
        stage.run(30)
        #expect(stage.moves.filter { $0 == .shutDown }.count == 6)
    }

    @Test("Guards against the shutdowns that are asked for and not yet done")
    func pendingShutdowns() {
        var policy = Stage.policy
        policy.breakerShutdowns = 2
        let (stage, _) = crowd(policy, ports: 10, floods: 6)
        stage.answer = { action in
            if case .shutDown = action { nil } else { .done }
        }
        stage.run(30)
        #expect(
            stage.asked.filter { if case .shutDown = $0.action { true } else { false } }.count == 2)
    }
}

@Suite struct ObserveTests {
    private var policy: Policy {
        var policy = Stage.policy
        policy.mode = .observe
        return policy
    }

    @Test("Guards against an action in observe mode, and against alerts that differ from enforce's")
    func sameAlerts() {
        var policy = policy
        policy.victim = .shape
        policy.probe = .seconds(5)
        policy.breakerMinimum = 1
        policy.breakerShare = 0
        var histories: [[Event]] = []
        for mode in Mode.allCases {
            policy.mode = mode
            let stage = Stage(policy)
            let ids = (1...4).map { stage.add($0) }
            stage.loads[ids[0]] = .flood(20_000)
            stage.run(20)
            stage.loads[ids[1]] = .flooded(20_000)
            stage.loads[ids[2]] = .flood(20_000)
            stage.run(10)
            for id in ids { stage.loads[id] = .quiet }
            stage.run(60)
            if mode == .observe { #expect(stage.asked.isEmpty) }
            histories.append(
                stage.events.map { event in
                    var event = event
                    #expect(event.mode == mode)
                    event.mode = .enforce
                    // Within a poll what is carried out is told after what is not.
                    event.sequence = 0
                    return event
                })
        }
        let isSame = histories[0] == histories[1]
        #expect(isSame && histories[0].count > 8)
    }

    @Test("Guards against a saturated rule that is blind in observe mode")
    func saturated() {
        var policy = policy
        policy.stillFlooding = .saturated
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(30)
        #expect(stage.moves == [.police, .shape, .tighten, .shutDown])
    }

    @Test("Guards against a release in observe mode that asks, or stops half way")
    func release() {
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(20)
        #expect(stage.rung(id) == .shutDown)
        #expect(stage.release(id))
        #expect(stage.rung(id) == .normal && stage.asked.isEmpty)
        #expect(stage.moves.suffix(2) == [.tighten, .normal])
    }

    @Test("Guards against a reload to enforce that shuts down what was never policed")
    func toEnforce() {
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(15)
        #expect(stage.rung(id) == .tighten)
        var enforce = policy
        enforce.mode = .enforce
        stage.engine.replace(policy: enforce, now: stage.now)
        let told = stage.events.count
        stage.run(0.1)
        #expect(
            stage.events[told...].map(\.kind) == [
                .moved(from: .tighten, to: .normal), .moved(from: .normal, to: .police),
            ])
        #expect(stage.events[told...].map(\.mode) == [.observe, .enforce])
        #expect(stage.asked.count == 1 && stage.lastLimits?.rung == .police)
        #expect(stage.view(id)?.strikes == 0)
    }

    @Test("Guards against a reload to observe that climbs, or leaves limits for ever")
    func toObserve() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(1)
        stage.engine.replace(policy: policy, now: stage.now)
        stage.run(30)
        #expect(stage.moves == [.police] && stage.asked.count == 1)
        stage.loads[id] = .quiet
        stage.run(4)
        #expect(stage.asked.last?.action == .limit(id, nil))
        #expect(stage.events.last?.mode == .enforce && stage.rung(id) == .normal)
        stage.loads[id] = .flood(20_000)
        stage.run(10)
        #expect(stage.asked.count == 2 && stage.events.last?.mode == .observe)
    }
}
