// The decision for all ports: samples and answers in, actions out, time an argument.
//
//   appear, vanish                      which ports there are
//   sample, delivered ... finishPoll    one poll: counters in, then the decision
//   confirm                             what became of an action
//   release, order, escalate            the operator
//   adopt, replace                      the start, a reload
//
// Invariants: the same events at the same times give the same actions; a transition is told once, and
// only when it has happened; a healthy port costs a poll one visit to its meter; a poll without a
// transition allocates nothing.

/// Decides what is done about floods, for all ports of a host.
///
/// In each poll: `sample` for each watched port that was read, `delivered` for what limited ports let
/// through, then `finishPoll` once. Each `limit` and `shutDown` that it asks for is answered once by
/// `confirm`; until then the port is left as it is.
public struct Engine: Sendable {
    /// A port's place, stable while the port lives; used again later.
    public typealias Slot = Int

    /// What is known of a port apart from its loads.
    struct Record: Sendable {
        var port: Port
        var ceiling: Rung
        /// What an operator said of it.
        var order: PortOrder?
        /// Relapses up to the last release, and until when another incident is one more.
        var strikes: UInt8 = 0
        var relapseUntil: UInt64?
    }

    /// The rules in force.
    public private(set) var policy: Policy
    /// What the breaker stands on, as of the last event; nil while ports may climb.
    public private(set) var breaker: Event.BreakerCause?

    private(set) var rules: Rules
    /// The cloudspaces that have ports here, and their numbers in ascending order.
    var cloudspaces: [UInt32: Cloudspace] = [:]
    var cloudspaceOrder: [UInt32] = []
    var netids: [Slot: UInt32] = [:]
    /// The latest counters of the routers' ports.
    var histories: [CounterHistory] = []
    /// A limit began or ended, or a port came or went.
    var companionsAreStale = false
    private let startedAt: UInt64
    /// The poll that samples belong to now.
    private(set) var poll: UInt32 = 1
    /// When the last poll was finished.
    private(set) var polledAt: UInt64

    var meters: [LoadMeter] = []
    private var runs: [Runs] = []
    var records: [Record?] = []
    private var isLive: [Bool] = []
    private var freeSlots: [Slot] = []
    private(set) var slotOf: [PortID: Slot] = [:]

    /// The marks of ports by place: none, the four classes, then single ports.
    private(set) var markSets: [MarkSet] = []
    private var markSetOfName: [PortName: Int32] = [:]

    var ladders: [Ladder] = []
    var lastIncident: UInt32 = 0
    /// The number of the latest event.
    var lastEvent: UInt64 = 0
    var gate = Breaker()
    /// Ports without an incident that tripped in this poll.
    private var tripped: [Slot] = []

    /// A decision without ports; its grace begins now.
    public init(policy: Policy, now: Instant) {
        self.policy = policy
        rules = Rules(policy)
        startedAt = now.nanoseconds
        polledAt = now.nanoseconds
        prepareMarks()
    }

    /// New rules: every clock, rung and strike is kept, and so are the caps of present incidents.
    /// Going to observe mode lets what is programmed come down by calm, and not climb; leaving it
    /// forgets what would have been, so that a flood that goes on is policed first.
    public mutating func replace(policy: Policy, now: Instant) {
        self.policy = policy
        rules = Rules(policy)
        prepareMarks()
        for slot in records.indices {
            guard let port = records[slot]?.port else { continue }
            meters[slot].markSet = markSet(of: port)
            records[slot]?.ceiling = rules.ceiling(of: port)
            leave(slot)
            join(slot, port)
        }
        countBreaker(now: now.nanoseconds)
    }

    // MARK: Ports

    /// A new port; or a known one (the same `id`) with another name, class, MTU or route, which keeps
    /// everything else.
    ///
    /// - Returns: its place.
    @discardableResult
    public mutating func appear(_ port: Port, now: Instant) -> Slot {
        if let slot = slotOf[port.id] {
            records[slot]?.port = port
            records[slot]?.ceiling = rules.ceiling(of: port)
            meters[slot].markSet = markSet(of: port)
            join(slot, port)
            return slot
        }
        let record = Record(port: port, ceiling: rules.ceiling(of: port))
        let meter = LoadMeter(markSet: markSet(of: port), poll: poll)
        let slot: Slot
        if let free = freeSlots.popLast() {
            slot = free
            records[slot] = record
            meters[slot] = meter
            runs[slot] = Runs()
            isLive[slot] = true
        } else {
            slot = records.count
            records.append(record)
            meters.append(meter)
            runs.append(Runs())
            isLive.append(true)
        }
        slotOf[port.id] = slot
        join(slot, port)
        if tripped.capacity < records.count { tripped.reserveCapacity(records.count * 2) }
        return slot
    }

