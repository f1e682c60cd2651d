// Quantities with their units in the type, so that packets, bits and bytes cannot be confused.
// Invariant: every value is finite and not negative.

/// Packets in a second.
public struct PacketRate: Hashable, Comparable, Sendable {
    /// Packets per second.
    public var perSecond: UInt64

    /// A rate of `perSecond` packets each second.
    public init(perSecond: UInt64) { self.perSecond = perSecond }

    /// The slower of two rates comes first.
    public static func < (left: Self, right: Self) -> Bool { left.perSecond < right.perSecond }
}

/// Bits in a second. tc speaks of bytes per second in its messages and of bits in its output.
public struct BitRate: Hashable, Comparable, Sendable {
    /// Bits per second.
    public var bitsPerSecond: UInt64

    /// A rate of `bitsPerSecond` bits each second.
    public init(bitsPerSecond: UInt64) { self.bitsPerSecond = bitsPerSecond }

    /// A rate of `bytesPerSecond` bytes each second; saturates at the largest value.
    public init(bytesPerSecond: UInt64) {
        let product = bytesPerSecond.multipliedReportingOverflow(by: 8)
        bitsPerSecond = product.overflow ? .max : product.partialValue
    }

    /// Bytes per second, rounded down.
    public var bytesPerSecond: UInt64 { bitsPerSecond / 8 }

    /// The slower of two rates comes first.
    public static func < (left: Self, right: Self) -> Bool {
        left.bitsPerSecond < right.bitsPerSecond
    }
}

/// A moment on the daemon's monotonic clock (CLOCK_MONOTONIC), in nanoseconds. Simulations make
/// their own. Never a wall-clock time.
public struct Instant: Hashable, Comparable, Sendable {
    /// Nanoseconds since the clock's origin.
    public var nanoseconds: UInt64

    /// The moment `nanoseconds` after the clock's origin.
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// The earlier moment comes first.
    public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The time from `earlier` to this moment; zero where `earlier` is later.
    public func since(_ earlier: Instant) -> Duration {
        .nanoseconds(nanoseconds >= earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0)
    }

    /// The moment `duration` (not negative) later; saturates.
    public func advanced(by duration: Duration) -> Instant {
        let sum = nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return Instant(nanoseconds: sum.overflow ? .max : sum.partialValue)
    }
}

extension Duration {
    /// This duration in nanoseconds: 0 where it is negative, the largest value where it is too long
    /// (over 584 years).
    public var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let whole = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let sum = whole.partialValue.addingReportingOverflow(UInt64(attoseconds / 1_000_000_000))
        return whole.overflow || sum.overflow ? .max : sum.partialValue
    }
}
