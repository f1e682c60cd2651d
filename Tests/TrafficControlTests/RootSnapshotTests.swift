// The roots of other owners on the running kernel: held, put up elsewhere, and read back the same, by
// our listing and by tc's.
import Lab
import LabTesting
import Netlink
import Testing

@testable import TrafficControl

/// A root as an owner makes it: lines of tc, in which DEV is the interface and ~ a blank in a word.
struct RootLayout: Sendable, CustomTestStringConvertible {
    var name: String
    var lines: [String]

    var testDescription: String { name }

    init(_ name: String, _ lines: String...) {
        self.name = name
        self.lines = lines
    }

    func make(on device: String) throws {
        for line in lines {
            let words = line.replacing("DEV", with: device).split(separator: " ")
            try Tool.run("tc", words.map { String($0).replacing("~", with: " ") })
        }
    }

    /// Kernels without modules have these.
    static let plain = [
        RootLayout(
            "htb tree",
            "qdisc add dev DEV root handle 1: htb default 0x20 r2q 7",
            "class add dev DEV parent 1: classid 1:1 htb rate 500mbit burst 150k",
            "class add dev DEV parent 1:1 classid 1:10 htb rate 10mbit ceil 500mbit prio 1",
            "class add dev DEV parent 1:1 classid 1:20 htb rate 5mbit ceil 80gbit quantum 3000",
            "class add dev DEV parent 1: classid 1:5 htb rate 1mbit",
            "qdisc add dev DEV parent 1:20 handle 20: pfifo limit 77",
            "qdisc add dev DEV parent 1:10 handle 10: htb default 1",
            "class add dev DEV parent 10: classid 10:1 htb rate 3mbit mpu 64 overhead 14",
            "qdisc add dev DEV parent 10:1 handle 11: tbf rate 2mbit burst 5000 limit 30000",
            "filter add dev DEV parent 1: pref 5 protocol ip u32 match ip dport 22 0xffff flowid 1:5",
            "filter add dev DEV parent 1: pref 5 protocol ip u32 match ip dport 23 0xffff flowid 1:5",
            "filter add dev DEV parent 1:1 pref 9 protocol all u32 match u32 0 0 flowid 1:20",
            "filter add dev DEV parent 10: pref 7 protocol all bpf bytecode 1,6~0~0~0,"
        ),
        RootLayout(
            "tbf, one frame of burst",
            "qdisc add dev DEV root handle 8001: tbf rate 1100kbit burst 1514 latency 50ms"),
        RootLayout(
            "tbf, peak",
            "qdisc add dev DEV root handle 5: tbf rate 7mbit burst 9000 limit 3mb "
                + "peakrate 11mbit mtu 1600"),
        RootLayout(
            "tbf, 40 Gbit/s",
            "qdisc add dev DEV root handle 5: tbf rate 40gbit burst 200k limit 3mb"),
        RootLayout("pfifo", "qdisc add dev DEV root handle 3: pfifo limit 99"),
        RootLayout("bfifo", "qdisc add dev DEV root handle 3: bfifo limit 9999"),
        RootLayout(
            "u32 table",
            "qdisc add dev DEV root handle 1: htb",
            "class add dev DEV parent 1: classid 1:3 htb rate 1mbit",
            "filter add dev DEV parent 1: pref 4 handle 2: protocol ip u32 divisor 16",
            "filter add dev DEV parent 1: pref 4 protocol ip u32 ht 2:3: match ip src 10.0.0.3 "
                + "flowid 1:3",
            "filter add dev DEV parent 1: pref 4 protocol ip u32 link 2: hashkey mask 0xf at 12 "
                + "match ip src 10.0.0.0/8"),
    ]