    /// The port is gone, and its incident is over; nothing is asked for it. An unknown port is
    /// ignored.
    public mutating func vanish(_ id: PortID, now: Instant, into actions: inout [Action]) {
        guard let slot = slotOf.removeValue(forKey: id) else { return }
        if let index = ladderIndex(slot) {
            tell(.vanished(ladders[index].rungs.highest), index, nil, now, into: &actions)
            removeLadder(index)
        }
        leave(slot)
        records[slot] = nil
        meters[slot] = LoadMeter(markSet: 0, poll: poll)
        isLive[slot] = false
        freeSlots.append(slot)
        countBreaker(now: now.nanoseconds)
    }

    /// The place of a port; nil where there is no such port.
    public func slot(of id: PortID) -> Slot? { slotOf[id] }

    /// Whether there is a port at this place.
    public func has(_ slot: Slot) -> Bool {
        slot >= 0 && slot < isLive.count && isLive[slot]
    }

    /// Whether the port at this place has an incident: limits, an alert, or something asked for.
    public func hasIncident(_ slot: Slot) -> Bool { ladderIndex(slot) != nil }

    /// The places of the ports that have one.
    public func forEachIncident(_ body: (Slot) -> Void) {
        for ladder in ladders { body(ladder.slot) }
    }

    /// Whether any port has one.
    public var hasIncidents: Bool { !ladders.isEmpty }

    /// The places of all ports, in ascending order.
    public var slots: Slots { Slots(isLive: isLive) }

    /// How many ports are above normal: in observe mode, would be.
    public var mitigatedCount: Int {
        var count = 0
        for index in ladders.indices where ladders[index].rungs.highest > .normal { count += 1 }
        return count
    }

    // MARK: The poll

    /// The port's counters as they were read at `at`, at most once a poll for each port (a second
    /// time is ignored). Counters may have any value. The hot path: it allocates nothing.
    public mutating func sample(_ slot: Slot, _ counters: Counters, at: Instant) {
        let one = CollectionOfOne(PortSample(slot, counters, at: at))
        sample(one.span)
    }

    /// `sample` for each of these.
    public mutating func sample(_ samples: Span<PortSample>) {
        // Apart from the engine, so that they are known to be nobody else's once, not for each.
        var all: [LoadMeter] = []
        swap(&all, &meters)
        defer { swap(&all, &meters) }
        let (rules, poll, marks) = (rules, poll, markSets)
        var span = all.mutableSpan
        for place in samples.indices {
            let (slot, at) = (samples[place].slot, samples[place].at.nanoseconds)
            guard slot >= 0, slot < span.count else { continue }
            let isTripped = span[slot].take(
                samples[place].counters, at: at, poll: poll, rules: rules, marks: marks.span,
                runs: &runs, slot: slot)
            if isTripped, span[slot].ladder < 0 { tripped.append(slot) }
        }
    }

    /// The counters of the port's latest sample; zeros before there is one.
    /// Precondition: there is a port at this place.
    public func counters(_ slot: Slot) -> Counters {
        precondition(has(slot), "no port at slot \(slot)")
        let lanes = meters[slot].counters
        return Counters(
            fromPackets: lanes.x, fromBytes: lanes.y, toPackets: lanes.z, toBytes: lanes.w)
    }

    /// What got through the limits of one direction of a port, as it was read at `at`. Ignored where
    /// the port has no incident.
    public mutating func delivered(
        _ slot: Slot, _ direction: Direction, _ counters: DeliveredCounters, at: Instant
    ) {
        guard let index = ladderIndex(slot) else { return }
        ladders[index].deliver(direction, counters, at: at.nanoseconds, rules: rules)
    }

    /// The moment of the last poll that was ended; before there is one, of the start.
    public var polled: Instant { Instant(nanoseconds: polledAt) }

    /// Ends a poll: decides for each port that has an incident or tripped. A steady poll appends
    /// nothing and allocates nothing.
    public mutating func finishPoll(now: Instant, into actions: inout [Action]) {
        polledAt = now.nanoseconds
        keepHistories()
        watchGroups()
        if !tripped.isEmpty {
            if !isGrace { for slot in tripped { openLadder(slot) } }
            tripped.removeAll(keepingCapacity: true)
        }
        callCompanions()
        countBreaker(now: polledAt)
        var index = 0
        while index < ladders.count {
            turn(index, now: now, into: &actions)
            // The last ladder takes the place of one that is removed.
            if ladders[index].isOver { removeLadder(index) } else { index += 1 }
        }
        countBreaker(now: polledAt)
        poll &+= 1
    }

