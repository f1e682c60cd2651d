// The state machine of one port from its trip to its release: one mutating function per event, each
// answering with what the engine shall do.
//
//   idle --ask--> asked --done--> settled            (the rungs are the target's)
//                   |-----refused--> idle            (the rungs stay; a later poll asks again)
//                   '-----unknown--> waiting --due--> asked with the same limits
//
// What was unknown and is then refused, or given up for a release, may be in the kernel or not: the
// ladder is uncertain until what belongs to its rungs has been asked for and done.
//
// Invariants: at most one request is out; the rungs are those that were confirmed last; while a
// request is out or the ladder is uncertain nothing else is decided; only `from` climbs above shape.

/// One port's incident.
struct Ladder: Sendable {
    /// Both rungs of a port.
    struct Rungs: Hashable, Sendable {
        var from: Rung
        var to: Rung

        /// The port's rung.
        var highest: Rung { max(from, to) }
    }

    /// What was asked of the daemon.
    struct Request: Sendable {
        enum Change: Sendable {
            case limits(Limits?)
            case link(isDown: Bool)
        }
        let change: Change
        /// The rungs once it is done.
        let target: Rungs
        let reason: Reason
        /// What others call for, once it is done.
        let called: Cap?
        /// Asked by an operator's release.
        let isRelease: Bool
        /// Asked after a restart, of what should stand: the clocks go on over it.
        var keepsClocks = false
        /// When to ask again, after an answer `unknown`; nil: an answer is due.
        var askAgainAt: UInt64?
        var unknowns: UInt8 = 0

        /// The daemon's work on `port`.
        func action(on port: PortID) -> Action {
            switch change {
            case .limits(let limits): .limit(port, limits)
            case .link(let isDown): .shutDown(port, isDown)
            }
        }
    }

    let slot: Int
    let incident: UInt32
    /// The way that the flood takes, as its trip was measured.
    var path: FloodPath?
    /// It tripped together with other VMs of its cloudspace: it is not calm before all of them are.
    var isGroup = false
    /// Its part of its cloudspace's trip, in this poll.
    var groupTrip: Trip?
    /// Relapses: each doubles `calm`.
    private(set) var strikes: UInt8
    /// The rungs are in the kernel; false: they would be, in observe mode.
    var isEnforced: Bool
    private(set) var from = Track()
    private(set) var to = Track()
    private(set) var request: Request?
    /// An operator's release goes on until the port is normal or the kernel refuses it.
    private(set) var isReleasing = false
    /// What the kernel holds, as it was confirmed last.
    private(set) var installed: Limits?
    /// It was above normal.
    private(set) var wasMitigated = false
    /// Alerts of this incident are those of a port that is only watched.
    private(set) var isWatched = false
    /// What the kernel holds may be something else than `installed`.
    private var limitsAreUncertain = false
    /// The link may be down where the rung says up, or up where it says down.
    private var linkIsUncertain = false
    /// Remembered, and not yet asked for.
    private var isRestored = false
    /// When what belongs to the rungs is asked for, and how often that was refused.
    private var restoreAt: UInt64 = 0
    private var restoreRefusals: UInt8 = 0
    /// The kernel's last sentence of refusal or doubt, until something is done.
    private(set) var problem: String?
    private var deliveredFrom = DeliveredMeter()
    private var deliveredTo = DeliveredMeter()

    init(slot: Int, incident: UInt32, strikes: UInt8, isEnforced: Bool) {
        self.isEnforced = isEnforced
        self.slot = slot
        self.incident = incident
        self.strikes = strikes
    }

    /// The confirmed rungs.
    var rungs: Rungs { Rungs(from: from.rung, to: to.rung) }

    /// One direction's state.
    subscript(direction: Direction) -> Track {
        get { direction == .from ? from : to }
        set {
            switch direction {
            case .from: from = newValue
            case .to: to = newValue
            }
        }
    }

    /// Mitigated, or about to be.
    var isEngaged: Bool { rungs.highest > .normal || request != nil || isUncertain }

