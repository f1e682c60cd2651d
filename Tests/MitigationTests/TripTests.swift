// When a port trips, and when it does not.

import Mitigation
import Seeded
import Testing

@Suite struct TripTests {
    @Test("Guards against a trip that comes late: 80% of a second at the mark trips")
    func sustained() throws {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(10_000)
        let time = try #require(stage.run(until: { $0.rung(id) == .police }, limit: 5))
        #expect(time == 0.8)
        let event = try #require(stage.events.first)
        #expect(event.reason?.rule == .sustained)
        #expect(event.reason?.measured.packets.perSecond == 10_000)
        #expect(event.reason?.measured.bits.bitsPerSecond == 20_000_000)
        #expect(event.reason?.against.packets.perSecond == 10_000)
        #expect(event.incident == 1)
    }

    @Test("Guards against a trip below the mark")
    func belowTheMark() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(9_990)
        stage.run(30)
        #expect(stage.asked.isEmpty && stage.events.isEmpty)
    }

    @Test("Guards against a window that counts fewer than 80% of its polls")
    func sevenOfTen() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        for poll in 0..<200 {
            stage.loads[id] = poll % 10 < 7 ? .flood(20_000) : .quiet
            stage.poll()
        }
        #expect(stage.asked.isEmpty)
    }

    @Test("Guards against a window that asks for every poll: 8 of 10 trip")
    func eightOfTen() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        for poll in 0..<10 {
            stage.loads[id] = poll % 5 < 4 ? .flood(20_000) : .quiet
            stage.poll()
        }
        #expect(stage.rung(id) == .police)
    }

    @Test("Guards against a slow answer to a huge flood: five times the mark trips in 200 ms")
    func fast() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(50_000)
        stage.poll()
        #expect(stage.rung(id) == .normal)
        stage.poll()
        #expect(stage.rung(id) == .police)
        #expect(stage.events.first?.reason?.rule == .fast)
        #expect(stage.events.first?.reason?.against.packets.perSecond == 50_000)
    }

    @Test("Guards against a fast path that forgives a pause within it")
    func fastNeedsEveryPoll() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        for _ in 0..<30 {
            stage.loads[id] = .flood(60_000)
            stage.poll()
            stage.loads[id] = .quiet
            stage.poll()
        }
        #expect(stage.asked.isEmpty)
    }

    @Test("Guards against a fast path of one poll where 200 ms is several: 50 ms polls take four")
    func fastWindow() {
        var policy = Stage.policy
        policy.pollInterval = .milliseconds(50)
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(60_000)
        for _ in 0..<3 { stage.poll() }
        #expect(stage.rung(id) == .normal)
        stage.poll()
        #expect(stage.rung(id) == .police)
    }

    @Test("Guards against bits that are not looked at: large packets below the packet mark")
    func bits() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(9_000, size: 1_400)
        stage.run(1)
        #expect(stage.rung(id) == .police)
    }

    @Test("Guards against trips in the grace, and against a flood that is forgotten at its end")
    func grace() {
        var policy = Stage.policy
        policy.grace = .seconds(10)
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(60_000)
        stage.run(9.7)
        #expect(stage.asked.isEmpty && stage.events.isEmpty)
        stage.run(0.3)
        #expect(stage.rung(id) == .police)
    }

    @Test("Guards against an absent mark that is taken as zero")
    func noMarks() {
        var policy = Stage.policy
        policy.marks[.vm] = nil
        let stage = Stage(policy)
        let id = stage.add(1)
        stage.loads[id] = Load(packets: 1_000_000, toPackets: 1_000_000)
        stage.run(5)
        #expect(stage.asked.isEmpty && stage.events.isEmpty)
    }

    @Test("Guards against marks of a port that add to its class's instead of replacing them")
    func portMarks() {
        var policy = Stage.policy
        policy.portMarks[PortName("busy")] = Marks(
            from: Mark(packets: PacketRate(perSecond: 50_000)))
        let stage = Stage(policy)
        let busy = stage.add(1, name: "busy")
        let other = stage.add(2)
        stage.loads[busy] = Load(packets: 40_000, size: 1_400, toPackets: 40_000, toSize: 1_400)
        stage.loads[other] = .flood(40_000)
        stage.run(3)
        #expect(stage.rung(busy) == .normal)
        #expect(stage.rung(other) == .police)
        #expect(stage.events.count == 1)
    }

    @Test("Guards against marks that stay behind at a rename")
    func rename() {
        var policy = Stage.policy
        policy.portMarks[PortName("busy")] = Marks()
        let stage = Stage(policy)
        let id = stage.add(1, name: "busy")
        stage.loads[id] = .flood(20_000)
        stage.run(3)
        #expect(stage.asked.isEmpty)
        let slot = stage.engine.slot(of: id)
        let again = stage.engine.appear(
            Port(id: id, name: PortName("plain"), portClass: .vm), now: stage.now)
        #expect(again == slot)
        stage.run(1)
        #expect(stage.rung(id) == .police)
        #expect(stage.events.first?.name == PortName("plain"))
    }
}

