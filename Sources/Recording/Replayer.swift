// Runs the decision over a recording: the recorded answers and the recorded configuration give the
// recorded events; another configuration gives what it would have done.
//
// Invariants: the engine is the daemon's own; samples go into the polls in which they were read,
// though some of them are written a few polls later; any recording, however broken, comes to an end.
public import Mitigation

/// An engine that goes through a recording.
public struct Replayer {
    /// Where answers come from.
    public enum Answers: Hashable, Sendable {
        /// The recording: what the kernel said then.
        case recorded
        /// What is asked for is done at once, and what passes is what was offered, up to the cap.
        case assumed
    }

    private enum Step {
        case poll(RecordedPoll, earlier: [RecordedSample])
        case input(EngineInput, Instant)
    }

    private let answers: Answers
    private let policy: ([UInt8]) -> Policy?
    private let classify: (Port) -> Port?
    /// Gets each port with an incident after each poll.
    private let watch: ((Engine, Engine.Slot, Instant) -> Void)?

    private var engine: Engine?
    /// Steps that earlier samples may still come to, and how many of them are polls.
    private var pending: [Step] = []
    private var begin = 0
    private var polls = 0
    /// The engine's places of the recording's.
    private var placeOf: [Int: Engine.Slot] = [:]
    private var ids: [Int: PortID] = [:]
    private var passed: [Engine.Slot: DeliveredCounters] = [:]
    private var startedAt: Instant?
    /// Incidents of before the beginning go on, and the recording has no answer for them.
    private var answersItself = 0
    private var actions: [Action] = []

    /// What the decision told.
    public private(set) var told: [Event] = []
    /// The marks of each port that was told of, as they were then.
    public private(set) var marks: [PortName: Marks] = [:]
    /// What the recorded one told.
    public private(set) var recorded: [Event] = []
    /// Where a daemon's own clock begins to be another one.
    public struct WallClock: Hashable, Sendable {
        /// The events from this place of `told` on go by it.
        public var fromTold: Int
        /// The events from this place of `recorded` on go by it.
        public var fromRecorded: Int
        /// A moment on that clock, in nanoseconds.
        public var monotonic: UInt64
        /// The same moment on the wall clock, in nanoseconds since 1970.
        public var wall: UInt64
    }

    /// Of each daemon, in order.
    public private(set) var wallClocks: [WallClock] = []
    /// How many polls there were.
    public private(set) var pollCount = 0
    /// How many ports there were at most.
    public private(set) var portCount = 0
    /// How often something was missing: the decision began anew.
    public private(set) var gaps = 0
    /// Incidents that were under way where the recording begins.
    public private(set) var inherited = 0
    /// A configuration in the recording that could not be read.
    public private(set) var isPolicyUnknown = false
    /// From when until when it goes.
    public private(set) var span: (first: Instant, last: Instant)?

    /// A replay.
    ///
    /// - Parameters:
    ///   - policy: what to go by where the recorded daemon began to go by this configuration.
    ///   - classify: what the configuration takes a port for; nil where it is none.
    ///   - watch: gets each port with an incident after each poll.
    public init(
        answers: Answers, policy: @escaping ([UInt8]) -> Policy?,
        classify: @escaping (Port) -> Port? = { $0 },
        watch: ((Engine, Engine.Slot, Instant) -> Void)? = nil
    ) {
        self.answers = answers
        self.policy = policy
        self.classify = classify
        self.watch = watch
    }

    // MARK: Items

    /// Takes what a recording says next.
    public mutating func take(_ item: RecordedItem) {
        switch item {
        case .start(let start): begin(start)
        case .earlier(let ago, let samples): put(samples, ago: ago)
        case .poll(let poll):
            if polls >= RecordFormat.mostPollsBefore { runToNextPoll() }
            pending.append(.poll(poll, earlier: []))
            polls += 1
        case .input(let input, let at): pending.append(.input(input, at))
        case .event(let event): recorded.append(event)
        }
    }

