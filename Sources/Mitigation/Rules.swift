// The policy prepared for the hot path: plain numbers, durations in nanoseconds, windows in polls.
// Invariants: every value is finite and bounded whatever the policy says; making a sample's verdict
// from it looks nothing up and allocates nothing.

extension Policy {
    /// The longest `sustain` and `fastSustain`, in polls: longer ones are cut to this.
    public static var longestWindowInPolls: Int { UInt64.bitWidth }
}

/// The policy as plain numbers.
struct Rules: Sendable {
    /// The time between two polls, 1 ms to 60 s.
    let interval: UInt64
    /// See `Policy.quickStep`.
    let quickStep: UInt64
    /// A longer time between two samples voids the later one.
    let longestGap: UInt64
    /// Delivered counters may be read less often than a port's own: a longer time voids them.
    let longestDeliveredGap: UInt64
    let grace: UInt64

    /// `sustain` in polls, 1 to 64.
    let window: Int
    /// 80% of `window`, rounded up.
    let needed: Int
    /// The last polls of which one was over the mark, where an over-mark run goes on. A window that
    /// trips holds no longer pause than this, so that a run never starts after its window.
    let runMask: UInt64
    let fastWindow: UInt8
    let fastFactor: Double

    let target: UInt64
    let delay: Duration
    let tightenDivisor: UInt64
    let policeDwell: UInt64
    let shapeDwell: UInt64
    let tightenDwell: UInt64
    let highestRung: Rung
    let probe: UInt64?

    let stillFlooding: StillFlooding
    let unresponsiveFactor: Double
    let saturatedShare: Double

    let lowShare: Double
    let calm: UInt64
    let calmLimit: UInt64
    let forgiveness: UInt64
    let victim: VictimResponse

    let pathTolerance: Double
    /// Packets and bytes a second of a cloudspace's VMs together; nil: they are not summed.
    let groupMark: SIMD2<Double>?

    init(_ policy: Policy) {
        interval = policy.pollNanoseconds
        quickStep = policy.quickStep
        longestGap = 3 * interval
        longestDeliveredGap = max(longestGap, 3 * .second)
        grace = policy.grace.wholeNanoseconds

        window = Self.polls(in: policy.sustain.wholeNanoseconds, interval: interval)
        needed = Self.fourFifths(of: window)
        runMask = UInt64.lowest(window - needed + 1) << 1
        fastWindow = UInt8(
            Self.polls(in: policy.fastSustain.wholeNanoseconds, interval: interval))
        fastFactor = Double(max(policy.fastFactor, 1))

        target = max(policy.target.perSecond, 1)
        delay = max(policy.delay, .zero)
        tightenDivisor = max(policy.tightenDivisor, 1)
        policeDwell = policy.policeDwell.wholeNanoseconds
        shapeDwell = policy.shapeDwell.wholeNanoseconds
        tightenDwell = policy.tightenDwell.wholeNanoseconds
        highestRung = policy.highestRung
        probe = policy.probe?.wholeNanoseconds

        stillFlooding = policy.stillFlooding
        unresponsiveFactor = Self.finite(policy.unresponsiveFactor, 1...1e6, or: 1.25)
        saturatedShare = Self.finite(policy.saturatedShare, 0...1, or: 0.9)

        lowShare = Self.finite(policy.lowShare, 0...1, or: 0.5)
        calm = policy.calm.wholeNanoseconds
        calmLimit = policy.calmLimit.wholeNanoseconds
        forgiveness = policy.forgiveness.wholeNanoseconds
        victim = policy.victim

        pathTolerance = Self.finite(policy.pathTolerance, 0...1, or: 0.25)
        let sum = MarkSet.high(of: Marks(from: policy.groupMark)).lowHalf
        groupMark = any(sum .< .infinity) ? sum : nil
    }

    /// The least time on `rung` before the next one, in nanoseconds.
    func dwell(on rung: Rung) -> UInt64 {
        switch rung {
        case .normal: 0
        case .police: policeDwell
        case .shape: shapeDwell
        case .tighten: tightenDwell
        case .shutDown: .max
        }
    }

    /// How long the load has to be low before one rung down, after this many relapses.
    func calmNeeded(strikes: UInt8) -> UInt64 {
        let doubled = strikes < 63 ? calm.timesSaturating(1 << UInt64(strikes)) : .max
        return max(calm, min(calmLimit, doubled))
    }

    /// The highest rung that `port` may reach; `normal`: it is watched and never limited.
    func ceiling(of port: Port) -> Rung {
        if port.portClass == .backend { return .normal }
        let spared = port.portClass != .vm || port.carriesDefaultRoute
        return spared ? min(highestRung, .tighten) : highestRung
    }

    /// 80% of `polls`, rounded up.
    static func fourFifths(of polls: Int) -> Int { (polls * 4 + 4) / 5 }

    private static func polls(in time: UInt64, interval: UInt64) -> Int {
        let whole = time / interval + (time % interval == 0 ? 0 : 1)
        return Int(min(max(whole, 1), UInt64(Policy.longestWindowInPolls)))
    }

