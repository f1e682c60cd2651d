// The rules that every history is held to, told from outside the decision.

import Mitigation
import Seeded

extension SimulatedPort {
    mutating func missSample() {
        for direction in Direction.allCases {
            self[direction].over.append(false)
            self[direction].fast = 0
        }
        unresponsive.append(false)
    }

    /// Takes a sample the way DESIGN.md says it, in whole numbers.
    mutating func note(_ new: Counters, at: UInt64, policy: Policy, cap: Cap?, mark: UInt64) {
        let interval = policy.pollInterval.wholeNanoseconds
        defer {
            sampled = new
            sampledAt = at
        }
        guard let old = sampled, at > sampledAt, at - sampledAt <= 3 * interval,
            new.fromPackets >= old.fromPackets, new.fromBytes >= old.fromBytes,
            new.toPackets >= old.toPackets, new.toBytes >= old.toBytes
        else { return missSample() }
        let time = UInt128(at - sampledAt)
        func reaches(_ grown: UInt64, _ rate: UInt128) -> Bool {
            UInt128(grown) * 1_000_000_000 >= rate * time
        }
        func note(_ packets: UInt64, _ bytes: UInt64, _ direction: inout SimulatedDirection) {
            // The marks of Stage.policy: packets, and 100 mbit.
            let (pps, bps) = (UInt128(mark), UInt128(12_500_000))
            direction.over.append(reaches(packets, pps) || reaches(bytes, bps))
            let isFast = reaches(packets, pps * 5) || reaches(bytes, bps * 5)
            direction.fast = isFast ? direction.fast + 1 : 0
            if reaches(packets, pps / 2) || reaches(bytes, bps / 2) { direction.notLowAt = at }
        }
        let sent = new.fromPackets - old.fromPackets
        let sentBytes = new.fromBytes - old.fromBytes
        note(sent, sentBytes, &from)
        note(new.toPackets - old.toPackets, new.toBytes - old.toBytes, &to)
        guard let cap else { return unresponsive.append(false) }
        unresponsive.append(
            reaches(sent, UInt128(cap.packets.perSecond) * 5 / 4)
                || reaches(sentBytes, UInt128(cap.bits.bitsPerSecond) * 5 / 32))
    }

    /// The rungs that a request leads to.
    func target(of action: Action) -> (from: Rung, to: Rung) {
        switch action {
        case .shutDown(_, let isDown):
            return (isDown ? .shutDown : .tighten, to.rung)
        case .limit(_, nil):
            return (.normal, .normal)
        case .limit(_, let limits?):
            guard let sent = limits.from else { return (.normal, .shape) }
            if sent.delay == nil { return (.police, limits.to == nil ? .normal : .shape) }
            // Shaped both ways: whether as a victim as well does not show.
            let rung = from.rung == .shutDown ? .shutDown : limits.rung
            if rung != from.rung { return (rung, to.rung) }
            return (rung, to.rung == .normal ? .shape : .normal)
        case .tell:
            return (from.rung, to.rung)
        }
    }
}

extension Simulation {
    /// What the decision asks for and tells.
    func take(_ actions: [Action]) {
        for action in actions {
            trace("\(action)")
            guard let place = index(of: action.port) else {
                return fail("an action for a port that is gone: \(action)")
            }
            if case .tell(let event) = action {
                takeEvent(event, place)
            } else {
                takeRequest(action, place)
            }
        }
    }

    private func takeRequest(_ action: Action, _ place: Int) {
        let port = ports[place]
        if policy.mode == .observe { fail("an action in observe mode: \(action)", port) }
        if port.asked != nil { fail("a second request: \(action)", port) }
        if case .limit(_, let limits?) = action { checkLimits(limits, port) }
        if let doubted = port.doubted, !port.isReleasing {
            if doubted.action != action { fail("another request after unknown", port) }
            if now - doubted.at < 1_000_000_000 { fail("asked again too soon", port) }
        } else if let restoring = port.restoring, !port.isReleasing {
            if restoring != action { fail("not what belongs to \(port.rung): \(action)", port) }
        } else if port.restoring != action {
            let target = port.target(of: action)
            checkStep(port, .from, target.from)
            checkStep(port, .to, target.to)
        }
        ports[place].doubted = nil
        ports[place].askedByRelease = port.isReleasing
        ports[place].asked = (action, polls + Int(isFaulty ? random.next() % 4 : 0))
        tally["asked", default: 0] += 1
    }

