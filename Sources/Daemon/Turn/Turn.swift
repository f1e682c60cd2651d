// One turn: take events, poll, decide, apply, tell. Runs the same over the kernel and over a
// simulated host; time is an argument.
//
// Invariants: one thread; no lock is waited for; what the engine asked for is answered before the
// turn ends; what it told is handed to `told` in order, each once.
package import ControlAPI
package import Mitigation
internal import Netlink
package import TrafficControl

/// A virtual machine is to be stopped: its link is down.
package struct StopOrder: Hashable, Sendable {
    /// Which interface.
    package var port: PortID
    /// The port, as its name was matched.
    package var match: PortMatch
    /// The incident.
    package var incident: UInt32
}

/// What a turn leaves for those beside it.
package struct TurnOutput: Sendable {
    /// What the engine told.
    package var events: [Event] = []
    /// Virtual machines to stop.
    package var stops: [StopOrder] = []
    /// What the turn itself has to tell: a repair, a failed poll.
    package var notes: [TurnNote] = []

    /// Nothing yet.
    package init() {}
}

/// What the turn itself has to tell.
package enum TurnNote: Hashable, Sendable {
    /// Somebody had taken out what limits a port; it was put back. The port, and what was missing.
    case repaired(PortName, String)
    /// What limits a port is missing and cannot be put back, or cannot be looked at.
    case damaged(PortName, String)
    /// The counters could not be read.
    case pollFailed(String)
    /// The interfaces could not be listed.
    case linksFailed(String)
    /// Limits that were found at start were adopted: how many.
    case adopted(Int)
    /// The kernel's objects could not be looked at, at start.
    case surveyFailed(String)
}

