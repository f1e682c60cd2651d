// What a port's limits let through, as the turn measures it.
internal import ControlAPI
internal import Mitigation
internal import TrafficControl

/// Totals, and rates between the last two measurements.
struct Passing: Sendable {
    private(set) var measured = Measured()
    private var measuredAt: Instant?
    /// Management lanes included.
    private(set) var delivered: Loads?
    /// Of the management lanes.
    private(set) var lane: Loads?

    /// Takes a new measurement; rates follow from it and the one before.
    mutating func take(_ new: Measured, at now: Instant) {
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

extension DeliveredCounters {
    /// With the management lane's share.
    func adding(_ lane: DeliveredCounters?) -> DeliveredCounters {
        guard let lane else { return self }
        return DeliveredCounters(packets: packets &+ lane.packets, bytes: bytes &+ lane.bytes)
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
