// Traffic control, on the running kernel, in a private network namespace: what we add is what comes
// back, is changed in place, and goes.
import CNetlink
import Lab
import LabTesting
import Testing

@testable import Netlink

extension RouteSocket {
    /// An ifb to work on.
    fileprivate mutating func field() throws -> Int32 {
        let index = try createIFB(name: "field", alias: "").index
        try setLink(index, up: true)
        return index
    }

    fileprivate mutating func root(of index: Int32) throws -> QdiscRecord? {
        try qdiscs(of: index).first { $0.parent == .root }
    }
}

/// The error of a call, nil where there was none.
func failure(_ body: () throws(NetlinkError) -> Void) -> NetlinkError? {
    do throws(NetlinkError) { try body() } catch { return error }
    return nil
}

private let tree = Handle(major: 0x7a01)
private let leaf = Handle(major: 0x7a02)

@Suite struct KernelQdiscTests {
    @Test(
        "tbf: comes back as asked, 1 kbit to 100 Gbit; changed in place; its handle is kept",
        .needs(.ifb, .tbf))
    func tokenBucket() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            let index = try socket.field()
            var bucket = TokenBucket(
                bytesPerSecond: 125, burstBytes: 1_600, limitBytes: 1_000_000)
            try socket.add(.tokenBucket(bucket), to: index, parent: .root, handle: tree)
            #expect(try socket.root(of: index)?.tokenBucket == bucket)
            let again = failure { () throws(NetlinkError) in
                try socket.add(.tokenBucket(bucket), to: index, parent: .root, handle: tree)
            }
            #expect(again?.code == EEXIST)
            for rate in [62_500, 2_000_000, 12_500_000, 125_000_000, 5_000_000_000, 12_500_000_000]
            {
                bucket.bytesPerSecond = UInt64(rate)
                bucket.burstBytes = UInt32(min(60_000, max(1_600, rate / 100)))
                try socket.change(.tokenBucket(bucket), of: index, parent: .root, handle: tree)
                let record = try #require(try socket.root(of: index))
                let held = try #require(record.tokenBucket)
                #expect(record.handle == tree)
                #expect(held.bytesPerSecond == bucket.bytesPerSecond)
                #expect(held.limitBytes == 1_000_000)
                #expect(
                    SchedulerClock.standard.isSameBurst(
                        UInt64(held.burstBytes), UInt64(bucket.burstBytes),
                        perSecond: bucket.bytesPerSecond))
                if rate <= 2_000_000 { #expect(held.burstBytes == bucket.burstBytes) }
            }
            let text = try Tool.run("tc", "-d", "qdisc", "show", "dev", "field")
            #expect(text.contains("qdisc tbf 7a01: root") && text.contains("rate 100Gbit"))
            try socket.deleteQdisc(of: index, parent: .root, handle: tree, kind: "tbf")
            #expect(try socket.root(of: index)?.kind != "tbf")
        }
    }

    @Test(
        "netem under tbf: the delay to the nanosecond, changed in place, as tc reads it",
        .needs(.ifb, .tbf, .netem))
    func netem() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            let index = try socket.field()
            let bucket = TokenBucket(
                bytesPerSecond: 2_000_000, burstBytes: 20_000, limitBytes: 1_000_000)
            try socket.add(.tokenBucket(bucket), to: index, parent: .root, handle: tree)
            var line = Netem(delayNanoseconds: 200_000_000, limitPackets: 2_040)
            let parent = Handle(major: 0x7a01, minor: 1)
            try socket.add(.netem(line), to: index, parent: parent, handle: leaf)
            let made = try socket.qdiscs(of: index).first { $0.handle == leaf }
            #expect(made?.parent == parent && made?.netem == line)
            let text = try Tool.run("tc", "-d", "qdisc", "show", "dev", "field")
            #expect(text.contains("limit 2040 delay 200ms"))
            for delay in [400_000_000, 1, 0, 5_000_000_000, 300_000_000_000] as [UInt64] {
                line = Netem(delayNanoseconds: delay, limitPackets: 1_020)
                try socket.change(.netem(line), of: index, parent: parent, handle: leaf)
                let held = try socket.qdiscs(of: index).first { $0.handle == leaf }
                #expect(held?.netem == line)
            }
        }
    }

    @Test(
        "htb: default class, classes with 64-bit rates, changed in place, deleted; pfifo below",
        .needs(.ifb, .htb))
    func htb() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            let index = try socket.field()
            try socket.add(.htb(defaultClass: 0x30), to: index, parent: .root, handle: tree)
            #expect(try socket.root(of: index)?.htbDefault == 0x30)
            let id = Handle(major: 0x7a01, minor: 0x30)
            var htb = HTBClass(bytesPerSecond: 2_000_000, burstBytes: 20_000)
            try socket.addClass(htb, to: index, parent: tree, classID: id)
            var record = try #require(try socket.classes(of: index).first)
            #expect(record.classID == id && record.kind == "htb" && record.htb == htb)
            htb = HTBClass(
                bytesPerSecond: 500_000, ceilBytesPerSecond: 5_000_000_000, burstBytes: 5_000,
                ceilBurstBytes: 60_000)
            try socket.changeClass(htb, of: index, parent: tree, classID: id)
            record = try #require(try socket.classes(of: index).first)
            #expect(record.htb?.bytesPerSecond == 500_000 && record.htb?.burstBytes == 5_000)
            #expect(record.htb?.ceilBytesPerSecond == 5_000_000_000)
            let missing = failure { () throws(NetlinkError) in
                try socket.changeClass(
                    htb, of: index, parent: tree, classID: Handle(major: 0x7a01, minor: 0x31))
            }
            #expect(missing?.code == ENOENT)
            try socket.add(.packetQueue(limitPackets: 77), to: index, parent: id, handle: leaf)
            let queue = try socket.qdiscs(of: index).first { $0.handle == leaf }
            #expect(queue?.packetQueueLimit == 77 && queue?.parent == id)
            try socket.deleteClass(of: index, classID: id)
            #expect(try socket.classes(of: index).isEmpty)
        }
    }

    @Test(
        "ingress and clsact: each at ffff:, a second refused, deleted only as what it is",
        .needs(.ifb, .ingress, .clsact))
    func hooks() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            let index = try socket.field()
            for (hook, other) in [(Qdisc.ingress, "clsact"), (.clsact, "ingress")] {
                try socket.add(hook, to: index, parent: .ingress, handle: .unspecified)
                let record = try #require(
                    try socket.qdiscs(of: index).first { $0.parent == .ingress })
                #expect(record.kind == hook.kind && record.handle == .ingressQdisc)
                for second in [Qdisc.ingress, .clsact] {
                    let error = failure { () throws(NetlinkError) in
                        try socket.add(second, to: index, parent: .ingress, handle: .ingressQdisc)
                    }
                    #expect(error?.code == EEXIST)
                }
                let wrong = failure { () throws(NetlinkError) in
                    try socket.deleteQdisc(
                        of: index, parent: .ingress, handle: .ingressQdisc, kind: other)
                }
                #expect(wrong?.code == EINVAL)
                try socket.deleteQdisc(
                    of: index, parent: .ingress, handle: .ingressQdisc, kind: hook.kind)
                #expect(try !socket.qdiscs(of: index).contains { $0.parent == .ingress })
            }
        }
    }

    @Test("an unknown kind: the errno, the operation and the kernel's own sentence")
    func sentence() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            let error = failure { () throws(NetlinkError) in
                let unknown = Replica(
                    .qdisc, kind: "nosuchkind", handle: tree, parent: .root, options: [])
                try socket.put(unknown, on: 1)
            }
            #expect(
                error?.description == "put qdisc nosuchkind 7a01: on interface 1: "
                    + "No such file or directory (Specified qdisc kind is unknown)")
            let gone = failure { () throws(NetlinkError) in
                try socket.add(.clsact, to: 4242, parent: .ingress, handle: .ingressQdisc)
            }
            #expect(gone?.isNoInterface == true)
            #expect(gone?.operation == "add clsact qdisc ffff: on interface 4242")
        }
    }
}
