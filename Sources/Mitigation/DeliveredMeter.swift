// What gets through a direction's limits: counters in, a rate out.
// Invariants: a decrease, a step backwards in time and a long gap make a new baseline; a change of
// limits does too, since other objects count then.

/// The delivered load of one direction.
struct DeliveredMeter: Sendable {
    private var counters: DeliveredCounters?
    private var at: UInt64 = 0
    private var packets = 0.0
    private var bytes = 0.0
    /// The rate is of the span that ended at `at`.
    private var isMeasured = false

    /// The counters as they were read at `now`.
    mutating func take(_ new: DeliveredCounters, at now: UInt64, rules: Rules) {
        let step = now.minusSaturating(at)
        if let old = counters, step > 0, step <= rules.longestDeliveredGap,
            new.packets >= old.packets, new.bytes >= old.bytes
        {
            let seconds = Double(step) / 1_000_000_000
            packets = Double(new.packets - old.packets) / seconds
            bytes = Double(new.bytes - old.bytes) / seconds
            isMeasured = true
        } else {
            isMeasured = false
        }
        counters = new
        at = now
    }

    /// Packets and bytes a second, where they are known and fresh at `now`.
    func rate(at now: UInt64, rules: Rules) -> (packets: Double, bytes: Double)? {
        guard isMeasured, now.minusSaturating(at) <= rules.longestDeliveredGap else { return nil }
        return (packets, bytes)
    }
}