    /// What the kernel holds is not known.
    var isUncertain: Bool { limitsAreUncertain || linkIsUncertain }

    /// Nothing is asked for, doubted or taken out.
    var isFree: Bool { request == nil && !isUncertain && !isReleasing }

    /// It is limited on account of others alone.
    var isCompanion: Bool {
        from.rung == .normal && to.rung <= .police && (to.called != nil || to.rung == .police)
    }

    /// A shutdown is asked for.
    var isShuttingDown: Bool {
        if let request, request.target.from == .shutDown { return from.rung != .shutDown }
        return false
    }

    /// Nothing is left of the incident.
    var isOver: Bool {
        isFree && from.isIdle && to.isIdle
    }

    // MARK: Events

    /// A poll: the clocks go on.
    mutating func observe(_ fromReading: Reading, _ toReading: Reading, now: UInt64) {
        from.observe(fromReading, now: now)
        to.observe(toReading, now: now)
        // What stands is in doubt, and not only because we came a moment ago: nothing is evidence, nor
        // for a successor who reads it in the journal.
        guard isUncertain, !isRestored else { return }
        from.resume(now: now)
        to.resume(now: now)
    }

    /// What a direction wants now; nil while a request is out.
    mutating func decide(_ reading: Reading, _ bounds: Bounds, rules: Rules, now: UInt64) -> Step? {
        guard isFree else { return nil }
        return switch reading.direction {
        case .from: from.decide(reading, bounds, rules: rules, now: now)
        case .to: to.decide(reading, bounds, rules: rules, now: now)
        }
    }

    /// What others call for on the way to the VM; nil: nobody calls any more.
    mutating func call(_ cap: Cap?) { to.called = cap }

    /// Delivered counters were read.
    mutating func deliver(
        _ direction: Direction, _ counters: DeliveredCounters, at now: UInt64, rules: Rules
    ) {
        switch direction {
        case .from: deliveredFrom.take(counters, at: now, rules: rules)
        case .to: deliveredTo.take(counters, at: now, rules: rules)
        }
    }

    /// The engine grants `rung`: the request that leads there.
    mutating func ask(
        _ direction: Direction, _ rung: Rung, cap: Cap?, reason: Reason, rules: Rules, lane: Lane
    ) -> Request {
        var target = rungs
        switch direction {
        case .from: target.from = rung
        case .to: target.to = rung
        }
        if let cap { self[direction].cap = cap }
        return ask(target, reason: reason, isRelease: false, rules: rules, lane: lane)
    }

    /// An operator wants the port back to normal; nil while an answer is due, or this is asked
    /// already: the release follows the answer. A port that was shut down comes up tightened first.
    mutating func release(rules: Rules, lane: Lane) -> Request? {
        if !isReleasing {
            from.forgetTold()
            to.forgetTold()
        }
        isReleasing = true
        // What is asked for again after this is no restart's: clocks begin anew with what stands.
        isRestored = false
        if let request, request.isRelease || request.askAgainAt == nil { return nil }
        let reason = Reason(rule: .operator, direction: .from, measured: .zero, against: .zero)
        // A shutdown that was not confirmed may have been one: up first, whatever the rung says.
        if linkIsUncertain, from.rung != .shutDown { return askToRestore(reason, isRelease: true) }
        let target =
            from.rung == .shutDown
            ? Rungs(from: .tighten, to: to.rung) : Rungs(from: .normal, to: .normal)
        return ask(target, reason: reason, isRelease: true, rules: rules, lane: lane)
    }

    /// What belongs to the rungs, where the kernel may hold something else and no request is out.
    mutating func restore(now: UInt64) -> Request? {
        guard request == nil, isUncertain, now >= restoreAt else { return nil }
        let reason = Reason(rule: .operator, direction: .from, measured: .zero, against: .zero)
        return askToRestore(reason, isRelease: false)
    }

    /// The same request once more, where its time has come.
    mutating func askAgain(now: UInt64) -> Request? {
        guard let due = request?.askAgainAt, now >= due else { return nil }
        request?.askAgainAt = nil
        return request
    }

