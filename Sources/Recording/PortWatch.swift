// Which samples of a poll may matter to a decision, port by port; `Recorder` says why these.
// Invariant: a poll in which no port comes or goes allocates nothing.
internal import Mitigation

/// The latest counters of all ports, and which of them are looked at closely.
struct PortWatch: Sendable {
    /// A port is written for so many polls after the last one that mattered.
    private static let keep: UInt64 = 66
    private var policy: Policy
    private(set) var ports: [Port?] = []
    private var slotOf: [PortID: Int] = [:]
    /// The counters of all places in the latest polls: a row for each, by the poll's number.
    private var rows: [[SIMD4<UInt64>]]
    /// So many polls back they are written, once they matter: those of a second, and what the oldest
    /// of them is measured from.
    private(set) var lookback: Int
    /// For each place: bit n, the n-th poll before this one showed it.
    private var shown: [UInt64] = []
    /// At or over these, a second, it is looked at closely.
    private var thresholds: [SIMD4<Double>] = []
    /// Growth that is sure to be below them.
    private var bounds: [GrowthBound] = []
    /// The last poll in which it mattered, and in which any did.
    private var hotAt: [UInt64] = []
    private var anyHotAt: UInt64 = 0
    /// It was written in the poll before this one.
    private var isClose: [Bool] = []
    private var isAnyClose = false
    /// The counters that were written last.
    private var bases: [SIMD4<UInt64>] = []

    private var cloudOf: [Int32] = []
    private var cloudOfNetid: [UInt32: Int32] = [:]
    private var cloudMembers: [Int] = []
    private var cloudHotAt: [UInt64] = []
    private var cloudSums: [SIMD2<Double>] = []
    private var freeClouds: [Int32] = []
    private var groupThreshold: SIMD2<Double>?

    /// The present poll, counted from `keep` + 1, so that nothing mattered before.
    private(set) var poll: UInt64 = keep + 1
    /// When the counters of the latest polls were read.
    private var times: [UInt64]
    /// The places that this poll showed, in that order: so many of these, which are as many as places.
    private var places: [Int32] = []
    private var orderCount = 0

    init(_ policy: Policy) {
        self.policy = policy
        lookback = Self.lookback(policy)
        let depth = Self.depth(lookback)
        rows = Array(repeating: [], count: depth)
        times = Array(repeating: 0, count: depth)
        groupThreshold = Self.groupThreshold(policy)
    }

    // MARK: Ports

    mutating func appear(_ port: Port, at slot: Int) {
        while ports.count <= slot { grow() }
        let isNew = slotOf[port.id] != slot
        if isNew {
            slotOf[port.id] = slot
            shown[slot] = 0
            hotAt[slot] = 0
            isClose[slot] = false
        }
        // As whoever reads it does: another name of a port begins anew, too.
        bases[slot] = .zero
        leaveCloud(slot)
        ports[slot] = port
        setThreshold(slot, port)
        joinCloud(slot, port)
    }

    mutating func vanish(_ id: PortID) {
        guard let slot = slotOf.removeValue(forKey: id) else { return }
        leaveCloud(slot)
        ports[slot] = nil
        shown[slot] = 0
    }

    mutating func replace(_ policy: Policy) {
        self.policy = policy
        groupThreshold = Self.groupThreshold(policy)
        resize(to: Self.lookback(policy))
        for slot in ports.indices {
            if let port = ports[slot] { setThreshold(slot, port) }
        }
    }

    private mutating func grow() {
        ports.append(nil)
        for row in rows.indices { rows[row].append(.zero) }
        shown.append(0)
        thresholds.append(SIMD4(repeating: .infinity))
        bounds.append(.none)
        hotAt.append(0)
        isClose.append(false)
        bases.append(.zero)
        cloudOf.append(-1)
        places.append(0)
    }

    private static func lookback(_ policy: Policy) -> Int {
        min(max(Int(1_000_000_000 / policy.pollNanoseconds) + 4, 5), RecordFormat.mostPollsBefore)
    }

    /// A power of two above the polls that are looked back.
    private static func depth(_ lookback: Int) -> Int { lookback < 16 ? 16 : 64 }

    /// Keeps what is kept, of as many polls as there is room for.
    private mutating func resize(to lookback: Int) {
        self.lookback = lookback
        let depth = Self.depth(lookback)
        guard depth != rows.count else { return }
        var (newRows, newTimes) = (rows, times)
        newRows = Array(repeating: Array(repeating: .zero, count: ports.count), count: depth)
        newTimes = Array(repeating: 0, count: depth)
        let kept = min(depth, rows.count)
        for ago in 0..<UInt64(kept) {
            let (new, old) = ((poll - ago) % UInt64(depth), (poll - ago) % UInt64(rows.count))
            newRows[Int(new)] = rows[Int(old)]
            newTimes[Int(new)] = times[Int(old)]
        }
        for slot in shown.indices { shown[slot] &= UInt64.max >> UInt64(64 - kept) }
        (rows, times) = (newRows, newTimes)
    }

