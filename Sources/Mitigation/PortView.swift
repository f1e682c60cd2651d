// Everything that status needs to know of one port, read from the engine.

/// A rung that is due, if things stay as they are.
public struct NextStep: Hashable, Sendable {
    /// The rung.
    public var rung: Rung
    /// The direction whose ladder it is.
    public var direction: Direction
    /// The rule that leads there.
    public var rule: Reason.Rule
    /// The earliest moment.
    public var at: Instant
}

/// One port in its present state.
public struct PortView: Hashable, Sendable {
    /// Which port.
    public var port: Port
    /// The port's rung: the higher one of its two directions. In observe mode, the one it would have.
    public var rung: Rung
    /// The rung of what the VM sends.
    public var fromRung: Rung
    /// The rung of what is sent to the VM: normal, police (as a companion) or shape.
    public var toRung: Rung
    /// The way that its flood takes over this host; nil where that is not known.
    public var path: FloodPath?
    /// The VMs along with which it is limited.
    public var limitedFor: [PortName] = []
    /// When `rung` was reached; nil on normal.
    public var since: Instant?
    /// The incident's number; nil where there is none.
    public var incident: UInt32?
    /// Whether the rung is in the kernel (enforce) or would be (observe).
    public var mode: Mode
    /// At or over these it counts as flooding.
    public var marks: Marks
    /// What an operator said of it; nil: the rules decide.
    public var order: PortOrder?
    /// Flooded from outside.
    public var isVictim: Bool
    /// A flood on a port that is only watched.
    public var isWatchedFlood: Bool
    /// What the VM sends, a second; nil where the latest polls did not measure it.
    public var offeredFrom: Cap?
    /// What is sent to the VM, a second; behind our own shaper, where there is one.
    public var offeredTo: Cap?
    /// What gets through from the VM; nil where it is not known.
    public var deliveredFrom: Cap?
    /// What gets through to the VM; nil where it is not known.
    public var deliveredTo: Cap?
    /// What the kernel holds as it was confirmed last, or would hold; nil: nothing of ours.
    public var limits: Limits?
    /// Relapses within the forgiveness time.
    public var strikes: UInt8
    /// How long the load has been below the low mark, in measured time; zero without an incident.
    public var calm: Duration
    /// How long it has to be.
    public var calmNeeded: Duration
    /// A rung that is asked for and not yet confirmed.
    public var pending: Rung?
    /// The kernel's last sentence of refusal or doubt, until something is done.
    public var problem: String?
    /// The next rung up, if the flood goes on.
    public var climb: NextStep?
    /// The next rung down, if the load stays or becomes low; from a port that is shut down, the
    /// probe. nil: an operator decides, or there is nothing to come down from.
    public var descent: NextStep?
}

extension Engine {
    /// What is known of the port at `slot`, which is one of `slots` (a programmer's error otherwise).
    public func view(_ slot: Slot) -> PortView {
        guard slot >= 0, slot < records.count, let record = records[slot] else {
            preconditionFailure("no port at slot \(slot)")
        }
        let meter = meters[slot]
        var view = PortView(
            port: record.port, rung: .normal, fromRung: .normal, toRung: .normal,
            mode: mode(of: slot), marks: markSets[Int(meter.markSet)].marks, isVictim: false,
            isWatchedFlood: false,
            offeredFrom: offered(meter, .from), offeredTo: offered(meter, .to),
            strikes: record.strikes, calm: .zero,
            calmNeeded: .nanoseconds(rules.calmNeeded(strikes: 0)))
        view.order = record.order
        if meter.ladder >= 0 { describe(Int(meter.ladder), in: &view) }
        return view
    }

    /// The load of the latest poll or the one before it; nil where there was none.
    func offered(_ meter: LoadMeter, _ direction: Direction) -> Cap? {
        guard meter.measured(in: poll) > 0 || meter.measured(in: poll &- 1) > 0 else { return nil }
        return Cap(
            packetsPerSecond: meter.rates[direction.lane],
            bytesPerSecond: meter.rates[direction.lane + 1])
    }

    private func describe(_ index: Int, in view: inout PortView) {
        let ladder = ladders[index]
        let rungs = ladder.rungs
        // The direction that gives the port its rung.
        let leader = rungs.from >= rungs.to ? ladder.from : ladder.to
        view.rung = rungs.highest
        view.fromRung = rungs.from
        view.toRung = rungs.to
        view.since = rungs.highest > .normal ? Instant(nanoseconds: leader.since) : nil
        view.incident = ladder.incident
        view.mode = ladder.isEnforced ? .enforce : .observe
        let isAlarmed = ladder.from.isAlarmed || ladder.to.isAlarmed
        view.isVictim = isAlarmed && !ladder.isWatched
        view.isWatchedFlood = isAlarmed && ladder.isWatched
        view.deliveredFrom = ladder.delivered(.from, at: polledAt, rules: rules).map(Self.cap)
        view.deliveredTo = ladder.delivered(.to, at: polledAt, rules: rules).map(Self.cap)
        view.limits = ladder.installed
        view.path = ladder.path
        if ladder.to.calledInForce != nil { view.limitedFor = callers(of: ladder.slot) }
        view.strikes = ladder.strikes
        view.calm = .nanoseconds(leader.calm)
        view.calmNeeded = .nanoseconds(rules.calmNeeded(strikes: ladder.strikes))
        view.pending = ladder.request.map(\.target.highest)
        view.problem = ladder.problem
        view.climb = climb(index)
        view.descent = descent(index)
    }

    /// Only what the VM sends climbs after a dwell.
    private func climb(_ index: Int) -> NextStep? {
        let track = ladders[index].from
        guard !isHeld(index, .from), track.rung > .normal,
            let next = Rung(rawValue: track.rung.rawValue + 1),
            next <= bounds(index, .from).ceiling
        else { return nil }
        return NextStep(
            rung: next, direction: .from,
            rule: rules.stillFlooding == .unresponsive ? .unresponsive : .saturated,
            at: Instant(nanoseconds: max(track.climbDue(rules: rules), polledAt)))
    }

    /// The direction that gives the port its rung comes down next.
    private func descent(_ index: Int) -> NextStep? {
        let ladder = ladders[index]
        let direction: Direction = ladder.from.rung >= ladder.to.rung ? .from : .to
        guard !isHeld(index, direction) else { return nil }
        let track = ladder[direction]
        switch track.rung {
        case .normal:
            return nil
        case .shutDown:
            return track.probeDue(rules: rules).map {
                NextStep(
                    rung: .tighten, direction: .from, rule: .probe,
                    at: Instant(nanoseconds: max($0, polledAt)))
            }
        case .police where direction == .to:
            // It ends with its callers.
            return nil
        case .police, .shape, .tighten:
            let lower = Rung(rawValue: track.rung.rawValue - 1) ?? .normal
            let bounds = bounds(index, direction)
            let left = bounds.calmNeeded.minusSaturating(track.calm)
            return NextStep(
                rung: lower < bounds.first ? .normal : lower, direction: direction, rule: .calm,
                at: Instant(nanoseconds: polledAt.plusSaturating(left)))
        }
    }

    private static func cap(_ rate: (Double, Double)) -> Cap {
        Cap(packetsPerSecond: rate.0, bytesPerSecond: rate.1)
    }
}