    private func checkLimits(_ limits: Limits, _ port: SimulatedPort) {
        if port.source.isInnocent { fail("an innocent port is limited", port) }
        if port.source.neverFloods, limits.from != nil || limits.rung != .shape {
            fail("a victim is limited in what it sends", port)
        }
        for limit in [limits.from, limits.to] {
            guard let cap = limit?.cap else { continue }
            if cap.packets.perSecond >= Self.mark || cap.bits.bitsPerSecond >= 100_000_000 {
                fail("a cap over the mark: \(cap)", port)
            }
        }
    }

    /// A step of one direction, when it is asked for (or told, in observe mode).
    private func checkStep(_ port: SimulatedPort, _ direction: Direction, _ rung: Rung) {
        let state = port[direction]
        guard rung != state.rung else { return }
        if port.isReleasing {
            let isRight = rung == .normal || (state.rung == .shutDown && rung == .tighten)
            if !isRight { fail("a release to \(rung)", port) }
        } else if rung > state.rung {
            checkClimb(port, direction, rung)
        } else if state.rung == .shutDown {
            let probe = policy.probe?.wholeNanoseconds ?? .max
            if rung != .tighten || now - state.since < probe { fail("came up early", port) }
        } else {
            let calm = policy.calm.wholeNanoseconds
            let expected: Rung =
                direction == .to ? .normal : Rung(rawValue: state.rung.rawValue - 1) ?? .normal
            if rung != expected { fail("from \(state.rung) down to \(rung)", port) }
            if now - state.since < calm || now - state.notLowAt < calm {
                fail("down to \(rung) without calm", port)
            }
        }
        tally["\(state.rung) to \(rung), \(direction)", default: 0] += 1
    }

    private func checkClimb(_ port: SimulatedPort, _ direction: Direction, _ rung: Rung) {
        let state = port[direction]
        let expected: Rung =
            direction == .to ? .shape : Rung(rawValue: state.rung.rawValue + 1) ?? .shutDown
        if rung != expected { fail("from \(state.rung) up to \(rung)", port) }
        checkCeiling(port, rung)
        checkBreaker(port)
        if state.rung == .normal {
            let window = Int(1_000_000_000 / interval)
            let count = state.over.suffix(window).count { $0 }
            let fastWindow = Int(200_000_000 / interval)
            if count * 5 < window * 4, state.fast < fastWindow { fail("a trip too early", port) }
            if now - 5_000_000_000 < policy.grace.wholeNanoseconds { fail("in grace", port) }
        } else {
            checkEvidence(port)
        }
        if let refused = state.refusedAt[rung] {
            let wait = state.rung == .normal ? 1_000_000_000 : dwell(on: state.rung)
            if now - refused < wait { fail("asked again too soon after a refusal", port) }
        }
    }

    private func checkEvidence(_ port: SimulatedPort) {
        let dwell = dwell(on: port.from.rung)
        if now - port.from.since < dwell { fail("a dwell cut short", port) }
        guard policy.stillFlooding == .unresponsive else { return }
        // Gaps may leave fewer polls in a dwell than `sustain` has.
        let window = Int(1_000_000_000 / interval)
        let polled = pollTimes.suffix(window).count { $0 > now - dwell }
        let isFlood = (max(polled, 1)...window).contains { length in
            port.unresponsive.suffix(length).count { $0 } * 5 >= length * 4
        }
        if !isFlood { fail("no flood at the end", port) }
        // 80% of the valid polls, which cover half of the dwell, each of 3 intervals at most.
        let flooding = port.unresponsive.suffix(Int(dwell / interval) + 1).count { $0 }
        if flooding * 15 < Int(dwell / interval) * 2 { fail("no flood in the dwell", port) }
    }

    private func dwell(on rung: Rung) -> UInt64 {
        switch rung {
        case .police: policy.policeDwell.wholeNanoseconds
        case .shape: policy.shapeDwell.wholeNanoseconds
        case .tighten: policy.tightenDwell.wholeNanoseconds
        case .normal, .shutDown: 0
        }
    }

