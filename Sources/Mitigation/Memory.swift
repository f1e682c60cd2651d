// What is remembered over a restart of the daemon, or on a port's way to another host: what the
// kernel's objects cannot say.
//
// Invariants: memory is plain values, without references to ports or places; whatever it says, to
// restore it neither traps nor gives a port less protection than its rung asks for; what it says of
// the kernel is never believed: it is asked for anew, and answered, before anything else is decided.

/// One direction's rung and clocks.
public struct TrackMemory: Hashable, Codable, Sendable {
    /// The confirmed rung.
    public var rung = Rung.normal
    /// When it was reached.
    public var since = Instant(nanoseconds: 0)
    /// What a policed or shaped port may send: the incident's calibration.
    public var cap = Cap.zero
    /// What others call for here, as a companion of theirs.
    public var called: Cap?
    /// An alert is on.
    public var isAlarmed = false
    /// Nanoseconds of valid samples for which the load has been low.
    public var calm: UInt64 = 0
    /// It stepped down in this incident, and has not climbed since.
    public var hasSteppedDown = false
    /// What was seen in the present dwell.
    public var evidence = Evidence()

    /// Nothing of an incident.
    public init() {}
}

/// The evidence of a flood in one dwell.
public struct Evidence: Hashable, Codable, Sendable {
    /// When the dwell began.
    public var start = Instant(nanoseconds: 0)
    /// Polls since then.
    public var polls: UInt64 = 0
    /// Of those, valid ones.
    public var valid: UInt64 = 0
    /// Of those, polls that showed a flood.
    public var flooding: UInt64 = 0
    /// Nanoseconds that the valid polls measured.
    public var covered: UInt64 = 0
    /// Packets offered over the valid polls.
    public var packets: UInt64 = 0
    /// Bytes offered over the valid polls.
    public var bytes: UInt64 = 0

    /// No evidence.
    public init() {}
}

/// One incident.
public struct IncidentMemory: Hashable, Codable, Sendable {
    /// Its number.
    public var number: UInt32
    /// Relapses: each doubles `calm`.
    public var strikes: UInt8 = 0
    /// Its rungs are in the kernel; false: they would be, in observe mode.
    public var isEnforced = true
    /// It was above normal.
    public var wasMitigated = false
    /// Its alerts are those of a port that is only watched.
    public var isWatched = false
    /// An operator's release goes on.
    public var isReleasing = false
    /// The link may be another way than the rung says: a change of it was asked for.
    public var linkIsUncertain = false
    /// The rungs that were asked for and not yet confirmed, from and to the VM.
    public var asked: [Rung]?
    /// What traffic control held as it was confirmed last; nil: nothing of ours.
    public var limits: Limits?
    /// The way of the flood.
    public var path: FloodPath?
    /// It tripped together with other VMs.
    public var isGroup = false
    /// What the VM sends.
    public var from = TrackMemory()
    /// What is sent to the VM.
    public var to = TrackMemory()

    /// An incident on normal.
    public init(number: UInt32) { self.number = number }

    /// The higher one of its rungs.
    public var rung: Rung { max(from.rung, to.rung) }

    /// Whether its parts agree: rungs that the ladder has, and above normal limits of their kind that
    /// let something pass. What is not sound is not restored: it would cut a machine off, or protect
    /// nobody.
    public var isSound: Bool {
        guard to.rung <= .shape, to.rung != .police || to.called != nil else { return false }
        if let called = to.called, !called.letsPass { return false }
        for track in [from, to] where track.rung > .normal {
            guard track.cap.letsPass else { return false }
        }
        guard isEnforced else { return true }
        guard rung > .normal else { return limits == nil }
        guard let limits, limits.rung > .normal, limits.rung <= .tighten,
            limits.lane.tcpPorts.count <= 16, limits.lane.management.letsPass,
            limits.lane.neighbour.letsPass
        else { return false }
        let bounds = [limits.from, limits.to].compactMap { $0 }
        return (limits.from != nil) == (from.rung > .normal)
            && !bounds.isEmpty
            && bounds.allSatisfy { $0.cap.letsPass && ($0.delay ?? .zero) >= .zero }
    }
}

