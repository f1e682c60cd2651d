// From limits to parameters, and identities to cookies. Pure: no kernel.
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

@Suite struct FormulaTests {
    private func cap(_ packets: UInt64, _ bytes: UInt64) -> Cap {
        Cap(packets: PacketRate(perSecond: packets), bits: BitRate(bytesPerSecond: bytes))
    }

    /// Guards against: a policer whose burst is below a GSO frame, which then passes none at any
    /// rate, and a packet burst below 10.
    @Test func policersTakeWholeGSOFrames() {
        let small = Formulas.police(cap(20, 5_000))
        #expect(small.burstBytes == 70_000)
        #expect(small.burstPackets == 10)
        let large = Formulas.police(cap(1_000_000, 800_000_000))
        #expect(large.burstBytes == 10_000_000)
        #expect(large.burstPackets == 100_000)
    }

    /// Guards against: netem's queue too short for the rate and the delay (it then gives a fifth of
    /// the rate), tbf's burst below one frame, and one so large that GSO frames are queued whole.
    @Test func shapersHoldRateTimesDelay() {
        let shape = Formulas.shape(cap(2_000, 500_000), delay: .milliseconds(400), mtu: 1_500)
        #expect(shape.limitPackets == 816)
        #expect(shape.burstBytes == 5_000)
        #expect(Formulas.shape(cap(1, 100), delay: .zero, mtu: 1_500).burstBytes == 1_518)
        #expect(Formulas.shape(cap(1, 100), delay: .zero, mtu: 1_500).limitPackets == 10)
        let fast = Formulas.shape(cap(100_000, 125_000_000), delay: .zero, mtu: 1_500)
        #expect(fast.burstBytes == 60_000)
    }

    /// Guards against: arithmetic that traps on any limit.
    @Test func extremesSaturate() {
        for packets in [0, 1, UInt64.max] {
            for bytes in [0, 1, UInt64.max / 8, UInt64.max] {
                _ = Formulas.police(cap(packets, bytes))
                _ = Formulas.shape(cap(packets, bytes), delay: .seconds(1 << 40), mtu: .max)
                _ = TokenBucketLimits(cap(packets, bytes))
            }
        }
        #expect(Formulas.nanoseconds(units: .max, perSecond: 1) == 1 << 62)
        #expect(Formulas.bytes(perSecond: .max, nanoseconds: .max) == .max)
    }

    /// Guards against: taking a stranger's action for ours, and not knowing our own.
    @Test func tagsComeBack() throws {
        let tag = Tag(index: 12, incident: 0xdead_beef, rung: .police, ownsHook: true)
        #expect(Tag(cookie: tag.cookie) == tag)
        let tight = Tag(index: 1, incident: 1, rung: .tighten, ownsHook: false)
        #expect(Tag(cookie: tight.cookie) == tight)
        #expect(tag.cookie.count == 16)
        #expect(Tag(cookie: Array("slc1".utf8)) == nil)
        #expect(Tag(cookie: [UInt8](repeating: 0, count: 16)) == nil)
        #expect(Tag(name: tag.name(tcpPorts: [22, 3389])) == tag)
        #expect(Tag(name: "somebody/1/12/1/hook/22") == nil)
        #expect(Tag(name: "") == nil)
        #expect(
            tag.name(tcpPorts: [22, 3389]) == "sluice/1/\(tag.index)/\(tag.incident)/1/hook/22,3389"
        )
        for broken in [
            "", "12", "12/1", "12/1/1", "12/1/1/hook", "12/1/1/hook/22/", "x/1/1/hook/22",
            "12//1/-/22", "12/1/9/-/22",
        ] {
            #expect(Tag(name: "sluice/1/" + broken) == nil, "\(broken)")
        }
    }

    /// Guards against: names beyond the 15 bytes of an interface name, and a foreign ifb deleted.
    @Test func ifbsAreToldByNameKindAndAlias() {
        let port = ControlledPort(index: .max, name: PortName("vm-1-00aa"), mtu: 1_500)
        for role in IFBRole.allCases {
            let name = Array(role.name(of: port.index).utf8)
            #expect(name.count <= 15)
            var link = Link(
                index: 7, name: name, alias: Array(role.alias(of: port).utf8), kind: "ifb")
            #expect(IFBRole.owner(of: link)?.role == role)
            #expect(IFBRole.owner(of: link)?.index == .max)
            link.alias = nil
            #expect(IFBRole.owner(of: link) == nil)
        }
    }
}
