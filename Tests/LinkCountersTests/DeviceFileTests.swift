// /proc/net/dev, by its text.
import LinkCounters
import Netlink
import Testing

@Suite struct DeviceFileTests {
    private static let text = """
        Inter-|   Receive                                                |  Transmit
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
            lo:    9216      99    0    0    0     0          0         0     9216      99    0    0
        vm-123456-00aab:18446744073709551615 7 0 0 0 0 0 0 250 1 0 0 0 0 0 0

        """

    /// Guards against: numbers of another column, a name without the blank before it or cut off, and a
    /// counter as large as counters get.
    @Test func countersAreInTheirColumns() throws {
        let found = DeviceFile.parse(Array(Self.text.utf8))
        let named = try ["lo", "vm-123456-00aab"].map { try #require(DeviceName(Array($0.utf8))) }
        #expect(
            found == [
                NamedCounters(
                    named[0],
                    LinkStatistics(rxPackets: 99, txPackets: 99, rxBytes: 9_216, txBytes: 9_216)),
                NamedCounters(
                    named[1],
                    LinkStatistics(rxPackets: 7, txPackets: 1, rxBytes: .max, txBytes: 250)),
            ])
    }

    /// Guards against: lines of strangers that stop the daemon or count as interfaces.
    @Test(arguments: [
        "", ":", "lo:", "lo: 1 2 3", "lo: a b c d e f g h i j", ": 1 2 3 4 5 6 7 8 9 10",
        "a-name-of-16-byte: 1 2 3 4 5 6 7 8 9 10", "lo: 18446744073709551616 2 3 4 5 6 7 8 9 10",
        "lo: 1 2 3 4 5 6 7 8 9 -10",
    ])
    func whatIsNoLineIsLeftOut(_ line: String) {
        #expect(DeviceFile.parse(Array(line.utf8)).isEmpty)
    }

    @Test func namesAreTheirBytes() {
        let names = ["a", "b", "ab", "ba", "12345678", "123456789", "12345678\u{1}"].map {
            DeviceName(Array($0.utf8))
        }
        #expect(Set(names).count == names.count && !names.contains(nil))
        #expect(DeviceName([UInt8]()) == nil && DeviceName([UInt8](repeating: 1, count: 16)) == nil)
    }
}