extension IncidentMemory {
    /// What is left of it where nothing is to stand above `ceiling`; nil where nothing is.
    func bounded(by ceiling: Rung) -> IncidentMemory? {
        guard rung > ceiling || asked?.contains(where: { $0 > ceiling }) == true else {
            return self
        }
        var memory = self
        memory.asked = nil
        memory.linkIsUncertain = linkIsUncertain || rung == .shutDown
        memory.from.rung = min(from.rung, ceiling)
        // What is sent to a VM is shaped or let be.
        if to.rung > ceiling {
            memory.to.rung = .normal
            memory.limits?.to = nil
        }
        guard memory.rung > .normal else { return nil }
        if let limits, limits.rung > ceiling { memory.limits?.rung = ceiling }
        if ceiling == .police { memory.limits?.from?.delay = nil }
        return memory
    }
}

extension Cap {
    fileprivate var letsPass: Bool { packets.perSecond > 0 && bits.bitsPerSecond > 0 }
}

/// One port.
public struct PortMemory: Hashable, Codable, Sendable {
    /// Relapses up to the last release.
    public var strikes: UInt8 = 0
    /// Until when another incident is a relapse; nil: none is.
    public var relapseUntil: Instant?
    /// The present incident.
    public var incident: IncidentMemory?

    /// Nothing remembered.
    public init() {}

    /// The same with no rung above `ceiling` (`Engine.ceiling`).
    public func bounded(by ceiling: Rung) -> PortMemory {
        var memory = self
        memory.incident = incident?.bounded(by: ceiling)
        return memory
    }

    /// What outlives the port's interface: the strikes, and those of an incident that ends with it
    /// at `now`. nil where there is nothing.
    public func outlived(now: Instant, forgiveness: Duration) -> PortMemory? {
        var rest = PortMemory()
        if let incident, incident.wasMitigated {
            rest.strikes = incident.strikes
            rest.relapseUntil = now.advanced(by: forgiveness)
            return rest
        }
        guard let relapseUntil, relapseUntil > now else { return nil }
        rest.strikes = strikes
        rest.relapseUntil = relapseUntil
        return rest
    }
}

/// The decision's memory apart from its ports.
public struct EngineMemory: Hashable, Codable, Sendable {
    /// The number of the latest incident.
    public var lastIncident: UInt32 = 0
    /// The number of the latest event.
    public var lastEvent: UInt64 = 0
    /// When ports were shut down, within the last hour.
    public var shutdowns: [Instant] = []
    /// When ports that are only observed would have been; nil: never.
    public var observedShutdowns: [Instant]?

    /// Nothing remembered.
    public init() {}
}

// MARK: Clocks of another time

extension Instant {
    /// The same moment by a clock that shows `here` when the former showed `there`; the clock's
    /// origin where it lies before that.
    public func moved(from there: Instant, to here: Instant) -> Instant {
        if self >= there {
            return Instant(
                nanoseconds: here.nanoseconds.plusSaturating(nanoseconds - there.nanoseconds))
        }
        return Instant(
            nanoseconds: here.nanoseconds.minusSaturating(there.nanoseconds - nanoseconds))
    }
}

extension TrackMemory {
    fileprivate mutating func move(from there: Instant, to here: Instant) {
        since = since.moved(from: there, to: here)
        evidence.start = evidence.start.moved(from: there, to: here)
    }
}

extension PortMemory {
    /// The same memory by a clock that shows `here` when the former showed `there`.
    public func moved(from there: Instant, to here: Instant) -> PortMemory {
        var moved = self
        moved.relapseUntil = relapseUntil?.moved(from: there, to: here)
        moved.incident?.from.move(from: there, to: here)
        moved.incident?.to.move(from: there, to: here)
        return moved
    }
}