    /// One ladder's poll.
    private mutating func turn(_ index: Int, now: Instant, into actions: inout [Action]) {
        let isObserved = isObserved(ladders[index].slot)
        if !ladders[index].isEnforced, !isObserved, ladders[index].isEngaged {
            leaveObserving(index, now: now, into: &actions)
        }
        if !ladders[index].isEngaged { ladders[index].isEnforced = !isObserved }
        let fromReading = reading(index, .from)
        let toReading = reading(index, .to)
        ladders[index].observe(fromReading, toReading, now: polledAt)
        if let request = ladders[index].askAgain(now: polledAt) {
            actions.append(request.action(on: portID(index)))
        } else if let request = ladders[index].restore(now: polledAt) {
            actions.append(request.action(on: portID(index)))
        }
        decide(index, fromReading, now: now, into: &actions)
        decide(index, toReading, now: now, into: &actions)
        ladders[index].groupTrip = nil
    }

    /// What one direction wants is told, asked for, or held back.
    private mutating func decide(
        _ index: Int, _ reading: Reading, now: Instant, into actions: inout [Action]
    ) {
        let direction = reading.direction
        let bounds = bounds(index, direction)
        // An alert first, and in the same poll what is done about it.
        for _ in 0..<2 {
            let step = ladders[index].decide(reading, bounds, rules: rules, now: polledAt)
            switch step {
            case nil:
                return
            case .alarm(let isOn, let reason):
                alarm(index, direction, isOn, reason, now, into: &actions)
            case .move(let rung, let reason, let cap):
                guard !isHeld(index, direction) else { return }
                if rung > ladders[index][direction].rung {
                    guard mayClimb(index, direction, rung, reason, now, into: &actions) else {
                        return
                    }
                    gate.grant(
                        isFirst: !ladders[index].isEngaged && !ladders[index].isCompanion,
                        isShutDown: rung == .shutDown, isEnforced: ladders[index].isEnforced)
                }
                if direction == .from, ladders[index].from.rung == .normal, let trip = reading.trip
                {
                    ladders[index].path = path(
                        of: ladders[index].slot, load: trip.load, since: trip.start)
                }
                let request = ladders[index].ask(
                    direction, rung, cap: cap, reason: reason, rules: rules, lane: policy.lane)
                carry(index, request, now: now, into: &actions)
                return
            }
        }
    }

    /// Whether a rung may be climbed; a port that is held back is told of once.
    private mutating func mayClimb(
        _ index: Int, _ direction: Direction, _ rung: Rung, _ reason: Reason, _ now: Instant,
        into actions: inout [Action]
    ) -> Bool {
        // What was programmed before observe mode only comes down.
        let isEnforced = ladders[index].isEnforced
        if isObserved(ladders[index].slot), isEnforced, ladders[index].isEngaged { return false }
        let cause = gate.cause(ports: slotOf.count, policy: policy, isEnforced: isEnforced)
        guard let cause else { return true }
        if ladders[index][direction].toldHeld.insert(rung) {
            tell(.held(rung, cause), index, reason, now, into: &actions)
        }
        return false
    }

    // MARK: Ladders

    /// Nothing trips in the grace after start.
    var isGrace: Bool { polledAt.minusSaturating(startedAt) < rules.grace }

    func ladderIndex(_ slot: Slot) -> Int? {
        guard slot >= 0, slot < meters.count, meters[slot].ladder >= 0 else { return nil }
        return Int(meters[slot].ladder)
    }

    /// A new incident of a port that tripped on its own.
    private mutating func openLadder(_ slot: Slot) {
        guard meters[slot].ladder < 0,
            meters[slot].rule(.from, poll: poll, rules: rules) != nil
                || meters[slot].rule(.to, poll: poll, rules: rules) != nil
        else { return }
        openLadder(slot, incident: nil)
    }

    /// A port's part of its cloudspace's incident: a new one, where there is no `incident` yet.
    mutating func openLadder(_ slot: Slot, groupTrip: Trip, incident: UInt32?) -> UInt32 {
        if meters[slot].ladder < 0 { openLadder(slot, incident: incident) }
        guard let index = ladderIndex(slot) else { return incident ?? lastIncident }
        ladders[index].groupTrip = groupTrip
        return incident ?? ladders[index].incident
    }

    /// An operator's incident of a port that has none: the place of its ladder.
    mutating func beginIncident(of slot: Slot) -> Int? {
        openLadder(slot, incident: nil)
        return ladderIndex(slot)
    }

    /// Within the forgiveness of the last release it is a relapse.
    private mutating func openLadder(_ slot: Slot, incident: UInt32?) {
        guard let record = records[slot] else { return }
        var strikes: UInt8 = 0
        if let until = record.relapseUntil, polledAt <= until {
            strikes = record.strikes == .max ? .max : record.strikes + 1
        }
        if incident == nil { lastIncident = lastIncident == .max ? 1 : lastIncident + 1 }
        begin(
            Ladder(
                slot: slot, incident: incident ?? lastIncident, strikes: strikes,
                isEnforced: !isObserved(slot)))
    }

