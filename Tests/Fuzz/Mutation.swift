// Seeded mutations, for lanes without libFuzzer.

/// A generator whose whole course follows from its seed (SplitMix64).
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    /// The course of this seed.
    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// Changes up to eight bytes (lengths and types more often than others), cuts, or repeats.
package func mutate(_ bytes: [UInt8], with generator: inout SeededGenerator) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...8, using: &generator) where !bytes.isEmpty {
        let position = Int.random(in: 0..<bytes.count, using: &generator)
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes[position] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 2: bytes[position & ~3] = UInt8.random(in: 0...16, using: &generator)
        case 3:
            bytes[position] =
                [0, 1, 3, 4, 0x0a, 0x22, 0x7f, 0x80, 0xff].randomElement(using: &generator) ?? 0
        case 4: bytes.removeSubrange(position...)
        default: bytes.insert(contentsOf: bytes[position...].prefix(32), at: position)
        }
    }
    return bytes
}