@Suite struct SampleTests {
    @Test("Guards against counters since boot that are taken as one poll's: a first sample")
    func firstSample() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.vanish(id)
        let again = PortID(index: 1, generation: 2)
        stage.engine.appear(
            Port(id: again, name: PortName("a"), portClass: .vm), now: stage.now)
        stage.counters[again] = Counters(
            fromPackets: 1 << 60, fromBytes: 1 << 62, toPackets: 1 << 60, toBytes: 1 << 62)
        stage.loads[again] = .quiet
        stage.run(5)
        #expect(stage.asked.isEmpty && stage.events.isEmpty)
    }

    @Test("Guards against a counter that went back being read as a wrap")
    func decrease() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        for _ in 0..<50 {
            stage.counters[id] = Counters(
                fromPackets: 5_000_000, fromBytes: 5_000_000_000, toPackets: 9, toBytes: 9)
            stage.poll()
            stage.counters[id] = Counters()
            stage.poll()
        }
        #expect(stage.rung(id) == .normal)
    }

    @Test("Guards against a counter that was reset and voids only itself: the whole sample is void")
    func oneCounterDecreases() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(60_000)
        for _ in 0..<20 {
            stage.counters[id]?.toBytes = 1_000_000
            stage.poll()
            stage.counters[id]?.toBytes = 0
            stage.poll()
        }
        #expect(stage.asked.isEmpty)
    }

    @Test("Guards against a gap that counts: more than 3 intervals void the sample")
    func gap() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(60_000)
        for _ in 0..<30 { stage.poll(after: .milliseconds(301)) }
        #expect(stage.asked.isEmpty)
    }

    @Test("Guards against lateness that hides a flood: up to 3 intervals count, at the true rate")
    func late() throws {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(10_000)
        for _ in 0..<8 { stage.poll(after: .milliseconds(300)) }
        #expect(stage.rung(id) == .police)
        #expect(stage.events.first?.reason?.measured.packets.perSecond == 10_000)

        let calm = Stage(Stage.policy)
        let other = calm.add(1)
        calm.loads[other] = .flood(9_000)
        for poll in 0..<200 { calm.poll(after: .milliseconds(poll % 2 == 0 ? 300 : 20)) }
        #expect(calm.asked.isEmpty)
    }

    @Test("Guards against a clock that stands still or steps back")
    func zeroStep() throws {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        let slot = try #require(stage.engine.slot(of: id))
        var packets: UInt64 = 0
        var actions: [Action] = []
        for poll in 0..<40 {
            packets += 1_000_000
            let at = Instant(nanoseconds: 500_000_000 - UInt64(poll / 2))
            stage.engine.sample(
                slot, Counters(fromPackets: packets, fromBytes: packets * 100), at: at)
            stage.engine.finishPoll(now: stage.now, into: &actions)
        }
        #expect(actions.isEmpty)
    }

    @Test("Guards against polls without a sample that count as over, or as if they had not been")
    func missing() {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        stage.loads[id] = .flood(10_000)
        for poll in 0..<100 {
            stage.stale = poll % 10 < 3 ? [id] : []
            stage.poll()
        }
        #expect(stage.asked.isEmpty)
    }

    @Test("Guards against a second sample in one poll that counts twice")
    func twice() throws {
        let stage = Stage(Stage.policy)
        let id = stage.add(1)
        let slot = try #require(stage.engine.slot(of: id))
        var counted = Counters()
        var actions: [Action] = []
        for _ in 0..<4 {
            for _ in 0..<5 {
                stage.now = stage.now.advanced(by: .milliseconds(20))
                counted.fromPackets += 400
                counted.fromBytes += 40_000
                stage.engine.sample(slot, counted, at: stage.now)
            }
            stage.engine.finishPoll(now: stage.now, into: &actions)
        }
        #expect(actions.isEmpty)
    }

    @Test("Guards against a trap on any counter that a broken kernel reports", arguments: 0..<20)
    func hostile(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        var policy = Stage.policy
        policy.mode = seed % 2 == 0 ? .enforce : .observe
        policy.victim = .shape
        let stage = Stage(policy)
        let id = stage.add(1)
        let slot = try #require(stage.engine.slot(of: id))
        var actions: [Action] = []
        for _ in 0..<3_000 {
            let at = random.next() % 4 == 0 ? random.extreme() : stage.now.nanoseconds
            stage.now = stage.now.advanced(by: .milliseconds(Int64(random.next() % 400)))
            stage.engine.sample(
                slot,
                Counters(
                    fromPackets: random.extreme(), fromBytes: random.extreme(),
                    toPackets: random.extreme(), toBytes: random.extreme()),
                at: Instant(nanoseconds: at))
            stage.engine.delivered(
                slot, .from,
                DeliveredCounters(packets: random.extreme(), bytes: random.extreme()),
                at: Instant(nanoseconds: random.extreme()))
            stage.engine.finishPoll(now: stage.now, into: &actions)
            for action in actions {
                guard case .limit(_, let limits?) = action, let cap = limits.from?.cap else {
                    continue
                }
                #expect(cap.packets.perSecond >= 1 && cap.packets.perSecond < 10_000)
                #expect(cap.bits.bitsPerSecond >= 1 && cap.bits.bitsPerSecond < 100_000_000)
            }
            actions.removeAll()
            stage.engine.confirm(id, .done, now: stage.now, into: &actions)
        }
        _ = stage.engine.view(slot)
    }

    @Test("Guards against a trap on any policy", arguments: 0..<200)
    func hostilePolicy(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var policy = Policy.extreme(&random)
        let stage = Stage(policy)
        stage.interval = .milliseconds(100)
        let id = stage.add(1)
        for _ in 0..<300 {
            stage.loads[id] = Load(packets: random.next() % 100_000, toPackets: 30_000)
            stage.poll(after: .milliseconds(Int64(1 + random.next() % 200)))
            if random.next() % 50 == 0 {
                policy = Policy.extreme(&random)
                stage.engine.replace(policy: policy, now: stage.now)
            }
        }
        #expect(stage.view(id)?.port.id == id)
    }
}