    /// An incident of a port that has none.
    mutating func begin(_ ladder: Ladder) {
        meters[ladder.slot].ladder = Int32(ladders.count)
        ladders.append(ladder)
    }

    /// The incident is over.
    mutating func removeLadder(_ index: Int) {
        let ladder = ladders[index]
        if ladder.path != nil { companionsAreStale = true }
        meters[ladder.slot].ladder = -1
        if ladder.wasMitigated {
            records[ladder.slot]?.strikes = ladder.strikes
            records[ladder.slot]?.relapseUntil = polledAt.plusSaturating(rules.forgiveness)
        }
        let last = ladders.removeLast()
        guard index < ladders.count else { return }
        ladders[index] = last
        meters[last.slot].ladder = Int32(index)
    }

    mutating func countBreaker(now: UInt64) {
        gate.beginCount(now: now)
        for index in ladders.indices {
            gate.grant(
                isFirst: ladders[index].isEngaged && !ladders[index].isCompanion,
                isShutDown: ladders[index].isShuttingDown,
                isEnforced: ladders[index].isEnforced)
        }
        breaker = gate.cause(
            ports: slotOf.count, policy: policy, isEnforced: policy.enforcesAnything)
    }

    /// What was seen of one direction of a ladder's port in this poll.
    private func reading(_ index: Int, _ direction: Direction) -> Reading {
        let slot = ladders[index].slot
        let marks = markSets[Int(meters[slot].markSet)]
        let elapsed = meters[slot].measured(in: poll)
        let packets = meters[slot].rates[direction.lane]
        let bytes = meters[slot].rates[direction.lane + 1]
        var reading = Reading(
            direction: direction, elapsed: elapsed, packets: packets, bytes: bytes, isLow: false,
            mark: marks.mark(direction))
        guard elapsed > 0 else { return reading }
        reading.isLow = ladders[index].isLow(
            direction, packets: packets, bytes: bytes, marks: marks, rules: rules)
        if direction == .from, ladders[index].from.rung > .normal {
            reading.isFlooding = ladders[index].isFlooding(
                packets: packets, bytes: bytes, rules: rules, now: polledAt)
        }
        if direction == .from, ladders[index].isGroup, reading.isLow {
            reading.isLow = isSumLow(around: slot)
        }
        if !isGrace, ladders[index][direction].rung == .normal,
            let rule = meters[slot].rule(direction, poll: poll, rules: rules)
        {
            reading.trip = Trip(
                rule, direction, meter: meters[slot], since: runs[slot][direction].start,
                marks: marks, rules: rules, mtu: records[slot]?.port.mtu ?? 0)
        } else if direction == .from, ladders[index].from.rung == .normal {
            reading.trip = ladders[index].groupTrip
        }
        return reading
    }

    /// How far a direction of a ladder's port may go.
    func bounds(_ index: Int, _ direction: Direction) -> Bounds {
        let ceiling = records[ladders[index].slot]?.ceiling ?? .normal
        let calmNeeded = rules.calmNeeded(strikes: ladders[index].strikes)
        return switch direction {
        case .from:
            Bounds(
                ceiling: ceiling, first: .police, alarms: ceiling == .normal,
                calmNeeded: calmNeeded)
        case .to:
            Bounds(
                ceiling: rules.victim == .shape ? min(ceiling, .shape) : .normal, first: .shape,
                alarms: true, calmNeeded: calmNeeded)
        }
    }

    func portID(_ index: Int) -> PortID {
        records[ladders[index].slot]?.port.id ?? PortID(index: 0, generation: 0)
    }

    // MARK: Marks

    private mutating func prepareMarks() {
        markSets = [MarkSet(Marks(), rules)]
        for portClass in PortClass.allCases {
            let marks = policy.marks[portClass] ?? Marks()
            markSets.append(MarkSet(marks, rules))
        }
        markSetOfName = [:]
        for (name, marks) in policy.portMarks {
            markSetOfName[name] = Int32(markSets.count)
            markSets.append(MarkSet(marks, rules))
        }
    }

    private func markSet(of port: Port) -> Int32 {
        if let place = markSetOfName[port.name] { return place }
        return Int32(1 + (PortClass.allCases.firstIndex(of: port.portClass) ?? 0))
    }
}

/// The places of the live ports, in ascending order.
public struct Slots: Sequence, IteratorProtocol, Sendable {
    private let isLive: [Bool]
    private var place = 0

    init(isLive: [Bool]) { self.isLive = isLive }

    /// The next place; nil at the end.
    public mutating func next() -> Engine.Slot? {
        while place < isLive.count {
            defer { place += 1 }
            if isLive[place] { return place }
        }
        return nil
    }
}
