// An engine, and what writes down all that it is told and tells. Without a recorder it is the engine
// and nothing else.
// Invariant: there is no way past the recorder: whatever changes a decision goes through here.
public import Mitigation

/// An engine that may be recorded. Its functions are the engine's, which says what they do.
public struct RecordedEngine: Sendable {
    /// The engine, to be looked at.
    public private(set) var engine: Engine
    /// What stands beside it; nil: nothing is recorded.
    public private(set) var recorder: Recorder?

    /// An engine without ports; its grace begins now.
    public init(policy: Policy, now: Instant) { engine = Engine(policy: policy, now: now) }

    // MARK: What an engine says

    /// The rules in force.
    public var policy: Policy { engine.policy }
    /// What the breaker stands on.
    public var breaker: Event.BreakerCause? { engine.breaker }
    /// `Engine.breakerRoom`.
    public var breakerRoom: BreakerRoom { engine.breakerRoom }
    /// How many ports are above normal.
    public var mitigatedCount: Int { engine.mitigatedCount }
    /// `Engine.polled`.
    public var polled: Instant { engine.polled }
    /// The places of all ports.
    public var slots: Slots { engine.slots }
    /// What is remembered apart from the ports.
    public var memory: EngineMemory { engine.memory }
    /// The place of a port.
    public func slot(of id: PortID) -> Engine.Slot? { engine.slot(of: id) }
    /// What is known of a port.
    public func view(_ slot: Engine.Slot) -> PortView { engine.view(slot) }
    /// A port's counters, as they were sampled last.
    public func counters(_ slot: Engine.Slot) -> Counters { engine.counters(slot) }
    /// `Engine.ceiling`.
    public func ceiling(of port: Port) -> Rung { engine.ceiling(of: port) }
    /// What is remembered of a port.
    public func memory(_ slot: Engine.Slot, now: Instant) -> PortMemory? {
        engine.memory(slot, now: now)
    }

    // MARK: What it is told

    /// `Engine.replace`.
    public mutating func replace(policy: Policy, now: Instant) {
        engine.replace(policy: policy, now: now)
        guard let recorder else { return }
        note(.replace(recorder.configuration, modes: policy.modes), now)
    }

    /// `Engine.appear`.
    @discardableResult
    public mutating func appear(_ port: Port, now: Instant) -> Engine.Slot {
        let slot = engine.appear(port, now: now)
        note(.appear(port, place: slot), now)
        return slot
    }

    /// `Engine.vanish`.
    public mutating func vanish(_ id: PortID, now: Instant, into actions: inout [Action]) {
        pass(.vanish(id), now, &actions) { $0.vanish(id, now: now, into: &$1) }
    }

    /// `Engine.sample`.
    public mutating func sample(_ slot: Engine.Slot, _ counters: Counters, at: Instant) {
        let one = CollectionOfOne(PortSample(slot, counters, at: at))
        sample(one.span)
    }

    /// `Engine.sample`.
    public mutating func sample(_ samples: Span<PortSample>) {
        engine.sample(samples)
        recorder?.sample(samples)
    }

    /// `Engine.delivered`.
    public mutating func delivered(
        _ slot: Engine.Slot, _ direction: Direction, _ counters: DeliveredCounters, at: Instant
    ) {
        engine.delivered(slot, direction, counters, at: at)
        guard recorder != nil, engine.hasIncident(slot), let id = portID(slot) else { return }
        note(.delivered(id, direction, counters), at)
    }

    /// `Engine.finishPoll`.
    public mutating func finishPoll(now: Instant, into actions: inout [Action]) {
        let before = actions.count
        engine.finishPoll(now: now, into: &actions)
        guard recorder != nil else { return }
        recorder?.finishPoll(engine, now: now)
        tell(actions, from: before)
    }

    /// `Engine.confirm`.
    public mutating func confirm(
        _ id: PortID, _ outcome: Outcome, now: Instant, into actions: inout [Action]
    ) {
        pass(.confirm(id, outcome), now, &actions) {
            $0.confirm(id, outcome, now: now, into: &$1)
        }
    }

    /// `Engine.release`.
    public mutating func release(
        _ id: PortID, now: Instant, into actions: inout [Action]
    ) -> Bool {
        pass(.release(id), now, &actions) { $0.release(id, now: now, into: &$1) }
    }

