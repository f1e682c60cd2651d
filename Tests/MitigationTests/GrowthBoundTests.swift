// The quick look at counters, held against a division, at the edges of 64 bits.
import Mitigation
import Testing

@Suite struct GrowthBoundTests {
    private static let rate = 20_000.0
    private static let step: UInt64 = 50_000_000
    /// Grown by less is below the rate, whatever the rounding: 1,000 in 50 ms is the rate.
    private static let sure: UInt64 = 999
    private static let edges: [UInt64] = [
        0, 1, sure - 1, sure, sure + 1, 1_000, 1_001, 1 << 32, (1 << 63) - 1_000, (1 << 63) - 1,
        1 << 63, (1 << 63) + 1, .max - sure, .max - 1, .max,
    ]

    /// Guards against: counters that went back, wrapped, or reached a rate, and are taken for healthy
    /// ones; and healthy ones that are not, which would cost a division each.
    @Test(arguments: 0..<4) func holdsWhatADivisionSays(_ lane: Int) {
        var rates = SIMD4<Double>(repeating: .infinity)
        rates[lane] = Self.rate
        let bound = GrowthBound(of: rates, step: Self.step)
        for begin in Self.edges {
            for end in Self.edges + [begin &+ 1, begin &+ Self.sure - 1, begin &+ Self.sure] {
                var (old, new) = (SIMD4<UInt64>.zero, SIMD4<UInt64>.zero)
                (old[lane], new[lane]) = (begin, end)
                let holds = bound.holds(old, new)
                let isBelow =
                    end >= begin
                    && Double(end - begin) * 1e9 / Double(Self.step) < Self.rate
                if holds { #expect(isBelow, "\(begin) to \(end)") }
                if end >= begin, end - begin < Self.sure, begin < 1 << 63 {
                    #expect(holds, "\(begin) to \(end)")
                }
            }
        }
    }

    /// Guards against: a mark that is not there, and is reached.
    @Test func nothingIsTooMuchWithoutARate() {
        #expect(GrowthBound.none.holds(.zero, SIMD4(repeating: 1 << 62)))
        #expect(!GrowthBound.none.holds(SIMD4(repeating: 1), .zero))
        let nothing = GrowthBound(of: .zero, step: Self.step)
        #expect(!nothing.holds(.zero, .zero))
    }
}
