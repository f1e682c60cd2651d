// A host for one decision in simulated time: ports with steady loads, polls, and a kernel that answers
// as the test says.

import Mitigation

/// What a port carries, a second.
struct Load {
    var packets: UInt64 = 0
    var size: UInt64 = 250
    var toPackets: UInt64 = 0
    var toSize: UInt64 = 250

    static let quiet = Load(packets: 20, size: 100, toPackets: 20, toSize: 100)

    /// 250-byte datagrams from the VM.
    static func flood(_ packets: UInt64, size: UInt64 = 250) -> Load {
        Load(packets: packets, size: size)
    }

    /// 250-byte datagrams to the VM.
    static func flooded(_ packets: UInt64) -> Load { Load(toPackets: packets) }
}

struct Asked: Equatable {
    var at: Instant
    var action: Action
}

final class Stage {
    var engine: Engine
    var now: Instant
    var interval: Duration
    var loads: [PortID: Load] = [:]
    var counters: [PortID: Counters] = [:]
    var events: [Event] = []
    var asked: [Asked] = []
    /// What the kernel says; nil: no answer yet.
    var answer: (Action) -> Outcome? = { _ in .done }
    /// Ports whose samples do not arrive.
    var stale: Set<PortID> = []

    init(_ policy: Policy, at start: Instant = Instant(nanoseconds: 1_000_000_000)) {
        now = start
        interval = policy.pollInterval
        engine = Engine(policy: policy, now: now)
    }

    /// Short clocks and marks of 10,000 pps and 100 mbit in both directions, for every class.
    static var policy: Policy {
        var policy = Policy()
        policy.grace = .zero
        policy.policeDwell = .seconds(3)
        policy.shapeDwell = .seconds(5)
        policy.tightenDwell = .seconds(7)
        policy.calm = .seconds(4)
        policy.calmLimit = .seconds(20)
        policy.forgiveness = .seconds(60)
        policy.target = PacketRate(perSecond: 2_000)
        policy.breakerMinimum = 1_000
        policy.breakerShutdowns = 1_000
        let mark = Mark(
            packets: PacketRate(perSecond: 10_000), bits: BitRate(bitsPerSecond: 100_000_000))
        for portClass in PortClass.allCases {
            policy.marks[portClass] = Marks(from: mark, to: mark)
        }
        return policy
    }

    /// A port whose first poll has made its baseline.
    func add(
        _ index: Int32, _ portClass: PortClass = .vm, name: String? = nil, generation: UInt32 = 1,
        netid: UInt32? = nil, mtu: UInt32 = 1500, carriesDefaultRoute: Bool = false
    ) -> PortID {
        let id = PortID(index: index, generation: generation)
        engine.appear(
            Port(
                id: id, name: PortName(name ?? "port\(index)"), portClass: portClass,
                netid: netid, mtu: mtu, carriesDefaultRoute: carriesDefaultRoute), now: now)
        loads[id] = Load.quiet
        counters[id] = Counters()
        poll()
        return id
    }

    /// One poll, `after` the last one.
    func poll(after time: Duration? = nil) {
        let step = time ?? interval
        now = now.advanced(by: step)
        let milliseconds = step.wholeNanoseconds / 1_000_000
        for (id, load) in loads.sorted(by: { $0.key < $1.key }) {
            var counted = counters[id] ?? Counters()
            let sent = load.packets * milliseconds / 1000
            let received = load.toPackets * milliseconds / 1000
            counted.fromPackets += sent
            counted.fromBytes += sent * load.size
            counted.toPackets += received
            counted.toBytes += received * load.toSize
            counters[id] = counted
            if let slot = engine.slot(of: id), !stale.contains(id) {
                engine.sample(slot, counted, at: now)
            }
        }
        var actions: [Action] = []
        engine.finishPoll(now: now, into: &actions)
        process(actions)
    }

    func run(_ seconds: Double) {
        let polls = Int((seconds / (Double(interval.wholeNanoseconds) / 1e9)).rounded())
        for _ in 0..<polls { poll() }
    }

    /// Polls until `condition`; the time that passed, nil where it did not come within `limit`.
    @discardableResult
    func run(until condition: (Stage) -> Bool, limit: Double = 120) -> Double? {
        let start = now
        while !condition(self) {
            if now.since(start) > .seconds(limit) { return nil }
            poll()
        }
        return Double(now.since(start).wholeNanoseconds) / 1e9
    }

    func process(_ actions: [Action]) {
        for action in actions {
            if case .tell(let event) = action {
                events.append(event)
                continue
            }
            asked.append(Asked(at: now, action: action))
            if let outcome = answer(action) { confirm(action.port, outcome) }
        }
    }

    func confirm(_ id: PortID, _ outcome: Outcome) {
        var actions: [Action] = []
        engine.confirm(id, outcome, now: now, into: &actions)
        process(actions)
    }

    @discardableResult
    func release(_ id: PortID) -> Bool {
        var actions: [Action] = []
        let released = engine.release(id, now: now, into: &actions)
        process(actions)
        return released
    }

    func vanish(_ id: PortID) {
        loads[id] = nil
        var actions: [Action] = []
        engine.vanish(id, now: now, into: &actions)
        process(actions)
    }

    func adopt(_ id: PortID, _ limits: Limits, linkIsDown: Bool = false) {
        guard let slot = engine.slot(of: id) else { return }
        engine.adopt(slot, limits, linkIsDown: linkIsDown, now: now)
    }

    func deliver(_ id: PortID, _ delivered: DeliveredCounters) {
        guard let slot = engine.slot(of: id) else { return }
        engine.delivered(slot, .from, delivered, at: now)
    }

    func view(_ id: PortID) -> PortView? { engine.slot(of: id).map { engine.view($0) } }
    func rung(_ id: PortID) -> Rung? { view(id)?.rung }

    /// The latest limits that were asked for.
    var lastLimits: Limits? {
        for asked in asked.reversed() {
            if case .limit(_, let limits) = asked.action { return limits }
        }
        return nil
    }

    var kinds: [Event.Kind] { events.map(\.kind) }

    /// The rungs as they were told, in order.
    var moves: [Rung] {
        events.compactMap { event in
            if case .moved(_, let rung) = event.kind { rung } else { nil }
        }
    }
}

extension Action {
    /// The port that it is about.
    var port: PortID {
        switch self {
        case .limit(let id, _), .shutDown(let id, _): id
        case .tell(let event): event.port
        }
    }
}
