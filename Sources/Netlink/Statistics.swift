// What a qdisc, a class or an action counted since it was made.

/// TCA_STATS2's counters. Packets are 64 bits wide where the kernel gives TCA_STATS_PKT64 (5.5 on),
/// else they wrap at 32.
public struct Statistics: Hashable, Sendable {
    /// Packets that were sent on (qdisc, class) or seen (action).
    public var packets: UInt64
    /// Bytes of those.
    public var bytes: UInt64
    /// Packets dropped; wraps at 32 bits.
    public var drops: UInt32
    /// How often the limit was met; for mirred, frames that could not be sent on. Wraps.
    public var overlimits: UInt32
    /// Bytes waiting.
    public var backlogBytes: UInt32
    /// Packets waiting.
    public var queueLength: UInt32

    /// Counters of these values.
    public init(
        packets: UInt64 = 0, bytes: UInt64 = 0, drops: UInt32 = 0, overlimits: UInt32 = 0,
        backlogBytes: UInt32 = 0, queueLength: UInt32 = 0
    ) {
        self.packets = packets
        self.bytes = bytes
        self.drops = drops
        self.overlimits = overlimits
        self.backlogBytes = backlogBytes
        self.queueLength = queueLength
    }
}
