// Our filter requests against the bytes that tc sends for the same filter.
import Testing

@testable import Netlink

extension [UInt8] {
    /// A cookie that ends in this byte, as the fixtures have it.
    static func cookie(_ last: UInt8) -> [UInt8] {
        [0x73, 0x6c, 0x75, 0x69, 0x63, 0x65, 1, 2, 3, 4, 5, 6, 7, 8, 9, last]
    }
}

extension Match {
    /// Matches everything.
    static let everything = Match.classicBPF([ClassicInstruction(code: 6, k: 0xffff_ffff)])
}

@Suite struct GoldenFilterTests {
    private func put(
        _ match: Match = .everything, parent: Handle = .clsactIngress, classID: Handle? = nil,
        actions: [TCAction]
    ) throws -> [UInt8] {
        let filter = Filter(
            parent: parent, preference: 13, handle: 0x7a01, match: match, classID: classID,
            actions: actions)
        return unsent(try Message.filter(filter, index: 1, clock: .standard).bytes)
    }

    @Test("two policers, packets then bytes: tc's; CREATE without EXCL replaces in place")
    func police() throws {
        let program = Match.classicBPF([
            ClassicInstruction(code: 40, k: 12), ClassicInstruction(code: 6, k: 0xffff_ffff),
        ])
        let bytes = try put(
            program,
            actions: [
                .policePackets(
                    perSecond: 300, burst: 30, conform: .pipe, exceed: .drop,
                    cookie: .cookie(0x10)),
                .policeBytes(
                    perSecond: 500_000, burstBytes: 70_000, mtu: 65_535, overhead: 14,
                    conform: .unspec, exceed: .drop, cookie: .cookie(0x11)),
            ])
        let nested: Set = ["2", "2/1", "2/1/1", "2/1/2", "2/1/1/8002", "2/1/2/8002"]
        var ours = Anatomy(bytes, nested: nested)
        var theirs = Anatomy(Fixture.police.bytes, nested: nested)
        // tc's floating point loses a microsecond in 2 of the 256 cells.
        try compareTables(&ours, &theirs, at: "2/1/2/8002/2")
        #expect(ours == theirs)
        #expect(bytes.count == Fixture.police.bytes.count)
    }

    /// Compares the rate tables at a path and takes them out: ours are exact and rounded up, tc's
    /// lose up to a microsecond (15.6 ticks) and a tick. No kernel since 3.12 reads them.
    private func compareTables(
        _ ours: inout Anatomy, _ theirs: inout Anatomy, at path: String
    ) throws {
        let left = try #require(ours.attributes[path])
        let right = try #require(theirs.attributes[path])
        ours.attributes[path] = nil
        theirs.attributes[path] = nil
        #expect(left.count == 1024 && right.count == 1024)
        for cell in stride(from: 0, to: 1024, by: 4) {
            func ticks(_ table: [UInt8]) -> Int {
                (0..<4).reduce(0) { $0 | Int(table[cell + $1]) << (8 * $1) }
            }
            #expect((0...17).contains(ticks(left) - ticks(right)))
        }
    }

    @Test("80 Gbit/s: RATE64, and ticks rounded up where tc rounds down")
    func fastPolice() throws {
        let bytes = try put(actions: [
            .policeBytes(
                perSecond: 10_000_000_000, burstBytes: 1_000_000, mtu: 65_535, overhead: 0,
                conform: .unspec, exceed: .drop, cookie: [])
        ])
        let nested: Set = ["2", "2/1", "2/1/1", "2/1/1/8002"]
        var ours = Anatomy(bytes, nested: nested)
        var theirs = Anatomy(Fixture.policeFast.bytes, nested: nested)
        try compareTables(&ours, &theirs, at: "2/1/1/8002/2")
        // TCA_POLICE_TBF's burst, at byte 12: 1563 and 1562.
        #expect(ours.attributes["2/1/1/8002/1"]?[12] == 0x1b)
        #expect(theirs.attributes["2/1/1/8002/1"]?[12] == 0x1a)
        theirs.attributes["2/1/1/8002/1"]?[12] = 0x1b
        #expect(ours == theirs)
    }

    @Test("the same bytes: a redirect, a program as an action, a class, a deletion")
    func others() throws {
        let program = [ClassicInstruction(code: 40, k: 12), ClassicInstruction(code: 6, k: 2)]
        let decided = try put(actions: [.classicBPF(program, .drop, cookie: .cookie(0x13))])
        #expect(decided == unsent(Fixture.actionBPF.bytes))
        let redirect = try put(actions: [.redirect(toEgressOf: 1, cookie: .cookie(0x12))])
        #expect(redirect == unsent(Fixture.redirect.bytes))
        let classified = try put(
            parent: Handle(major: 0x7a01), classID: Handle(major: 0x7a01, minor: 0x30), actions: [])
        #expect(classified == unsent(Fixture.classified.bytes))
        let deletion = try Message.deleteFilter(
            index: 1, parent: .clsactIngress, preference: 13, proto: 3, handle: 0x7a01,
            kind: "bpf")
        #expect(unsent(deletion.bytes) == unsent(Fixture.filterDelete.bytes))
    }

    @Test("the same bytes: connections remembered, and what is no answer dropped")
    func connections() throws {
        let remembered = try put(actions: [
            .connection(commits: true, .unspec, cookie: .cookie(0x14))
        ])
        #expect(remembered == unsent(Fixture.actionConnection.bytes))
        let dropped = try put(
            .connection(ConnectionMatch(isTracked: true, isReply: false)),
            actions: [.generic(.drop, cookie: .cookie(0x15))])
        #expect(dropped == unsent(Fixture.connection.bytes))
    }

    @Test("the same bytes: an eBPF program with direct action, descriptor 4")
    func extendedBPF() throws {
        let bytes = try put(.extendedBPF(descriptor: 4, name: "sluice:[*fsobj]"), actions: [])
        #expect(bytes == unsent(Fixture.extendedBPF.bytes))
    }

    @Test(
        "a program of 4,096 instructions and 32 policers fit; one beyond 64 KB is refused, not cut")
    func largest() throws {
        let action = TCAction.policePackets(
            perSecond: 1, burst: 1, conform: .pipe, exceed: .drop, cookie: .cookie(1))
        let program = Array(repeating: ClassicInstruction(code: 6), count: 4096)
        let filter = Filter(
            parent: .clsactIngress, preference: 1, handle: 1, match: .classicBPF(program),
            actions: Array(repeating: action, count: 32))
        let message = try Message.filter(filter, index: 1, clock: .standard)
        let (isOverfull, byteCount) = (message.isOverfull, message.bytes.count)
        #expect(!isOverfull && byteCount > 4096 * 8)
        var tooLong = filter
        tooLong.match = .classicBPF(Array(repeating: ClassicInstruction(code: 6), count: 9000))
        let refused = try Message.filter(tooLong, index: 1, clock: .standard).isOverfull
        #expect(refused)
    }
}
