// Filters, on the running kernel, in a private network namespace.
import CLinux
import CNetlink
import Glibc
import Lab
import LabTesting
import Testing

@testable import Netlink

/// A filter of ours on the loopback's ingress.
private func filter(
    preference: UInt16 = 13, match: Match = .everything, actions: [TCAction] = []
) -> Filter {
    Filter(
        parent: .clsactIngress, preference: preference, handle: 0x7a01, match: match,
        actions: actions)
}

/// 20 echo requests and their answers, through the loopback's ingress.
private func sendPackets(count: Int = 20) {
    // Where packets are dropped, ping ends with 1.
    _ = try? Tool.run(
        "ping", "-q", "-c", "\(count)", "-i", "0.002", "-W", "0.05", "127.0.0.1")
}

extension RouteSocket {
    /// Our filters on a hook of the loopback, without the heads of preferences.
    fileprivate mutating func ours(_ parent: Handle = .clsactIngress) throws -> [FilterRecord] {
        try filters(of: 1, parent: parent).filter { $0.handle != 0 }
    }
}

@Suite struct KernelFilterTests {
    /// Packets and bytes a second.
    static let limits: [(UInt64, UInt64)] = [
        (500, 62_500), (10_000, 2_000_000), (50, 5_000_000_000),
    ]

