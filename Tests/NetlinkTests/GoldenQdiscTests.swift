// Our qdisc and class requests against the bytes that tc sends for the same object. Where ours
// differ, a test says in what, and compares all the rest.
import Testing

@testable import Netlink

/// Sets what is filled in on sending to zero, so that whole messages compare.
func unsent(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    bytes.replaceSubrange(8..<16, with: repeatElement(0, count: 8))
    bytes[6] &= ~0x5
    return bytes
}

@Suite struct GoldenQdiscTests {
    let clock = SchedulerClock.standard
    let root = Handle(major: 0x7a01)

    /// RTM_NEWQDISC with CREATE and EXCL on interface 1.
    private func add(_ qdisc: Qdisc, parent: Handle = .root) throws -> [UInt8] {
        let handle = parent == .root ? root : Handle(major: 0x7a02)
        return try Message.qdisc(
            36, flags: 0x600, qdisc, index: 1, parent: parent, handle: handle, clock: clock
        ).bytes
    }

    @Test("the same bytes: ingress and clsact, at ffff: whatever handle is asked for")
    func hooks() throws {
        #expect(unsent(try add(.ingress)) == unsent(Fixture.ingressAdd.bytes))
        #expect(unsent(try add(.clsact)) == unsent(Fixture.clsactAdd.bytes))
    }

    @Test("the same bytes: deleting an ingress and a root")
    func deletions() throws {
        let ingress = try Message.deleteQdisc(
            index: 1, parent: .ingress, handle: .ingressQdisc, kind: "ingress")
        #expect(unsent(ingress.bytes) == unsent(Fixture.ingressDelete.bytes))
        let tree = try Message.deleteQdisc(index: 1, parent: .root, handle: root, kind: nil)
        #expect(unsent(tree.bytes) == unsent(Fixture.rootDelete.bytes))
        let leaf = try Message.deleteClass(
            index: 1, classID: Handle(major: 0x7a01, minor: 0x31))
        // tc names the qdisc as the parent, which the kernel does not need: the id has it.
        var expected = unsent(Fixture.htbClassDelete.bytes)
        expected.replaceSubrange(28..<32, with: [0, 0, 0, 0])
        #expect(unsent(leaf.bytes) == expected)
    }

    @Test("the same bytes: htb, whose version must be 3, and pfifo")
    func treeAndQueue() throws {
        #expect(unsent(try add(.htb(defaultClass: 0x30))) == unsent(Fixture.htbAdd.bytes))
        let queue = try add(.packetQueue(limitPackets: 1000))
        #expect(unsent(queue) == unsent(Fixture.pfifoAdd.bytes))
    }

    @Test("tbf: tc's but for the table that no kernel since 3.12 reads")
    func tokenBucket() throws {
        let bucket = TokenBucket(
            bytesPerSecond: 2_000_000, burstBytes: 20_000, limitBytes: 1_000_000)
        let ours = Anatomy(try add(.tokenBucket(bucket)), nested: ["2"])
        var theirs = Anatomy(Fixture.tbfAdd.bytes, nested: ["2"])
        #expect(theirs.attributes["2/2"]?.count == 1024)
        theirs.attributes["2/2"] = nil
        theirs.order.removeAll { $0 == "2/2" }
        #expect(ours == theirs)
    }

    @Test("tbf at 100 Gbit/s: RATE64, and a burst in ticks that tc takes from a cut-off rate")
    func fastTokenBucket() throws {
        let bucket = TokenBucket(
            bytesPerSecond: 12_500_000_000, burstBytes: 60_000, limitBytes: 1_000_000)
        let message = try Message.qdisc(
            36, flags: 0, .tokenBucket(bucket), index: 1, parent: .root, handle: root,
            clock: clock)
        var ours = Anatomy(message.bytes, nested: ["2"])
        var theirs = Anatomy(Fixture.tbfChangeFast.bytes, nested: ["2"])
        theirs.attributes["2/2"] = nil
        theirs.order.removeAll { $0 == "2/2" }
        // PARMS: rate, peak rate and limit, then the buffer; then mtu. The burst itself stands in
        // TCA_TBF_BURST, the same for both.
        let oursBuffer = ours.attributes["2/1"]?[28..<32]
        let theirsBuffer = theirs.attributes["2/1"]?[28..<32]
        #expect(oursBuffer.map(Array.init) == [75, 0, 0, 0])
        #expect(theirsBuffer.map(Array.init) == [203, 0, 0, 0])
        ours.attributes["2/1"]?.replaceSubrange(28..<32, with: [0, 0, 0, 0])
        theirs.attributes["2/1"]?.replaceSubrange(28..<32, with: [0, 0, 0, 0])
        #expect(ours.attributes == theirs.attributes)
        #expect(ours.order.sorted() == theirs.order.sorted())
        #expect(ours.header == theirs.header)
    }

    @Test("netem: tc's, and the delay once more in nanoseconds")
    func netem() throws {
        let line = Netem(delayNanoseconds: 200_000_000, limitPackets: 2040)
        let bytes = try add(.netem(line), parent: Handle(major: 0x7a01, minor: 1))
        var ours = Anatomy(bytes, nested: ["2"], structures: ["2": 24])
        let theirs = Anatomy(Fixture.netemAdd.bytes, nested: ["2"], structures: ["2": 24])
        #expect(ours.attributes["2/a"] == [0, 0xc2, 0xeb, 0x0b, 0, 0, 0, 0])
        ours.attributes["2/a"] = nil
        ours.order.removeAll { $0 == "2/a" }
        #expect(ours == theirs)
    }

    @Test("htb classes: tc's but for the quantum, and two tables that no kernel since 3.12 reads")
    func classes() throws {
        let slow = HTBClass(
            bytesPerSecond: 2_000_000, ceilBytesPerSecond: 4_000_000, burstBytes: 20_000,
            ceilBurstBytes: 30_000)
        let fast = HTBClass(
            bytesPerSecond: 5_000_000_000, ceilBytesPerSecond: 10_000_000_000,
            burstBytes: 100_000)
        for (htb, minor, fixture) in [
            (slow, 0x30, Fixture.htbClassAdd), (fast, 0x31, Fixture.htbClassAddFast),
        ] {
            let message = try Message.htbClass(
                flags: 0x600, htb, index: 1, parent: root,
                classID: Handle(major: 0x7a01, minor: UInt16(minor)), clock: clock)
            var ours = Anatomy(message.bytes, nested: ["2"])
            var theirs = Anatomy(fixture.bytes, nested: ["2"])
            for table in ["2/3", "2/4"] {
                #expect(theirs.attributes[table]?.count == 1024)
                theirs.attributes[table] = nil
                theirs.order.removeAll { $0 == table }
            }
            // Ours are rounded up: 117,187.5 ticks for the slow one's ceiling; 312.5 and 156.25.
            let buffers = ours.attributes["2/1"]?[24..<32].map { Int($0) }
            let rounded =
                minor == 0x30
                ? [0x5a, 0x62, 2, 0, 0xc4, 0xc9, 1, 0] : [0x39, 1, 0, 0, 0x9d, 0, 0, 0]
            #expect(buffers == rounded)
            for byte in minor == 0x30 ? [28] : [24, 28] { ours.attributes["2/1"]?[byte] -= 1 }
            // The quantum, 200,000 bytes; tc leaves it to the kernel, which then logs a warning.
            #expect(ours.attributes["2/1"]?[32..<36].map { $0 } == [0x40, 0x0d, 3, 0])
            ours.attributes["2/1"]?.replaceSubrange(32..<36, with: [0, 0, 0, 0])
            #expect(ours == theirs)
        }
    }
}
