// A poll's samples, from the interfaces in the order of the dump.
import Mitigation
import Netlink
import Testing

@testable import Daemon
@testable import Settings

@Suite struct PortTableTests {
    private static func link(_ index: Int32, _ name: String) -> Link {
        Link(index: index, name: Array(name.utf8), flags: 1)
    }

    private static func sample(_ index: Int32, _ packets: UInt64) -> LinkSample {
        LinkSample(
            index: index,
            statistics: LinkStatistics(
                rxPackets: packets, txPackets: packets + 1, rxBytes: packets * 60,
                txBytes: packets * 60 + 60))
    }

    /// lo, an ifb of ours, and two ports.
    private static func table() throws -> PortTable {
        var table = PortTable()
        table.note(link(1, "lo"), owner: nil)
        table.note(link(2, "ifb-f3"), owner: 3)
        let names = Settings.Configuration().names
        for (slot, index) in [(0, Int32(3)), (1, 4)] {
            let link = link(index, "vm-\(index)-00aa")
            let match = try #require(names.match(PortName(bytes: link.name)))
            let port = Port(
                id: table.newID(index), name: match.name, portClass: match.portClass,
                netid: match.netid, mtu: link.mtu)
            table.watch(WatchedPort(port: port, match: match, link: link), at: slot)
        }
        return table
    }

    /// What a poll brought: slots and packets from the VM.
    private static func taken(_ table: inout PortTable) -> [Engine.Slot: UInt64] {
        var taken: [Engine.Slot: UInt64] = [:]
        table.takeSamples { samples in
            for place in samples.indices {
                taken[samples[place].slot] = samples[place].counters.fromPackets
            }
        }
        return taken
    }

    private static let at = Instant(nanoseconds: 1_000_000_000)

    /// Guards against: counters of a port that went while its poll waited, taken for those of whoever
    /// has its place by then.
    @Test func whoGoesLeavesNoSample() throws {
        var table = try Self.table()
        table.beginPoll()
        for index in [3, 4] as [Int32] {
            let one = CollectionOfOne(Self.sample(index, 7))
            table.take(one.span, at: Self.at)
        }
        table.endPoll()
        table.remove(3)
        #expect(Self.taken(&table) == [1: 7])
        #expect(Self.taken(&table) == [:])
    }

    /// Guards against: a port whose counters are taken for another's, or lost, where a dump has another
    /// order, comes in pieces, or shows an interface that is not known.
    @Test(arguments: [[1, 2, 3, 4], [4, 3, 2, 1], [9, 3, 1, 4]] as [[Int32]])
    func everyOrderIsTaken(_ order: [Int32]) throws {
        var table = try Self.table()
        for round in 0..<3 as Range<UInt64> {
            table.beginPoll()
            for index in order {
                let one = CollectionOfOne(Self.sample(index, UInt64(index) * 100 + round))
                table.take(one.span, at: Self.at)
            }
            table.endPoll()
            #expect(Self.taken(&table) == [0: 300 + round, 1: 400 + round])
            #expect(table.isSoundIFB(2) == order.contains(2))
        }
    }

    /// Guards against: counters of another moment in a poll, or an interface that is held for gone since
    /// its counters came late or were not read.
    @Test func whatIsNoMeasureIsOnlyThere() throws {
        var table = try Self.table()
        table.beginPoll()
        let first = [Self.sample(1, 1), Self.sample(3, 7)]
        table.take(first.span, at: Self.at)
        let late = [LinkSample(index: 2, statistics: nil), Self.sample(4, 9)]
        table.take(late.span, at: Self.at, isMeasure: false)
        table.endPoll()
        #expect(Self.taken(&table) == [0: 7])
        #expect(table.isSoundIFB(2) && table.ifbCounters.isEmpty)
    }

    /// Guards against: more samples than there is room for, where an interface is shown again and again.
    @Test func whatIsShownTwiceDoesNoHarm() throws {
        var table = try Self.table()
        table.beginPoll()
        for round in 0..<20 as Range<UInt64> {
            let again = [Self.sample(3, round), Self.sample(4, round)]
            table.take(again.span, at: Self.at)
        }
        table.endPoll()
        #expect(Set(Self.taken(&table).keys) == [0, 1])
    }
}
