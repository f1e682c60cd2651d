// The breaker: nothing climbs while too many ports are mitigated, or after too many shutdowns.
// Invariants: what was asked for and not yet confirmed counts as if it had happened, so that a
// thousand trips in one poll cannot pass together; it never stands in the way of a release.

/// What climbs are held against.
struct Breaker: Sendable {
    private static let hour: UInt64 = 3600 * .second

    /// When ports were shut down, within the last hour.
    private(set) var shutdowns: [UInt64] = []
    /// Ports that are mitigated, or were asked to be.
    private var engaged = 0
    /// Shutdowns that were asked for.
    private var shuttingDown = 0

    init() { shutdowns.reserveCapacity(16) }

    /// The counts at the beginning of a poll.
    mutating func count(engaged: Int, shuttingDown: Int, now: UInt64) {
        self.engaged = engaged
        self.shuttingDown = shuttingDown
        while let first = shutdowns.first, now.minusSaturating(first) >= Self.hour {
            shutdowns.removeFirst()
        }
    }

    /// A port was granted a rung.
    mutating func grant(isFirst: Bool, isShutDown: Bool) {
        engaged += isFirst ? 1 : 0
        shuttingDown += isShutDown ? 1 : 0
    }

    /// A port was shut down.
    mutating func shutDown(now: UInt64) { shutdowns.append(now) }

    /// What it stands on, among `ports` watched ports; nil while climbing is free.
    func cause(ports: Int, policy: Policy) -> Event.BreakerCause? {
        // A share of nothing (or no number) leaves the minimum; the margin is for 0.1 x 30 being a
        // little over or under 3.
        let share = policy.breakerShare.isFinite ? policy.breakerShare * Double(ports) : 0
        if Double(engaged) > max(Double(policy.breakerMinimum), share) + 1e-6 { return .share }
        return shutdowns.count + shuttingDown >= policy.breakerShutdowns ? .shutdowns : nil
    }
}
