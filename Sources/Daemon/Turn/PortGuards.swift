// What the turn keeps of a port's guards, and when their drops are told.
package import Mitigation
internal import Settings
package import TrafficControl

/// The guards of a port: what is wanted, what stands, what they refused.
package struct PortGuards: Sendable {
    /// What the port may not send; nil: nothing is said, and what stands goes.
    private(set) var entry: GuardBook.Entry?
    /// What is wanted stands in the kernel.
    private(set) var isInForce = false
    /// Why it does not.
    private(set) var problem: String?
    /// What was refused since they stand.
    package private(set) var counts = GuardCounts()
    private var alarm = GuardAlarm()
    /// Nothing is asked before this.
    private var retryAt: Instant?
    private var refusals: UInt8 = 0
    /// What was counted before this daemon came is told by now.
    private var isAdopted: Bool

    /// - Parameter isAdopted: guards of a former daemon may stand.
    init(_ entry: GuardBook.Entry?, isAdopted: Bool) {
        self.entry = entry
        self.isAdopted = isAdopted
    }

    /// Others are wanted.
    mutating func want(_ new: GuardBook.Entry?) {
        if new?.guards != entry?.guards {
            isInForce = false
            retryAt = nil
            refusals = 0
            alarm = GuardAlarm()
        }
        entry = new
    }

    /// Whether they are to be set now.
    func isDue(at now: Instant) -> Bool { !isInForce && retryAt.map { now >= $0 } ?? true }

    /// What was asked is done.
    mutating func stand() {
        isInForce = true
        problem = nil
        refusals = 0
    }

    /// What was asked is not done: again after 1 s, doubled up to 60 s. True: to be told.
    mutating func fail(_ sentence: String, now: Instant) -> Bool {
        retryAt = now.advanced(by: .seconds(min(60, 1 << Int64(refusals))))
        refusals = min(refusals + 1, 6)
        defer { problem = sentence }
        return problem != sentence
    }

    /// What the kernel counts now. Answers with how many frames are to be told, since when.
    mutating func take(_ counts: GuardCounts, now: Instant) -> GuardAlarm.Report? {
        self.counts = counts
        let total = counts.reasons.values.reduce(UInt64(0)) { $0 &+ $1.packets }
        if isAdopted {
            isAdopted = false
            alarm.begin(at: total)
            return nil
        }
        return alarm.take(total, now: now)
    }
}

/// When a guard's drops are told: the first at once, further ones after a minute, ten minutes, and
/// then every hour; after an hour without any, the next one is a first one again.
package struct GuardAlarm: Hashable, Sendable {
    /// What is to be told.
    package struct Report: Hashable, Sendable {
        /// Frames that were refused and not told yet.
        package var packets: UInt64
        /// Since when; nil for a first one.
        package var since: Instant?
    }

    private static let waits: [Duration] = [.seconds(60), .seconds(600), .seconds(3_600)]
    private static let quiet = Duration.seconds(3_600)
    private var seen: UInt64 = 0
    private var grewAt: Instant?
    private var told: UInt64 = 0
    private var toldAt: Instant?
    private var step = 0

    /// Nothing was refused yet.
    package init() {}

    /// The count begins here, told already.
    package mutating func begin(at total: UInt64) { (seen, told) = (total, total) }

    /// The count at `now`.
    package mutating func take(_ total: UInt64, now: Instant) -> Report? {
        // Guards that were put back count anew.
        if total < seen { (seen, told) = (0, 0) }
        if total > seen {
            if let last = grewAt, now.since(last) >= Self.quiet { (toldAt, step) = (nil, 0) }
            (seen, grewAt) = (total, now)
        }
        guard total > told else { return nil }
        if let last = toldAt {
            guard now.since(last) >= Self.waits[step] else { return nil }
            step = min(step + 1, Self.waits.count - 1)
        }
        defer { (told, toldAt) = (total, now) }
        return Report(packets: total - told, since: toldAt)
    }
}
