// One direction's way up and down the ladder: its rung, its clocks, and what it wants next.
//
//   from the VM:  normal <-> police <-> shape <-> tighten --> shut down --> (operator, probe) tighten
//   to the VM:    normal <-> shape                                (a victim is never above shape)
//
// Invariants: a rung is entered only when it has been confirmed; only valid polls are evidence, of a
// flood as of calm; a void poll neither counts nor interrupts.

/// What was seen of one direction in one poll.
struct Reading: Sendable {
    /// Which direction.
    var direction: Direction
    /// The nanoseconds that the sample measures; zero: void.
    var elapsed: UInt64
    /// Offered, a second.
    var packets: Double
    /// Offered, a second.
    var bytes: Double
    /// Below the low mark.
    var isLow: Bool
    /// The marks it was held against.
    var mark: Mark
    /// Still flooding by the policy's rule; nil: not known.
    var isFlooding: Bool?
    /// Tripped in this poll.
    var trip: Trip?
}

/// What a direction asks for.
enum Step: Sendable {
    /// Another rung; with the cap of a trip, if it is one.
    case move(to: Rung, Reason, cap: Cap?)
    /// An alert begins or ends.
    case alarm(Bool, Reason)
}

/// How far a direction may go on a port, and how it steps.
struct Bounds: Sendable {
    /// The highest rung.
    var ceiling: Rung
    /// The first rung above normal: police for what the VM sends, shape for what is sent to it.
    var first: Rung
    /// Alerts on its own, whether a rung is reached or not.
    var alarms: Bool
    /// How long the load has to be low before a step down.
    var calmNeeded: UInt64
}

/// A set of rungs in one byte.
struct RungSet: Hashable, Sendable {
    private var bits: UInt8 = 0

    var isEmpty: Bool { bits == 0 }

    /// Adds `rung`; false where it was in already.
    mutating func insert(_ rung: Rung) -> Bool {
        let bit: UInt8 = 1 << rung.rawValue
        defer { bits |= bit }
        return bits & bit == 0
    }

    mutating func remove(_ rung: Rung) { bits &= ~(1 << rung.rawValue) }
}

/// The state of one direction of a port that has an incident.
struct Track: Sendable {
    /// The confirmed rung.
    private(set) var rung = Rung.normal
    /// When it was reached.
    private(set) var since: UInt64 = 0
    /// What a policed or shaped port may send; frozen for the incident.
    var cap = Cap.zero
    /// What a companion's callers may send together; nil: nobody calls. Only to the VM.
    var called: Cap?
    /// The same, as the kernel holds it.
    var calledInForce: Cap?
    /// An alert is on.
    var isAlarmed: Bool
    /// How long the load has been low, in nanoseconds of valid samples.
    private(set) var calm: UInt64 = 0
    /// The evidence since the rung was reached, or since the last dwell ended without any.
    private(set) var window = DwellWindow(start: 0)
    /// Nothing is asked before this.
    private var retryAt: UInt64 = 0
    private var refusals: UInt8 = 0
    /// Told already, for these rungs.
    var toldHeld = RungSet()
    var toldRefused = RungSet()
    var toldUnknown = RungSet()
    /// It stepped down, in this incident, and has not climbed since.
    private var hasSteppedDown = false

    init(isAlarmed: Bool = false) { self.isAlarmed = isAlarmed }

    /// Goes on with what is remembered; moments that have not come yet are now.
    init(restoring memory: TrackMemory, now: UInt64) {
        rung = memory.rung
        since = min(memory.since.nanoseconds, now)
        cap = memory.cap
        called = memory.called
        calledInForce = memory.called
        isAlarmed = memory.isAlarmed
        calm = memory.calm
        hasSteppedDown = memory.hasSteppedDown
        window = DwellWindow(restoring: memory.evidence, now: now)
    }

    /// What is to be remembered.
    var memory: TrackMemory {
        var memory = TrackMemory()
        memory.rung = rung
        memory.since = Instant(nanoseconds: since)
        memory.cap = cap
        memory.called = calledInForce
        memory.isAlarmed = isAlarmed
        memory.calm = calm
        memory.hasSteppedDown = hasSteppedDown
        memory.evidence = window.evidence
        return memory
    }

    /// Nothing is left of an incident.
    var isIdle: Bool {
        rung == .normal && called == nil && !isAlarmed && toldHeld.isEmpty && toldRefused.isEmpty
            && toldUnknown.isEmpty
    }