    /// The request is done: the rungs are its target's. Answers with the rungs there were.
    mutating func settle(now: UInt64) -> (former: Rungs, reason: Reason)? {
        guard let done = request else { return nil }
        request = nil
        problem = nil
        let former = rungs
        switch done.change {
        case .limits(let limits):
            installed = limits
            limitsAreUncertain = false
            to.calledInForce = done.called
        case .link:
            linkIsUncertain = false
        }
        if !isUncertain {
            restoreRefusals = 0
            isRestored = false
        }
        if done.target == rungs, !done.keepsClocks {
            from.resume(now: now)
            to.resume(now: now)
        }
        enter(done.target, now: now)
        if isReleasing, rungs.highest == .normal {
            isReleasing = false
            from.forgetTold()
            to.forgetTold()
        }
        return (former, done.reason)
    }

    /// The kernel refused the request. Answers with the rung that is to be told, if it is.
    mutating func refuse(_ sentence: String, rules: Rules, now: UInt64) -> (Rung, Reason)? {
        guard let refused = request else { return nil }
        request = nil
        problem = sentence
        if refused.isRelease || rungs.highest == .normal { isReleasing = false }
        var isNew = false
        if refused.target == rungs {
            // What stands meanwhile is not known: nothing of it is evidence.
            isRestored = false
            // What others call for is not asked for in each poll.
            if refused.called != to.calledInForce {
                isNew = to.refuse(to.rung, rules: rules, now: now)
            }
            restoreAt = now.plusSaturating(Self.backOff(restoreRefusals, limit: 60))
            restoreRefusals = min(restoreRefusals + 1, 6)
        }
        if refused.target.from != from.rung {
            isNew = from.refuse(refused.target.from, rules: rules, now: now)
        }
        if refused.target.to != to.rung {
            isNew = to.refuse(refused.target.to, rules: rules, now: now) || isNew
        }
        return isNew ? (changed(refused), refused.reason) : nil
    }

    /// The request could not be confirmed: it is asked again after 1 s, doubled up to 30 s. Answers
    /// with the rung that is to be told, if it is.
    mutating func doubt(_ sentence: String, now: UInt64) -> (Rung, Reason)? {
        guard var open = request else { return nil }
        problem = sentence
        open.askAgainAt = now.plusSaturating(Self.backOff(open.unknowns, limit: 30))
        open.unknowns = min(open.unknowns + 1, 6)
        open.keepsClocks = false
        isRestored = false
        request = open
        switch open.change {
        case .limits: limitsAreUncertain = true
        case .link: linkIsUncertain = true
        }
        var isNew = false
        if open.target.from != from.rung {
            isNew = from.toldUnknown.insert(open.target.from)
        }
        if open.target.to != to.rung {
            isNew = to.toldUnknown.insert(open.target.to) || isNew
        }
        return isNew ? (changed(open), open.reason) : nil
    }

    /// These limits, and the link down, were found in the kernel at start.
    mutating func adopt(_ limits: Limits, linkIsDown: Bool, rules: Rules, now: UInt64) {
        installed = limits
        var found = Rungs(from: .normal, to: .normal)
        if let limit = limits.from {
            // Below shape, or where only the other direction is delayed, what is sent to the VM is
            // limited on its own account.
            let isPolice =
                limits.rung <= .police || (limit.delay == nil && limits.to?.delay != nil)
            found.from = isPolice ? .police : limits.rung
            found.to = isPolice && limits.to != nil ? .shape : .normal
            from.cap =
                found.from >= .tighten ? limit.cap.multiplied(by: rules.tightenDivisor) : limit.cap
            if linkIsDown { found.from = .shutDown }
        } else if limits.to != nil {
            found.to = .shape
        }
        to.cap = limits.to?.cap ?? .zero
        enter(found, now: now)
    }

