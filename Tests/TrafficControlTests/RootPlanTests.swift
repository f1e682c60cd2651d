// Another owner's root as data: its order, what is missing of it, the steps there and back, and how it
// is written down. Pure: no kernel.
import FoundationEssentials
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

@Suite struct RootPlanTests {
    private static func handle(_ major: UInt16, _ minor: UInt16 = 0) -> Handle {
        Handle(major: major, minor: minor)
    }

    private static func qdisc(
        _ kind: String, _ handle: Handle, below parent: Handle
    ) -> QdiscRecord {
        QdiscRecord(index: 9, handle: handle, parent: parent, kind: kind, options: [1, 2, 3, 4])
    }

    private static func trafficClass(_ handle: Handle, below parent: Handle) -> ClassRecord {
        ClassRecord(index: 9, classID: handle, parent: parent, kind: "htb")
    }

    private static func filter(_ handle: UInt32) -> FilterRecord {
        FilterRecord(
            index: 9, parent: self.handle(1), preference: 5, proto: 0x800, handle: handle,
            kind: "u32")
    }

    // As a kernel may list it: in no order.
    private static let qdiscs = [
        qdisc("tbf", handle(0x20), below: handle(0x10, 2)),
        qdisc("pfifo", handle(0x30), below: handle(1, 1)),
        qdisc("htb", handle(1), below: .root), qdisc("htb", handle(0x10), below: handle(1, 3)),
    ]
    private static let classes = [
        trafficClass(handle(0x10, 2), below: .root),
        trafficClass(handle(1, 1), below: handle(1, 2)),
        trafficClass(handle(1, 3), below: .root), trafficClass(handle(1, 2), below: .root),
    ]
    private static let filters = [filter(0), filter(0x8000_0000), filter(0x8000_0800)]

    private static func snapshot() throws -> RootSnapshot {
        try RootSnapshot(qdiscs: qdiscs, classes: classes, filters: filters)
    }

    /// Guards against: an object that is put before what it hangs on.
    @Test func eachIsBehindWhatItHangsOn() throws {
        #expect(
            try Self.snapshot().objects.map(\.description) == [
                "qdisc htb 1:", "class htb 1:2", "class htb 1:1", "class htb 1:3",
                "qdisc pfifo 30:", "qdisc htb 10:", "class htb 10:2", "qdisc tbf 20:",
                "filter u32 pref 5 of 1:",
            ])
    }

    /// The object for which there is no snapshot.
    private static func refusal(
        qdiscs: [QdiscRecord] = qdiscs, classes: [ClassRecord] = classes,
        filters: [FilterRecord] = filters
    ) -> String? {
        do throws(Unrestorable) {
            _ = try RootSnapshot(qdiscs: qdiscs, classes: classes, filters: filters)
            return nil
        } catch {
            return error.what
        }
    }

    /// Guards against: a listing with a hole in it taken for a whole tree.
    @Test func aTreeWithAHoleIsRefused() {
        #expect(Self.refusal() == nil)
        let isNotWhole = "a tree that is not listed in full"
        for holed in [
            Self.qdiscs.filter { $0.parent != .root }, Self.qdiscs + [Self.qdiscs[2]],
            Self.qdiscs.filter { $0.handle.major != 0x10 },
        ] {
            #expect(Self.refusal(qdiscs: holed) == isNotWhole)
        }
        let classes = Self.classes.filter { $0.classID.minor != 2 }
        #expect(Self.refusal(classes: classes) == "class htb 1:1")
        let heads = Array(Self.filters.prefix(2))
        #expect(Self.refusal(filters: heads) == "filter u32 pref 5 of 1:")
        let made = [Self.qdisc("pfifo", .unspecified, below: Self.handle(1, 2))]
        #expect(Self.refusal(qdiscs: Self.qdiscs + made) == "qdisc pfifo 0:")
        let many = (0..<300).map { Self.trafficClass(Self.handle(1, $0 + 100), below: .root) }
        #expect(Self.refusal(classes: many) == "a tree of more than 256 objects")
    }

    /// Guards against: a root that its owner has changed taken for one that was put back in part.
    @Test func onlyABeginningIsInPart() throws {
        let whole = try Self.snapshot()
        #expect(whole.missing(from: nil) == [] && whole.missing(from: whole) == [])
        #expect(whole.difference(to: whole) == nil)
        for count in 1..<whole.objects.count {
            var part = whole
            part.objects.removeLast(whole.objects.count - count)
            #expect(whole.missing(from: part) == Array(whole.objects.dropFirst(count)))
            #expect(whole.difference(to: part) == whole.objects[count].description)
            #expect(part.difference(to: whole) == whole.objects[count].description)
            var other = part
            other.objects[count - 1].options = [9]
            #expect(whole.missing(from: other) == [])
            #expect(whole.difference(to: other) == whole.objects[count - 1].description)
        }
    }

    private static let bothWays = TestRungs.limits(
        .shape, 1_000, delay: .milliseconds(200), bothWays: true)

    /// Guards against: a root that is deleted before ours is there, or ours before theirs is.
    @Test func thereAndBackInOneRequestEach() throws {
        let theirs = try Self.snapshot()
        let site = Site(hook: .ingress, root: RootSite(isOurs: true, theirs: theirs))
        let port = ControlledPort(index: 9, name: PortName("vm-1-00aa"), mtu: 1_500)
        let wanted = WantedTree(
            Self.bothWays, port: port, site: site, policer: .bpf, hasNetem: true)
        var observed = ObservedTree()
        observed.hook = .ingress
        observed.port.qdiscs = Self.qdiscs
        observed.foreignRoot = .success(theirs)
        let there = Plan.steps(from: observed, to: wanted, site: site)
        let root = try #require(wanted.root?.root)
        #expect(there.contains(.replaceRoot(.port, root)))
        #expect(!there.contains { if case .deleteQdisc = $0 { true } else { false } })
        #expect(!there.contains(.addQdisc(.port, root)))
        #expect(
            root.qdisc == .htb(defaultClass: 3, rateToQuantum: Ownership.replacingQuantum))
        // Nothing wanted: nothing to do while it was not replaced.
        #expect(Plan.steps(from: observed, to: .empty, site: site) == [])

        observed.port.qdiscs = [Self.qdisc("htb", Ownership.rootHandle, below: .root)]
        observed.foreignRoot = nil
        let back = Plan.steps(from: observed, to: .empty, site: site)
        #expect(back == theirs.objects.map { .putBack($0) })
        observed.port.qdiscs = Self.qdiscs
        var part = theirs
        part.objects.removeLast(3)
        observed.foreignRoot = .success(part)
        let rest = Plan.steps(from: observed, to: .empty, site: site)
        #expect(rest == theirs.objects.suffix(3).map { .putBack($0) })
    }

    /// Guards against: a journal from which another root comes back than went in, and one that was
    /// written before roots were held.
    @Test func theJournalHoldsAllOfIt() throws {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let origin = PortOrigin(hadHook: true, root: try Self.snapshot())
        let bytes = try encoder.encode(origin)
        #expect(try decoder.decode(PortOrigin.self, from: bytes) == origin)
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.contains(#""options":"AQIDBA==""#), "in base64")
        let former = Data(#"{"had_hook":true}"#.utf8)
        #expect(try decoder.decode(PortOrigin.self, from: former) == PortOrigin(hadHook: true))
        let strange = Data(text.replacing("qdisc", with: "else").utf8)
        #expect(throws: DecodingError.self) { try decoder.decode(PortOrigin.self, from: strange) }
    }
}
