// What a trip's calibration allows.

import Mitigation
import Seeded
import Testing

@Suite struct CapTests {
    /// The cap of the first police rung under this load.
    private func cap(_ load: Load, _ policy: Policy = Stage.policy, mtu: UInt32 = 1500) -> Cap? {
        let stage = Stage(policy)
        let id = stage.add(1, mtu: mtu)
        stage.loads[id] = load
        stage.run(2)
        return stage.lastLimits?.from?.cap
    }

    @Test("Guards against a cap that is not the target of average packets")
    func target() {
        let cap = cap(.flood(20_000))
        #expect(cap?.packets.perSecond == 2_000)
        #expect(cap?.bits.bitsPerSecond == 2_000 * 250 * 8)
    }

    @Test("Guards against an average that is below 64 bytes, or above a frame of the MTU (GSO)")
    func clamped() {
        #expect(cap(.flood(20_000, size: 20))?.bits.bitsPerSecond == 2_000 * 64 * 8)
        var policy = Stage.policy
        policy.marks[.vm] = Marks(from: Mark(packets: PacketRate(perSecond: 10_000)))
        #expect(cap(.flood(20_000, size: 60_000), policy)?.bits.bitsPerSecond == 2_000 * 1518 * 8)
        #expect(
            cap(.flood(20_000, size: 60_000), policy, mtu: 9000)?.bits.bitsPerSecond
                == 2_000 * 9018 * 8)
    }

    @Test("Guards against an average of the hours before: only the trip's seconds calibrate")
    func onlyTheTrip() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        // Never quite a trip, with large packets, for a long time.
        for poll in 0..<600 {
            stage.loads[id] = poll % 3 < 2 ? .flood(12_000, size: 1000) : .quiet
            stage.poll()
        }
        #expect(stage.asked.isEmpty)
        stage.loads[id] = .flood(60_000, size: 100)
        stage.run(until: { !$0.asked.isEmpty })
        let bits = stage.lastLimits?.from?.cap.bits.bitsPerSecond ?? 0
        // The fast path trips in 200 ms; at most two windows of the old load are in the average.
        #expect(bits < 2_000 * 8 * 550)
    }

    @Test("Guards against a run that begins with a pause: what was sent before it does not count")
    func runAfterPause() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(12_000, size: 1000)
        stage.run(0.5)
        stage.loads[id] = .quiet
        stage.run(0.4)
        stage.loads[id] = .flood(12_000, size: 100)
        stage.run(2)
        #expect(stage.lastLimits?.from?.cap.bits.bitsPerSecond == 2_000 * 100 * 8)
        #expect(stage.events.first?.reason?.measured.packets.perSecond == 12_000)
    }

    @Test("Guards against a cap that changes with the packet size later: it is frozen")
    func frozen() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000, size: 500)
        stage.run(2)
        stage.loads[id] = .flood(60_000, size: 60)
        stage.run(3)
        #expect(stage.rung(id) == .shape)
        #expect(stage.lastLimits?.from?.cap.packets.perSecond == 2_000)
        #expect(stage.lastLimits?.from?.cap.bits.bitsPerSecond == 2_000 * 500 * 8)
    }

    @Test("Guards against a pure bit flood that passes below its packet cap: half of the mark")
    func bitsOnly() {
        let cap = cap(.flood(9_000, size: 1_500))
        #expect(cap?.bits.bitsPerSecond == 2_000 * 1_500 * 8)
        var policy = Stage.policy
        policy.target = PacketRate(perSecond: 9_000)
        // 9,000 packets of 1,500 bytes would be 108 mbit, over the mark of 100.
        let large = self.cap(.flood(9_000, size: 1_500), policy)
        #expect(large?.bits.bitsPerSecond == 50_000_000)
        #expect(large?.packets.perSecond == 9_000)
    }

    @Test("Guards against a cap at or over the high mark, whatever trips and whatever the target")
    func belowTheMark() throws {
        var random = SplitMix(seed: 7)
        for _ in 0..<300 {
            var policy = Stage.policy
            let mark = Mark(
                packets: random.once(in: 4)
                    ? nil : PacketRate(perSecond: random.value(2...50_000)),
                bits: random.once(in: 4)
                    ? nil : BitRate(bitsPerSecond: random.value(2...400_000_000)))
            policy.marks[.vm] = Marks(from: mark)
            policy.target = PacketRate(perSecond: random.value(1...100_000))
            policy.lowShare = random.once(in: 5) ? 1 : 0.5
            let load = Load.flood(random.value(1...100_000), size: random.value(20...9_000))
            guard let cap = cap(load, policy) else { continue }
            #expect(cap.packets.perSecond < mark.packets?.perSecond ?? .max)
            #expect(cap.bits.bitsPerSecond < mark.bits?.bitsPerSecond ?? .max)
            #expect(cap.packets <= policy.target)
            #expect(cap.packets.perSecond > 0 && cap.bits.bitsPerSecond > 0)
        }
    }

    @Test("Guards against a target at the mark, which would limit nothing")
    func targetAboveTheMark() {
        var policy = Stage.policy
        policy.target = PacketRate(perSecond: 10_000)
        #expect(cap(.flood(20_000), policy)?.packets.perSecond == 5_000)
        policy.target = PacketRate(perSecond: 9_999)
        #expect(cap(.flood(20_000), policy)?.packets.perSecond == 9_999)
    }
}