    /// A full kernel has these too.
    static let full = [
        RootLayout(
            "libvirt",
            "qdisc add dev DEV root handle 1: htb default 1",
            "class add dev DEV parent 1: classid 1:1 htb rate 1000kbps quantum 85",
            "qdisc add dev DEV parent 1:1 handle 2: sfq perturb 10",
            "filter add dev DEV parent 1:0 protocol all prio 1 handle 1 fw flowid 1"),
        RootLayout(
            "prio",
            "qdisc add dev DEV root handle 1: prio bands 4 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 3",
            "qdisc add dev DEV parent 1:1 handle 10: fq_codel",
            "qdisc add dev DEV parent 1:2 handle 20: fq_codel limit 500 flows 256 target 4321us "
                + "interval 77ms ce_threshold 1ms noecn",
            "qdisc add dev DEV parent 1:3 handle 30: codel limit 300 target 7ms interval 123ms",
            "qdisc add dev DEV parent 1:4 handle 40: netem delay 10ms limit 50",
            "filter add dev DEV parent 1: pref 1 protocol ip flower ip_proto udp dst_port 53 "
                + "classid 1:1",
            "filter add dev DEV parent 1: pref 2 protocol all matchall classid 1:2",
            "filter add dev DEV parent 1: pref 3 protocol ip basic match u32(u32~0~0~at~0) "
                + "classid 1:3"),
        RootLayout(
            "fq", "qdisc add dev DEV root handle 1: fq limit 9999 maxrate 123mbit quantum 3000"),
        RootLayout(
            "sfq with red",
            "qdisc add dev DEV root handle 1: sfq limit 1000 flows 200 depth 50 divisor 512 headdrop "
                + "redflowlimit 100000 min 8000 max 60000 probability 0.20 ecn"),
        RootLayout(
            "hfsc",
            "qdisc add dev DEV root handle 1: hfsc default 2",
            "class add dev DEV parent 1: classid 1:1 hfsc sc rate 10mbit ul rate 20mbit",
            "class add dev DEV parent 1:1 classid 1:2 hfsc rt m1 3mbit d 10ms m2 1mbit ls rate 4mbit"
        ),
        RootLayout(
            "drr", "qdisc add dev DEV root handle 1: drr",
            "class add dev DEV parent 1: classid 1:1 drr quantum 1600"),
        RootLayout("cake", "qdisc add dev DEV root handle 1: cake bandwidth 50mbit nat diffserv4"),
        RootLayout("pie", "qdisc add dev DEV root handle 1: pie limit 500 target 15ms"),
    ]

    /// What cannot be put back on any kernel, and the object that is named.
    static let plainRefused = [
        (
            RootLayout(
                "size table",
                "qdisc add dev DEV root handle 1: stab mtu 2000 tsize 128 linklayer atm htb default 1"
            ),
            "qdisc htb 1:"
        ),
        (
            RootLayout(
                "redirect",
                "qdisc add dev DEV root handle 1: htb",
                "filter add dev DEV parent 1: pref 3 protocol ip u32 match u32 0 0 action mirred "
                    + "egress redirect dev lo"),
            "filter u32 pref 3 of 1:"
        ),
        (
            RootLayout(
                "the order of two programs",
                "qdisc add dev DEV root handle 1: htb",
                "filter add dev DEV parent 1: pref 7 protocol all handle 1 bpf bytecode "
                    + "1,6~0~0~0,",
                "filter add dev DEV parent 1: pref 7 protocol all handle 2 bpf bytecode "
                    + "1,6~0~0~1,"),
            "filter bpf pref 7 of 1:"
        ),
    ]

    /// What cannot be put back on a full kernel.
    static let fullRefused = [
        (
            RootLayout(
                "red",
                "qdisc add dev DEV root handle 1: red limit 400000 min 30000 max 90000 avpkt 1000 "
                    + "burst 55 probability 0.02"),
            "qdisc red 1:"
        ),
        (
            RootLayout(
                "random delay",
                "qdisc add dev DEV root handle 1: prio",
                "qdisc add dev DEV parent 1:2 handle 9: netem delay 10ms 2ms"),
            "qdisc netem 9:"
        ),
        (
            RootLayout(
                "marks alone",
                "qdisc add dev DEV root handle 1: prio",
                "filter add dev DEV parent 1: pref 2 protocol all fw"),
            "filters of 1:"
        ),
    ]
}

