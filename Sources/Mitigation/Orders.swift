// What an operator says of single ports: hold it where it is, leave it alone, one rung up.
//
// Invariants: an order changes nothing but its port; an exempt port is decided on and told of as in
// observe mode, and is never limited; a held port still trips, and neither climbs nor comes down;
// a rung by an operator's word is one like any other, with its calibration, lane and calm.

/// What an operator said of a port, until he takes it back.
public enum PortOrder: String, Codable, Hashable, CaseIterable, Sendable {
    /// It stays on the rung that it has.
    case hold
    /// It is not limited, whatever it does.
    case exempt
}

/// Why a port does not go one rung up by an operator's word.
public enum EscalationRefusal: Hashable, Sendable {
    /// There is no such port.
    case unknownPort
    /// It is only observed.
    case observed
    /// Something is asked of the kernel for it and not answered, or it is being released.
    case busy
    /// It is on the highest rung that it may have.
    case highest(Rung)
}

extension Engine {
    /// Whether decisions about the port at `slot` are told and not carried out.
    func isObserved(_ slot: Slot) -> Bool { mode(of: slot) == .observe }

    /// Whether decisions about the port at `slot` are carried out.
    func mode(of slot: Slot) -> Mode {
        guard let record = records[slot] else { return policy.mode }
        return record.order == .exempt ? .observe : policy.mode(of: record.port.portClass)
    }

    /// Whether an operator holds what stands in this direction of a ladder's port. A companion goes
    /// with its callers.
    func isHeld(_ index: Int, _ direction: Direction) -> Bool {
        let ladder = ladders[index]
        guard records[ladder.slot]?.order == .hold, !ladder.isCompanion else { return false }
        return ladder[direction].rung > .normal
    }

    /// An operator's word on a port; nil: the rules decide again. What stands on a port that is
    /// exempt from now on is taken out.
    public mutating func order(
        _ id: PortID, _ order: PortOrder?, now: Instant, into actions: inout [Action]
    ) {
        guard let slot = slotOf[id] else { return }
        if records[slot]?.order != order { companionsAreStale = true }
        records[slot]?.order = order
        guard order == .exempt, let index = ladderIndex(slot), ladders[index].isEnforced else {
            return
        }
        _ = release(id, now: now, into: &actions)
    }

    /// One rung up by an operator's word, whatever the port does and the breaker says; from normal,
    /// calibrated by what it sends now. Answered as any other climb.
    ///
    /// - Returns: why not; nil: it is asked for.
    public mutating func escalate(
        _ id: PortID, now: Instant, into actions: inout [Action]
    ) -> EscalationRefusal? {
        guard let slot = slotOf[id], let record = records[slot] else { return .unknownPort }
        let known = ladderIndex(slot)
        guard !isObserved(slot), known.map({ ladders[$0].isEnforced }) ?? true else {
            return .observed
        }
        if let known, !ladders[known].isFree { return .busy }
        let rung = known.map { ladders[$0].from.rung } ?? .normal
        guard let next = Rung(rawValue: rung.rawValue + 1), next <= record.ceiling else {
            return .highest(rung)
        }
        guard let index = known ?? beginIncident(of: slot) else { return .unknownPort }
        // What was read long ago is not what it sends now.
        let load = offered(meters[slot], .from) ?? .zero
        if rung == .normal {
            ladders[index].path = path(
                of: slot, load: load, since: now.nanoseconds.minusSaturating(.second))
        }
        let reason = Reason(rule: .operator, direction: .from, measured: load, against: .zero)
        let request = ladders[index].ask(
            .from, next, cap: rung == .normal ? cap(by: load, of: record, at: slot) : nil,
            reason: reason, rules: rules, lane: policy.lane)
        carry(index, request, now: now, into: &actions)
        countBreaker(now: now.nanoseconds)
        return nil
    }

    /// What a port is held to that an operator brings from normal: as by a trip on packets.
    private func cap(by load: Cap, of record: Record, at slot: Slot) -> Cap {
        Trip.cap(
            averageBytes: Trip.average(
                packets: load.packets.perSecond, bytes: load.bits.bitsPerSecond / 8,
                mtu: record.port.mtu),
            mark: markSets[Int(meters[slot].markSet)].mark(.from), bitsTripped: false,
            rules: rules)
    }
}
