// Several VMs of one cloudspace that are a flood together, each of them below its own mark.
//
// Invariants: what counts is what they get through, so that a VM that is limited no longer drives the
// sum; only a poll in which the sum itself is over the mark trips; the fewest largest senders that
// bring the sum under the mark are chosen, never one whose limit would change nothing.

/// The sum of a cloudspace's VMs on this host.
struct Group: Sendable {
    /// Bit 0 is the latest poll, bit 1 the one before it: the sum was over the mark.
    private var over: UInt64 = 0
    private var far: UInt8 = 0
    /// The counters of each VM, in the order of the cloudspace, before the run of polls over the mark.
    private var start: [Baseline] = []
    private var next: [Baseline] = []
    /// All that they offer is below the low mark.
    private(set) var isLow = false

    /// Another poll: what the VMs get through together, and what they offer, a second.
    mutating func take(
        passing: SIMD2<Double>, offered: SIMD2<Double>, mark: SIMD2<Double>, rules: Rules,
        baselines: () -> [Baseline]
    ) -> Bool {
        isLow = all(offered .< mark * rules.lowShare)
        let isNew = over & rules.runMask == 0
        over <<= 1
        guard any(passing .>= mark) else {
            far = 0
            return false
        }
        over |= 1
        let latest = baselines()
        if isNew || latest.count != start.count {
            start = latest
            next = latest
        } else if (latest.first?.poll ?? 0) &- (next.first?.poll ?? 0) >= UInt32(rules.window) {
            start = next
            next = latest
        }
        far = any(passing .>= mark * rules.fastFactor) ? min(far + 1, .max - 1) : 0
        return far >= rules.fastWindow
            || (over & .lowest(rules.window)).nonzeroBitCount >= rules.needed
    }

    /// The counters of the `place`-th VM before the run, which has begun.
    func baseline(_ place: Int) -> Baseline { start[place] }
}

extension Engine {
    /// Each cloudspace's sum, where there is a mark for it: a new incident of those that bring it
    /// down.
    mutating func watchGroups() {
        guard let mark = rules.groupMark, !isGrace else { return }
        for netid in cloudspaceOrder {
            guard let vms = cloudspaces[netid]?.vms, vms.count > 1 else { continue }
            var passing = SIMD2<Double>.zero
            var offered = SIMD2<Double>.zero
            for slot in vms where meters[slot].measured(in: poll) > 0 {
                let rates = meters[slot].rates.lowHalf
                offered += rates
                passing += pointwiseMin(rates, passable(slot))
            }
            let meters = meters
            let isTripped = cloudspaces[netid]?.group.take(
                passing: passing, offered: offered, mark: mark, rules: rules
            ) { vms.map { meters[$0].former } }
            if isTripped == true { tripGroup(netid, vms, passing: passing, mark: mark) }
        }
    }

    /// Whether all that the VMs of a port's cloudspace offer is low; true where there is no sum any
    /// more: its mark is gone, or the other VMs are.
    func isSumLow(around slot: Slot) -> Bool {
        guard rules.groupMark != nil, let netid = netids[slot],
            let cloudspace = cloudspaces[netid], cloudspace.vms.count > 1
        else { return true }
        return cloudspace.group.isLow
    }

    /// What the limits of the port at `slot` let pass, packets and bytes a second.
    private func passable(_ slot: Slot) -> SIMD2<Double> {
        guard let cap = ladderIndex(slot).flatMap({ ladders[$0].cap(.from) }) else {
            return SIMD2(repeating: .infinity)
        }
        return SIMD2(cap)
    }

    private mutating func tripGroup(
        _ netid: UInt32, _ vms: [Slot], passing: SIMD2<Double>, mark: SIMD2<Double>
    ) {
        guard let group = cloudspaces[netid]?.group else { return }
        let reason = Reason(
            rule: .group, direction: .from,
            measured: Cap(packetsPerSecond: passing[0], bytesPerSecond: passing[1]),
            against: Cap(policy.groupMark))
        // The unit that is furthest over its mark decides who is a large sender.
        let lane = passing[1] / mark[1] > passing[0] / mark[0] ? 1 : 0
        var candidates: [(slot: Slot, trip: Trip, rates: SIMD2<Double>)] = []
        for (place, slot) in vms.enumerated() {
            let isLimited = ladderIndex(slot).map { ladders[$0].isEngaged } ?? false
            guard !isLimited, meters[slot].measured(in: poll) > 0, let record = records[slot],
                record.ceiling > .normal
            else { continue }
            let trip = Trip(
                reason, meter: meters[slot], since: group.baseline(place),
                marks: markSets[Int(meters[slot].markSet)], bitsTripped: lane == 1, rules: rules,
                mtu: record.port.mtu)
            let rates = meters[slot].rates.lowHalf
            // A limit above what it sends brings nothing.
            if rates[lane] > SIMD2(trip.cap)[lane] { candidates.append((slot, trip, rates)) }
        }
        candidates.sort { $0.rates[lane] > $1.rates[lane] }
        var sum = passing
        var incident: UInt32?
        for candidate in candidates {
            guard any(sum .>= mark) else { return }
            sum -= candidate.rates - pointwiseMin(candidate.rates, SIMD2(candidate.trip.cap))
            incident = openLadder(candidate.slot, groupTrip: candidate.trip, incident: incident)
        }
    }
}

extension SIMD2<Double> {
    /// Packets and bytes a second.
    fileprivate init(_ cap: Cap) {
        self.init(Double(cap.packets.perSecond), Double(cap.bits.bitsPerSecond) / 8)
    }
}