extension EngineMemory {
    /// The same memory by a clock that shows `here` when the former showed `there`.
    public func moved(from there: Instant, to here: Instant) -> EngineMemory {
        var moved = self
        moved.shutdowns = shutdowns.map { $0.moved(from: there, to: here) }
        moved.observedShutdowns = observedShutdowns?.map { $0.moved(from: there, to: here) }
        return moved
    }
}

// MARK: The engine's side

extension Engine {
    /// The highest rung that the policy has for `port`.
    public func ceiling(of port: Port) -> Rung { rules.ceiling(of: port) }

    /// What is remembered apart from the ports.
    public var memory: EngineMemory {
        var memory = EngineMemory()
        memory.lastIncident = lastIncident
        memory.lastEvent = lastEvent
        memory.shutdowns = gate.shutdowns.map { Instant(nanoseconds: $0) }
        let observed = gate.observedShutdowns.map { Instant(nanoseconds: $0) }
        memory.observedShutdowns = observed.isEmpty ? nil : observed
        return memory
    }

    /// Goes on with the numbers, and with the shutdowns that the breaker counts.
    public mutating func restore(_ memory: EngineMemory, now: Instant) {
        lastIncident = max(lastIncident, memory.lastIncident)
        lastEvent = max(lastEvent, memory.lastEvent)
        for shutdown in memory.shutdowns.sorted() where shutdown <= now {
            gate.shutDown(now: shutdown.nanoseconds, isEnforced: true)
        }
        for shutdown in memory.observedShutdowns?.sorted() ?? [] where shutdown <= now {
            gate.shutDown(now: shutdown.nanoseconds, isEnforced: false)
        }
        countBreaker(now: now.nanoseconds)
    }

    /// What is remembered of the port at `slot`; nil where there is nothing.
    public func memory(_ slot: Slot, now: Instant) -> PortMemory? {
        guard slot >= 0, slot < records.count, let record = records[slot] else { return nil }
        var memory = PortMemory()
        if let until = record.relapseUntil, until > now.nanoseconds {
            memory.strikes = record.strikes
            memory.relapseUntil = Instant(nanoseconds: until)
        }
        memory.incident = ladderIndex(slot).map { ladders[$0].memory }
        return memory.incident == nil && memory.relapseUntil == nil ? nil : memory
    }

    /// Goes on with what is remembered of the port at `slot`. An enforced incident first asks for
    /// what belongs to its rungs, whatever stands in the kernel, and decides nothing before that is
    /// done; its clocks go on. An incident is ignored where the port has one already, or where it is
    /// not sound.
    public mutating func restore(_ slot: Slot, _ memory: PortMemory, now: Instant) {
        guard slot >= 0, slot < records.count, records[slot] != nil else { return }
        if let until = memory.relapseUntil, until > now {
            records[slot]?.strikes = memory.strikes
            records[slot]?.relapseUntil = until.nanoseconds
        }
        guard let incident = memory.incident, incident.isSound, ladderIndex(slot) == nil else {
            return
        }
        let ladder = Ladder(slot: slot, restoring: incident, now: now.nanoseconds)
        guard !ladder.isOver else { return }
        lastIncident = max(lastIncident, incident.number)
        begin(ladder)
        countBreaker(now: now.nanoseconds)
    }

    /// What stands on the port is not known, and nothing is to be done about it before `until`:
    /// somebody keeps taking it out. Nothing climbs or comes down meanwhile; then what belongs to
    /// the rungs is asked for. Ignored where the port has no enforced incident.
    public mutating func distrust(_ id: PortID, _ sentence: String, until: Instant) {
        guard let slot = slotOf[id], let index = ladderIndex(slot), ladders[index].isEnforced else {
            return
        }
        ladders[index].distrust(sentence, until: until.nanoseconds)
    }
}
