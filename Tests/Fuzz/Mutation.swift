// Seeded mutations, for lanes without libFuzzer.

package import Seeded

/// Changes up to eight bytes (lengths and types more often than others), cuts, or repeats.
package func mutate(_ bytes: [UInt8], with generator: inout SplitMix) -> [UInt8] {
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
