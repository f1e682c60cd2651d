// What the decision asks for, and what it has to tell.

/// What the decision asks the daemon to do. In observe mode only `tell` is asked for.
public enum Action: Hashable, Sendable {
    /// Bring the port's traffic control to these limits (nil: nothing of ours), then answer with
    /// `Engine.confirm`.
    case limit(PortID, Limits?)
    /// Take the port's link down (true) or up (false), then answer with `Engine.confirm`. Its limits
    /// stay as they are.
    case shutDown(PortID, Bool)
    /// Tell the operator.
    case tell(Event)
}

/// What became of a `limit` or `shutDown`.
public enum Outcome: Hashable, Sendable {
    /// Done and read back.
    case done
    /// The kernel refused it, nothing changed: the object and the kernel's sentence.
    case refused(String)
    /// Not confirmed: neither climbs nor releases until a later answer.
    case unknown(String)
}

/// Why a port was tripped, or moved up or down.
public struct Reason: Hashable, Sendable {
    /// The rule that fired.
    public enum Rule: String, Hashable, Sendable, CaseIterable {
        /// At or over the mark for `sustain`.
        case sustained
        /// Far over the mark for `fastSustain`.
        case fast
        /// Offered over the cap for the whole dwell.
        case unresponsive
        /// Delivered at the cap for the whole dwell.
        case saturated
        /// Below the low mark for `calm`.
        case calm
        /// The timed probe of a port that was shut down.
        case probe
        /// An operator's word.
        case `operator`
        /// The VMs of a cloudspace were over its mark together.
        case group
        /// Limited, or no longer, along with the VMs whose flood it carries.
        case companion
    }

    /// The rule that fired.
    public var rule: Rule
    /// The direction that it looked at.
    public var direction: Direction
    /// What was measured over the rule's time.
    public var measured: Cap
    /// The mark or cap that it was held against; zero where the rule has none.
    public var against: Cap

    /// A rule with its numbers.
    public init(rule: Rule, direction: Direction, measured: Cap, against: Cap) {
        self.rule = rule
        self.direction = direction
        self.measured = measured
        self.against = against
    }
}

/// One thing to tell the operator: each transition exactly once, when it has happened.
public struct Event: Hashable, Sendable {
    /// What happened.
    public enum Kind: Hashable, Sendable {
        /// The port went from one rung to another.
        case moved(from: Rung, to: Rung)
        /// The port is flooded from outside: a victim (true), or no longer (false).
        case victim(Bool)
        /// A flood on a class that is only watched: begun (true), or over (false).
        case watched(Bool)
        /// The breaker holds back this rung, and why. Told once for each held transition.
        case held(Rung, BreakerCause)
        /// The kernel refused this rung; the port keeps the rung it has. The kernel's sentence.
        case refused(Rung, String)
        /// The rung could not be confirmed.
        case unknown(Rung, String)
        /// A VM's port is limited; this is the way that its flood takes over the host.
        case path(FloodPath)
        /// A mitigated port vanished; the incident is over.
        case vanished(Rung)
    }

    /// What the breaker stands on.
    public enum BreakerCause: String, Hashable, CaseIterable, Sendable {
        /// Too many ports are mitigated at once.
        case share
        /// Too many shutdowns within an hour.
        case shutdowns
    }

    /// Counted from 1 over all restarts that remember; told twice, it is the same event.
    public var sequence: UInt64
    /// What happened.
    public var kind: Kind
    /// When.
    public var at: Instant
    /// On which port.
    public var port: PortID
    /// Its name then.
    public var name: PortName
    /// The incident, counted from 1 since start.
    public var incident: UInt32
    /// Why; nil where the kind says it all.
    public var reason: Reason?
    /// Whether it was carried out, or would have been.
    public var mode: Mode

    /// One thing to tell.
    public init(
        sequence: UInt64, kind: Kind, at: Instant, port: PortID, name: PortName, incident: UInt32,
        reason: Reason?,
        mode: Mode
    ) {
        self.sequence = sequence
        self.kind = kind
        self.at = at
        self.port = port
        self.name = name
        self.incident = incident
        self.reason = reason
        self.mode = mode
    }
}
