// What the turn keeps of a port with something of ours on it.
package import Mitigation
package import TrafficControl

/// How often what somebody took out is put back: so many times at once, and as many in a minute.
package struct RepairBudget: Hashable, Sendable {
    private let perMinute: Double
    private var tokens: Double
    private var refilledAt: Instant?

    /// A whole budget.
    package init(perMinute: Int) {
        self.perMinute = Double(max(perMinute, 1))
        tokens = self.perMinute
    }

    /// One more repair at `now`. False: it was the last one for now.
    package mutating func spend(now: Instant) -> Bool {
        if let last = refilledAt {
            let minutes = Double(now.since(last).wholeNanoseconds) / 60e9
            tokens = min(perMinute, tokens + minutes * perMinute)
        }
        refilledAt = now
        tokens -= 1
        return tokens >= 1
    }
}

/// A port with something of ours on it, or about to have.
package struct HeldPort: Sendable {
    /// Its limits are there, or about to be; guards alone are none.
    package private(set) var isLimited = false
    /// What was on it before its limits; nil where that is not known.
    package private(set) var origin: PortOrigin?
    /// The ifbs that its filters lead to, by interface index.
    package var redirects: [Int32] = []
    /// How often it may still be repaired.
    package var repairs: RepairBudget
    /// Nothing is put back before this.
    package var leftUntil: Instant?
    /// When somebody began to change its traffic control, and when he last did.
    private var change: (began: Instant, last: Instant)?
    /// Whether what the VM sends goes past its limits.
    package var bypass = BypassWatch()
    /// Whether its limits hold, by direction.
    var caps: [Direction: CapWatch] = [:]
    /// What of others is in the way of its limits, or its limits in theirs, as last told.
    package var advisories: [String]

    /// Nothing of ours stands yet.
    package init(advisories: [String], repairs: RepairBudget) {
        self.advisories = advisories
        self.repairs = repairs
    }

    /// It is about to be limited; nothing where it is.
    package mutating func limit(origin: PortOrigin?) {
        guard !isLimited else { return }
        isLimited = true
        self.origin = origin
    }

    /// Its limits are gone.
    package mutating func unlimit() {
        isLimited = false
        origin = nil
        redirects = []
        leftUntil = nil
        bypass = BypassWatch()
        caps = [:]
    }

    /// Somebody, maybe we, changed its traffic control.
    package mutating func noteChange(at now: Instant) {
        let isNew = change.map { now.since($0.last) >= Self.pause } ?? true
        change = (isNew ? now : change?.began ?? now, now)
    }

    /// Whether whoever changes it may not have finished. Others set their limits in several steps
    /// (libvirt: delete the ingress, make it, add a filter), and one of them fails over ours: each
    /// step has this long (tc takes 100 ms where there are 2,000 interfaces), all of them that long.
    package func isChanging(at now: Instant) -> Bool {
        guard let change else { return false }
        return now.since(change.last) < Self.pause && now.since(change.began) < Self.longestChange
    }

    /// What was changed last cannot wait: a redirect of ours leads nowhere.
    package mutating func endChange() { change = nil }

    private static var pause: Duration { .milliseconds(300) }
    private static var longestChange: Duration { .seconds(2) }
}