extension Policy {
    /// Values at the ends of their types.
    static func extreme(_ random: inout SplitMix) -> Policy {
        func time() -> Duration {
            let choices: [Duration] = [
                .zero, .nanoseconds(1), .milliseconds(100), .seconds(1), .seconds(-5),
                .seconds(Int64.max), .seconds(Int64.min),
            ]
            return choices[Int(random.next() % UInt64(choices.count))]
        }
        func real() -> Double {
            let choices = [0, -1, 0.5, 1e300, .nan, .infinity, -.infinity]
            return choices[Int(random.next() % UInt64(choices.count))]
        }
        var policy = Policy()
        policy.mode = random.next() % 2 == 0 ? .observe : .enforce
        policy.pollInterval = time()
        policy.grace = random.next() % 2 == 0 ? .zero : time()
        policy.sustain = time()
        policy.fastSustain = time()
        policy.fastFactor = random.extreme()
        policy.target = PacketRate(perSecond: random.extreme())
        policy.delay = time()
        policy.tightenDivisor = random.extreme()
        policy.policeDwell = time()
        policy.shapeDwell = time()
        policy.tightenDwell = time()
        policy.highestRung = Rung.allCases[Int(random.next() % 5)]
        policy.probe = random.next() % 2 == 0 ? nil : time()
        policy.stillFlooding = random.next() % 2 == 0 ? .saturated : .unresponsive
        policy.unresponsiveFactor = real()
        policy.saturatedShare = real()
        policy.lowShare = real()
        policy.calm = time()
        policy.calmLimit = time()
        policy.forgiveness = time()
        policy.victim = random.next() % 2 == 0 ? .alert : .shape
        policy.breakerShare = real()
        policy.breakerMinimum = random.next() % 2 == 0 ? .max : .min
        policy.breakerShutdowns = random.next() % 2 == 0 ? .max : .min
        let mark = Mark(
            packets: PacketRate(perSecond: random.extreme()),
            bits: BitRate(bitsPerSecond: random.extreme()))
        policy.marks[.vm] = Marks(from: mark, to: mark)
        return policy
    }
}