    /// `Engine.order`.
    public mutating func order(
        _ id: PortID, _ order: PortOrder?, now: Instant, into actions: inout [Action]
    ) {
        pass(.order(id, order), now, &actions) { $0.order(id, order, now: now, into: &$1) }
    }

    /// `Engine.escalate`.
    public mutating func escalate(
        _ id: PortID, now: Instant, into actions: inout [Action]
    ) -> EscalationRefusal? {
        pass(.escalate(id), now, &actions) { $0.escalate(id, now: now, into: &$1) }
    }

    /// `Engine.adopt`.
    @discardableResult
    public mutating func adopt(
        _ slot: Engine.Slot, _ limits: Limits, linkIsDown: Bool, now: Instant
    ) -> Bool {
        if recorder != nil, let id = portID(slot) {
            note(.adopt(id, limits, linkIsDown: linkIsDown), now)
        }
        return engine.adopt(slot, limits, linkIsDown: linkIsDown, now: now)
    }

    /// `Engine.restore`.
    public mutating func restore(_ memory: EngineMemory, now: Instant) {
        note(.restore(memory), now)
        engine.restore(memory, now: now)
    }

    /// `Engine.restore`.
    public mutating func restore(_ slot: Engine.Slot, _ memory: PortMemory, now: Instant) {
        if recorder != nil, let id = portID(slot) { note(.restorePort(id, memory), now) }
        engine.restore(slot, memory, now: now)
    }

    /// `Engine.distrust`, at `now`.
    public mutating func distrust(
        _ id: PortID, _ sentence: String, until: Instant, now: Instant
    ) {
        note(.distrust(id, sentence, until: until), now)
        engine.distrust(id, sentence, until: until)
    }

    // MARK: Recording

    /// Records from now on: before anything else is told.
    ///
    /// - Parameters:
    ///   - configuration: the text that the policy was read from.
    ///   - wallNanoseconds: the wall clock, in nanoseconds since 1970.
    public mutating func record(
        _ settings: RecorderSettings, configuration: [UInt8], now: Instant, wallNanoseconds: UInt64
    ) {
        var recorder = Recorder(
            settings, configuration: configuration, policy: engine.policy, now: now)
        recorder.start(engine, now: now, wallNanoseconds: wallNanoseconds)
        self.recorder = recorder
    }

    /// The text of the configuration whose policy is about to replace the present one.
    public mutating func note(configuration: [UInt8]) { recorder?.configuration = configuration }

    /// Something that was given away is lost: the recording begins anew.
    public mutating func breakRecording() { recorder?.breakOff() }

    /// A turn ends. What was written is given away where that is due (a second of turns, or much), and
    /// a new file begins where this one is long enough, or broken.
    ///
    /// - Parameter body: gets whole frames, and whether they begin a file; takes the bytes by leaving
    ///   an empty array with room in it, or leaves them as they are until the next turn.
    public mutating func endTurn(
        now: Instant, wallNanoseconds: () -> UInt64, isLast: Bool = false,
        _ body: (inout [UInt8], _ beginsFile: Bool) -> Void
    ) {
        guard recorder != nil else { return }
        if isLast { recorder?.flush() }
        if recorder?.endTurn(now: now) == true { recorder?.give(body) }
        guard !isLast, recorder?.isStartDue == true else { return }
        recorder?.start(engine, now: now, wallNanoseconds: wallNanoseconds())
    }

    private func portID(_ slot: Engine.Slot) -> PortID? {
        engine.has(slot) ? engine.view(slot).port.id : nil
    }

    /// The engine is told something, and what it tells of it is written too.
    private mutating func pass<Answer>(
        _ input: @autoclosure () -> EngineInput, _ now: Instant, _ actions: inout [Action],
        _ body: (inout Engine, inout [Action]) -> Answer
    ) -> Answer {
        note(input(), now)
        let before = actions.count
        defer { tell(actions, from: before) }
        return body(&engine, &actions)
    }

    private mutating func note(_ input: @autoclosure () -> EngineInput, _ now: Instant) {
        guard recorder != nil else { return }
        recorder?.take(input(), policy: engine.policy, at: now)
    }

    private mutating func tell(_ actions: [Action], from place: Int) {
        guard recorder != nil, place < actions.count else { return }
        for case .tell(let event) in actions[place...] { recorder?.tell(event) }
    }
}