/// The daemon's turn over a host and its traffic control.
package struct Turn<Machine: Host & ~Copyable, Control: TrafficControl & ~Copyable>: ~Copyable {
    package var machine: Machine
    package var control: Control
    package private(set) var engine: Engine
    package private(set) var table = PortTable()
    package private(set) var names: PortNames
    package private(set) var polls: UInt64 = 0
    /// What the last turns left; the owner takes it after each.
    package var output = TurnOutput()

    private var actions: [Action] = []
    private var defaultRoutes: Set<Int32> = []
    private var routesReadAt: Instant?
    /// The list of interfaces was read, and what stands on them looked at.
    private var hasListed = false
    private var hasSurveyed = false
    private var surveyedAt: Instant?
    /// Ports that no class claims any more, with something of ours still on them.
    private var leaving: Set<Int32> = []
    /// When the present round of measurements began, and the ports that it has still to see.
    private var measuredAt: Instant?
    private var unmeasured: [Engine.Slot] = []
    private var interruptions = 0

    /// Mitigated ports are looked at and measured this often.
    private static var measureInterval: Duration { .seconds(1) }
    /// Each port costs a few requests, any of which may wait for the kernel's lock: at most this many
    /// ports are looked at in one turn.
    private static var measuredInATurn: Int { 8 }
    /// The default routes are read this often.
    private static var routesInterval: Duration { .seconds(10) }

    /// A turn that has not run.
    package init(
        machine: consuming Machine, control: consuming Control, policy: Policy, names: PortNames,
        now: Instant
    ) {
        self.machine = machine
        self.control = control
        self.names = names
        engine = Engine(policy: policy, now: now)
        actions.reserveCapacity(64)
    }

    /// Lists the interfaces and adopts what of ours stands on them. Once, before the first `run`.
    package mutating func start(now: Instant) {
        takeChanges(now: now)
        survey(now: now)
    }

    /// Adopts what stands; what could not be looked at is looked at again in a second. Only with the
    /// interfaces listed: an ifb whose port is not known yet would else be taken for nobody's.
    private mutating func survey(now: Instant) {
        guard hasListed, !hasSurveyed else { return }
        if let last = surveyedAt, now.since(last) < Self.measureInterval { return }
        surveyedAt = now
        let ports = table.watched.values.map(\.controlled).sorted { $0.index < $1.index }
        do throws(TrafficControlError) {
            let survey = try control.survey(ports, lane: engine.policy.lane)
            for each in survey.found {
                guard let slot = table.slot(of: each.port.index) else { continue }
                // We only take down the link of a port that is tightened.
                let isDown =
                    each.limits.rung == .tighten && table.watched[slot]?.link.isUp == false
                engine.adopt(slot, each.limits, linkIsDown: isDown, now: now, into: &actions)
            }
            if !survey.found.isEmpty { output.notes.append(.adopted(survey.found.count)) }
            hasSurveyed = survey.failed.isEmpty
            for (index, sentence) in survey.failed {
                output.notes.append(.surveyFailed("interface \(index): \(sentence)"))
            }
        } catch {
            output.notes.append(.surveyFailed(error.description))
        }
        carryOut(now: now)
    }

    /// One turn at the moment `now`; `clock` gives the moment at which the counters arrived.
    package mutating func run(now: Instant, clock: () -> Instant) {
        takeChanges(now: now)
        survey(now: now)
        poll(clock: clock)
        let decided = clock()
        engine.finishPoll(now: decided, into: &actions)
        carryOut(now: decided)
        measure(now: decided)
        for index in leaving { leave(index, now: decided) }
        polls += 1
    }

    // MARK: Interfaces

    /// Takes what changed since the last turn.
    package mutating func takeChanges(now: Instant) {
        if routesReadAt.map({ now.since($0) >= Self.routesInterval }) ?? true {
            routesReadAt = now
            // Kept as they were where they cannot be read.
            if let routes = try? machine.defaultRouteInterfaces(), routes != defaultRoutes {
                let changed = routes.symmetricDifference(defaultRoutes)
                defaultRoutes = routes
                for port in table.watched.values where changed.contains(port.port.id.index) {
                    appear(port.link, now: now)
                }
            }
        }
        do throws(NetlinkError) {
            var changes: [HostChange] = []
            try machine.takeChanges { changes.append($0) }
            for change in changes { take(change, now: now) }
        } catch {
            output.notes.append(.linksFailed(error.description))
        }
    }

    private mutating func take(_ change: HostChange, now: Instant) {
        switch change {
        case .link(let link): appear(link, now: now)
        case .gone(let index): vanish(index, now: now)
        case .trafficControl: break
        case .all(let links):
            let present = Set(links.map(\.index))
            for index in table.indexes where !present.contains(index) { vanish(index, now: now) }
            for link in links {
                // Whatever came and went unseen: another address is another interface.
                if !table.isSame(link, byAddress: true) { leave(link.index, now: now) }
                appear(link, now: now)
            }
            hasListed = true
        }
    }

    private mutating func appear(_ link: Link, now: Instant) {
        // Another interface at a known index: what stood on the old one is taken out, ifbs and all.
        if !table.isSame(link, byAddress: false) { leave(link.index, now: now) }
        leaving.remove(link.index)
        let match = names.match(PortName(bytes: link.name))
        let isOurs = isOwnIFB(link)
        guard let match, !isOurs else {
            guard table.slot(of: link.index) == nil else { return leave(link.index, now: now) }
            table.note(link, isOurs: isOurs)
            return
        }
        let known = table.slot(of: link.index).flatMap { table.watched[$0] }
        let port = Port(
            id: known?.port.id ?? table.newID(link.index), name: match.name,
            portClass: match.portClass, netid: match.netid, mtu: link.mtu,
            carriesDefaultRoute: defaultRoutes.contains(link.index))
        let slot = engine.appear(port, now: now)
        table.watch(WatchedPort(port: port, match: match, link: link), at: slot)
    }

    private mutating func vanish(_ index: Int32, now: Instant) {
        leaving.remove(index)
        guard let gone = table.remove(index) else { return }
        engine.vanish(gone.port.id, now: now, into: &actions)
        control.forget(gone.controlled)
        carryOut(now: now)
    }

    /// A port that no class claims any more, by a rename or a new configuration, is watched until
    /// what is on it is taken out: its redirect must not outlive its ifb.
    private mutating func leave(_ index: Int32, now: Instant) {
        guard let slot = table.slot(of: index), let port = table.watched[slot] else { return }
        if engine.release(port.port.id, now: now, into: &actions) { carryOut(now: now) }
        let view = engine.view(slot)
        guard view.rung == .normal, view.limits == nil || view.mode == .observe else {
            leaving.insert(index)
            return
        }
        leaving.remove(index)
        vanish(index, now: now)
        table.note(port.link, isOurs: false)
    }

    // MARK: The poll

    private mutating func poll(clock: () -> Instant) {
        table.beginPoll()
        var readAt: Instant?
        do throws(NetlinkError) {
            try machine.poll { index, statistics in
                guard let (slot, counters) = table.take(index, statistics) else { return }
                // The request may have waited for the kernel's lock: the counters are as old as
                // their arrival, not as the turn.
                let at = readAt ?? clock()
                readAt = at
                engine.sample(slot, counters, at: at)
            }
            interruptions = 0
        } catch {
            // An interrupted dump has shown what it has shown; only when it goes on is it told.
            if error.isInterruptedDump { interruptions += 1 }
            if !error.isInterruptedDump || interruptions > 10 {
                output.notes.append(.pollFailed(error.description))
                interruptions = 0
            }
        }
        table.endPoll()
    }

    // MARK: Deeds

    /// Carries out what the engine asked for, until it asks for nothing more.
    private mutating func carryOut(now: Instant) {
        // Each answer can ask for one thing more (a release of a port whose link is down: two).
        for _ in 0..<4 {
            guard !actions.isEmpty else { return }
            let asked = actions
            actions.removeAll(keepingCapacity: true)
            for action in asked { carryOut(action, now: now) }
        }
    }

    private mutating func carryOut(_ action: Action, now: Instant) {
        switch action {
        case .tell(let event):
            output.events.append(event)
        case .limit(let id, let limits):
            guard let port = watched(id) else { return }
            let outcome = Self.outcome { () throws(TrafficControlError) in
                try control.apply(limits, to: port.controlled)
            }
            note(outcome, of: id)
            if limits == nil, outcome == .done { forgetMeasurements(of: id) }
            engine.confirm(id, outcome, now: now, into: &actions)
        case .shutDown(let id, let isDown):
            guard let port = watched(id) else { return }
            let outcome = Self.outcome { () throws(TrafficControlError) in
                try control.setLink(port.controlled, up: !isDown)
            }
            note(outcome, of: id)
            if outcome == .done { noteLink(of: id, isUp: !isDown) }
            if isDown, outcome == .done {
                let incident = table.slot(of: id.index).flatMap { engine.view($0).incident }
                output.stops.append(
                    StopOrder(port: id, match: port.match, incident: incident ?? 0))
            }
            engine.confirm(id, outcome, now: now, into: &actions)
        }
    }

    private func watched(_ id: PortID) -> WatchedPort? {
        table.slot(of: id.index).flatMap { table.watched[$0] }.flatMap {
            $0.port.id == id ? $0 : nil
        }
    }

    private static func outcome(_ body: () throws(TrafficControlError) -> Void) -> Outcome {
        do throws(TrafficControlError) {
            try body()
            return .done
        } catch {
            if case .refused(let sentence) = error { return .refused(sentence) }
            return .unknown(error.description)
        }
    }

    private mutating func note(_ outcome: Outcome, of id: PortID) {
        guard let slot = table.slot(of: id.index) else { return }
        table.update(slot) { port in
            switch outcome {
            case .done: port.problem = nil
            case .refused(let sentence), .unknown(let sentence): port.problem = sentence
            }
        }
    }

    /// What we did to a link, before its notification comes.
    private mutating func noteLink(of id: PortID, isUp: Bool) {
        guard let slot = table.slot(of: id.index) else { return }
        table.update(slot) { $0.link.flags = isUp ? $0.link.flags | 1 : $0.link.flags & ~1 }
    }

    private mutating func forgetMeasurements(of id: PortID) {
        guard let slot = table.slot(of: id.index) else { return }
        table.update(slot) { port in
            port.measured = Measured()
            port.measuredAt = nil
            port.delivered = nil
            port.lane = nil
        }
    }

    // MARK: Measuring

    /// Looks at all mitigated ports once a second, a few in each turn: whether all of ours stands,
    /// and what gets through.
    private mutating func measure(now: Instant) {
        guard engine.mitigatedCount > 0 else { return }
        if unmeasured.isEmpty {
            if let last = measuredAt, now.since(last) < Self.measureInterval { return }
            measuredAt = now
            unmeasured = table.watched.keys.filter { slot in
                let view = engine.view(slot)
                return view.limits != nil && view.mode == .enforce
            }
        }
        let slots = unmeasured.suffix(Self.measuredInATurn)
        unmeasured.removeLast(slots.count)
        let ports = slots.compactMap { slot in table.watched[slot].map { (slot, $0) } }
        guard !ports.isEmpty else { return }
        let repairs = control.repair(ports.map(\.1.controlled))
        let links = table.ifbCounters
        for (slot, port) in ports {
            note(repairs[port.port.id.index], of: port, at: slot)
            if port.link.isUp, engine.view(slot).rung == .shutDown { keepDown(port, at: slot) }
            measure(port, at: slot, links, now: now)
        }
    }

    private mutating func note(_ repair: Repair?, of port: WatchedPort, at slot: Engine.Slot) {
        switch repair {
        case nil:
            table.update(slot) { $0.problem = nil }
        case .putBack(let what):
            output.notes.append(.repaired(port.port.name, what))
        case .failed(let error):
            // A port that is gone is told by the links.
            guard error != .gone else { return }
            if port.problem != error.description {
                output.notes.append(.damaged(port.port.name, error.description))
            }
            table.update(slot) { $0.problem = error.description }
        }
    }

    /// Somebody set the link of a port up that is shut down: libvirt does with a VM that it starts
    /// again. Once a round, so that a fight costs each side a request a second.
    private mutating func keepDown(_ port: WatchedPort, at slot: Engine.Slot) {
        do throws(TrafficControlError) {
            try control.setLink(port.controlled, up: false)
            noteLink(of: port.port.id, isUp: false)
            output.notes.append(.repaired(port.port.name, "the link was set up; it is down again"))
        } catch {
            note(.failed(error), of: port, at: slot)
        }
    }

    private mutating func measure(
        _ port: WatchedPort, at slot: Engine.Slot, _ links: PortTable.IFBCounters, now: Instant
    ) {
        // What cannot be measured is shown as unknown; the repair has told why.
        guard let measured = try? control.measure(port.controlled, links: { links[$0] }) else {
            return
        }
        if let from = measured.from {
            engine.delivered(slot, .from, from.adding(measured.fromLane), at: now)
        }
        if let to = measured.to {
            engine.delivered(slot, .to, to.adding(measured.toLane), at: now)
        }
        table.update(slot) { $0.take(measured, at: now) }
    }

    // MARK: Orders

    /// New rules and names: every port is looked at again, every clock goes on.
    package mutating func replace(policy: Policy, names: PortNames, now: Instant) {
        self.names = names
        engine.replace(policy: policy, now: now)
        // Interfaces that no pattern claimed before are in the list too.
        machine.listAgain()
        takeChanges(now: now)
    }

    /// Takes out what is on a port (escaped name), or on all.
    package mutating func release(_ request: ReleaseRequest, now: Instant) -> ReleaseReply {
        var reply = ReleaseReply(released: [], failed: [:])
        let ports = table.watched.sorted { $0.value.port.id < $1.value.port.id }
        for (slot, port) in ports {
            let name = port.port.name.description
            guard request.all == true || request.port == name else { continue }
            guard engine.release(port.port.id, now: now, into: &actions) else {
                if request.port == name { reply.failed[name] = "nothing of ours is on it" }
                continue
            }
            carryOut(now: now)
            let view = engine.view(slot)
            if view.rung == .normal {
                reply.released.append(name)
            } else {
                reply.failed[name] = view.problem ?? "not confirmed yet"
            }
        }
        if let name = request.port,
            !ports.contains(where: { $0.value.port.name.description == name })
        {
            reply.failed[name] = "no such port is watched"
        }
        return reply
    }
}

