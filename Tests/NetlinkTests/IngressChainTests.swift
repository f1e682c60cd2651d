// nftables' chains on an interface's ingress: captured bytes, and a kernel's own.
import CNetlink
import Lab
import LabTesting
import Testing

@testable import Netlink

@Suite struct IngressChainTests {
    /// Guards against: a chain that is not seen (ours would redirect past it), in either family.
    @Test func readsBothFamilies() {
        let netdev = decode(Fixture.netdevChain.payload) { IngressChain(payload: $0) }
        let tap = IngressChain.Device.named(Array("tap9".utf8))
        #expect(
            netdev == IngressChain(family: "netdev", table: "f", name: "in", devices: [tap]))
        // The same of the family inet, whose ingress has the number 5.
        var inet = Fixture.netdevChain.payload
        inet[0] = 1
        #expect(decode(inet) { IngressChain(payload: $0) } == nil, "prerouting, not ingress")
        inet[43] = 5
        #expect(decode(inet) { IngressChain(payload: $0) }?.family == "inet")
    }

    /// Guards against: an egress chain or one of another family taken for an ingress one.
    @Test func leavesOthersAlone() {
        for (position, value) in [(43, 1), (0, 2), (0, 7)] {
            var bytes = Fixture.netdevChain.payload
            bytes[position] = UInt8(value)
            #expect(decode(bytes) { IngressChain(payload: $0) } == nil)
        }
    }

    /// Guards against: several devices and wildcards misread, as kernels from 6.16 on tell them.
    @Test func readsDevices() throws {
        func attribute(_ type: UInt8, _ payload: [UInt8]) -> [UInt8] {
            [UInt8(payload.count + 4), 0, type, 0] + payload
                + Array(repeating: 0, count: aligned(payload.count) - payload.count)
        }
        let devices =
            attribute(1, Array("tap9\0".utf8)) + attribute(1, Array("vm-1-00aa\0".utf8))
            + attribute(1, Array("spc-".utf8)) + attribute(2, Array("vm-2\0".utf8))
        let hook = attribute(1, [0, 0, 0, 0]) + attribute(4, devices)
        let payload: [UInt8] = [5, 0, 0, 0] + attribute(3, [0x66, 0]) + attribute(4, hook)
        let chain = try #require(decode(payload) { IngressChain(payload: $0) })
        #expect(chain.devices.count == 4)
        for name in ["tap9", "vm-1-00aa", "spc-77", "vm-2", "vm-2-00aa"] {
            #expect(chain.hangs(on: Array(name.utf8)), "\(name)")
        }
        for name in ["tap", "tap91", "vm-1-00ab", "spc", "uplink", ""] {
            #expect(!chain.hangs(on: Array(name.utf8)), "\(name)")
        }
    }

    /// Guards against: a request that this kernel does not understand.
    @Test(.needs(.nftables, .ifb)) func listsWhatNftMade() async throws {
        try await Namespace.run {
            var socket = try NetfilterSocket.open()
            let none = try socket.ingressChains()
            #expect(none == [])
            for name in ["tap8", "tap9"] { try Tool.run("ip", "link", "add", name, "type", "ifb") }
            try Tool.run(
                "nft",
                """
                add table netdev f
                add chain netdev f in { type filter hook ingress devices = { tap8, tap9 } \
                priority 0; }
                add chain netdev f other
                add table inet g
                add chain inet g in { type filter hook ingress device "tap9" priority 0; }
                add chain inet g forward { type filter hook forward priority 0; }
                """)
            let chains = try socket.ingressChains()
            #expect(chains.map(\.family) == ["netdev", "inet"])
            #expect(chains.allSatisfy { $0.name == "in" && $0.hangs(on: Array("tap9".utf8)) })
            #expect(chains.map { $0.hangs(on: Array("tap8".utf8)) } == [true, false])
        }
    }

    /// Guards against: a kernel without nftables on ingress on which every look fails.
    @Test func aKernelWithoutHasNone() async throws {
        try await Namespace.run {
            guard var socket = try? NetfilterSocket.open() else { return }
            for _ in 0..<3 {
                let chains = try socket.ingressChains()
                #expect(chains == [])
            }
        }
    }
}
