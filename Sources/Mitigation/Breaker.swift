// The breaker: nothing climbs while too many ports are mitigated, or after too many shutdowns.
// Invariants: what was asked for and not yet confirmed counts as if it had happened, so that a
// thousand trips in one poll cannot pass together; it never stands in the way of a release; what is
// only observed never stands in the way of what is enforced, and is itself held against both.

/// What climbs are held against.
struct Breaker: Sendable {
    private static let hour: UInt64 = 3600 * .second

    /// Ports that are mitigated, or were asked to be, and shutdowns that were asked for.
    private struct Count {
        var engaged = 0
        var shuttingDown = 0
    }

    /// When ports were shut down, within the last hour.
    private(set) var shutdowns: [UInt64] = []
    /// When ports that are only observed would have been.
    private(set) var observedShutdowns: [UInt64] = []
    private var enforced = Count()
    private var observed = Count()

    init() {
        shutdowns.reserveCapacity(16)
        observedShutdowns.reserveCapacity(16)
    }

    /// The beginning of a poll: the count begins anew.
    mutating func beginCount(now: UInt64) {
        enforced = Count()
        observed = Count()
        Self.forget(&shutdowns, now: now)
        Self.forget(&observedShutdowns, now: now)
    }

    /// A port has a rung, or was granted one.
    mutating func grant(isFirst: Bool, isShutDown: Bool, isEnforced: Bool) {
        var count = isEnforced ? enforced : observed
        count.engaged += isFirst ? 1 : 0
        count.shuttingDown += isShutDown ? 1 : 0
        if isEnforced { enforced = count } else { observed = count }
    }

    /// A port was shut down.
    mutating func shutDown(now: UInt64, isEnforced: Bool) {
        if isEnforced { shutdowns.append(now) } else { observedShutdowns.append(now) }
    }

    /// What it stands on, among `ports` watched ports; nil while climbing is free.
    func cause(ports: Int, policy: Policy, isEnforced: Bool) -> Event.BreakerCause? {
        let room = room(ports: ports, policy: policy, isEnforced: isEnforced)
        if room.mitigated >= room.mitigatedLimit { return .share }
        return room.shutdowns >= room.shutdownLimit ? .shutdowns : nil
    }

    /// How far it is from standing, among `ports` watched ports.
    func room(ports: Int, policy: Policy, isEnforced: Bool) -> BreakerRoom {
        // A share of nothing (or no number) leaves the minimum; the margin is for 0.1 x 30 being a
        // little over or under 3.
        let share = policy.breakerShare.isFinite ? policy.breakerShare * Double(ports) : 0
        let most = max(Double(policy.breakerMinimum), share, 0) + 1e-6
        var down = shutdowns.count + enforced.shuttingDown
        if !isEnforced { down += observedShutdowns.count + observed.shuttingDown }
        return BreakerRoom(
            mitigated: enforced.engaged + (isEnforced ? 0 : observed.engaged),
            mitigatedLimit: Int(min(most, 1e9)) + 1,
            shutdowns: down, shutdownLimit: policy.breakerShutdowns)
    }

    private static func forget(_ shutdowns: inout [UInt64], now: UInt64) {
        while let first = shutdowns.first, now.minusSaturating(first) >= Self.hour {
            shutdowns.removeFirst()
        }
    }
}

/// How far the breaker is from standing: it does where a count is at its limit.
public struct BreakerRoom: Hashable, Sendable {
    /// Ports that are mitigated, or were asked to be; where nothing is enforced, that would be.
    public var mitigated: Int
    /// How many of them are too many.
    public var mitigatedLimit: Int
    /// Shutdowns within the last hour, and those that were asked for.
    public var shutdowns: Int
    /// How many of them are too many.
    public var shutdownLimit: Int

    /// Counts and limits.
    public init(mitigated: Int, mitigatedLimit: Int, shutdowns: Int, shutdownLimit: Int) {
        self.mitigated = mitigated
        self.mitigatedLimit = mitigatedLimit
        self.shutdowns = shutdowns
        self.shutdownLimit = shutdownLimit
    }
}

extension Engine {
    /// How far the breaker was from standing at the last poll.
    public var breakerRoom: BreakerRoom {
        gate.room(ports: slotOf.count, policy: policy, isEnforced: policy.enforcesAnything)
    }
}