    @Test(
        "a classifier comes back instruction for instruction, is replaced in place, and goes",
        .needs(.clsact, .bpfClassifier))
    func classifier() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            try socket.add(.clsact, to: 1, parent: .ingress, handle: .ingressQdisc)
            // A listing cannot hold more than 32 KB for one filter, 4,000 instructions.
            let long = (0..<3_900).map { ClassicInstruction(code: 0, k: UInt32($0)) }
            let end = [ClassicInstruction(code: 6, k: 0)]
            for program in [end, long + end, [ClassicInstruction(code: 0x28, k: 12)] + end] {
                try socket.put(filter(match: .classicBPF(program)), on: 1)
                let records = try socket.ours()
                #expect(records.count == 1)
                let record = try #require(records.first)
                #expect(record.classicBPF == program)
                #expect(record.preference == 13 && record.handle == 0x7a01)
                #expect(record.proto == 3 && record.parent == .clsactIngress)
            }
            // What another owner put at the same preference stays.
            let words = "filter add dev lo ingress protocol all pref 13 handle 0x9 bpf bytecode"
            try Tool.run(
                "tc", words.split(separator: " ").map { String($0) } + ["1,6 0 0 0,"])
            try socket.deleteFilter(
                on: 1, parent: .clsactIngress, preference: 13, proto: 3, handle: 0x7a01,
                kind: "bpf")
            #expect(try socket.ours().map(\.handle) == [9])
            let missing = failure { () throws(NetlinkError) in
                try socket.deleteFilter(
                    on: 1, parent: .clsactIngress, preference: 13, proto: 3, handle: 0x7a01,
                    kind: "bpf")
            }
            #expect(missing?.code == ENOENT)
        }
    }

    @Test(
        "preference 0 and handle 0 never reach the kernel: they would flush a whole chain",
        .needs(.clsact, .bpfClassifier))
    func flushes() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            try socket.add(.clsact, to: 1, parent: .ingress, handle: .ingressQdisc)
            try socket.put(filter(), on: 1)
            for (preference, handle) in [(0, 0), (0, 0x7a01), (13, 0)] as [(UInt16, UInt32)] {
                let error = failure { () throws(NetlinkError) in
                    try socket.deleteFilter(
                        on: 1, parent: .clsactIngress, preference: preference, proto: 3,
                        handle: handle, kind: "bpf")
                }
                #expect(error?.code == EINVAL && error?.kernelSentence == nil)
            }
            #expect(try socket.ours().count == 1)
            #expect(
                failure { () throws(NetlinkError) in try socket.put(filter(preference: 0), on: 1) }
                    != nil)
        }
    }

    @Test(
        "a redirect: its target, cookie and counters, on a plain ingress too",
        .needs(.ifb, .ingress, .bpfClassifier, .mirred))
    func redirect() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            let target = try socket.createIFB(name: "target", alias: "").index
            try socket.setLink(target, up: true)
            try socket.add(.ingress, to: 1, parent: .ingress, handle: .ingressQdisc)
            try socket.put(
                filter(actions: [.redirect(toEgressOf: target, cookie: .cookie(1))]), on: 1)
            sendPackets()
            let action = try #require(try socket.ours().first?.actions.first)
            #expect(action.redirectTarget == target && action.cookie == .cookie(1))
            #expect(action.verdictCode == TC_ACT_STOLEN)
            // What an ifb was sent comes back to where it was taken from, and is not redirected
            // again: the answers come too.
            #expect(action.statistics.packets >= 20 && action.statistics.bytes >= 20 * 84)
            try socket.deleteLink(target)
            let orphan = try #require(try socket.ours().first?.actions.first)
            #expect(orphan.redirectTarget == 0)
        }
    }

    @Test(
        "policers chained in one filter come back as asked, count, and refill in ticks",
        .needs(.clsact, .bpfClassifier, .police))
    func police() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            try socket.add(.clsact, to: 1, parent: .ingress, handle: .ingressQdisc)
            for (packets, bytes) in Self.limits {
                try socket.put(
                    filter(actions: [
                        .policePackets(
                            perSecond: packets, burst: 30, conform: .pipe, exceed: .drop,
                            cookie: .cookie(1)),
                        .policeBytes(
                            perSecond: bytes, burstBytes: 70_000, mtu: 65_535,
                            overhead: 14, conform: .unspec, exceed: .drop, cookie: .cookie(2)),
                    ]), on: 1)
                let records = try socket.ours()
                #expect(records.count == 1)
                let actions = try #require(records.first).actions
                #expect(actions.map(\.cookie) == [.cookie(1), .cookie(2)])
                let first = try #require(actions[0].police)
                #expect(first.packetsPerSecond == packets && first.packetBurst == 30)
                #expect(first.conformCode == 3 && first.exceedCode == 2)
                #expect(first.bytesPerSecond == nil)
                let second = try #require(actions[1].police)
                #expect(second.bytesPerSecond == bytes)
                #expect(second.mtu == 65_535 && second.overhead == 14)
                #expect(second.conformCode == -1 && second.exceedCode == 2)
                #expect(
                    SchedulerClock.standard.isSameBurst(
                        UInt64(second.burstBytes), 70_000, perSecond: bytes))
                if bytes < 15_000_000 { #expect(second.burstBytes == 70_000) }
            }
            // 50 packets a second and a burst of 30: of 200 packets in half a second, some 55 pass.
            sendPackets(count: 200)
            let actions = try #require(try socket.ours().first).actions
            let seen = actions[0].statistics.packets
            let passed = actions[1].statistics.packets
            #expect(seen >= 200)
            #expect(
                passed >= 30 && passed < seen
                    && passed == seen - UInt64(actions[0].statistics.drops))
            let text = try Tool.run("tc", "-d", "filter", "show", "dev", "lo", "ingress")
            #expect(text.contains("pkts_rate 50 pkts_burst 30"))
            #expect(text.contains("rate 40Gbit") && text.contains("overhead 14b"))
            #expect(text.contains("action drop/pipe") && text.contains("action drop/continue"))
        }
    }

    @Test(
        "a replacement that the kernel refuses leaves the old filter; a missing hook has its sentence",
        .needs(.clsact, .bpfClassifier))
    func refused() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            try socket.add(.clsact, to: 1, parent: .ingress, handle: .ingressQdisc)
            try socket.put(filter(), on: 1)
            let error = failure { () throws(NetlinkError) in
                try socket.put(
                    filter(
                        match: .classicBPF([ClassicInstruction(code: 6, k: 0)]),
                        actions: [.redirect(toEgressOf: 4242, cookie: [])]), on: 1)
            }
            #expect(error?.operation == "put filter 13/7a01 on interface 1 parent ffff:fff2")
            #expect(error?.isNoInterface == true)
            let kept = try #require(try socket.ours().first)
            #expect(kept.classicBPF == [ClassicInstruction(code: 6, k: 0xffff_ffff)])
            try socket.deleteQdisc(of: 1, parent: .ingress, handle: .ingressQdisc)
            let hookless = failure { () throws(NetlinkError) in try socket.put(filter(), on: 1) }
            #expect(hookless?.kernelSentence?.contains("Qdisc") == true)
        }
    }

    @Test(
        "an eBPF program by descriptor: name and id come back; the descriptor may be closed",
        .needs(.clsact, .bpfClassifier, .bpf))
    func extendedBPF() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            try socket.add(.clsact, to: 1, parent: .ingress, handle: .ingressQdisc)
            // r0 = -1 (TC_ACT_UNSPEC); exit
            let program = [
                sluice_bpf_instruction(code: 0xb7, registers: 0, offset: 0, immediate: -1),
                sluice_bpf_instruction(code: 0x95, registers: 0, offset: 0, immediate: 0),
            ]
            let descriptor = unsafe sluice_bpf_load_classifier("sluice", program, 2, nil, 0)
            try #require(descriptor >= 0, "bpf(2): errno \(-descriptor)")
            let bucket = filter(match: .extendedBPF(descriptor: descriptor, name: "bucket"))
            try socket.put(bucket, on: 1)
            close(descriptor)
            sendPackets()
            let record = try #require(try socket.ours().first)
            #expect(record.bpfName == "bucket" && record.bpfProgramID ?? 0 > 0)
            #expect(record.classicBPF == nil && record.handle == 0x7a01)
            let text = try Tool.run("tc", "filter", "show", "dev", "lo", "ingress")
            #expect(text.contains("direct-action"))
            try socket.deleteFilter(
                on: 1, parent: .clsactIngress, preference: 13, proto: 3, handle: 0x7a01,
                kind: "bpf")
            let closed = failure { () throws(NetlinkError) in try socket.put(bucket, on: 1) }
            #expect(closed?.code == EBADF || closed?.code == EINVAL)
            #expect(try socket.ours().isEmpty)
        }
    }
}
