// What the engine asked for: announced, done, answered.
internal import Mitigation
internal import Netlink
internal import Recording
internal import Settings
internal import TrafficControl

extension Action {
    /// Whether it asks for more than to be told.
    var changesTheKernel: Bool {
        if case .tell = self { false } else { true }
    }
}

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// Carries out what the engine decided on at `now`, and measures it. What was asked for has happened
    /// when it is acknowledged, by `clock`: however long that waited, nothing stood before.
    mutating func carryOut(now: Instant, clock: () -> Instant) {
        let isChange = actions.contains(where: \.changesTheKernel)
        carryOutAll(now: now, clock: clock)
        if isChange {
            changeTime.add(nanoseconds: max(now, clock()).nanoseconds - now.nanoseconds)
        }
    }

    /// Carries out what an operator's word, or a change of interfaces, asks for.
    mutating func carryOut(now: Instant) { carryOutAll(now: now) { now } }

    /// Carries out what the engine asked for, until it asks for nothing more.
    private mutating func carryOutAll(now: Instant, clock: () -> Instant) {
        // Each answer can ask for one thing more (a release of a port whose link is down: two).
        for _ in 0..<4 {
            guard !actions.isEmpty else { return }
            let asked = actions
            actions.removeAll(keepingCapacity: true)
            hasChanged = true
            // First, so that what is announced holds them: a death from here on leaves them untold,
            // and their numbers are given.
            for case .tell(let event) in asked {
                counts.note(event)
                output.events.append(event)
            }
            announce(asked, now: now)
            for action in asked { carryOut(action, now: now, clock: clock) }
        }
    }

    /// Writes what is about to be changed, and what was there before us; that is held, and so may be
    /// replaced, only where the journal has it.
    private mutating func announce(_ asked: [Action], now: Instant) {
        var hasChanges = false
        var untouched: [(ControlledPort, PortOrigin)] = []
        for action in asked {
            switch action {
            case .tell: continue
            case .shutDown: hasChanges = true
            case .limit(let id, let limits):
                hasChanges = true
                guard limits != nil, let slot = table.slot(of: id.index),
                    held[slot]?.isLimited != true, let port = watched(id)
                else { continue }
                let origin = try? control.origin(of: port.controlled)
                limit(slot, origin: origin)
                if let origin { untouched.append((port.controlled, origin)) }
            }
        }
        if hasChanges { write(now: now) }
        guard remembered == nil, !isJournalBroken else { return }
        for (port, origin) in untouched { control.hold(origin, for: port) }
    }

    private mutating func carryOut(_ action: Action, now: Instant, clock: () -> Instant) {
        switch action {
        case .tell: return
        case .limit(let id, let limits):
            guard let port = watched(id) else { return }
            let outcome = Self.outcome { () throws(TrafficControlError) in
                try refuseReplaced(id, unless: limits == nil)
                try control.apply(limits, to: port.controlled)
            }
            note(outcome, of: id)
            if outcome == .done { noteHeld(id, limits) }
            let now = max(now, clock())
            engine.confirm(id, outcome, now: now, into: &actions)
            if case .refused = outcome { forgetWhereNothingStands(id, now: now) }
        case .shutDown(let id, let isDown):
            guard let port = watched(id) else { return }
            let outcome = Self.outcome { () throws(TrafficControlError) in
                try refuseReplaced(id, unless: !isDown)
                try control.setLink(port.controlled, up: !isDown)
            }
            note(outcome, of: id)
            if outcome == .done { noteLink(of: id, isUp: !isDown) }
            if isDown, outcome == .done { orderStop(of: port) }
            engine.confirm(id, outcome, now: max(now, clock()), into: &actions)
        }
    }

    /// On an index that is another interface's by now nothing is put, only taken out.
    private func refuseReplaced(
        _ id: PortID, unless isTakenOut: Bool
    ) throws(TrafficControlError) {
        guard !isTakenOut, replaced.contains(id.index) else { return }
        throw .refused("another interface has the index of this port")
    }

    /// The machine is stopped when its port is shut down, not when a former daemon's shutdown is
    /// looked after.
    private mutating func orderStop(of port: WatchedPort) {
        guard let slot = table.slot(of: port.port.id.index) else { return }
        let view = engine.view(slot)
        guard view.rung != .shutDown else { return }
        output.stops.append(
            StopOrder(port: port.port.id, match: port.match, incident: view.incident ?? 0))
    }

    /// What stands on a port after its limits were changed.
    private mutating func noteHeld(_ id: PortID, _ limits: Limits?) {
        guard let slot = table.slot(of: id.index), let port = table.watched[slot] else { return }
        guard limits != nil else {
            unlimit(slot)
            forgetMeasurements(of: id)
            return
        }
        limit(slot, origin: nil)
        held[slot]?.leftUntil = nil
        held[slot]?.redirects = control.redirects(of: port.controlled)
    }

    /// A port whose first limits were refused has nothing of ours; one on which they are in doubt may
    /// have some, and what was there before us is still needed to take it out.
    private mutating func forgetWhereNothingStands(_ id: PortID, now: Instant) {
        guard let slot = table.slot(of: id.index), isClear(slot, now: now) else { return }
        unlimit(slot)
    }

    /// Whether nothing of ours stands on a port, nor may stand there by a request that was not
    /// answered plainly.
    func isClear(_ slot: Engine.Slot, now: Instant) -> Bool {
        let view = engine.view(slot)
        return view.rung == .normal && (view.limits == nil || view.mode == .observe)
            && !isInDoubt(slot, now: now)
    }

    /// Whether a request for limits, or for the link, was not answered plainly yet.
    func isInDoubt(_ slot: Engine.Slot, now: Instant) -> Bool {
        engine.memory(slot, now: now)?.incident?.asked != nil
    }

    func watched(_ id: PortID) -> WatchedPort? {
        table.slot(of: id.index).flatMap { table.watched[$0] }.flatMap {
            $0.port.id == id ? $0 : nil
        }
    }

    static func outcome(_ body: () throws(TrafficControlError) -> Void) -> Outcome {
        do throws(TrafficControlError) {
            try body()
            return .done
        } catch {
            if case .refused(let sentence) = error { return .refused(sentence) }
            return .unknown(error.description)
        }
    }

    mutating func note(_ outcome: Outcome, of id: PortID) {
        if outcome != .done { counts.failedChanges += 1 }
        guard let slot = table.slot(of: id.index) else { return }
        table.update(slot) { port in
            switch outcome {
            case .done: port.problem = nil
            case .refused(let sentence), .unknown(let sentence): port.problem = sentence
            }
        }
    }

    /// What we did to a link, before its notification comes.
    mutating func noteLink(of id: PortID, isUp: Bool) {
        guard let slot = table.slot(of: id.index) else { return }
        table.update(slot) { $0.link.flags = isUp ? $0.link.flags | 1 : $0.link.flags & ~1 }
    }

    mutating func forgetMeasurements(of id: PortID) {
        guard let slot = table.slot(of: id.index) else { return }
        table.forgetMeasurements(at: slot)
    }
}