    /// The recording is over.
    public mutating func finish() {
        while begin < pending.count { runFirst() }
        pending = []
        begin = 0
        polls = 0
    }

    private mutating func begin(_ start: RecordedStart) {
        guard engine == nil || !start.continues || startedAt != start.startedAt else {
            // Another file of the same recording.
            return
        }
        finish()
        if engine != nil { gaps += 1 }
        guard let policy = policy(start.configuration, start.modes) else {
            isPolicyUnknown = true
            return
        }
        startedAt = start.startedAt
        wallClocks.append(
            WallClock(
                fromTold: told.count, fromRecorded: recorded.count,
                monotonic: start.now.nanoseconds, wall: start.wallNanoseconds))
        var engine = Engine(policy: policy, now: start.startedAt)
        placeOf = [:]
        ids = [:]
        passed = [:]
        engine.restore(start.memory, now: start.now)
        self.engine = engine
        for port in start.ports {
            appear(port.port, place: port.place, now: start.now)
            guard let memory = port.memory, let slot = placeOf[port.place] else { continue }
            if memory.incident != nil { inherited += 1 }
            self.engine?.restore(slot, memory, now: start.now)
        }
        for port in start.ports {
            guard let order = port.order else { continue }
            self.engine?.order(port.port.id, order, now: start.now, into: &actions)
        }
        answersItself = inherited > 0 ? 3 : 0
    }

    private mutating func put(_ samples: [RecordedSample], ago: Int) {
        var left = ago
        for place in pending.indices.reversed() where place >= begin {
            guard case .poll(let poll, let earlier) = pending[place] else { continue }
            left -= 1
            guard left == 0 else { continue }
            pending[place] = .poll(poll, earlier: earlier + samples)
            return
        }
    }

    // MARK: Steps

    /// Runs the oldest poll that is pending, and what came before it.
    private mutating func runToNextPoll() {
        let before = polls
        while begin < pending.count, polls == before { runFirst() }
        guard begin > 256 else { return }
        pending.removeFirst(begin)
        begin = 0
    }

    private mutating func runFirst() {
        let step = pending[begin]
        begin += 1
        switch step {
        case .input(let input, let at): run(input, at)
        case .poll(let poll, let earlier):
            polls -= 1
            run(poll, earlier)
        }
    }

    private mutating func run(_ input: EngineInput, _ now: Instant) {
        switch input {
        case .appear(let port, let place): appear(port, place: place, now: now)
        case .vanish(let id):
            if let place = ids.first(where: { $0.value == id })?.key {
                ids[place] = nil
                placeOf[place] = nil
            }
            engine?.take(input, policy: nil, now: now, into: &actions)
        case .confirm, .delivered, .adopt, .distrust, .escalate:
            guard answers == .recorded else { return }
            engine?.take(input, policy: nil, now: now, into: &actions)
        case .restore, .restorePort, .release, .order:
            engine?.take(input, policy: nil, now: now, into: &actions)
        case .replace(let text, let modes):
            guard let policy = policy(text, modes) else {
                isPolicyUnknown = true
                return
            }
            guard policy != engine?.policy || answers == .recorded else { return }
            engine?.take(input, policy: policy, now: now, into: &actions)
        }
        answer(now)
    }

    /// What holds under a recorded configuration: with its own modes by class only where the recorded
    /// decision is run again.
    private func policy(_ text: [UInt8], _ modes: [PortClass: Mode]) -> Policy? {
        var policy = policy(text)
        if answers == .recorded { policy?.modes = modes }
        return policy
    }

    private mutating func appear(_ port: Port, place: Int, now: Instant) {
        guard let port = classify(port), let slot = engine?.appear(port, now: now) else {
            placeOf[place] = nil
            return
        }
        placeOf[place] = slot
        ids[place] = port.id
        portCount = max(portCount, placeOf.count)
    }

