// One history of a host in simulated time: VMs, a kernel that fails in many ways, and a shadow that
// knows only what was sampled, asked, answered and told, and holds the decision to its rules.
// Invariant: the same seed gives the same history.

import Mitigation
import Seeded

final class Simulation {
    let seed: UInt64
    var random: SplitMix
    var policy: Policy
    var engine: Engine
    var ports: [SimulatedPort] = []
    var now: UInt64 = 5_000_000_000
    var polls = 0
    var pollTimes: [UInt64] = []
    var isFaulty = true
    var nextIndex: Int32 = 1
    var shutdowns = 0
    /// The first rule that was broken.
    var failure: String?
    /// What happened in all histories, to see that the rules were put to the test.
    var tally: [String: Int] = [:]

    /// Prints what is asked, answered and told.
    var isTraced = false

    private let startedAt: UInt64 = 5_000_000_000
    static let mark: UInt64 = 10_000

    init(seed: UInt64) {
        self.seed = seed
        random = SplitMix(seed: seed)
        policy = Self.policy(&random)
        engine = Engine(policy: policy, now: Instant(nanoseconds: now))
        for _ in 0..<random.value(3...12) { appear() }
    }

    var instant: Instant { Instant(nanoseconds: now) }
    var interval: UInt64 { policy.pollInterval.wholeNanoseconds }

    private static func policy(_ random: inout SplitMix) -> Policy {
        var policy = Stage.policy
        policy.mode = random.once(in: 5) ? .observe : .enforce
        policy.pollInterval = .milliseconds(random.once(in: 4) ? 50 : 100)
        policy.grace = .seconds(Int64(random.value(0...3)))
        policy.policeDwell = .milliseconds(Int64(random.value(1_000...4_000)))
        policy.shapeDwell = .milliseconds(Int64(random.value(1_000...4_000)))
        policy.tightenDwell = .milliseconds(Int64(random.value(1_000...4_000)))
        policy.calm = .milliseconds(Int64(random.value(1_000...3_000)))
        policy.calmLimit = .seconds(8)
        policy.forgiveness = .seconds(20)
        policy.probe = random.once(in: 3) ? .seconds(4) : nil
        policy.victim = random.once(in: 2) ? .shape : .alert
        policy.stillFlooding = random.once(in: 4) ? .saturated : .unresponsive
        if random.once(in: 4) {
            policy.highestRung = Rung.allCases[Int(random.value(1...4))]
        }
        if random.once(in: 2) {
            policy.breakerMinimum = Int(random.value(0...3))
            policy.breakerShare = Double(random.value(0...60)) / 100
        }
        if random.once(in: 3) { policy.breakerShutdowns = Int(random.value(1...2)) }
        return policy
    }

    func run() {
        for _ in 0..<random.value(200...500) where failure == nil { step() }
        settle()
    }

    func fail(_ what: String, _ port: SimulatedPort? = nil) {
        guard failure == nil else { return }
        let name = port.map { " on \($0.port.name) (\($0.source), \($0.port.portClass))" } ?? ""
        failure = "seed \(seed), poll \(polls): \(what)\(name)"
    }

    func trace(_ what: @autoclosure () -> String) {
        if isTraced { print("\(polls) \(now / 1_000_000) ms: \(what())") }
    }

    func index(of id: PortID) -> Int? { ports.firstIndex { $0.id == id } }

    // MARK: A poll

    func step() {
        polls += 1
        var time = interval + random.value(0...(interval / 10)) - interval / 20
        if isFaulty, random.once(in: 40) { time = interval * random.value(2...9) }
        time = max(time / 1_000_000, 1) * 1_000_000
        now += time
        pollTimes.append(now)
        for place in ports.indices { sample(place, milliseconds: time / 1_000_000) }
        var actions: [Action] = []
        engine.finishPoll(now: instant, into: &actions)
        take(actions)
        answer()
        if isFaulty { disturb() }
        check()
    }

    private func sample(_ place: Int, milliseconds: UInt64) {
        let seconds = Double(now - startedAt) / 1e9
        let load = ports[place].load(at: seconds, mark: Self.mark)
        ports[place].count(load, milliseconds: milliseconds)
        if isFaulty, random.once(in: 400) { ports[place].counters = Counters() }
        var counted = ports[place].counters
        if isFaulty, ports[place].source == .hostile {
            counted = Counters(
                fromPackets: random.extreme(), fromBytes: random.extreme(),
                toPackets: random.extreme(), toBytes: random.extreme())
        }
        let isStale = isFaulty && (random.once(in: 30) || (polls + place) % 150 < 8)
        if isStale {
            ports[place].missSample()
            return
        }
        engine.sample(ports[place].slot, counted, at: instant)
        let cap = engine.view(ports[place].slot).limits?.from?.cap
        ports[place].note(counted, at: now, policy: policy, cap: cap, mark: Self.mark)
        if ports[place].limits != nil {
            engine.delivered(ports[place].slot, .from, ports[place].passed, at: instant)
        }
    }

    private func answer() {
        for id in ports.map(\.id) {
            guard let place = index(of: id), let asked = ports[place].asked,
                polls >= asked.answerAt
            else { continue }
            ports[place].asked = nil
            let outcome = outcome()
            ports[place].note(asked.action, outcome, at: now)
            trace("\(id) \(outcome)")
            // What is unknown may have been done all the same.
            let isApplied: Bool
            switch outcome {
            case .done:
                isApplied = true
                if ports[place].isNewShutdown(asked.action) { shutdowns += 1 }
            case .unknown:
                isApplied = random.once(in: 2)
            case .refused:
                isApplied = false
                noteRefusal(place, asked.action)
            }
            tally["\(outcome)", default: 0] += 1
            if isApplied { apply(asked.action, place) }
            var actions: [Action] = []
            engine.confirm(id, outcome, now: instant, into: &actions)
            take(actions)
            checkConfirmed(id, asked.action, outcome)
            if ports[place].rung == .normal, !ports[place].isEngaged {
                ports[place].endRelease()
            }
        }
    }

