// Looking after what is limited or guarded: what somebody broke is put right, and what gets through is
// measured.
//
// Invariants: a redirect leads to an ifb that is there, up and has its tree: that is checked in every
// turn, and where it is broken the redirect goes first; what is taken out again and again is put back
// a limited number of times a minute, then left for a minute, and the operator is called.
internal import ControlAPI
internal import Mitigation
internal import Netlink
internal import Recording
internal import Settings
internal import TrafficControl

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// How long a port that somebody keeps undoing is left so.
    private static var leaveTime: Duration { .seconds(60) }

    /// Looks at what somebody touched, and at all limited ports once a second, a few in each turn.
    mutating func look(now: Instant, clock: () -> Instant) {
        guard !held.isEmpty else { return }
        checkRedirects()
        repairDisturbed(now: now, clock: clock)
        measureSome(now: now)
    }

    /// The last poll shows each interface that is there, and the links' notifications whether it is
    /// up: an ifb that fails here is looked at closely.
    private mutating func checkRedirects() {
        for (slot, port) in held where !port.redirects.isEmpty {
            guard port.redirects.contains(where: { !table.isSoundIFB($0) }) else { continue }
            disturbed.insert(slot)
            held[slot]?.endChange()
        }
    }

    /// As many as half a poll has time for; the others follow in the next turn, and those that
    /// somebody is changing when he has finished.
    private mutating func repairDisturbed(now: Instant, clock: () -> Instant) {
        guard !disturbed.isEmpty else { return }
        let limit = now.advanced(by: engine.policy.pollInterval / 2)
        var waiting = disturbed.filter { held[$0]?.isChanging(at: now) != true }.sorted()
        while !waiting.isEmpty {
            let step = waiting.prefix(Self.lookedAtInAStep)
            waiting.removeFirst(step.count)
            disturbed.subtract(step)
            repair(Array(step), now: now)
            guard clock() < limit else { return }
        }
    }

    /// Looks at these ports and puts back what is missing, but where a port is left alone for now.
    private mutating func repair(_ slots: [Engine.Slot], now: Instant) {
        let ports = slots.compactMap { slot -> (slot: Engine.Slot, port: WatchedPort)? in
            guard let port = held[slot] else { return nil }
            let view = engine.view(slot)
            let isLimited = port.isLimited && view.limits != nil && view.mode == .enforce
            guard isLimited || guarded[slot]?.isInForce == true else { return nil }
            return table.watched[slot].map { (slot, $0) }
        }
        for isLeft in [false, true] {
            let some = ports.filter { isLeftAlone($0.slot, now: now) == isLeft }
            guard !some.isEmpty else { continue }
            let repairs = control.repair(some.map(\.port.controlled), puttingBack: !isLeft)
            for (slot, port) in some {
                note(repairs[port.port.id.index], of: port, at: slot, now: now)
                held[slot]?.redirects = control.redirects(of: port.controlled)
            }
        }
    }

    private func isLeftAlone(_ slot: Engine.Slot, now: Instant) -> Bool {
        // What is being taken out is not put back: by now it could be another VM's interface.
        if let port = table.watched[slot], leaving.contains(port.port.id.index) { return true }
        return held[slot]?.leftUntil.map { now < $0 } ?? false
    }

    private mutating func note(
        _ repair: Repair?, of port: WatchedPort, at slot: Engine.Slot, now: Instant
    ) {
        switch repair {
        case nil:
            table.update(slot) { $0.problem = nil }
        case .putBack(let what):
            counts.repairs += 1
            output.notes.append(.repaired(port.port.name, what))
            guard held[slot]?.repairs.spend(now: now) == false else { return }
            let until = now.advanced(by: Self.leaveTime)
            held[slot]?.leftUntil = until
            counts.contests += 1
            engine.distrust(
                port.port.id, "another program keeps taking it out: \(what)", until: until, now: now
            )
            output.notes.append(
                .contested(
                    port.port.name, what, seconds: Int(Self.leaveTime.components.seconds)))
        case .takenOut(let what):
            counts.redirectsTakenOut += 1
            output.notes.append(.redirectTakenOut(port.port.name, what))
        case .failed(let error):
            // A port that is gone is told by the links.
            guard error != .gone else { return }
            counts.failedLooks += 1
            if port.problem != error.description {
                output.notes.append(.damaged(port.port.name, error.description))
            }
            table.update(slot) { $0.problem = error.description }
        }
    }

    // MARK: Measuring

    /// How many of `count` a poll takes, so that all are taken in the time of a round.
    func share(of count: Int, in round: Duration) -> Int {
        count / max(1, Int(round / engine.policy.pollInterval)) + 1
    }

    private mutating func measureSome(now: Instant) {
        if unmeasured.isEmpty {
            if let last = measuredAt, now.since(last) < Self.measureInterval { return }
            measuredAt = now
            unmeasured = held.keys
                .filter { held[$0]?.isLimited == true && engine.view($0).limits != nil }.sorted()
        }
        // A round ends before the next one is due, whatever is limited: a rate of longer ago is none.
        let step = max(
            Self.lookedAtInAStep, share(of: held.count, in: Self.measureInterval))
        let slots = Array(unmeasured.suffix(step))
        unmeasured.removeLast(slots.count)
        repair(slots.filter { held[$0]?.isChanging(at: now) == false }, now: now)
        var links = table.ifbCounters
        for slot in slots where held[slot] != nil {
            addCounters(ofIFBsOf: slot, to: &links)
            guard let port = table.watched[slot] else { continue }
            // Of what leaves, the index may be another machine's by now.
            if port.link.isUp, engine.view(slot).rung == .shutDown,
                !leaving.contains(port.port.id.index)
            {
                keepDown(port, at: slot, now: now)
            }
            measure(port, at: slot, links, now: now)
            advise(port, at: slot)
        }
    }

    /// What the last poll did not read is read now; what cannot be is left out.
    private mutating func addCounters(
        ofIFBsOf slot: Engine.Slot, to links: inout PortTable.IFBCounters
    ) {
        for index in held[slot]?.redirects ?? [] where links[index] == nil {
            guard let counters = try? machine.counters(of: index) else { continue }
            links[index] = (
                DeliveredCounters(packets: counters.rxPackets, bytes: counters.rxBytes),
                DeliveredCounters(packets: counters.txPackets, bytes: counters.txBytes)
            )
        }
    }

    /// Somebody set the link of a port up that is shut down: libvirt does with a VM that it starts
    /// again. Once a round, so that a fight costs each side a request a second.
    private mutating func keepDown(
        _ port: WatchedPort, at slot: Engine.Slot, now: Instant
    ) {
        do throws(TrafficControlError) {
            try control.setLink(port.controlled, up: false)
            noteLink(of: port.port.id, isUp: false)
            counts.repairs += 1
            output.notes.append(.repaired(port.port.name, "the link was set up; it is down again"))
        } catch {
            note(.failed(error), of: port, at: slot, now: now)
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
        if let seen = measured.fromSeen {
            let offered = engine.counters(slot)
            held[slot]?.bypass.take(
                offered: DeliveredCounters(packets: offered.fromPackets, bytes: offered.fromBytes),
                seen: seen)
        }
        table.take(measured, of: slot, at: now)
        prove(slot)
    }

    /// Whether what gets through is what may: told when it begins not to hold, and when it does again.
    private mutating func prove(_ slot: Engine.Slot) {
        guard let port = table.watched[slot], let limits = engine.view(slot).limits else { return }
        prove(slot, .from, port, limits.from, \.from)
        prove(slot, .to, port, limits.to, \.to)
    }

    private mutating func prove(
        _ slot: Engine.Slot, _ direction: Direction, _ port: WatchedPort, _ limit: Limit?,
        _ side: KeyPath<Loads, Load?>
    ) {
        guard let cap = limit?.cap, let passing = table.passing[slot],
            let passed = passing.delivered?[keyPath: side],
            held[slot]?.caps[direction, default: CapWatch()]
                .take(passed, lane: passing.lane?[keyPath: side], cap) == true
        else { return }
        let isExceeded = held[slot]?.caps[direction]?.isExceeded == true
        output.notes.append(.cap(port.port.name, direction, isExceeded, passed, cap))
    }

    /// What others have on a port that takes effect from its limits, or loses it by them: told when
    /// it begins.
    mutating func advise(_ port: WatchedPort, at slot: Engine.Slot) {
        guard let known = held[slot] else { return }
        var sentences = control.advisories(of: port.controlled)
        if known.caps.values.contains(where: \.isExceeded) {
            sentences.append(
                "more passes its limits than may: look at `tc -s filter show` and `tc -s qdisc show`"
            )
        }
        if known.bypass.isBypassed {
            sentences.append(
                "more than half of what \(port.port.name) sends goes past its limits: another "
                    + "program takes it before them (see `tc filter show` and `bpftool net`)")
        }
        guard sentences != known.advisories else { return }
        for sentence in sentences where !known.advisories.contains(sentence) {
            output.notes.append(.advised(port.port.name, sentence))
        }
        held[slot]?.advisories = sentences
        hasChanged = true
    }
}

extension CapWatch {
    /// What got through, lane included, and the lane's share.
    fileprivate mutating func take(_ passed: Load, lane: Load?, _ cap: Cap) -> Bool {
        take(
            packetsPerSecond: passed.packetsPerSecond - (lane?.packetsPerSecond ?? 0),
            bitsPerSecond: passed.bitsPerSecond - (lane?.bitsPerSecond ?? 0), cap: cap)
    }
}