    private mutating func run(_ poll: RecordedPoll, _ earlier: [RecordedSample]) {
        guard engine != nil else { return }
        pollCount += 1
        span = (span?.first ?? poll.at, poll.decidedAt)
        for sample in poll.samples { feed(sample, poll.at) }
        for sample in earlier { feed(sample, poll.at) }
        engine?.finishPoll(now: poll.decidedAt, into: &actions)
        if answersItself > 0 {
            answersItself -= 1
            confirmAll(poll.decidedAt)
        }
        answer(poll.decidedAt)
        guard watch != nil || answers == .assumed, let engine, engine.hasIncidents else { return }
        for sample in poll.samples {
            guard let slot = placeOf[sample.place], engine.hasIncident(slot) else { continue }
            if answers == .assumed { deliver(slot, poll.decidedAt) }
            watch?(engine, slot, poll.decidedAt)
        }
    }

    @inline(__always)
    private mutating func feed(_ sample: RecordedSample, _ at: Instant) {
        guard let slot = placeOf[sample.place] else { return }
        engine?.sample(slot, sample.counters, at: at)
    }

    /// What would have passed since the last poll.
    private mutating func deliver(_ slot: Engine.Slot, _ now: Instant) {
        guard let view = engine?.view(slot), let cap = view.limits?.from?.cap,
            let offered = view.offeredFrom, let interval = engine?.policy.pollInterval
        else { return }
        let seconds = Double(interval.wholeNanoseconds) / 1e9
        let packets = Double(min(cap.packets.perSecond, offered.packets.perSecond)) * seconds
        let bits = Double(min(cap.bits.bitsPerSecond, offered.bits.bitsPerSecond)) * seconds
        passed[slot, default: DeliveredCounters()].packets &+= UInt64(min(packets, 0x1p62))
        passed[slot, default: DeliveredCounters()].bytes &+= UInt64(min(bits / 8, 0x1p62))
        guard let passed = passed[slot] else { return }
        engine?.delivered(slot, .from, passed, at: now)
    }

    // MARK: Answers

    private mutating func answer(_ now: Instant) {
        guard !actions.isEmpty else { return }
        if answers == .assumed { confirmAll(now) }
        for case .tell(let event) in actions {
            told.append(event)
            guard let engine, let slot = engine.slot(of: event.port) else { continue }
            marks[event.name] = engine.view(slot).marks
        }
        actions.removeAll(keepingCapacity: true)
    }

    private mutating func confirmAll(_ now: Instant) {
        var place = 0
        // Each answer can ask for one thing more.
        while place < actions.count, place < 1 << 20 {
            let action = actions[place]
            place += 1
            switch action {
            case .limit(let id, _), .shutDown(let id, _):
                engine?.confirm(id, .done, now: now, into: &actions)
            case .tell: continue
            }
        }
    }
}

/// Where two accounts of the same time part.
public struct EventDifference: Hashable, Sendable {
    /// What was told then; nil: nothing of this number.
    public var recorded: Event?
    /// What is told now; nil: nothing of this number.
    public var replayed: Event?

    /// Two accounts of one thing, or one account.
    public init(recorded: Event?, replayed: Event?) {
        self.recorded = recorded
        self.replayed = replayed
    }
}

extension Replayer {
    /// Where what was told parts from what was recorded, by the events' numbers.
    public var differences: [EventDifference] {
        var differences: [EventDifference] = []
        var (left, right) = (recorded[...], told[...])
        while left.first != nil || right.first != nil {
            let (then, now) = (left.first, right.first)
            if let then, let now, then.sequence == now.sequence {
                left.removeFirst()
                right.removeFirst()
                if then != now {
                    differences.append(EventDifference(recorded: then, replayed: now))
                }
            } else if let then, now.map({ then.sequence < $0.sequence }) ?? true {
                left.removeFirst()
                differences.append(EventDifference(recorded: then, replayed: nil))
            } else {
                right.removeFirst()
                differences.append(EventDifference(recorded: nil, replayed: now))
            }
        }
        return differences
    }
}