    /// A poll's reading: goes into the clocks.
    mutating func observe(_ reading: Reading, now: UInt64) {
        // A late sample measures time from before this rung, too.
        let elapsed = min(reading.elapsed, now.minusSaturating(since))
        if reading.elapsed > 0 { calm = reading.isLow ? calm.plusSaturating(elapsed) : 0 }
        window.add(reading, elapsed: elapsed)
    }

    /// What is wanted now; nil: to stay.
    mutating func decide(_ reading: Reading, _ bounds: Bounds, rules: Rules, now: UInt64) -> Step? {
        switch rung {
        case .normal: return decideOnNormal(reading, bounds, rules: rules, now: now)
        case .shutDown: return decideShutDown(rules: rules, now: now)
        case .police where bounds.first == .shape:
            return decideOnNormal(reading, bounds, rules: rules, now: now)
        case .police, .shape, .tighten: break
        }
        if let step = decideCalled(now: now) { return step }
        if isCalm(reading, bounds) {
            let lower = Rung(rawValue: rung.rawValue - 1) ?? .normal
            let foot: Rung = called == nil ? .normal : .police
            return .move(
                to: lower < bounds.first ? foot : lower, calmReason(reading, rules), cap: called)
        }
        return decideClimb(bounds, rules: rules, now: now)
    }

    private mutating func decideOnNormal(
        _ reading: Reading, _ bounds: Bounds, rules: Rules, now: UInt64
    ) -> Step? {
        if let trip = reading.trip {
            if bounds.alarms, !isAlarmed { return .alarm(true, trip.reason) }
            if bounds.first <= bounds.ceiling, now >= retryAt {
                return .move(to: bounds.first, trip.reason, cap: trip.cap)
            }
        }
        if let step = decideCalled(now: now) { return step }
        guard reading.trip == nil, isCalm(reading, bounds) else { return nil }
        // The flood went by itself.
        forgetTold()
        return isAlarmed ? .alarm(false, calmReason(reading, rules)) : nil
    }

    /// Whether others call for a limit here that the kernel does not hold yet, or no longer call.
    private func decideCalled(now: UInt64) -> Step? {
        guard called != calledInForce, now >= retryAt else { return nil }
        let reason = Reason(
            rule: .companion, direction: .to, measured: .zero, against: called ?? .zero)
        let isOwn = rung >= .shape
        return .move(
            to: isOwn ? rung : called == nil ? .normal : .police, reason,
            cap: isOwn ? nil : called)
    }

    private func decideShutDown(rules: Rules, now: UInt64) -> Step? {
        guard let probe = rules.probe, now.minusSaturating(since) >= probe, now >= retryAt else {
            return nil
        }
        let reason = Reason(rule: .probe, direction: .from, measured: .zero, against: .zero)
        return .move(to: .tighten, reason, cap: nil)
    }

    /// After the dwell: up where the window shows a flood, else a new window.
    private mutating func decideClimb(_ bounds: Bounds, rules: Rules, now: UInt64) -> Step? {
        let dwell = rules.dwell(on: rung)
        guard now.minusSaturating(window.start) >= dwell else { return nil }
        guard let next = Rung(rawValue: rung.rawValue + 1), next <= bounds.ceiling,
            window.showsFlood(dwell: dwell, rules: rules)
        else {
            window = DwellWindow(start: now)
            return nil
        }
        guard now >= retryAt else { return nil }
        let rule: Reason.Rule =
            rules.stillFlooding == .unresponsive ? .unresponsive : .saturated
        let held = rung == .tighten ? cap.divided(by: rules.tightenDivisor) : cap
        let reason = Reason(
            rule: rule, direction: .from, measured: window.measured, against: held)
        return .move(to: next, reason, cap: nil)
    }

    /// `rung` has been confirmed. True: it is a relapse within the incident, a climb after a step
    /// down.
    mutating func enter(_ rung: Rung, now: UInt64) -> Bool {
        let isClimb = rung > self.rung
        let isRelapse = isClimb && hasSteppedDown
        hasSteppedDown = !isClimb
        self.rung = rung
        since = now
        calm = 0
        window = DwellWindow(start: now)
        retryAt = 0
        refusals = 0
        toldHeld = RungSet()
        toldRefused.remove(rung)
        toldUnknown.remove(rung)
        if rung == .normal { forgetTold() }
        return isRelapse
    }

    /// The kernel holds again what belongs to the rung: what was seen meanwhile is no evidence.
    mutating func resume(now: UInt64) {
        calm = 0
        window = DwellWindow(start: now)
    }

