// What a filter of another owner means for ours: pure, over records as the kernel gives them.
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

@Suite struct NeighbourTests {
    private static func record(
        _ preference: UInt16, _ actions: [ActionRecord] = [], kind: String = "matchall",
        handle: UInt32 = 1, chain: UInt32 = 0
    ) -> FilterRecord {
        FilterRecord(
            index: 9, parent: .clsactIngress, preference: preference, proto: 3, handle: handle,
            chain: chain, kind: kind, actions: actions)
    }

    private static func police(
        bytes: UInt64? = nil, packets: UInt64? = nil, conform: Int32 = 0
    ) -> ActionRecord {
        ActionRecord(
            kind: "police", verdictCode: 2,
            police: PoliceRecord(
                bytesPerSecond: bytes, packetsPerSecond: packets, conformCode: conform))
    }

    private static func observed(
        _ records: [FilterRecord], chains: [IngressChain] = []
    ) -> ObservedTree {
        var tree = ObservedTree()
        tree.hook = .clsact
        tree.foreign = records.compactMap { ForeignFilter($0, direction: .from) }
        tree.chains = chains
        return tree
    }

    /// 1,000 packets and 250,000 bytes a second, delayed.
    private static let shape = TestRungs.shape

    /// Guards against: heads and tables, which no frame comes to, taken for filters.
    @Test func headsAndTablesAreNoFilters() {
        let records = [
            Self.record(1, kind: "u32", handle: 0),
            Self.record(1, kind: "u32", handle: 0x8000_0000),
            Self.record(1, handle: 1, chain: 7),
        ]
        #expect(Self.observed(records).foreign.isEmpty)
        #expect(
            Self.observed([Self.record(1, kind: "u32", handle: 0x8000_0800)]).foreign.count == 1)
    }

    /// Guards against: a redirect past a policer that would have acted, and a rung without its delay
    /// for one that never would.
    @Test func policersAreSkippedWhereTheyNeverAct() {
        let cases: [(ActionRecord, Bool)] = [
            (Self.police(bytes: 250_000), false), (Self.police(bytes: 249_999), true),
            (Self.police(packets: 1_000), false), (Self.police(packets: 999), true),
            (Self.police(bytes: 1_000_000, packets: 999), true), (Self.police(), false),
            // Goes to another chain (TC_ACT_GOTO_CHAIN): not only a policer.
            (Self.police(bytes: 1_000_000, conform: 0x2000_0001), true),
        ]
        for (action, isGuarded) in cases {
            let tree = Self.observed([Self.record(49_152, [action])])
            #expect(tree.guarded(Self.shape) == (isGuarded ? [.from] : []), "\(action)")
        }
        let mixed = [Self.police(bytes: 1_000_000), ActionRecord(kind: "mirred", verdictCode: 3)]
        #expect(Self.observed([Self.record(49_152, mixed)]).guarded(Self.shape) == [.from])
    }

    /// Guards against: a filter in front of ours taken for one that a redirect skips.
    @Test func whatIsInFrontIsNotSkipped() {
        let drops = ActionRecord(kind: "gact", verdictCode: 2)
        for preference: UInt16 in [1, 10] {
            #expect(Self.observed([Self.record(preference, [drops])]).guarded(Self.shape).isEmpty)
        }
        for preference: UInt16 in [11, 13, 14, 49_152] {
            let tree = Self.observed([Self.record(preference, [drops])])
            #expect(tree.guarded(Self.shape) == [.from])
        }
    }

    /// Guards against: a direction that is not limited advised about, and nftables' ingress held
    /// against what is sent to the VM.
    @Test func chainsGuardWhatTheVMSends() {
        let chain = IngressChain(family: "netdev", table: "t", name: "in", devices: [])
        let tree = Self.observed([], chains: [chain])
        let bothWays = TestRungs.limits(
            .shape, 1_000, delay: .milliseconds(200), bothWays: true)
        #expect(tree.guarded(bothWays) == [.from])
        var victim = bothWays
        victim.from = nil
        #expect(tree.guarded(victim).isEmpty)
    }

    /// Guards against: a guarded rung that is still redirected, or whose rung cannot be told from
    /// its neighbour's after a restart.
    @Test(arguments: [Policer.actPolice, .bpf]) func guardedIsPoliced(_ policer: Policer) {
        let port = ControlledPort(index: 9, name: PortName("vm-1-00aa"), mtu: 1_500)
        func tree(_ limits: Limits, guarded: Set<Mitigation.Direction>) -> WantedTree {
            WantedTree(
                limits, port: port,
                site: Site(hook: .clsact, root: RootSite(isOurs: true), guarded: guarded),
                policer: policer, hasNetem: true)
        }
        let guarded = tree(Self.shape, guarded: [.from])
        #expect(guarded.ifbs.isEmpty)
        #expect(tree(Self.shape, guarded: []).ifbs.count == 1)
        let policed = tree(TestRungs.police, guarded: [])
        #expect(guarded.filters != policed.filters, "the rung is part of it")
        #expect(guarded.filters.count == policed.filters.count)
    }
}