    private static func finite(
        _ value: Double, _ range: ClosedRange<Double>, or fallback: Double
    ) -> Double {
        value.isFinite ? min(max(value, range.lowerBound), range.upperBound) : fallback
    }
}

/// The marks of a port, prepared: one lane each for packets and bytes a second from the VM, and for
/// packets and bytes a second to the VM. A mark that is absent or zero is infinite: never reached.
struct MarkSet: Sendable {
    /// What was configured.
    let marks: Marks
    /// At or over is over.
    let high: SIMD4<Double>
    /// Below is calm.
    let low: SIMD4<Double>
    /// Growth that is sure to be below `high`.
    let quick: GrowthBound

    init(_ marks: Marks, _ rules: Rules) {
        self.marks = marks
        high = Self.high(of: marks)
        // An infinite mark stays infinite, at a share of zero too.
        low = high.replacing(with: high * rules.lowShare, where: high .< .infinity)
        quick = GrowthBound(of: high, step: rules.quickStep)
    }

    /// Packets and bytes a second from the VM, and to it; infinite where there is no mark.
    static func high(of marks: Marks) -> SIMD4<Double> {
        SIMD4(
            lane(marks.from.packets?.perSecond, unit: 1),
            lane(marks.from.bits?.bitsPerSecond, unit: 8),
            lane(marks.to.packets?.perSecond, unit: 1),
            lane(marks.to.bits?.bitsPerSecond, unit: 8))
    }

    /// The marks of one direction.
    func mark(_ direction: Direction) -> Mark {
        switch direction {
        case .from: marks.from
        case .to: marks.to
        }
    }

    /// Whether these packets and bytes a second are below the low mark.
    func isLow(_ direction: Direction, packets: Double, bytes: Double) -> Bool {
        packets < low[direction.lane] && bytes < low[direction.lane + 1]
    }

    private static func lane(_ mark: UInt64?, unit: Double) -> Double {
        guard let mark, mark > 0 else { return .infinity }
        return Double(mark) / unit
    }
}

extension Direction {
    /// The place of its packets in four lanes; its bytes follow.
    var lane: Int {
        switch self {
        case .from: 0
        case .to: 2
        }
    }
}

extension UInt64 {
    /// A second in nanoseconds.
    static var second: UInt64 { 1_000_000_000 }

    /// The lowest `count` bits set (0 to 64).
    static func lowest(_ count: Int) -> UInt64 { count >= 64 ? .max : (1 << UInt64(count)) - 1 }

    /// The product, or the largest value.
    func timesSaturating(_ factor: UInt64) -> UInt64 {
        let product = multipliedReportingOverflow(by: factor)
        return product.overflow ? .max : product.partialValue
    }

    /// The sum, or the largest value.
    func plusSaturating(_ other: UInt64) -> UInt64 {
        let sum = addingReportingOverflow(other)
        return sum.overflow ? .max : sum.partialValue
    }

    /// The difference, or zero.
    func minusSaturating(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }

    /// `value` rounded down; zero where it is negative or no number, the largest value where it is
    /// too large.
    init(saturating value: Double) {
        if value >= 0x1p64 {
            self = .max
        } else {
            self = value > 0 ? UInt64(value) : 0
        }
    }
}

extension Cap {
    /// Nothing.
    static var zero: Cap {
        Cap(packets: PacketRate(perSecond: 0), bits: BitRate(bitsPerSecond: 0))
    }

    /// Measured packets and bytes a second.
    init(packetsPerSecond: Double, bytesPerSecond: Double) {
        self.init(
            packets: PacketRate(perSecond: UInt64(saturating: packetsPerSecond.rounded())),
            bits: BitRate(bitsPerSecond: UInt64(saturating: (bytesPerSecond * 8).rounded())))
    }

    /// A mark, times `factor`; zero where there is none.
    init(_ mark: Mark, times factor: Double = 1) {
        self.init(
            packetsPerSecond: Double(mark.packets?.perSecond ?? 0) * factor,
            bytesPerSecond: Double(mark.bits?.bitsPerSecond ?? 0) / 8 * factor)
    }

    /// One `divisor`-th of both, at least 1.
    func divided(by divisor: UInt64) -> Cap {
        Cap(
            packets: PacketRate(perSecond: max(packets.perSecond / divisor, 1)),
            bits: BitRate(bitsPerSecond: max(bits.bitsPerSecond / divisor, 1)))
    }

    /// Both times `factor`.
    func multiplied(by factor: UInt64) -> Cap {
        Cap(
            packets: PacketRate(perSecond: packets.perSecond.timesSaturating(factor)),
            bits: BitRate(bitsPerSecond: bits.bitsPerSecond.timesSaturating(factor)))
    }

    /// What both caps let pass.
    func tighter(_ other: Cap) -> Cap {
        Cap(packets: min(packets, other.packets), bits: min(bits, other.bits))
    }
}
