// Whose counters may be taken from the walk.
import Netlink
import Testing

@testable import LinkCounters

@Suite struct DriverTableTests {
    private let driver = DriverKey(operations: 0xffff_ffff_8124_0000, counterType: 2)

    private func counters(_ packets: UInt64) -> LinkStatistics {
        LinkStatistics(
            rxPackets: packets, txPackets: packets, rxBytes: packets * 60, txBytes: packets * 60)
    }

    /// Guards against: trust without a comparison, or by zeros that fit any driver.
    @Test func aDriverIsProvenByTraffic() {
        var table = DriverTable()
        #expect(table.isWorthProof(driver) && !table.isProven(driver))
        table.note(driver, kind: "tun")
        #expect(table.verdict(of: driver) == .untried && !table.isProven(driver))
        table.compare(driver, before: counters(0), netlink: counters(0), after: counters(0))
        #expect(!table.isProven(driver) && table.isWorthProof(driver))
        table.compare(driver, before: counters(5), netlink: counters(7), after: counters(9))
        #expect(table.isProven(driver) && !table.isWorthProof(driver))
        // Another table of operations, or another kind of counters, is another driver.
        #expect(!table.isProven(DriverKey(operations: driver.operations, counterType: 1)))
    }

    /// Guards against: a wrong number taken since an earlier one was right.
    @Test func oneContradictionIsEnough() {
        var table = DriverTable()
        table.note(driver, kind: "bridge")
        table.compare(driver, before: counters(5), netlink: counters(7), after: counters(9))
        #expect(table.isProven(driver))
        var late = counters(7)
        late.txBytes = 10_000
        table.compare(driver, before: counters(5), netlink: late, after: counters(9))
        #expect(!table.isProven(driver) && table.verdict(of: driver) == .contradicted)
        table.compare(driver, before: counters(5), netlink: counters(7), after: counters(9))
        #expect(!table.isProven(driver))
        table.forgive()
        table.compare(driver, before: counters(5), netlink: counters(4), after: counters(9))
        #expect(table.verdict(of: driver) == .contradicted)
        table.forgive()
        table.compare(driver, before: counters(5), netlink: counters(7), after: counters(9))
        #expect(table.isProven(driver))
    }

    /// Guards against: drops that are taken for what was sent, since nothing was sent yet.
    @Test(arguments: ["vxlan", "geneve"]) func oneThatMayCountDropsHasToSend(_ kind: String) {
        var table = DriverTable()
        table.note(driver, kind: kind)
        let received = LinkStatistics(rxPackets: 7, rxBytes: 420)
        table.compare(driver, before: received, netlink: received, after: received)
        #expect(!table.isProven(driver) && table.isWorthProof(driver))
        table.compare(driver, before: counters(5), netlink: counters(7), after: counters(9))
        #expect(table.isProven(driver))
    }

    /// Guards against: numbers of drivers with counters of their own.
    @Test(arguments: ["veth", "ifb", "vlan", "macvtap", nil])
    func othersAreNeverProven(_ kind: String?) {
        var table = DriverTable()
        table.note(driver, kind: kind)
        table.compare(driver, before: counters(5), netlink: counters(5), after: counters(5))
        #expect(table.verdict(of: driver) == .foreign)
        #expect(!table.isProven(driver) && !table.isWorthProof(driver))
        table.note(driver, kind: "tun")
        #expect(table.verdict(of: driver) == .foreign)
    }
}