    /// The kernel refused `target`: the rung stays, and nothing is asked before another dwell; for
    /// a trip 1 s, doubled up to 60 s. True: to be told.
    mutating func refuse(_ target: Rung, rules: Rules, now: UInt64) -> Bool {
        resume(now: now)
        let wait: UInt64
        switch rung {
        case .normal:
            wait = Ladder.backOff(refusals, limit: 60)
            refusals = min(refusals + 1, 6)
        case .shutDown:
            wait = max(rules.probe ?? 0, .second)
        case .police, .shape, .tighten:
            wait = max(rules.dwell(on: rung), .second)
        }
        retryAt = now.plusSaturating(wait)
        return toldRefused.insert(target)
    }

    /// What was told of refusals, doubts and holds is told again when it happens again.
    mutating func forgetTold() {
        toldHeld = RungSet()
        toldRefused = RungSet()
        toldUnknown = RungSet()
    }

    /// The earliest moment of the next climb, if the flood goes on.
    func climbDue(rules: Rules) -> UInt64 {
        max(window.start.plusSaturating(rules.dwell(on: rung)), retryAt)
    }

    /// When a port that was shut down is probed; nil: when an operator says so.
    func probeDue(rules: Rules) -> UInt64? {
        rules.probe.map { max(since.plusSaturating($0), retryAt) }
    }

    /// Low for long enough, and in this poll too: stale data is not calm.
    private func isCalm(_ reading: Reading, _ bounds: Bounds) -> Bool {
        reading.elapsed > 0 && calm > 0 && calm >= bounds.calmNeeded
    }

    private func calmReason(_ reading: Reading, _ rules: Rules) -> Reason {
        Reason(
            rule: .calm, direction: reading.direction,
            measured: Cap(packetsPerSecond: reading.packets, bytesPerSecond: reading.bytes),
            against: Cap(reading.mark, times: rules.lowShare))
    }
}

/// The evidence of a flood over one dwell.
struct DwellWindow: Sendable {
    /// When it began, in nanoseconds.
    let start: UInt64
    private var polls: UInt64 = 0
    private var valid: UInt64 = 0
    private var flooding: UInt64 = 0
    /// Nanoseconds that the valid polls measured.
    private var covered: UInt64 = 0
    /// The latest 64 polls, the latest in bit 0.
    private var tail: UInt64 = 0
    private var packets = 0.0
    private var bytes = 0.0

    init(start: UInt64) { self.start = start }

    /// Goes on with what is remembered; but what is too old to be the last polls must be seen again
    /// before it shows a flood. Counts that contradict each other show none.
    init(restoring memory: Evidence, now: UInt64) {
        start = min(memory.start.nanoseconds, now)
        polls = min(memory.polls, 1 << 40)
        valid = min(memory.valid, polls)
        flooding = min(memory.flooding, valid)
        covered = min(memory.covered, now &- start)
        packets = Double(memory.packets)
        bytes = Double(memory.bytes)
    }

    /// What is to be remembered.
    var evidence: Evidence {
        var evidence = Evidence()
        evidence.start = Instant(nanoseconds: start)
        evidence.polls = polls
        evidence.valid = valid
        evidence.flooding = flooding
        evidence.covered = covered
        evidence.packets = UInt64(saturating: packets)
        evidence.bytes = UInt64(saturating: bytes)
        return evidence
    }

    /// What was offered over the valid polls, a second.
    var measured: Cap {
        let seconds = Double(max(covered, 1)) / 1_000_000_000
        return Cap(packetsPerSecond: packets / seconds, bytesPerSecond: bytes / seconds)
    }

    /// Another poll, of which `elapsed` nanoseconds lie within the window.
    mutating func add(_ reading: Reading, elapsed: UInt64) {
        polls &+= 1
        tail <<= 1
        guard reading.elapsed > 0, let isFlooding = reading.isFlooding else { return }
        valid &+= 1
        covered = covered.plusSaturating(elapsed)
        let seconds = Double(elapsed) / 1_000_000_000
        packets += reading.packets * seconds
        bytes += reading.bytes * seconds
        guard isFlooding else { return }
        flooding &+= 1
        tail |= 1
    }

    /// A flood in 80% of the valid polls, and in 80% of the last `sustain`; and valid polls that
    /// cover half of the dwell, since a few polls say nothing of five minutes.
    func showsFlood(dwell: UInt64, rules: Rules) -> Bool {
        guard valid > 0, covered >= dwell / 2, flooding &* 5 >= valid &* 4 else { return false }
        let last = Int(min(polls, UInt64(rules.window)))
        return (tail & .lowest(last)).nonzeroBitCount >= Rules.fourFifths(of: last)
    }
}
