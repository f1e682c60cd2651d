// When measurements prove that a cap does not hold.
import Mitigation
import Testing

@Suite struct CapWatchTests {
    private let cap = Cap(
        packets: PacketRate(perSecond: 1_000), bits: BitRate(bitsPerSecond: 2_000_000))

    private func verdicts(_ rates: [(Double?, Double?)]) -> [Bool] {
        var watch = CapWatch()
        return rates.map { packets, bits in
            _ = watch.take(packetsPerSecond: packets, bitsPerSecond: bits, cap: cap)
            return watch.isExceeded
        }
    }

    /// Guards against: a cap that does not hold and is not told, and one told before it is sure.
    @Test func threeInARowProveIt() {
        let over = (1_300.0, 100_000.0)
        let holds = (1_100.0, 2_400_000.0)
        #expect(verdicts([over, over, over, over, holds]) == [false, false, true, true, false])
        #expect(verdicts([over, over, holds, over, over]) == [false, false, false, false, false])
    }

    /// Guards against: bits that go through though the packets are few.
    @Test func bitsAlone() {
        #expect(verdicts([(10, 2_600_000), (10, 2_600_000), (10, 2_600_000)]).last == true)
    }

    /// Guards against: a measurement that failed, taken for one that holds or for one that does not.
    @Test func unknownSaysNothing() {
        let over: (Double?, Double?) = (2_000, 1)
        #expect(verdicts([over, over, (nil, nil), over]) == [false, false, false, true])
    }

    /// Guards against: a change that is told more than once.
    @Test func eachChangeOnce() {
        var watch = CapWatch()
        let changes = [5_000.0, 5_000, 5_000, 5_000, 900, 900].map {
            watch.take(packetsPerSecond: $0, bitsPerSecond: 0, cap: cap)
        }
        #expect(changes == [false, false, true, false, true, false])
    }
}