    private mutating func joinCloud(_ slot: Int, _ port: Port) {
        guard let netid = port.netid, port.portClass != .backend else { return }
        let cloud: Int32
        if let known = cloudOfNetid[netid] {
            cloud = known
        } else if let free = freeClouds.popLast() {
            cloud = free
            cloudHotAt[Int(free)] = 0
        } else {
            cloud = Int32(cloudMembers.count)
            cloudMembers.append(0)
            cloudHotAt.append(0)
            cloudSums.append(.zero)
        }
        cloudOfNetid[netid] = cloud
        cloudOf[slot] = cloud
        cloudMembers[Int(cloud)] += 1
    }

    private mutating func leaveCloud(_ slot: Int) {
        let cloud = cloudOf[slot]
        guard cloud >= 0 else { return }
        cloudOf[slot] = -1
        cloudMembers[Int(cloud)] -= 1
        guard cloudMembers[Int(cloud)] == 0 else { return }
        if let netid = ports[slot]?.netid { cloudOfNetid[netid] = nil }
        freeClouds.append(cloud)
    }

    // MARK: Thresholds

    /// A quarter of the low mark, and never above the high one.
    private static func share(_ policy: Policy) -> Double {
        policy.lowShare.isFinite ? min(max(policy.lowShare, 0), 1) / 4 : 0.125
    }

    private static func lane(_ mark: UInt64?, unit: Double, _ share: Double) -> Double {
        guard let mark, mark > 0 else { return .infinity }
        return Double(mark) / unit * share
    }

    private mutating func setThreshold(_ slot: Int, _ port: Port) {
        thresholds[slot] = threshold(of: port)
        bounds[slot] = GrowthBound(of: thresholds[slot], step: policy.quickStep)
    }

    private func threshold(of port: Port) -> SIMD4<Double> {
        let marks = policy.portMarks[port.name] ?? policy.marks[port.portClass] ?? Marks()
        let share = Self.share(policy)
        return SIMD4(
            Self.lane(marks.from.packets?.perSecond, unit: 1, share),
            Self.lane(marks.from.bits?.bitsPerSecond, unit: 8, share),
            Self.lane(marks.to.packets?.perSecond, unit: 1, share),
            Self.lane(marks.to.bits?.bitsPerSecond, unit: 8, share))
    }

    private static func groupThreshold(_ policy: Policy) -> SIMD2<Double>? {
        let share = share(policy)
        let threshold = SIMD2(
            lane(policy.groupMark.packets?.perSecond, unit: 1, share),
            lane(policy.groupMark.bits?.bitsPerSecond, unit: 8, share))
        return any(threshold .< .infinity) ? threshold : nil
    }

    // MARK: A poll

    mutating func sample(_ samples: Span<PortSample>) {
        let row = row(ago: 0)
        // Apart from the others, so that they are known to be nobody else's once, not for each.
        var (latest, marks, places): ([SIMD4<UInt64>], [UInt64], [Int32]) = ([], [], [])
        swap(&latest, &rows[row])
        swap(&marks, &self.shown)
        swap(&places, &self.places)
        defer {
            swap(&latest, &rows[row])
            swap(&marks, &self.shown)
            swap(&places, &self.places)
        }
        var counters = latest.mutableSpan
        var shown = marks.mutableSpan
        var order = places.mutableSpan
        var count = orderCount
        var at: UInt64?
        for place in samples.indices {
            let slot = samples[place].slot
            // A place that another port takes in the midst of a poll may be shown twice.
            guard slot >= 0, slot < shown.count, shown[slot] & 1 == 0, count < order.count else {
                continue
            }
            shown[slot] |= 1
            counters[slot] = samples[place].counters.lanes
            at = samples[place].at.nanoseconds
            order[count] = Int32(truncatingIfNeeded: slot)
            count += 1
        }
        orderCount = count
        if let at { times[row] = at }
    }

    /// When the counters of this poll were read; nil where there are none.
    var readAt: UInt64? { orderCount == 0 ? nil : times[row(ago: 0)] }

    /// The places that this poll showed, in that order.
    var order: ArraySlice<Int32> { places[..<orderCount] }

    /// An operator does something about a port: it matters.
    mutating func heat(_ id: PortID) {
        if let slot = slotOf[id] { heat(slot) }
    }