    /// What is remembered of an incident: what belongs to its rungs is to be asked for.
    init(slot: Int, restoring memory: IncidentMemory, now: UInt64) {
        self.init(
            slot: slot, incident: memory.number, strikes: memory.strikes,
            isEnforced: memory.isEnforced)
        from = Track(restoring: memory.from, now: now)
        to = Track(restoring: memory.to, now: now)
        installed = memory.limits
        wasMitigated = memory.wasMitigated
        isWatched = memory.isWatched
        isReleasing = memory.isReleasing
        path = memory.path
        isGroup = memory.isGroup
        guard isEnforced, rungs.highest > .normal || memory.asked != nil else { return }
        isRestored = true
        limitsAreUncertain = true
        linkIsUncertain = memory.linkIsUncertain || from.rung == .shutDown
    }

    /// What is to be remembered.
    var memory: IncidentMemory {
        var memory = IncidentMemory(number: incident)
        memory.strikes = strikes
        memory.isEnforced = isEnforced
        memory.wasMitigated = wasMitigated
        memory.isWatched = isWatched
        memory.isReleasing = isReleasing
        memory.path = path
        memory.isGroup = isGroup
        memory.linkIsUncertain = linkIsUncertain
        if let request, case .link = request.change { memory.linkIsUncertain = true }
        memory.asked = request.map { [$0.target.from, $0.target.to] }
        // Nothing asked, but doubted: to be asked for again.
        if isUncertain, memory.asked == nil { memory.asked = [from.rung, to.rung] }
        memory.limits = installed
        memory.from = from.memory
        memory.to = to.memory
        return memory
    }

    /// What the kernel holds is not known, and not asked for before `until`.
    mutating func distrust(_ sentence: String, until: UInt64) {
        guard rungs.highest > .normal else { return }
        problem = sentence
        limitsAreUncertain = true
        restoreAt = until
    }

    /// Observe mode was left: what would have been on the port is not. Answers with those rungs.
    mutating func forget() -> Rungs {
        let former = rungs
        request = nil
        installed = nil
        isReleasing = false
        limitsAreUncertain = false
        linkIsUncertain = false
        wasMitigated = false
        isEnforced = true
        from = Track(isAlarmed: from.isAlarmed)
        to = Track(isAlarmed: to.isAlarmed)
        return former
    }

    /// An alert of `direction` begins or ends. Answers whether it is to be told: once for both
    /// directions of a port that is only watched.
    mutating func alarm(_ direction: Direction, _ isOn: Bool, isWatched: Bool) -> Bool {
        let wasAlarmed = from.isAlarmed || to.isAlarmed
        if isOn, !wasAlarmed { self.isWatched = isWatched }
        self[direction].isAlarmed = isOn
        return wasAlarmed != (from.isAlarmed || to.isAlarmed)
    }

    // MARK: Readings

    /// What `direction` is held to now; nil where it is not limited.
    func cap(_ direction: Direction) -> Cap? {
        direction == .from ? installed?.from?.cap : installed?.to?.cap
    }

    /// What gets through, where it is known and fresh.
    func delivered(_ direction: Direction, at now: UInt64, rules: Rules) -> (Double, Double)? {
        guard installed != nil else { return nil }
        let meter = direction == .from ? deliveredFrom : deliveredTo
        return meter.rate(at: now, rules: rules)
    }

    /// Whether the load is calm. What is sent to a VM is counted behind our own shaper, so that a
    /// flood shows there as a load at the cap: that is not calm either.
    func isLow(
        _ direction: Direction, packets: Double, bytes: Double, marks: MarkSet, rules: Rules
    ) -> Bool {
        guard marks.isLow(direction, packets: packets, bytes: bytes) else { return false }
        guard direction == .to, isEnforced, let cap = cap(.to) else { return true }
        return !Self.reaches(cap, rules.saturatedShare, packets: packets, bytes: bytes)
    }

