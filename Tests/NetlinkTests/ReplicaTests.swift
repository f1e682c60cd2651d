// What has to be asked for so that a listing comes out the same: pure, over captured bytes and the
// kernel's own arithmetic.
import CNetlink
import Testing

@testable import Netlink

@Suite struct ReplicaTests {
    private static func qdisc(_ kind: String, _ options: [UInt8]) -> Replica? {
        Replica(
            QdiscRecord(
                index: 1, handle: Handle(major: 1), parent: .root, kind: kind, options: options))
    }

    private static func value<Value: BitwiseCopyable>(
        _ options: [UInt8], _ attribute: Int, _: Value.Type
    ) -> Value? {
        var value: Value?
        unsafe options.span.bytes.forEachAttribute { type, payload in
            if type == attribute { value = payload.load(Value.self) }
        }
        return value
    }

    /// Guards against: an htb that is refused for the version that the kernel lists, and counters
    /// taken for a part of it.
    @Test func htb() throws {
        let record = try #require(decode(Fixture.htbReply.payload) { QdiscRecord(payload: $0) })
        #expect(!record.hasMore)
        let replica = try #require(Replica(record))
        #expect(replica.isRoot && replica.description == "qdisc htb \(record.handle)")
        let asked = try #require(
            Self.value(replica.options, TCA_HTB_INIT, tc_htb_glob.self))
        #expect(asked.version == 3 && asked.defcls == 0x30 && asked.direct_pkts == 0)
        #expect(replica.options.count == record.options.count)
        let listed = try #require(
            decode(Fixture.htbClassReply.payload) { ClassRecord(payload: $0) })
        #expect(Replica(listed)?.options == listed.options)
        var inner = listed
        inner.options = attributeBytes(TCA_HTB_PARMS, rawBytes(of: tc_htb_opt()))
        var parameters = tc_htb_opt()
        parameters.level = 7
        let leaf = Replica(inner)
        inner.options = attributeBytes(TCA_HTB_PARMS, rawBytes(of: parameters))
        #expect(leaf != nil && Replica(inner) == leaf)
    }

    /// Guards against: a tbf whose longest frame is a byte shorter than it was, and one that was told
    /// in time alone and comes back with another burst.
    @Test func tokenBucket() throws {
        let record = try #require(decode(Fixture.tbfReply.payload) { QdiscRecord(payload: $0) })
        let replica = try #require(Replica(record))
        #expect(Self.value(replica.options, TCA_TBF_BURST, UInt32.self) == 20_000)
        // 1 MB/s: a byte takes 15.6 ticks. 1,514 bytes take 23,656; no number of bytes takes 23,660.
        // 4 GB/s: 159,744 to 159,999 bytes take 624.
        for (rate, ticks, burst) in [
            (1_000_000, 23_656, UInt32(1_514)), (1_000_000, 23_660, nil),
            (4_000_000_000, 624, 159_999),
        ] {
            var parameters = tc_tbf_qopt()
            parameters.rate.rate = UInt32(rate)
            parameters.buffer = UInt32(ticks)
            let options = attributeBytes(TCA_TBF_PARMS, rawBytes(of: parameters))
            let asked = try #require(Self.qdisc("tbf", options))
            #expect(Self.value(asked.options, TCA_TBF_BURST, UInt32.self) == burst)
        }
    }

    /// Guards against: a time of codel's that is shorter by a microsecond each time it is put back.
    @Test func codel() throws {
        func listed(_ asked: UInt64) -> UInt32 {
            UInt32((asked * 1_000 & ~0x3ff) / 1_000)
        }
        for asked in (0...10_000).map(UInt64.init) + [100_000, 0x7fff_ffff] {
            let time = listed(asked)
            for (kind, attribute) in [
                ("codel", TCA_CODEL_INTERVAL), ("fq_codel", TCA_FQ_CODEL_TARGET),
            ] {
                let replica = try #require(
                    Self.qdisc(kind, attributeBytes(attribute, rawBytes(of: time))))
                let again = try #require(Self.value(replica.options, attribute, UInt32.self))
                #expect(listed(UInt64(again)) == time)
            }
        }
    }

    /// Guards against: an sfq that loses a flow to its own default limit.
    @Test func stochasticFairness() throws {
        var parameters = tc_sfq_qopt_v1()
        parameters.v0.limit = 127
        parameters.stats.prob_drop = 9
        for (flows, limit) in [(UInt32(128), UInt32(0)), (127, 127)] {
            parameters.v0.flows = flows
            let replica = try #require(Self.qdisc("sfq", rawBytes(of: parameters)))
            let asked = try #require(
                unsafe replica.options.span.bytes.load(tc_sfq_qopt_v1.self))
            #expect(asked.v0.flows == flows && asked.v0.limit == limit)
            #expect(asked.stats.prob_drop == 0)
        }
    }

    /// Guards against: what a listing does not say in full taken for the whole: tables, actions,
    /// shared blocks.
    @Test func whatIsNotListedInFull() throws {
        #expect(Self.qdisc("red", []) == nil)
        var random = tc_netem_qopt()
        random.jitter = 1
        #expect(Self.qdisc("netem", rawBytes(of: random)) == nil)
        #expect(Self.qdisc("netem", rawBytes(of: tc_netem_qopt())) != nil)
        let sized = Fixture.tbfReply.payload + attributeBytes(TCA_STAB, [1, 2, 3, 4])
        let record = try #require(decode(sized) { QdiscRecord(payload: $0) })
        #expect(record.hasMore && Replica(record) == nil)
        for fixture in [Fixture.policeReply, .redirectReply, .oldPoliceReply] {
            let filter = try #require(decode(fixture.payload) { FilterRecord(payload: $0) })
            #expect(!filter.actions.isEmpty && Replica(filter) == nil)
        }
        var filter = FilterRecord(
            index: 1, parent: Handle(major: 1), preference: 5, proto: 0x800, handle: 1, kind: "fw")
        #expect(Replica(filter)?.description == "filter fw pref 5 of 1:")
        filter.index = -1
        #expect(Replica(filter) == nil)
    }

    /// Guards against: flags that the kernel tells and refuses to be told, and counters of matches.
    @Test func flagsOfFilters() throws {
        let told = UInt32(TCA_CLS_FLAGS_NOT_IN_HW | TCA_CLS_FLAGS_SKIP_HW)
        let filter = FilterRecord(
            index: 1, parent: Handle(major: 1), preference: 5, proto: 0x800, handle: 0x8000_0800,
            kind: "u32",
            options: attributeBytes(TCA_U32_FLAGS, rawBytes(of: told))
                + attributeBytes(TCA_U32_PCNT, [UInt8](repeating: 1, count: 24)))
        let replica = try #require(Replica(filter))
        #expect(
            replica.options
                == attributeBytes(TCA_U32_FLAGS, rawBytes(of: UInt32(TCA_CLS_FLAGS_SKIP_HW))))
        #expect(!filter.isHead)
        #expect(replica.info == 5 << 16 | UInt32(UInt16(0x800).bigEndian))
    }
}
