// One history of a recorded engine in simulated time: cloudspaces with VMs, routers and VTEPs, floods of
// every kind, a kernel that refuses and doubts, an operator, reloads, late polls and broken counters.
// Invariant: the same seed gives the same history.
import Mitigation
import Seeded

@testable import Recording

/// What a port does for a while.
private enum Load: CaseIterable {
    case idle, quiet, near, flood, burst, grow, victim
}

private struct HistoryPort {
    var port: Port
    var slot: Int
    var load: Load
    var strength: UInt64
    var counters: Counters
    var missing = 0
    var limits: Limits?
    var isDown = false
    var asked: Action?
    var answerAt = 0
    var passed = DeliveredCounters()
}

/// A host that is recorded.
final class RecordedHistory {
    /// Packets a second of the marks.
    static let mark: UInt64 = 10_000

    private(set) var random: SplitMix
    private(set) var engine: RecordedEngine
    /// All that the engine told.
    private(set) var told: [Event] = []
    /// The files that were written.
    private(set) var files: [[UInt8]] = []
    /// Every policy that was in force; a configuration's text is its number.
    private(set) var policies: [Policy]
    private(set) var polls = 0
    /// The buffer is not taken for some turns.
    var isDiskSlow = false
    /// Ports stay where they are.
    var hasFaults = true

    private var ports: [HistoryPort] = []
    private var now: UInt64 = 7_000_000_000
    private var readAt: UInt64 = 0
    private var nextIndex: Int32 = 1
    private let settings: RecorderSettings

    init(seed: UInt64, settings: RecorderSettings = RecorderSettings()) {
        random = SplitMix(seed: seed)
        self.settings = settings
        policies = [Self.policy(&random)]
        engine = RecordedEngine(policy: policies[0], now: Instant(nanoseconds: 7_000_000_000))
        begin()
        for _ in 0..<random.value(4...16) { appear() }
    }

    private var instant: Instant { Instant(nanoseconds: now) }

    static func policy(_ random: inout SplitMix) -> Policy {
        var policy = Policy()
        policy.mode = random.once(in: 6) ? .observe : .enforce
        policy.pollInterval = .milliseconds(random.once(in: 4) ? 50 : 100)
        policy.grace = .seconds(Int64(random.value(0...2)))
        policy.policeDwell = .milliseconds(Int64(random.value(800...3_000)))
        policy.shapeDwell = .milliseconds(Int64(random.value(800...3_000)))
        policy.tightenDwell = .milliseconds(Int64(random.value(800...3_000)))
        policy.calm = .milliseconds(Int64(random.value(500...3_000)))
        policy.calmLimit = .seconds(8)
        policy.forgiveness = .seconds(20)
        policy.probe = random.once(in: 3) ? .seconds(4) : nil
        policy.victim = random.once(in: 2) ? .shape : .alert
        policy.stillFlooding = random.once(in: 3) ? .saturated : .unresponsive
        policy.target = PacketRate(perSecond: 1_000)
        policy.breakerMinimum = Int(random.value(1...6))
        policy.breakerShare = Double(random.value(10...60)) / 100
        policy.lowShare = Double(random.value(30...70)) / 100
        if random.once(in: 2) { policy.groupMark = marks(random.value(8...25), 4).from }
        for portClass in PortClass.allCases {
            policy.marks[portClass] = random.once(in: 8) ? Marks() : marks(10, 10)
        }
        return policy
    }

    private static func marks(_ thousands: UInt64, _ packetSize: UInt64) -> Marks {
        let mark = Mark(
            packets: PacketRate(perSecond: thousands * 1_000),
            bits: BitRate(bitsPerSecond: thousands * 1_000_000 * packetSize))
        return Marks(from: mark, to: mark)
    }

    // MARK: Time

    private func begin() {
        engine.record(
            settings, configuration: Array("\(policies.count - 1)".utf8), now: instant,
            wallNanoseconds: now + 1_700_000_000_000_000_000)
    }

    func run(polls count: UInt64) {
        for _ in 0..<count { turn() }
        endTurn(isLast: true)
    }

