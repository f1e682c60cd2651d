// A small seeded generator (SplitMix64), so that a failure can be run again, and what the environment
// says of seeds.

internal import FoundationEssentials

/// Numbers that follow from a seed.
@frozen
public struct SplitMix: RandomNumberGenerator, Sendable {
    @usableFromInline var state: UInt64

    /// The same seed gives the same numbers.
    @inlinable
    public init(seed: UInt64) { state = seed }

    /// The next number.
    @inlinable
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// Often a value at the ends of the type.
    public mutating func extreme() -> UInt64 {
        switch next() % 6 {
        case 0: 0
        case 1: .max
        case 2: .max - next() % 1000
        case 3: next() % 1_000_000
        case 4: 1 << (next() % 64)
        default: next()
        }
    }

    /// True once in `count` times.
    @inlinable
    public mutating func once(in count: UInt64) -> Bool { next() % count == 0 }

    /// A value in `range`.
    @inlinable
    public mutating func value(_ range: ClosedRange<UInt64>) -> UInt64 {
        range.lowerBound + next() % (range.upperBound - range.lowerBound + 1)
    }
}

/// What the environment says of simulated histories.
public enum SeededRun {
    /// `SLUICE_SEED`, `SLUICE_HISTORIES` or `SLUICE_TRACE`, where it is set to a number.
    public static func setting(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap(UInt64.init)
    }
}
