// Up the ladder: rungs in order, each after its dwell, and only while the flood goes on.

import Mitigation
import Testing

@Suite struct ClimbTests {
    @Test("Guards against a rung that is left out, early or late, or programmed with other limits")
    func wholeLadder() throws {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(30)
        #expect(stage.moves == [.police, .shape, .tighten, .shutDown])
        let times = stage.events.map(\.at)
        #expect(times[1].since(times[0]) == .seconds(3))
        #expect(times[2].since(times[1]) == .seconds(5))
        #expect(times[3].since(times[2]) == .seconds(7))
        #expect(stage.events[3].reason?.rule == .unresponsive)
        #expect(stage.events[3].reason?.measured.packets.perSecond == 20_000)
        #expect(stage.events[3].reason?.against.packets.perSecond == 500)

        let cap = Cap(
            packets: PacketRate(perSecond: 2_000), bits: BitRate(bitsPerSecond: 4_000_000))
        let quarter = Cap(
            packets: PacketRate(perSecond: 500), bits: BitRate(bitsPerSecond: 1_000_000))
        let lane = stage.engine.policy.lane
        let shaped = Limit(cap: cap, delay: .milliseconds(200))
        let tight = Limit(cap: quarter, delay: .milliseconds(400))
        #expect(
            stage.asked.map(\.action) == [
                .limit(
                    id,
                    Limits(rung: .police, incident: 1, from: Limit(cap: cap), to: nil, lane: lane)),
                .limit(
                    id, Limits(rung: .shape, incident: 1, from: shaped, to: shaped, lane: lane)),
                .limit(
                    id, Limits(rung: .tighten, incident: 1, from: tight, to: tight, lane: lane)),
                .shutDown(id, true),
            ])
        #expect(stage.view(id)?.limits?.rung == .tighten)
        #expect(stage.view(id)?.rung == .shutDown)
    }

    @Test("Guards against a sender that backs off being driven up: 1.25 times the cap and below")
    func backsOff() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(1.5)
        stage.loads[id] = .flood(2_500)
        stage.run(60)
        #expect(stage.moves == [.police, .normal])
        #expect(stage.rung(id) == .normal)
    }

    @Test("Guards against a packet-size switch that hides: few large packets over the cap in bits")
    func bitsOverTheCap() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000, size: 64)
        stage.run(1.5)
        stage.loads[id] = .flood(2_000, size: 1_500)
        stage.run(4)
        #expect(stage.rung(id) == .shape)
    }

    @Test("Guards against a climb on less than 80% of the dwell")
    func mostOfTheDwell() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(0.8)
        #expect(stage.rung(id) == .police)
        // Dwell after dwell: over for 70% of it, its end included.
        for poll in 0..<300 {
            stage.loads[id] = poll % 30 < 9 ? .flood(2_400) : .flood(9_000)
            stage.poll()
        }
        #expect(stage.moves == [.police])
    }

    @Test("Guards against a climb for a flood that is over by the end of the dwell")
    func endOfTheDwell() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(0.8)
        stage.run(2.6)
        stage.loads[id] = .flood(2_000)
        stage.run(10)
        #expect(stage.moves.first == .police)
        #expect(!stage.moves.contains(.shape))
    }

    @Test("Guards against a dwell that ends without a flood and is not begun again")
    func newWindow() {
        var policy = Stage.policy
        policy.target = PacketRate(perSecond: 4_500)
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(0.8)
        // Neither calm nor over 1.25 times the cap.
        stage.loads[id] = .flood(5_200)
        stage.run(4)
        stage.loads[id] = .flood(20_000)
        let time = stage.run(until: { $0.rung(id) == .shape }, limit: 10)
        // The first window ended after 3 s; of the second one 2 s in 3 are a flood: a third one.
        #expect(time == 5)
    }

    @Test("Guards against a climb on stale data: half of the dwell has to be measured")
    func stale() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(0.8)
        stage.stale = [id]
        stage.run(2)
        stage.stale = []
        stage.run(1.5)
        #expect(stage.moves == [.police])
        stage.stale = [id]
        stage.run(60)
        #expect(stage.moves == [.police])
    }

    @Test("Guards against the rule of the notes: delivered at 90% of the cap, and not below")
    func saturated() {
        var policy = Stage.policy
        policy.stillFlooding = .saturated
        for (delivered, expected) in [(UInt64(1_800), Rung.shape), (1_780, .police)] {
            let stage = Stage(policy)
            let id = stage.add(1)
            stage.loads[id] = .flood(20_000)
            stage.run(0.8)
            var passed = DeliveredCounters()
            for _ in 0..<35 where stage.rung(id) == .police {
                passed.packets += delivered / 10
                passed.bytes += delivered / 10 * 100
                stage.deliver(id, passed)
                stage.poll()
            }
            #expect(stage.rung(id) == expected)
            if expected == .police {
                #expect(stage.view(id)?.deliveredFrom?.packets.perSecond == delivered)
            }
        }
    }

    @Test("Guards against a saturated rule that climbs where nothing was delivered or known")
    func saturatedUnknown() {
        var policy = Stage.policy
        policy.stillFlooding = .saturated
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(20)
        #expect(stage.moves == [.police])
        #expect(stage.view(id)?.deliveredFrom == nil)
    }

    @Test(
        "Guards against a shutdown of what must stay up",
        arguments: [(PortClass.router, false), (.vtep, false), (.vm, true)])
    func neverShutDown(_ portClass: PortClass, _ carriesDefaultRoute: Bool) {
        let stage = Stage(Stage.policy)
        let id = stage.add(1, portClass, carriesDefaultRoute: carriesDefaultRoute)
        stage.loads[id] = .flood(20_000)
        stage.run(60)
        #expect(stage.moves == [.police, .shape, .tighten])
        #expect(stage.view(id)?.climb == nil)
    }

    @Test("Guards against limits on the backend: it only alerts, once, and once when it is over")
    func backend() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1, .backend)
        stage.loads[id] = Load(packets: 60_000, toPackets: 60_000)
        stage.run(20)
        #expect(stage.asked.isEmpty)
        #expect(stage.kinds == [.watched(true)])
        #expect(stage.view(id)?.isWatchedFlood == true)
        stage.loads[id] = .quiet
        stage.run(20)
        #expect(stage.kinds == [.watched(true), .watched(false)])
        #expect(stage.view(id)?.incident == nil)
    }

    @Test("Guards against a rung above the highest one that is allowed", arguments: Rung.allCases)
    func highestRung(_ highest: Rung) {
        var policy = Stage.policy
        policy.highestRung = highest
        policy.victim = .shape
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = Load(packets: 20_000, toPackets: 20_000)
        stage.run(60)
        #expect((stage.moves.max() ?? .normal) == highest)
    }

    @Test("Guards against a view that promises another step than the one that comes")
    func view() throws {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(20_000)
        stage.run(1.5)
        let view = try #require(stage.view(id))
        let climb = try #require(view.climb)
        #expect(climb.rung == .shape && climb.rule == .unresponsive)
        #expect(view.descent?.rung == .normal)
        #expect(view.offeredFrom?.packets.perSecond == 20_000)
        #expect(view.offeredFrom?.bits.bitsPerSecond == 40_000_000)
        #expect(view.since == stage.events.last?.at)
        _ = stage.run(until: { $0.rung(id) == .shape })
        #expect(stage.now == climb.at)
    }
}
