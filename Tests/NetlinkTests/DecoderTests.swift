// What the kernel lists, read back from captured bytes: also for the parts that a small kernel
// lacks.
import CNetlink
import Testing

@testable import Netlink

@Suite struct DecoderTests {
    @Test("tbf: rate, burst and limit as tc was told, and what waits in it")
    func tokenBucket() throws {
        let record = try #require(decode(Fixture.tbfReply.payload) { QdiscRecord(payload: $0) })
        #expect(record.index == 1)
        #expect(record.handle == Handle(major: 0x7a01))
        #expect(record.parent == .root)
        #expect(record.kind == "tbf")
        #expect(
            record.tokenBucket
                == TokenBucket(
                    bytesPerSecond: 2_000_000, burstBytes: 20_000, limitBytes: 1_000_000))
        #expect(record.netem == nil && record.htbDefault == nil)
        #expect(
            record.statistics
                == Statistics(packets: 6, bytes: 588, backlogBytes: 294, queueLength: 3))
    }

    @Test("netem: the delay to the nanosecond, although the kernel adds attributes of zeros")
    func netem() throws {
        let record = try #require(decode(Fixture.netemReply.payload) { QdiscRecord(payload: $0) })
        #expect(record.parent == Handle(major: 0x7a01, minor: 1))
        #expect(
            record.netem == Netem(delayNanoseconds: 200_000_000, limitPackets: 2040))
        // One that loses packets is not plain, and must not pass for ours.
        var lossy = record
        lossy.options[8] = 1
        #expect(lossy.netem == nil)
    }

    @Test("htb: the default class, and a class whose ceiling needs 64 bits")
    func htb() throws {
        let tree = try #require(decode(Fixture.htbReply.payload) { QdiscRecord(payload: $0) })
        #expect(tree.htbDefault == 0x30)
        let record = try #require(
            decode(Fixture.htbClassReply.payload) { ClassRecord(payload: $0) })
        #expect(record.classID == Handle(major: 0x7a03, minor: 0x30))
        let htb = try #require(record.htb)
        #expect(htb.bytesPerSecond == 2_000_000 && htb.burstBytes == 20_000)
        #expect(htb.ceilBytesPerSecond == 5_000_000_000)
        // tc rounded 30,000 bytes at that rate down to 5 us and that to ticks: 29,760 to it.
        #expect(htb.ceilBurstBytes == 29_760)
        #expect(record.statistics.packets == 6 && record.statistics.bytes == 588)
    }

    @Test("two policers in one filter: packets, bytes, verdicts, cookies, counters")
    func police() throws {
        let record = try #require(
            decode(Fixture.policeReply.payload) { FilterRecord(payload: $0) })
        #expect(record.parent == .clsactIngress && record.chain == 0)
        #expect(record.preference == 13 && record.proto == 3 && record.handle == 0x7a01)
        #expect(
            record.classicBPF == [
                ClassicInstruction(code: 40, k: 12), ClassicInstruction(code: 6, k: 0xffff_ffff),
            ])
        #expect(record.actions.map(\.kind) == ["police", "police"])
        #expect(record.actions.map(\.cookie) == [.cookie(0x10), .cookie(0x11)])
        #expect(record.actions.map(\.index) == [1, 2])
        let packets = try #require(record.actions[0].police)
        #expect(packets.packetsPerSecond == 300 && packets.packetBurst == 30)
        #expect(packets.bytesPerSecond == nil)
        #expect(packets.exceedCode == 2 && packets.conformCode == 3)
        let bytes = try #require(record.actions[1].police)
        #expect(bytes.bytesPerSecond == 500_000 && bytes.burstBytes == 70_000)
        #expect(bytes.mtu == 65_535 && bytes.overhead == 14)
        #expect(bytes.packetsPerSecond == nil)
        #expect(bytes.exceedCode == 2 && bytes.conformCode == -1)
        #expect(record.actions[1].verdict == .drop)
        #expect(record.actions[1].statistics.packets == 3)
        #expect(record.actions[1].statistics.bytes == 252)
    }

    @Test("a redirect names its target; the head of a preference has no handle")
    func redirect() throws {
        let record = try #require(
            decode(Fixture.redirectReply.payload) { FilterRecord(payload: $0) })
        #expect(record.parent == .clsactEgress)
        let action = try #require(record.actions.first)
        #expect(action.kind == "mirred" && action.redirectTarget == 2)
        #expect(action.verdictCode == 4 && action.verdict == nil)
        #expect(action.cookie == .cookie(0x12))
        #expect(action.statistics.packets == 6)
        let head = try #require(
            decode(Fixture.filterHeadReply.payload) { FilterRecord(payload: $0) })
        #expect(head.handle == 0 && head.kind == "bpf" && head.options.isEmpty)
    }

    @Test("ours come back as asked: every request that we make is read by our own decoders")
    func requestsRoundTrip() throws {
        let filter = Filter(
            parent: .clsactIngress, preference: 11, handle: 0x7a01, match: .everything,
            classID: Handle(major: 1, minor: 2),
            actions: [
                .policeBytes(
                    perSecond: 10_000_000_000, burstBytes: 70_000, mtu: 65_535, overhead: 14,
                    conform: .unspec, exceed: .drop, cookie: .cookie(7))
            ])
        let message = try Message.filter(filter, index: 3, clock: .standard)
        let record = try #require(
            decode(Array(message.bytes.dropFirst(16))) { FilterRecord(payload: $0) })
        #expect(record.classID == Handle(major: 1, minor: 2))
        let police = try #require(record.actions.first?.police)
        #expect(police.bytesPerSecond == 10_000_000_000)
        let clock = SchedulerClock.standard
        #expect(clock.isSameBurst(UInt64(police.burstBytes), 70_000, perSecond: 10_000_000_000))
        #expect(!clock.isSameBurst(80_000, 70_000, perSecond: 10_000_000_000))
    }

    @Test("a filter that a NIC carries out is told from another", arguments: [4, 8, 1] as [UInt8])
    func inHardware(_ flags: UInt8) throws {
        for (kind, attribute) in [("flower", TCA_FLOWER_FLAGS), ("u32", TCA_U32_FLAGS)] {
            let options = attributeBytes(attribute, [flags, 0, 0, 0])
            let payload =
                rawBytes(of: tcmsg()) + attributeBytes(Int(TCA_KIND), Array(kind.utf8) + [0])
                + attributeBytes(Int(TCA_OPTIONS), options)
            let record = try #require(decode(payload) { FilterRecord(payload: $0) })
            #expect(record.isInHardware == (flags == 4), "\(kind)")
        }
    }

    @Test("a policer that tc was asked for in the old way, as libvirt does, is one")
    func oldPolicer() throws {
        let record = try #require(
            decode(Fixture.oldPoliceReply.payload) { FilterRecord(payload: $0) })
        #expect(record.preference == 49_152 && record.handle == 0x8000_0800)
        #expect(record.actions.count == 1)
        let action = try #require(record.actions.first)
        #expect(action.kind == "police" && action.verdict == .drop && action.index == 1)
        let police = try #require(action.police)
        #expect(police.bytesPerSecond == 125_000 && police.burstBytes == 128_000)
        #expect(police.conformCode == 0 && police.mtu == 65_536)
    }

    @Test("default routes: of the main table only, one hop and several, no cloned ones")
    func defaultRoutes() {
        func route(table: UInt8, length: UInt8 = 0, flags: [UInt8] = [0, 0, 0, 0], _ more: [UInt8])
            -> [Int32]
        {
            // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
            decode([2, length, 0, 0, table, 3, 0, 1] + flags + more) { decodeDefaultRoute($0) }
        }
        let leaves: [UInt8] = [8, 0, 4, 0, 7, 0, 0, 0]  // RTA_OIF 7
        #expect(route(table: 254, leaves) == [7])
        #expect(route(table: 255, leaves) == [])
        #expect(route(table: 254, length: 24, leaves) == [])
        #expect(route(table: 254, flags: [0, 2, 0, 0], leaves) == [])
        // A table number over 255 stands in RTA_TABLE; the header then says RT_TABLE_COMPAT.
        #expect(route(table: 254, leaves + [8, 0, 15, 0, 0, 4, 0, 0]) == [])
        // RTA_MULTIPATH with two hops of struct rtnexthop.
        let hops: [UInt8] = [20, 0, 9, 0, 8, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 6, 0, 0, 0]
        #expect(route(table: 254, hops) == [5, 6])
        // A hop that says it is 0 bytes long must not be walked for ever.
        #expect(route(table: 254, [12, 0, 9, 0, 0, 0, 0, 0, 5, 0, 0, 0]) == [])
    }

    @Test("a port that leaves a bridge is not gone: RTM_DELLINK of the family AF_BRIDGE")
    func bridgePort() {
        // struct ifinfomsg: family, padding, type, index 9, flags, change.
        func event(family: UInt8) -> LinkMonitor.Event? {
            let payload = [family, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] as [UInt8]
            return decode(payload) { LinkMonitor.Event(type: RTM_DELLINK, payload: $0) }
        }
        #expect(event(family: UInt8(AF_BRIDGE)) == nil)
        #expect(event(family: 0) == .gone(index: 9))
    }
}
