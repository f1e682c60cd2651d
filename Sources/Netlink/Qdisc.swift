// What we ask of a queueing discipline or a class. Rates are bytes per second, as the kernel has
// them; tc prints bits.

/// A queueing discipline to add or to change.
public enum Qdisc: Hashable, Sendable {
    /// The hook for what comes in. `tc qdisc add dev D ingress`
    case ingress
    /// The hooks for both directions. `tc qdisc add dev D clsact`
    case clsact
    /// A rate and a burst. `tc qdisc add … tbf rate R burst B limit L`
    case tokenBucket(TokenBucket)
    /// A delay and a queue. `tc qdisc add … netem delay D limit L`
    case netem(Netem)
    /// A tree of classes; `defaultClass` is the minor of the class for what no filter takes, 0 for
    /// none (then it passes without limit); `rateToQuantum` only serves classes that bring no quantum
    /// of their own. `tc qdisc add … htb default N r2q R`
    case htb(defaultClass: UInt32, rateToQuantum: UInt32 = 10)
    /// A plain queue of packets. `tc qdisc add … pfifo limit N`
    case packetQueue(limitPackets: UInt32)

    /// The kernel's name of the kind.
    public var kind: String {
        switch self {
        case .ingress: "ingress"
        case .clsact: "clsact"
        case .tokenBucket: "tbf"
        case .netem: "netem"
        case .htb: "htb"
        case .packetQueue: "pfifo"
        }
    }
}

/// A token bucket filter (tbf).
public struct TokenBucket: Hashable, Sendable {
    /// Bytes per second, exact up to 64 bits (TCA_TBF_RATE64).
    public var bytesPerSecond: UInt64
    /// What passes at once after a pause, in bytes, headers included (TCA_TBF_BURST). A longer
    /// frame is segmented or never passes.
    public var burstBytes: UInt32
    /// What may wait, in bytes. With a child qdisc of another kind than bfifo the kernel keeps the
    /// number and does not use it.
    public var limitBytes: UInt32
    /// A shorter frame counts as this many bytes, so that bytes bound packets too (`mpu`; kept by
    /// kernels from 5.17 on and their stable ones, fb80445c438c).
    public var minimumPacketBytes: UInt16

    /// A bucket of this rate, burst and queue.
    public init(
        bytesPerSecond: UInt64, burstBytes: UInt32, limitBytes: UInt32,
        minimumPacketBytes: UInt16 = 0
    ) {
        self.bytesPerSecond = bytesPerSecond
        self.burstBytes = burstBytes
        self.limitBytes = limitBytes
        self.minimumPacketBytes = minimumPacketBytes
    }
}

/// A delay line (netem); no loss, no jitter, no duplication.
public struct Netem: Hashable, Sendable {
    /// Added to each packet, in nanoseconds (TCA_NETEM_LATENCY64).
    public var delayNanoseconds: UInt64
    /// What may wait, in packets; the next ones are dropped.
    public var limitPackets: UInt32

    /// A line of this delay and length.
    public init(delayNanoseconds: UInt64, limitPackets: UInt32) {
        self.delayNanoseconds = delayNanoseconds
        self.limitPackets = limitPackets
    }
}

/// A class of an htb qdisc. `tc class add … htb rate R burst B ceil C cburst CB`
public struct HTBClass: Hashable, Sendable {
    /// Bytes per second that the class always has, exact up to 64 bits.
    public var bytesPerSecond: UInt64
    /// Bytes per second that it may have where its parent has some left.
    public var ceilBytesPerSecond: UInt64
    /// What passes at once at the rate, in bytes.
    public var burstBytes: UInt32
    /// What passes at once at the ceiling, in bytes.
    public var ceilBurstBytes: UInt32
    /// A shorter frame counts as this many bytes (`mpu`).
    public var minimumPacketBytes: UInt16

    /// A class of these rates; the ceiling is the rate where it is not given.
    public init(
        bytesPerSecond: UInt64, ceilBytesPerSecond: UInt64? = nil, burstBytes: UInt32,
        ceilBurstBytes: UInt32? = nil, minimumPacketBytes: UInt16 = 0
    ) {
        self.bytesPerSecond = bytesPerSecond
        self.ceilBytesPerSecond = ceilBytesPerSecond ?? bytesPerSecond
        self.burstBytes = burstBytes
        self.ceilBurstBytes = ceilBurstBytes ?? burstBytes
        self.minimumPacketBytes = minimumPacketBytes
    }
}