    private func outcome() -> Outcome {
        guard isFaulty else { return .done }
        return switch random.next() % 12 {
        case 0: .refused("refused")
        case 1: .unknown("unknown")
        default: .done
        }
    }

    private func apply(_ action: Action, _ place: Int) {
        switch action {
        case .limit(_, let limits): ports[place].limits = limits
        case .shutDown(_, let isDown): ports[place].isDown = isDown
        case .tell: break
        }
    }

    private func noteRefusal(_ place: Int, _ action: Action) {
        let target = ports[place].target(of: action)
        if target.from > ports[place].from.rung { ports[place].from.refusedAt[target.from] = now }
        if target.to > ports[place].to.rung { ports[place].to.refusedAt[target.to] = now }
        ports[place].isReleasing = ports[place].isReleasing && ports[place].rung > .normal
        if ports[place].askedByRelease {
            ports[place].isReleasing = false
            ports[place].askedByRelease = false
        }
    }

    // MARK: What happens beside it

    private func disturb() {
        if random.once(in: 120) { appear() }
        if random.once(in: 120), ports.count > 2 { vanish() }
        if random.once(in: 60), let place = ports.indices.randomElement(using: &random) {
            release(place)
        }
        if random.once(in: 200) {
            policy.target = PacketRate(perSecond: random.value(500...8_000))
            policy.calm = .milliseconds(Int64(random.value(1_000...3_000)))
            policy.policeDwell = .milliseconds(Int64(random.value(1_000...4_000)))
            engine.replace(policy: policy, now: instant)
            trace("reload: calm \(policy.calm), police dwell \(policy.policeDwell)")
        }
        if random.once(in: 100), let place = ports.indices.randomElement(using: &random) {
            ports[place].port.name = PortName("renamed\(polls)")
            let slot = engine.appear(ports[place].port, now: instant)
            if slot != ports[place].slot { fail("a rename moved the port", ports[place]) }
        }
    }

    private func appear() {
        let classes: [PortClass] = [.vm, .vm, .vm, .vm, .router, .vtep, .backend]
        let id = PortID(index: nextIndex, generation: UInt32(random.value(1...9)))
        nextIndex += 1
        let port = Port(
            id: id, name: PortName("port\(id.index)"),
            portClass: classes[Int(random.next() % 7)],
            carriesDefaultRoute: random.once(in: 10))
        let source = Source.allCases[Int(random.next() % UInt64(Source.allCases.count))]
        let slot = engine.appear(port, now: instant)
        if ports.contains(where: { $0.slot == slot }) { fail("a slot was given twice") }
        ports.append(
            SimulatedPort(
                port: port, source: source, slot: slot, phase: random.value(4...120),
                strength: random.value(2...12),
                counters: Counters(
                    fromPackets: random.next() >> 8, fromBytes: random.next() >> 8,
                    toPackets: random.next() >> 8, toBytes: random.next() >> 8)))
    }

    private func vanish() {
        guard let place = ports.indices.randomElement(using: &random) else { return }
        let gone = ports.remove(at: place)
        var actions: [Action] = []
        engine.vanish(gone.id, now: instant, into: &actions)
        for action in actions {
            guard case .tell(let event) = action, event.kind == .vanished(gone.rung) else {
                return fail("another action at a port's end: \(action)", gone)
            }
        }
        let isDue = gone.rung > .normal || gone.isAlarmed || gone.asked != nil
        if isDue, actions.count != 1 { fail("a mitigated port vanished untold", gone) }
        engine.confirm(gone.id, .done, now: instant, into: &actions)
        if actions.count > 1 { fail("an answer for a port that is gone had an effect", gone) }
    }

    private func release(_ place: Int) {
        let before = ports[place]
        var actions: [Action] = []
        ports[place].isReleasing = before.isEngaged
        ports[place].forgetTold()
        let isReleased = engine.release(before.id, now: instant, into: &actions)
        if isReleased != before.isEngaged { fail("release answered \(isReleased)", before) }
        trace("\(before.id) released: \(isReleased)")
        take(actions)
    }

    /// Everything goes quiet and the kernel works: nothing may remain.
    private func settle() {
        guard failure == nil else { return }
        isFaulty = false
        for place in ports.indices { ports[place].isDone = true }
        for _ in 0..<40 where failure == nil { step() }
        for place in ports.indices where ports[place].from.rung == .shutDown { release(place) }
        let limit = now + 200_000_000_000
        while failure == nil, now < limit, !isSettled { step() }
        guard failure == nil, !isSettled else { return }
        for port in ports where !isSettled(port) {
            fail("something remains: \(engine.view(port.slot))", port)
        }
        fail("ports are counted as mitigated, or the breaker stands")
    }

    private var isSettled: Bool {
        engine.mitigatedCount == 0 && engine.breaker != .share && ports.allSatisfy(isSettled)
    }

    private func isSettled(_ port: SimulatedPort) -> Bool {
        port.limits == nil && !port.isDown && port.rung == .normal && !port.isAlarmed
            && port.asked == nil && engine.view(port.slot).incident == nil
    }
}