    private func turn() {
        polls += 1
        let interval = engine.policy.pollInterval.wholeNanoseconds
        var time = interval + random.value(0...(interval / 10)) - interval / 20
        if hasFaults, random.once(in: 60) { time = interval * random.value(1...9) / 2 }
        now += time
        if hasFaults { disturb() }
        readAt = now
        now += random.value(10_000...3_000_000)
        let isUnread = hasFaults && random.once(in: 90)
        for place in ports.indices { pass(place, time, isUnread: isUnread) }
        var actions: [Action] = []
        now += random.value(1_000...400_000)
        engine.finishPoll(now: instant, into: &actions)
        take(actions)
        answer()
        deliver()
        endTurn(isLast: false)
    }

    private func endTurn(isLast: Bool) {
        let wall = now + 1_700_000_000_000_000_000
        engine.endTurn(now: instant, wallNanoseconds: { wall }, isLast: isLast) { bytes, begins in
            guard isLast || !isDiskSlow else { return }
            if begins { files.append([]) }
            files[files.count - 1] += bytes
            bytes.removeAll(keepingCapacity: true)
        }
    }

    // MARK: Loads

    private func pass(_ place: Int, _ time: UInt64, isUnread: Bool) {
        let port = ports[place]
        let (sent, received, size) = rates(port)
        ports[place].counters.fromPackets &+= sent * time / 1_000_000_000
        ports[place].counters.fromBytes &+= sent * size * time / 1_000_000_000
        ports[place].counters.toPackets &+= received * time / 1_000_000_000
        ports[place].counters.toBytes &+= received * size * time / 1_000_000_000
        let allowed = min(sent, port.limits?.from?.cap.packets.perSecond ?? .max)
        ports[place].passed.packets &+= allowed * time / 1_000_000_000
        ports[place].passed.bytes &+= allowed * size * time / 1_000_000_000
        if hasFaults, random.once(in: 500) { ports[place].counters = Counters() }
        if hasFaults, random.once(in: 250) { ports[place].missing = Int(random.value(1...14)) }
        guard !isUnread, ports[place].missing == 0 else {
            ports[place].missing = max(0, ports[place].missing - 1)
            return
        }
        engine.sample(port.slot, ports[place].counters, at: Instant(nanoseconds: readAt))
    }

    private func rates(_ port: HistoryPort) -> (UInt64, UInt64, UInt64) {
        guard !port.isDown else { return (0, 0, 100) }
        let wave = 80 + UInt64(polls % 7) * 6
        switch port.load {
        case .idle: return (0, 0, 100)
        case .quiet: return (40 * port.strength, 30, 400)
        case .near: return (Self.mark * wave * port.strength / 1_000, 500, 120)
        case .flood: return (Self.mark * port.strength * wave / 100, 100, 60 + port.strength * 90)
        case .burst:
            let isOn = polls % Int(7 * port.strength) < 4
            return (isOn ? Self.mark * 6 : 50, 20, 80)
        case .grow: return (min(Self.mark * 3, UInt64(polls % 200) * 150), 20, 200)
        case .victim: return (100, Self.mark * port.strength, 90)
        }
    }

    // MARK: The kernel

    private func take(_ actions: [Action]) {
        for action in actions {
            switch action {
            case .tell(let event): told.append(event)
            case .limit(let id, _), .shutDown(let id, _):
                guard let place = ports.firstIndex(where: { $0.port.id == id }) else { continue }
                ports[place].asked = action
                ports[place].answerAt = polls + (random.once(in: 4) ? 3 : 0)
            }
        }
    }

    private func answer() {
        for id in ports.map(\.port.id) {
            guard let place = ports.firstIndex(where: { $0.port.id == id }),
                let asked = ports[place].asked, polls >= ports[place].answerAt
            else { continue }
            ports[place].asked = nil
            var outcome = Outcome.done
            if hasFaults, random.once(in: 10) { outcome = .refused("no such module") }
            if hasFaults, random.once(in: 14) { outcome = .unknown("timed out") }
            if outcome == .done {
                switch asked {
                case .limit(_, let limits): ports[place].limits = limits
                case .shutDown(_, let isDown): ports[place].isDown = isDown
                case .tell: break
                }
            }
            var actions: [Action] = []
            engine.confirm(id, outcome, now: instant, into: &actions)
            take(actions)
        }
    }

    private func deliver() {
        guard polls.isMultiple(of: 5) else { return }
        for port in ports where port.limits != nil {
            engine.delivered(port.slot, .from, port.passed, at: instant)
        }
    }

    // MARK: What happens beside it

