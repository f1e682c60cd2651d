// How much counters may grow between two polls and be sure to stay below some rates: whole numbers to
// compare with, in place of a division for each port and poll.
//
// Invariant: where `holds` says yes, no counter went back and no rate is reached, whatever the rounding;
// where it says no, that has to be reckoned.

extension Policy {
    /// The time between two polls, 1 ms to 60 s, in nanoseconds.
    package var pollNanoseconds: UInt64 {
        min(max(pollInterval.wholeNanoseconds, 1_000_000), 60 * .second)
    }

    /// So short a time between two samples, in nanoseconds, is a poll come early: half of a poll.
    /// Samples that lie this far apart may be held against a `GrowthBound`.
    package var quickStep: UInt64 { pollNanoseconds / 2 }
}

/// Growth of packets and bytes from the VM, and to it, below which no rate is reached in `quickStep`
/// or longer.
package struct GrowthBound: Hashable, Sendable {
    @usableFromInline let limit: SIMD4<UInt64>

    /// Nothing is too much.
    package static let none = GrowthBound(of: SIMD4(repeating: .infinity), step: 0)

    /// Of rates a second; an infinite one is never reached.
    package init(of rates: SIMD4<Double>, step: UInt64) {
        // Less by more than all rounding.
        let grown = rates * (Double(step) / 1_000_000_000 * (1 - 1e-9))
        var limit = SIMD4<UInt64>(repeating: Self.most)
        for lane in 0..<4 where rates[lane] < .infinity {
            limit[lane] = min(UInt64(saturating: grown[lane]), Self.most)
        }
        self.limit = limit
    }

    /// The highest bit of a number is what a comparison comes to.
    private static let most: UInt64 = .max >> 1

    /// Whether counters that were `old` and are `new` went on, and grew by less in each lane. The highest
    /// bit of `grown &- limit` says that it did, where neither `grown` nor `old` has it: then nothing
    /// wrapped. For all lanes at once, since a processor without AVX2 compares no 64 bits.
    @inlinable @inline(__always)
    package func holds(_ old: SIMD4<UInt64>, _ new: SIMD4<UInt64>) -> Bool {
        let grown = new &- old
        let isBelow = (grown &- limit) & ~(grown | old)
        let both = isBelow.lowHalf & isBelow.highHalf
        return Int64(bitPattern: both.x & both.y) < 0
    }
}
