// When counters prove that a port's frames go past its limits.
import Mitigation
import Testing

@Suite struct BypassWatchTests {
    /// A port and its limits, a measurement at a time.
    private final class Port {
        var watch = BypassWatch()
        var offered = DeliveredCounters()
        var seen = DeliveredCounters()

        init() { watch.take(offered: offered, seen: seen) }

        /// One more measurement, of frames of `size` bytes; gives the verdict.
        func move(_ packets: UInt64, seeing: UInt64, size: UInt64 = 250) -> Bool {
            offered.packets += packets
            offered.bytes += packets * size
            seen.packets += seeing
            seen.bytes += seeing * size
            watch.take(offered: offered, seen: seen)
            return watch.isBypassed
        }
    }

    /// Guards against: a bypass that is not told, and one told before it is sure.
    @Test func threeMeasurementsInARowProveIt() {
        let port = Port()
        #expect([1, 2, 3].map { _ in port.move(10_000, seeing: 4_999) } == [false, false, true])
        #expect(port.move(10_000, seeing: 0), "it goes on")
        #expect(!port.move(10_000, seeing: 5_000), "half is seen: over")
        #expect(!port.move(10_000, seeing: 0), "and begins anew")
    }

    /// Guards against: a single late reading of one of the two counters taken for a bypass.
    @Test func oneGoodMeasurementBreaksTheRow() {
        let port = Port()
        for _ in 0..<10 {
            #expect(!port.move(10_000, seeing: 0))
            #expect(!port.move(10_000, seeing: 0))
            #expect(!port.move(10_000, seeing: 10_000))
        }
    }

    /// Guards against: a quiet port that is called bypassed, or freed of it.
    @Test func aPortThatHardlyMovesSaysNothing() {
        let port = Port()
        for _ in 0..<10 { #expect(!port.move(99, seeing: 0)) }
        for _ in 0..<3 { _ = port.move(100, seeing: 0) }
        #expect(port.watch.isBypassed)
        #expect(port.move(99, seeing: 99))
    }

    /// Guards against: counters that began anew (a filter written again) read as a bypass or as the
    /// end of one.
    @Test func aCounterThatWentBackIsANewBaseline() {
        let port = Port()
        _ = port.move(10_000, seeing: 9_000)
        for round: UInt64 in 0..<10 {
            port.seen = DeliveredCounters()
            #expect(!port.move(10_000, seeing: 1_000 - round))
        }
        for _ in 0..<3 { _ = port.move(10_000, seeing: 10) }
        #expect(port.watch.isBypassed)
    }

    /// Guards against: a VM that sends GSO frames (no packets in tc's counters) called bypassed, and
    /// one that sends the shortest frames (14 of 60 bytes are not counted at ingress).
    @Test func halfOfEitherIsEnough() {
        let port = Port()
        for _ in 0..<5 {
            port.seen.bytes += 10_000 * 65_000
            #expect(!port.move(10_000, seeing: 0, size: 65_000))
        }
        for _ in 0..<5 {
            port.seen.bytes += 10_000 * 46
            #expect(!port.move(10_000, seeing: 0, size: 60))
        }
    }
}