    private func disturb() {
        if random.once(in: 50) { appear() }
        if random.once(in: 70), ports.count > 3 { vanish() }
        for place in ports.indices where random.once(in: 70) {
            ports[place].load = Load.allCases[Int(random.value(0...6))]
            ports[place].strength = random.value(1...9)
        }
        guard let place = ports.indices.randomElement(using: &random) else { return }
        if random.once(in: 60) {
            var actions: [Action] = []
            _ = engine.release(ports[place].port.id, now: instant, into: &actions)
            take(actions)
        }
        if random.once(in: 50) { say(place) }
        if random.once(in: 90) {
            ports[place].port.name = PortName("new\(polls)")
            if random.once(in: 3) { ports[place].port.netid = UInt32(random.value(1...4)) }
            ports[place].port.carriesDefaultRoute = random.once(in: 4)
            engine.appear(ports[place].port, now: instant)
        }
        if random.once(in: 150) {
            engine.distrust(
                ports[place].port.id, "somebody takes it out",
                until: Instant(nanoseconds: now + 2_000_000_000), now: instant)
        }
        if random.once(in: 250) { reload() }
        if random.once(in: 400) { restart() }
    }

    /// An operator's word: on a port, or on a class.
    private func say(_ place: Int) {
        var actions: [Action] = []
        let id = ports[place].port.id
        switch random.value(0...4) {
        case 0: engine.order(id, .hold, now: instant, into: &actions)
        case 1: engine.order(id, .exempt, now: instant, into: &actions)
        case 2: engine.order(id, nil, now: instant, into: &actions)
        case 3: _ = engine.escalate(id, now: instant, into: &actions)
        default:
            var policy = engine.policy
            policy.modes[random.once(in: 2) ? .vm : .router] = random.once(in: 2) ? .observe : nil
            engine.replace(policy: policy, now: instant)
        }
        take(actions)
    }

    private func reload() {
        var policy = Self.policy(&random)
        policy.grace = engine.policy.grace
        policies.append(policy)
        engine.note(configuration: Array("\(policies.count - 1)".utf8))
        engine.replace(policy: policy, now: instant)
    }

    /// Another daemon goes on with what the first remembers.
    private func restart() {
        endTurn(isLast: true)
        let memory = engine.memory
        let memories = ports.map { engine.memory($0.slot, now: instant) }
        engine = RecordedEngine(policy: policies[policies.count - 1], now: instant)
        begin()
        engine.restore(memory, now: instant)
        for place in ports.indices {
            ports[place].asked = nil
            ports[place].slot = engine.appear(ports[place].port, now: instant)
            if let memory = memories[place], !random.once(in: 5) {
                engine.restore(ports[place].slot, memory, now: instant)
            } else if let limits = ports[place].limits {
                engine.adopt(
                    ports[place].slot, limits, linkIsDown: ports[place].isDown, now: instant)
            }
        }
    }

    private func appear() {
        let classes: [PortClass] = [.vm, .vm, .vm, .vm, .router, .router, .vtep, .backend]
        let portClass = classes[Int(random.value(0...7))]
        let id = PortID(index: nextIndex, generation: 1)
        nextIndex += 1
        let port = Port(
            id: id, name: PortName("port\(id.index)"), portClass: portClass,
            netid: random.once(in: 3) ? nil : UInt32(random.value(1...4)),
            carriesDefaultRoute: random.once(in: 20))
        let slot = engine.appear(port, now: instant)
        ports.append(
            HistoryPort(
                port: port, slot: slot, load: Load.allCases[Int(random.value(0...6))],
                strength: random.value(1...9),
                counters: Counters(
                    fromPackets: random.next() >> 12, fromBytes: random.next() >> 12,
                    toPackets: random.next() >> 12, toBytes: random.next() >> 12)))
    }

    private func vanish() {
        guard let place = ports.indices.randomElement(using: &random) else { return }
        let gone = ports.remove(at: place)
        var actions: [Action] = []
        engine.vanish(gone.port.id, now: instant, into: &actions)
        take(actions)
    }
}

/// A replay of a history's files.
func replayed(
    _ history: RecordedHistory, _ files: [[UInt8]]? = nil
) throws(RecordingError) -> Replayer {
    let policies = history.policies
    var replayer = Replayer(
        answers: .recorded,
        policy: { text in
            Int(String(decoding: text, as: UTF8.self)).flatMap {
                policies.indices.contains($0) ? policies[$0] : nil
            }
        })
    for file in files ?? history.files {
        var reader = try RecordingReader(file)
        while let item = reader.next() { replayer.take(item) }
    }
    replayer.finish()
    return replayer
}