@Suite(.serialized) struct RootSnapshotTests {
    /// What tc shows of a device, without its name.
    private static func shown(_ device: String) throws -> String {
        var text = ""
        for what in ["qdisc", "class"] {
            text += try Tool.run("tc", "-d", what, "show", "dev", device)
        }
        // The parents are those of all layouts.
        for parent in ["1:", "1:1", "10:"] {
            let end = try Tool.status("tc", ["filter", "show", "dev", device, "parent", parent])
            text += end.1
        }
        return text.replacing("dev \(device) ", with: "").replacing("\"\(device)\"", with: "")
    }

    /// Puts a layout on one ifb, and its snapshot on another; gives what differs or was refused.
    private static func objection(to layout: RootLayout) throws -> String? {
        var socket = try RouteSocket.open()
        let one = try socket.createIFB(name: "one", alias: "").index
        let two = try socket.createIFB(name: "two", alias: "").index
        defer {
            try? socket.deleteLink(one)
            try? socket.deleteLink(two)
        }
        try layout.make(on: "one")
        let held = try socket.foreignRoot(of: one, try socket.qdiscs(of: one))
        guard case .success(let snapshot) = held else {
            if case .failure(let error) = held { return error.what }
            return nil
        }
        #expect(snapshot.missing(from: nil).isEmpty)
        for count in 0..<snapshot.objects.count {
            try socket.put(snapshot.objects[count], on: two)
            // What is there by now is known for a beginning of it.
            guard
                let begun = try? socket.foreignRoot(of: two, try socket.qdiscs(of: two)).get()
            else { return "\(snapshot.objects[count])" }
            let missing = snapshot.missing(from: begun)
            guard missing == Array(snapshot.objects.dropFirst(count + 1)) else {
                return "\(snapshot.objects[count])"
            }
        }
        let again = try socket.foreignRoot(of: two, try socket.qdiscs(of: two)).get()
        let difference = snapshot.difference(to: again)
        if difference == nil {
            let shown = (try Self.shown("one"), try Self.shown("two"))
            #expect(shown.0 == shown.1, "\(layout.name)")
            report("\(layout.name): \(snapshot.objects.count) objects held, put up and read back")
        }
        return difference
    }

    /// Guards against: an owner's tree that comes back as another one.
    @Test(.needs(.ifb, .tbf, .htb, .u32, .bpfClassifier), arguments: RootLayout.plain)
    func aTreeIsTheSameAgain(_ layout: RootLayout) async throws {
        try await Namespace.run {
            let objection = try Self.objection(to: layout)
            #expect(objection == nil)
        }
    }

    /// Guards against: the same, with what only a full kernel has.
    @Test(
        .needs(.ifb, .htb, .sfq, .fw, .prio, .fqCodel, .netem, .matchall, .flower),
        arguments: RootLayout.full)
    func aFullTreeIsTheSameAgain(_ layout: RootLayout) async throws {
        try await Namespace.run {
            let objection = try Self.objection(to: layout)
            #expect(objection == nil)
        }
    }

    /// Guards against: a tree that is taken for one that can be put back, and cannot.
    @Test(
        .needs(.ifb, .htb, .u32, .mirred, .bpfClassifier), arguments: RootLayout.plainRefused)
    func whatCannotBePutBackIsNamed(_ layout: RootLayout, _ culprit: String) async throws {
        try await Namespace.run {
            let objection = try Self.objection(to: layout)
            #expect(objection == culprit)
        }
    }

    /// Guards against: the same, with what only a full kernel has.
    @Test(.needs(.ifb, .prio, .netem, .fw), arguments: RootLayout.fullRefused)
    func whatCannotBePutBackInFullIsNamed(
        _ layout: RootLayout, _ culprit: String
    ) async throws {
        try await Namespace.run {
            let objection = try Self.objection(to: layout)
            #expect(objection == culprit)
        }
    }
}
