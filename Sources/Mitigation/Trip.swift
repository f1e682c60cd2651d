// What a trip measured, and the cap that follows from it.
// Invariants: the average packet size lies in [64, MTU + 18]; what the cap lets pass lies below the
// high mark, in packets and in bits, so that a port that is limited is not over its mark.

/// A direction that is tripped, calibrated from the seconds of the trip itself.
struct Trip: Sendable {
    let reason: Reason
    /// What a policed or shaped port may send.
    let cap: Cap
    /// What was measured, and when that began.
    let load: Cap
    let start: UInt64

    /// The trip of `direction` by `rule` in the latest sample of `meter`, whose polls over the mark
    /// began with `baseline`.
    init(
        _ rule: Reason.Rule, _ direction: Direction, meter: LoadMeter, since baseline: Baseline,
        marks: MarkSet, rules: Rules, mtu: UInt32
    ) {
        let grown = meter.grown(direction, since: baseline)
        let measured = Self.load(grown)
        load = measured
        start = baseline.at
        let mark = marks.mark(direction)
        reason = Reason(
            rule: rule, direction: direction, measured: measured,
            against: Cap(mark, times: rule == .fast ? rules.fastFactor : 1))
        let latest = meter.rates[direction.lane + 1]
        let bitsTripped =
            latest >= marks.high[direction.lane + 1]
            || Double(measured.bits.bitsPerSecond) / 8 >= marks.high[direction.lane + 1]
        cap = Self.cap(
            averageBytes: Self.average(packets: grown.packets, bytes: grown.bytes, mtu: mtu),
            mark: mark, bitsTripped: bitsTripped, rules: rules)
    }

    /// One VM's part of a trip of its cloudspace, whose polls over the mark began with `baseline`.
    init(
        _ reason: Reason, meter: LoadMeter, since baseline: Baseline, marks: MarkSet,
        bitsTripped: Bool, rules: Rules, mtu: UInt32
    ) {
        let grown = meter.grown(.from, since: baseline)
        self.reason = reason
        load = Self.load(grown)
        start = baseline.at
        cap = Self.cap(
            averageBytes: Self.average(packets: grown.packets, bytes: grown.bytes, mtu: mtu),
            mark: marks.mark(.from), bitsTripped: bitsTripped, rules: rules)
    }

    /// What grew, a second.
    private static func load(_ grown: (packets: UInt64, bytes: UInt64, time: UInt64)) -> Cap {
        let seconds = Double(max(grown.time, 1)) / 1_000_000_000
        return Cap(
            packetsPerSecond: Double(grown.packets) / seconds,
            bytesPerSecond: Double(grown.bytes) / seconds)
    }

    /// Bytes per packet with the Ethernet header, in [64, MTU + 18]. A 64 KB segmented frame counts
    /// as one packet in the kernel's counters: hence the upper bound.
    static func average(packets: UInt64, bytes: UInt64, mtu: UInt32) -> UInt64 {
        let largest = max(UInt64(mtu) + 18, 64)
        guard packets > 0 else { return largest }
        return min(max(bytes / packets, 64), largest)
    }

    /// The target in packets, and that many average packets in bits. A target at or over the high
    /// mark would limit nothing: then, and in bits whenever the bits tripped, it is the low mark. So
    /// a few large packets, below the mark in packets, are held to half of the mark in bits.
    static func cap(averageBytes: UInt64, mark: Mark, bitsTripped: Bool, rules: Rules) -> Cap {
        var packets = rules.target
        if let high = mark.packets?.perSecond, high > 0, packets >= high {
            packets = min(packets, low(high, rules))
        }
        var bits = packets.timesSaturating(averageBytes).timesSaturating(8)
        if let high = mark.bits?.bitsPerSecond, high > 0, bitsTripped || bits >= high {
            bits = min(bits, low(high, rules))
        }
        return Cap(
            packets: PacketRate(perSecond: packets), bits: BitRate(bitsPerSecond: bits))
    }

    /// The low mark, below the high one and at least 1.
    private static func low(_ high: UInt64, _ rules: Rules) -> UInt64 {
        max(min(UInt64(saturating: Double(high) * rules.lowShare), high - 1), 1)
    }
}
