// What became of an action; the operator's release; what was found at start.
// Invariant: a transition is told in the same call in which it is known to have happened.

extension Engine {
    // MARK: Answers

    /// What became of the `limit` or `shutDown` that was asked for this port. Ignored where the port
    /// is gone or nothing was asked.
    public mutating func confirm(
        _ id: PortID, _ outcome: Outcome, now: Instant, into actions: inout [Action]
    ) {
        guard let slot = slotOf[id], let index = ladderIndex(slot),
            ladders[index].request != nil, ladders[index].isEnforced
        else { return }
        switch outcome {
        case .done:
            settle(index, now: now, into: &actions)
        case .refused(let sentence):
            let wasCaller = ladders[index].isCaller
            let told = ladders[index].refuse(sentence, rules: rules, now: now.nanoseconds)
            if let (rung, reason) = told {
                tell(.refused(rung, sentence), index, reason, now, into: &actions)
            }
            noteCaller(index, wasCaller)
        case .unknown(let sentence):
            if let (rung, reason) = ladders[index].doubt(sentence, now: now.nanoseconds) {
                tell(.unknown(rung, sentence), index, reason, now, into: &actions)
            }
        }
        if ladders[index].isReleasing { goOnReleasing(index, now: now, into: &actions) }
        if ladders[index].isOver { removeLadder(index) }
        countBreaker(now: now.nanoseconds)
    }

    /// An operator's word: the port goes straight to normal, through tightened where its link has to
    /// come up first. It is asked for now, or after the answer that is due. A flood that goes on trips
    /// again, as a relapse, by the usual rule. Incidents that go on call for this port no more, nor does
    /// one that is only about to.
    ///
    /// - Returns: false where there is no such port, or nothing of ours on it.
    public mutating func release(
        _ id: PortID, now: Instant, into actions: inout [Action]
    ) -> Bool {
        guard let slot = slotOf[id] else { return false }
        excuseCompanion(at: slot)
        guard let index = ladderIndex(slot), ladders[index].isEngaged else { return false }
        goOnReleasing(index, now: now, into: &actions)
        if ladders[index].isOver { removeLadder(index) }
        countBreaker(now: now.nanoseconds)
        return true
    }

    /// Limits of ours that were found in the kernel at start, and of which nothing is remembered: the
    /// port has the rung that they belong to, `shutDown` where the link is down by us; its dwell and
    /// calm begin anew. No transition, so nothing is told. An incident that is remembered without
    /// limits (an alert, in a journal that could not be written since) goes on with them; ignored where
    /// the port has limits already, or is about to.
    ///
    /// - Returns: false where it was ignored.
    @discardableResult
    public mutating func adopt(
        _ slot: Slot, _ limits: Limits, linkIsDown: Bool, now: Instant
    ) -> Bool {
        guard slot >= 0, slot < records.count, let record = records[slot] else { return false }
        if let index = ladderIndex(slot) {
            guard !ladders[index].isEngaged else { return false }
            ladders[index].isEnforced = true
            ladders[index].adopt(limits, linkIsDown: linkIsDown, rules: rules, now: now.nanoseconds)
            lastIncident = max(lastIncident, limits.incident)
            countBreaker(now: now.nanoseconds)
            return ladders[index].rungs.highest > .normal
        }
        var ladder = Ladder(
            slot: slot, incident: limits.incident, strikes: record.strikes, isEnforced: true)
        ladder.adopt(limits, linkIsDown: linkIsDown, rules: rules, now: now.nanoseconds)
        guard !ladder.isOver else { return false }
        lastIncident = max(lastIncident, limits.incident)
        begin(ladder)
        countBreaker(now: now.nanoseconds)
        return true
    }

    // MARK: Requests

    /// Asks the daemon for it; in observe mode it is as good as done.
    mutating func carry(
        _ index: Int, _ request: Ladder.Request, now: Instant, into actions: inout [Action]
    ) {
        if ladders[index].isEnforced {
            actions.append(request.action(on: portID(index)))
        } else {
            settle(index, now: now, into: &actions)
        }
    }

    /// A request is done: the transition has happened and is told.
    private mutating func settle(_ index: Int, now: Instant, into actions: inout [Action]) {
        let isRelease = ladders[index].isReleasing
        let wasCaller = ladders[index].isCaller
        guard let (former, reason) = ladders[index].settle(now: now.nanoseconds) else { return }
        let rungs = ladders[index].rungs
        if rungs.from == .shutDown, former.from != .shutDown {
            gate.shutDown(now: now.nanoseconds, isEnforced: ladders[index].isEnforced)
        }
        tellMoves(index, from: former, reason, now, into: &actions)
        noteCaller(index, wasCaller)
        if (former.from == .normal) != (rungs.from == .normal) {
            ladders[index].isGroup = reason.rule == .group
            if let path = ladders[index].path, rungs.from > .normal {
                tell(.path(path), index, nil, now, into: &actions)
            }
        }
        if isRelease, rungs.highest == .normal { meters[ladders[index].slot].forgive() }
    }

    /// A release's next request, where none is out.
    mutating func goOnReleasing(
        _ index: Int, now: Instant, into actions: inout [Action]
    ) {
        let wasCaller = ladders[index].isCaller
        defer { noteCaller(index, wasCaller) }
        // Twice at most: a port that is shut down comes up, then its limits go.
        for _ in 0..<2 {
            let request = ladders[index].release(rules: rules, lane: policy.lane)
            guard let request else { return }
            carry(index, request, now: now, into: &actions)
            guard ladders[index].isReleasing, !ladders[index].isEnforced else { return }
        }
    }

    private mutating func noteCaller(_ index: Int, _ wasCaller: Bool) {
        if ladders[index].isCaller != wasCaller { companionsAreStale = true }
    }

    /// What would have been on the port is not: it starts from normal, now in earnest.
    mutating func leaveObserving(
        _ index: Int, now: Instant, into actions: inout [Action]
    ) {
        let former = ladders[index].forget()
        companionsAreStale = true
        let reason = Reason(rule: .operator, direction: .from, measured: .zero, against: .zero)
        tellMoves(index, from: former, reason, mode: .observe, now, into: &actions)
    }
}