    private mutating func heat(_ slot: Int) {
        anyHotAt = poll
        hotAt[slot] = poll
        let cloud = Int(cloudOf[slot])
        if cloud >= 0 { cloudHotAt[cloud] = poll }
    }

    /// All samples are in, and decided: what mattered is noted.
    mutating func judge(_ engine: Engine) {
        if groupThreshold != nil {
            for cloud in cloudSums.indices { cloudSums[cloud] = .zero }
        }
        let (new, old) = (row(ago: 0), row(ago: 1))
        let isQuick = groupThreshold == nil && times[new] >= times[old] &+ policy.quickStep
        for slot in ports.indices {
            // Shown in this poll and the one before it, and far from mattering: as nearly all are.
            if isQuick, shown[slot] & 0b11 == 0b11,
                bounds[slot].holds(rows[old][slot], rows[new][slot])
            {
                continue
            }
            guard ports[slot] != nil, matters(slot, Int(cloudOf[slot])) else { continue }
            heat(slot)
        }
        engine.forEachIncident { slot in
            if slot < ports.count, ports[slot] != nil { heat(slot) }
        }
        guard let groupThreshold else { return }
        for cloud in cloudSums.indices where any(cloudSums[cloud] .>= groupThreshold) {
            anyHotAt = poll
            cloudHotAt[cloud] = poll
        }
    }

    private mutating func matters(_ slot: Int, _ cloud: Int) -> Bool {
        let shown = shown[slot]
        // Long enough unseen that what it showed last is not among the polls that are kept.
        guard shown & 1 == 1 else { return cloud >= 0 && shown & 0b111 == 0 }
        let before = (shown & ~1).trailingZeroBitCount
        guard before <= lookback else { return false }
        let (new, old) = (rows[row(ago: 0)][slot], rows[row(ago: before)][slot])
        let (now, then) = (times[row(ago: 0)], times[row(ago: before)])
        guard now > then, let loads = new.loads(since: old, nanoseconds: now &- then) else {
            return false
        }
        if cloud >= 0, groupThreshold != nil { cloudSums[cloud] += loads.lowHalf }
        return any(loads .>= thresholds[slot])
    }

    /// Whether this poll of a port is written.
    func isHot(_ slot: Int) -> Bool {
        if poll - hotAt[slot] <= Self.keep { return true }
        let cloud = Int(cloudOf[slot])
        return cloud >= 0 && poll - cloudHotAt[cloud] <= Self.keep
    }

    /// Whether any port of this poll is written.
    var isAnyHot: Bool { poll - anyHotAt <= Self.keep }

    /// Ports that matter from this poll on.
    var newlyHot: Bool {
        guard isAnyHot else { return false }
        for slot in ports.indices where ports[slot] != nil && !isClose[slot] && isHot(slot) {
            return true
        }
        return false
    }

    /// Whether a port that matters from this poll on was shown so many polls before.
    func isEarlier(_ slot: Int, ago: Int) -> Bool {
        ports[slot] != nil && !isClose[slot] && shown[slot] & 1 << UInt64(ago) != 0
            && isHot(slot)
    }

    /// What a port showed so many polls ago, against what was written last, which it now is.
    mutating func write(_ slot: Int, ago: Int, after last: Int, into writer: inout RecordWriter) {
        let (new, old) = (rows[row(ago: ago)][slot], bases[slot])
        let hasFrom: UInt64 = new.x != old.x || new.y != old.y ? 1 : 0
        let hasTo: UInt64 = new.z != old.z || new.w != old.w ? 2 : 0
        writer.number(RecordWriter.folded(Int64(slot - last)) << 2 | hasFrom | hasTo)
        if hasFrom != 0 {
            writer.change(from: old.x, to: new.x)
            writer.change(from: old.y, to: new.y)
        }
        if hasTo != 0 {
            writer.change(from: old.z, to: new.z)
            writer.change(from: old.w, to: new.w)
        }
        bases[slot] = new
    }

    /// Whether a port moved since it was written last.
    func hasMoved(_ slot: Int) -> Bool { rows[row(ago: 0)][slot] != bases[slot] }

    /// The next poll begins.
    mutating func advance() {
        for slot in shown.indices { shown[slot] <<= 1 }
        if isAnyHot || isAnyClose {
            for slot in ports.indices where ports[slot] != nil { isClose[slot] = isHot(slot) }
            isAnyClose = isAnyHot
        }
        orderCount = 0
        poll += 1
        times[row(ago: 0)] = 0
    }

    /// A file begins: nothing was written in it.
    mutating func forgetWritten() {
        for slot in bases.indices {
            bases[slot] = .zero
            isClose[slot] = false
        }
    }

    private func row(ago: Int) -> Int { Int((poll - UInt64(ago)) % UInt64(rows.count)) }
}
