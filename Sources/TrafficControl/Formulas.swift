// From a limit to the parameters of policers and queues. The reasons are measured ones: each rule
// names what goes wrong without it.
import Mitigation

/// A policer's parameters.
struct PolicerParameters: Hashable, Sendable {
    var packetsPerSecond: UInt64
    var burstPackets: UInt64
    var bytesPerSecond: UInt64
    var burstBytes: UInt32
}

/// A shaper's parameters.
struct ShaperParameters: Hashable, Sendable {
    var bytesPerSecond: UInt64
    var burstBytes: UInt32
    var delayNanoseconds: UInt64
    var limitPackets: UInt32
    /// The smallest size a frame is counted as, where packets cannot be limited otherwise.
    var averageBytes: UInt16
}

enum Formulas {
    /// The largest frame a policer takes whole: a 64 KB GSO frame. With act_police's default of 2 KB
    /// a VM that sends those loses everything.
    static let largestFrameBytes: UInt32 = 65_535
    /// The Ethernet header, which ingress does not count and egress does.
    static let ethernetHeaderBytes: UInt16 = 14

    /// A policer: the burst in packets a tenth of a second and at least 10; in bytes at least one
    /// largest GSO frame (else a sender of such frames gets nothing), and 1/80 s of the rate.
    static func police(_ cap: Cap) -> PolicerParameters {
        let bytes = max(1, cap.bits.bytesPerSecond)
        return PolicerParameters(
            packetsPerSecond: max(1, cap.packets.perSecond),
            burstPackets: max(10, cap.packets.perSecond / 10),
            bytesPerSecond: bytes,
            burstBytes: UInt32(clamping: min(max(70_000, bytes / 80), UInt64(UInt32.max / 2))))
    }

    /// A shaper: the burst at least a frame and what the rate gives in 10 ms (a clock tick at
    /// HZ=100), at most 60,000 bytes, below which tbf cuts GSO frames before it queues them; the
    /// queue 1.02 times what the rate sends in the delay, so that limit over delay bounds packets
    /// as tbf's rate bounds bytes.
    static func shape(_ cap: Cap, delay: Duration, mtu: UInt32) -> ShaperParameters {
        let bytes = max(1, cap.bits.bytesPerSecond)
        let packets = max(1, cap.packets.perSecond)
        let nanoseconds = delay.wholeNanoseconds
        let queued = (Double(packets) * Double(nanoseconds) / 1e9 * 1.02).rounded(.up)
        return ShaperParameters(
            bytesPerSecond: bytes,
            burstBytes: UInt32(clamping: max(UInt64(mtu) + 18, min(bytes / 100, 60_000))),
            delayNanoseconds: nanoseconds,
            limitPackets: UInt32(min(max(10, queued), Double(UInt32.max))),
            averageBytes: UInt16(clamping: bytes / packets))
    }

    /// The time `units` take at a rate, in nanoseconds; saturates.
    static func nanoseconds(units: UInt64, perSecond: UInt64) -> UInt64 {
        let (high, low) = units.multipliedFullWidth(by: 1_000_000_000)
        let divisor = max(1, perSecond)
        guard high < divisor else { return UInt64(1) << 62 }
        return min(divisor.dividingFullWidth((high, low)).quotient, UInt64(1) << 62)
    }

    /// The bytes a rate sends in a time; saturates.
    static func bytes(perSecond: UInt64, nanoseconds: UInt64) -> UInt32 {
        let (high, low) = perSecond.multipliedFullWidth(by: nanoseconds)
        guard high < 1_000_000_000 else { return .max }
        return UInt32(clamping: UInt64(1_000_000_000).dividingFullWidth((high, low)).quotient)
    }

    /// Nanoseconds a byte costs, times 65,536.
    static func scaledNanosecondsPerByte(bytesPerSecond: UInt64) -> UInt64 {
        (UInt64(1_000_000_000) << 16) / max(1, bytesPerSecond)
    }
}