extension DeliveredCounters {
    /// With the management lane's share.
    fileprivate func adding(_ lane: DeliveredCounters?) -> DeliveredCounters {
        guard let lane else { return self }
        return DeliveredCounters(packets: packets &+ lane.packets, bytes: bytes &+ lane.bytes)
    }
}

extension WatchedPort {
    /// Takes a new measurement; rates follow from it and the one before.
    fileprivate mutating func take(_ new: Measured, at now: Instant) {
        if let last = measuredAt, now > last {
            let seconds = Double(now.since(last).wholeNanoseconds) / 1e9
            delivered = Loads(
                from: Load(
                    from: measured.from?.adding(measured.fromLane),
                    to: new.from?.adding(new.fromLane), seconds: seconds),
                to: Load(
                    from: measured.to?.adding(measured.toLane), to: new.to?.adding(new.toLane),
                    seconds: seconds))
            lane = Loads(
                from: Load(from: measured.fromLane, to: new.fromLane, seconds: seconds),
                to: Load(from: measured.toLane, to: new.toLane, seconds: seconds))
        }
        let dropped = measured.toDropped
        measured = new
        // A queue that drains is no drop taken back.
        if let dropped, let latest = new.toDropped {
            measured.toDropped = DeliveredCounters(
                packets: max(dropped.packets, latest.packets),
                bytes: max(dropped.bytes, latest.bytes))
        }
        measuredAt = now
    }
}

extension Load {
    /// Between two measurements; nil where there is no earlier one, or the counters began anew.
    fileprivate init?(from old: DeliveredCounters?, to new: DeliveredCounters?, seconds: Double) {
        guard let old, let new, new.packets >= old.packets, new.bytes >= old.bytes else {
            return nil
        }
        self.init(
            packetsPerSecond: Double(new.packets - old.packets) / seconds,
            bitsPerSecond: Double(new.bytes - old.bytes) * 8 / seconds)
    }
}