    /// Whether what the VM sends is still a flood by the policy's rule, where these packets and
    /// bytes a second are offered; nil: not known.
    func isFlooding(packets: Double, bytes: Double, rules: Rules, now: UInt64) -> Bool? {
        let cap = cap(.from) ?? from.cap
        switch rules.stillFlooding {
        case .unresponsive:
            let factor = rules.unresponsiveFactor
            return packets > Double(cap.packets.perSecond) * factor
                || bytes * 8 > Double(cap.bits.bitsPerSecond) * factor
        case .saturated:
            // In observe mode nothing is held back; what would get through is bounded by the offer.
            guard isEnforced else {
                return Self.reaches(cap, rules.saturatedShare, packets: packets, bytes: bytes)
            }
            return deliveredFrom.rate(at: now, rules: rules).map {
                Self.reaches(cap, rules.saturatedShare, packets: $0.packets, bytes: $0.bytes)
            }
        }
    }

    // MARK: Parts

    private mutating func ask(
        _ target: Rungs, reason: Reason, isRelease: Bool, rules: Rules, lane: Lane
    ) -> Request {
        let crossesLink = target.from != from.rung && max(target.from, from.rung) == .shutDown
        let change: Request.Change =
            crossesLink
            ? .link(isDown: target.from == .shutDown)
            : .limits(limits(on: target, rules: rules, lane: lane))
        let asked = Request(
            change: change, target: target, reason: reason, called: to.called,
            isRelease: isRelease)
        request = asked
        return asked
    }

    private mutating func askToRestore(_ reason: Reason, isRelease: Bool) -> Request {
        let change: Request.Change =
            linkIsUncertain ? .link(isDown: from.rung == .shutDown) : .limits(installed)
        let asked = Request(
            change: change, target: rungs, reason: reason, called: to.calledInForce,
            isRelease: isRelease, keepsClocks: isRestored)
        request = asked
        return asked
    }

    private mutating func enter(_ target: Rungs, now: UInt64) {
        deliveredFrom = DeliveredMeter()
        deliveredTo = DeliveredMeter()
        if target.from > .normal || target.to > .police { wasMitigated = true }
        var isRelapse = false
        if target.from != from.rung { isRelapse = from.enter(target.from, now: now) }
        if target.to != to.rung {
            let isOwn = target.to == .shape
            isRelapse = to.enter(target.to, now: now) && isOwn || isRelapse
        }
        if isRelapse, strikes < .max { strikes += 1 }
    }

    /// What traffic control holds on these rungs; nil on normal.
    private func limits(on target: Rungs, rules: Rules, lane: Lane) -> Limits? {
        guard target.highest > .normal else { return nil }
        let sent: Limit?
        switch target.from {
        case .normal: sent = nil
        case .police: sent = Limit(cap: from.cap)
        case .shape: sent = Limit(cap: from.cap, delay: rules.delay)
        case .tighten, .shutDown:
            sent = Limit(
                cap: from.cap.divided(by: rules.tightenDivisor), delay: rules.delay * 2)
        }
        // Above police both ways are shaped; a victim's own cap holds where it is the tighter one.
        var received = sent?.delay == nil ? nil : sent
        if target.to == .shape {
            received = Limit(
                cap: received.map { $0.cap.tighter(to.cap) } ?? to.cap,
                delay: received?.delay ?? rules.delay)
        }
        // A companion is policed on account of its callers, beside whatever is its own.
        if target.to > .normal, let called = to.called {
            received = Limit(
                cap: received.map { $0.cap.tighter(called) } ?? called, delay: received?.delay)
        }
        return Limits(
            rung: min(target.highest, .tighten), incident: incident, from: sent, to: received,
            lane: lane)
    }

    /// The rung of a request that is not yet reached.
    private func changed(_ request: Request) -> Rung {
        request.target.from != from.rung ? request.target.from : request.target.to
    }

    /// 1 s, doubled with each failure, up to `limit` seconds; in nanoseconds.
    static func backOff(_ failures: UInt8, limit: UInt64) -> UInt64 {
        min(.second << UInt64(min(failures, 6)), limit * .second)
    }

    private static func reaches(
        _ cap: Cap, _ share: Double, packets: Double, bytes: Double
    ) -> Bool {
        packets >= Double(cap.packets.perSecond) * share
            || bytes * 8 >= Double(cap.bits.bitsPerSecond) * share
    }
}