    private func checkCeiling(_ port: SimulatedPort, _ rung: Rung) {
        if port.port.portClass == .backend || rung > policy.highestRung {
            fail("\(rung) is not allowed", port)
        }
        if rung == .shutDown, port.port.portClass != .vm || port.port.carriesDefaultRoute {
            fail("shut down", port)
        }
        let isTCP = port.source == .tcp && policy.mode == .enforce
        if isTCP, policy.stillFlooding == .unresponsive, rung > .police {
            fail("a sender that backs off was driven up to \(rung)", port)
        }
    }

    private func checkBreaker(_ port: SimulatedPort) {
        let engaged = ports.count { $0.isEngaged }
        let share = max(
            Double(policy.breakerMinimum), policy.breakerShare * Double(ports.count))
        if Double(engaged) > share + 0.001 { fail("\(engaged) of \(ports.count) climb", port) }
        let down = shutdowns + ports.count { $0.isShuttingDown }
        if down >= policy.breakerShutdowns { fail("a climb after \(down) shutdowns", port) }
    }

    private func takeEvent(_ event: Event, _ place: Int) {
        let port = ports[place]
        if event.mode != policy.mode { fail("told as \(event.mode)", port) }
        if event.name != port.port.name { fail("told by an old name", port) }
        if port.source.isInnocent { fail("told of an innocent port: \(event.kind)", port) }
        switch event.kind {
        case .moved(let from, let to):
            guard let direction = event.reason?.direction else { return fail("no reason", port) }
            if port[direction].rung != from || from == to { fail("\(event.kind)", port) }
            if policy.mode == .observe {
                checkStep(port, direction, to)
                if to == .shutDown { shutdowns += 1 }
            }
            ports[place][direction].rung = to
            ports[place][direction].since = now
            ports[place][direction].told = [:]
            if ports[place].rung == .normal { ports[place].isReleasing = false }
        case .victim(let isOn), .watched(let isOn):
            if port.isAlarmed == isOn { fail("told twice: \(event.kind)", port) }
            ports[place].isAlarmed = isOn
        case .held(let rung, _):
            takeOnce("held \(rung)", event, place)
        case .refused(let rung, _):
            takeOnce("refused \(rung)", event, place)
        case .unknown(let rung, _):
            takeOnce("unknown \(rung)", event, place)
        case .vanished:
            fail("told that it vanished", port)
        case .path:
            fail("a path of a port without a cloudspace", port)
        }
    }

    /// Told once for each rung, until the direction moves, is calm (1 s at least), or an operator
    /// asks.
    private func takeOnce(_ what: String, _ event: Event, _ place: Int) {
        let direction = event.reason?.direction ?? .from
        let last = ports[place][direction].told.updateValue(
            now, forKey: "\(what), \(event.incident)")
        tally[String(what.prefix { $0 != " " }), default: 0] += 1
        if let last, now - last < 1_000_000_000 {
            fail("told twice: \(what)", ports[place])
        }
    }

    /// After an answer: what was told is what was confirmed.
    func checkConfirmed(_ id: PortID, _ action: Action, _ outcome: Outcome) {
        guard outcome == .done, let place = index(of: id) else { return }
        let port = ports[place]
        if port.isUncertain { return }
        let told = port.rung
        let held: Rung = port.isDown ? .shutDown : port.limits?.rung ?? .normal
        if told != held { fail("\(held) is confirmed and \(told) is told", port) }
    }

    /// After each poll: the view is what was told.
    func check() {
        for port in ports {
            let view = engine.view(port.slot)
            let isSame =
                view.fromRung == port.from.rung && view.toRung == port.to.rung
                && view.rung == port.rung
                && (view.isVictim || view.isWatchedFlood) == port.isAlarmed
            if !isSame { fail("the view differs from what was told: \(view)", port) }
            if view.port != port.port { fail("another port at its place", port) }
        }
        let mitigated = ports.count { $0.rung > .normal }
        if engine.mitigatedCount != mitigated { fail("\(engine.mitigatedCount) mitigated") }
        if Array(engine.slots) != ports.map(\.slot).sorted() { fail("other slots are live") }
    }
}
