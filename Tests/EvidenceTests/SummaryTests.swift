// What is said of samples that were made for it.
import ControlAPI
import Evidence
import Testing

@Suite struct SummaryTests {
    private static let victim: UInt64 = 0xc633_6407
    private static let own = OwnAddresses(
        macs: [FrameMAC(0x5254_0000_0001)],
        prefixes: [
            FramePrefix(.version4(0x0a00_0001), length: 32),
            FramePrefix(.version6(0x2001_0db8_0000_0005, 0), length: 64),
        ])

    private static func flood(_ count: Int, to port: UInt64 = 53) -> [SampledPacket] {
        (0..<count).map {
            MadeFrame().version4(to: victim, protocol: 17).udp(to: port)
                .packet(at: UInt64($0) * 1_000_000)
        }
    }

    private static func summary(
        _ packets: [SampledPacket], _ sources: SourceJudgement = .none
    ) -> SampleSummary {
        SampleSummary(packets, sources: sources)
    }

    /// Guards against: a flood whose target, protocol, port, size or sender is told wrongly, or with
    /// wrong shares, among other packets.
    @Test func aFlood() throws {
        let others = (0..<8 as Range<UInt64>).map { place in
            MadeFrame().version4(to: 0x0102_0304 + place, protocol: 6)
                .tcp(to: 443, flags: 0x10).packet(length: 1_514, at: 5)
        }
        let summary = Self.summary(Self.flood(92) + others)
        #expect(summary.line == "92% UDP to 198.51.100.7:53, 64 B, 1 source")
        #expect(summary.packets == 100 && summary.bytes == 92 * 64 + 8 * 1_514)
        #expect(summary.spanSeconds == 0.091)
        #expect(
            summary.protocols.top == [
                SampleShare(what: "UDP", packets: 92, share: 0.92),
                SampleShare(what: "TCP", packets: 8, share: 0.08),
            ])
        #expect(summary.destinations.distinct == 9)
        #expect(summary.destinations.top.first?.what == "198.51.100.7")
        #expect(summary.destinationPorts.top.map(\.what) == ["53", "443"])
        #expect(summary.sourcePorts.top.allSatisfy { Int($0.what) != nil && $0.what != "53" })
        #expect(summary.sourcePorts.top.reduce(0) { $0 + $1.packets } == summary.packets)
        #expect(summary.sources.top.map(\.what) == ["10.0.0.1"])
        #expect(summary.sourceMACs.top.map(\.what) == ["52:54:00:00:00:01"])
        let sizes = try #require(summary.sizes)
        #expect((sizes.minimum, sizes.median, sizes.maximum) == (64, 64, 1_514))
        #expect(sizes.common.top.map(\.what) == ["64", "1514"])
        #expect(summary.forged == nil && summary.vlans.distinct == 0)
    }

    /// Guards against: floods without one target that are told as if they had one: many ports of an
    /// address, one port of many addresses, and neither.
    @Test func otherShapes() {
        let ports = (1...100).map { port in
            MadeFrame().version4(to: Self.victim, protocol: 17).udp(to: UInt64(port)).packet()
        }
        #expect(Self.summary(ports).line == "100% UDP to 198.51.100.7, 100 ports, 64 B, 1 source")
        let scan = (1...100).map { host in
            MadeFrame().version4(to: UInt64(host), protocol: 6).tcp(to: 22, flags: 0x02).packet()
        }
        #expect(
            Self.summary(scan).line
                == "100% TCP SYN to port 22 of 100 addresses, 64 B, 1 source")
        let echoes = (1...100).map { host in
            MadeFrame().version4(to: UInt64(host), protocol: 1).with(0x0800, 2).packet()
        }
        #expect(Self.summary(echoes).line == "100% ICMP to 100 addresses, 64 B, 1 source")
        let raw = [MadeFrame(to: 0xffff_ffff_ffff).with(0x88cc, 2).packet()]
        #expect(
            Self.summary(raw).line == "100% EtherType 0x88cc to ff:ff:ff:ff:ff:ff, 64 B, 1 source")
        #expect(Self.summary([]).line == "no packets")
        let short = SampledPacket(nanoseconds: 0, length: 9, bytes: [1, 2, 3])
        #expect(Self.summary([short]).line == "1 packets, none of Ethernet")
    }

    /// Guards against: headers that are looked for at the wrong place: behind tags, IPv4 options and
    /// IPv6 extensions, in later fragments, and in ARP.
    @Test(arguments: [
        (
            MadeFrame().tagged(20).version4(to: victim, protocol: 17).udp(to: 53),
            "UDP to 198.51.100.7:53", "20"
        ),
        (
            MadeFrame().tagged(100, type: 0x88a8).tagged(0x6014)
                .version4(to: victim, protocol: 17).udp(to: 53),
            "UDP to 198.51.100.7:53", "100.20"
        ),
        (
            MadeFrame().version4(to: victim, protocol: 6, options: 12).tcp(to: 80, flags: 0x02),
            "TCP SYN to 198.51.100.7:80", nil
        ),
        (
            MadeFrame().version4(to: victim, protocol: 6).tcp(to: 80, flags: 0x12),
            "TCP to 198.51.100.7:80", nil
        ),
        (
            MadeFrame().version4(to: victim, protocol: 17, fragment: 0x2040).udp(to: 53),
            "UDP fragment to 198.51.100.7", nil
        ),
        (
            MadeFrame().version6(from: (1, 1), to: (0x2001_0db8_0000_0000, 7), next: 17)
                .udp(to: 53), "UDP to [2001:db8::7]:53", nil
        ),
        (
            MadeFrame().version6(from: (1, 1), to: (0x2001_0db8_0000_0000, 7), next: 0)
                .with(60 << 56, 8).with(6 << 56, 8).tcp(to: 80, flags: 2),
            "TCP SYN to [2001:db8::7]:80", nil
        ),
        (
            MadeFrame().version6(from: (1, 1), to: (0x2001_0db8_0000_0000, 7), next: 44)
                .with(0x1100_0201_0000_1234, 8).udp(to: 53), "UDP fragment to 2001:db8::7", nil
        ),
        (
            MadeFrame().version6(from: (1, 1), to: (0, 1), next: 58).with(0x8700, 2),
            "ICMPv6 to ::1", nil
        ),
        (MadeFrame().arp(from: 0x0a00_0001, asksFor: victim), "ARP to 198.51.100.7", nil),
        (MadeFrame().version4(to: victim, protocol: 47), "GRE to 198.51.100.7", nil),
        (MadeFrame().version4(to: victim, protocol: 200), "IP protocol 200 to 198.51.100.7", nil),
        (MadeFrame().with(0x0026, 2), "802.3 to 52:54:00:ff:ff:fe", nil),
    ])
    func headers(_ frame: MadeFrame, _ wanted: String, _ vlan: String?) {
        let summary = Self.summary([frame.packet(length: 90)])
        #expect(summary.line == "100% \(wanted), 90 B, 1 source")
        #expect(summary.vlans.top.first?.what == vlan)
    }

    /// Guards against: a header that is read past the end of a frame, at any length of it.
    @Test func cutShort() {
        let frames = [
            MadeFrame().tagged(20).version4(to: Self.victim, protocol: 6, options: 40)
                .tcp(to: 80, flags: 2),
            MadeFrame().version6(from: (1, 1), to: (2, 2), next: 0).with(44 << 56, 8)
                .with(0x0600_0001_0000_1234, 8).tcp(to: 80, flags: 2),
            MadeFrame().arp(from: 1, asksFor: 2),
        ]
        for bytes in frames.map(\.bytes) {
            for count in 0...bytes.count {
                let packet = SampledPacket(
                    nanoseconds: 0, length: 64, bytes: bytes.prefix(count))
                let summary = Self.summary([packet], .guards(Self.own))
                #expect(summary.protocols.distinct == (count < 14 ? 0 : 1))
            }
        }
    }

    /// Guards against: forged sources that go unseen where the guards say whose they are, own ones
    /// that are called forged, and a machine that asks for an address among them.
    @Test func forgedByGuards() {
        func share(_ frame: MadeFrame) -> Double? {
            Self.summary([frame.packet()], .guards(Self.own)).forged?.share
        }
        let frame = MadeFrame()
        #expect(share(frame.version4(to: 1, protocol: 17).udp(to: 53)) == 0)
        #expect(share(frame.version4(from: 0x0a00_0002, to: 1, protocol: 17)) == 1)
        #expect(share(frame.version4(from: 0, to: 0xffff_ffff, protocol: 17).udp(to: 67)) == 0)
        #expect(share(MadeFrame(from: 7).version4(to: 1, protocol: 17)) == 1)
        #expect(share(frame.arp(from: 0x0a00_0002, asksFor: 1)) == 1)
        let inside = frame.version6(from: (0x2001_0db8_0000_0005, 99), to: (1, 1), next: 17)
        let outside = frame.version6(from: (0x2001_0db8_0000_0006, 99), to: (1, 1), next: 17)
        #expect(share(inside) == 0 && share(outside) == 1)
        let forged = Self.summary(
            Self.flood(3)
                + [frame.version4(from: 9, to: Self.victim, protocol: 17).udp(to: 53).packet()],
            .guards(Self.own))
        #expect(forged.line == "100% UDP to 198.51.100.7:53, 64 B, 2 sources, 25% forged")
        #expect(
            forged.forged == SampleForgery(packets: 1, share: 0.25, rule: .guards, own: nil))
    }

    /// Guards against: a machine without guards whose random Ethernet or IP sources are taken for its
    /// own, a second address of an honest one that is called forged, and a rule that is not told.
    @Test func forgedByCount() throws {
        let honest =
            Self.flood(50) + [
                MadeFrame().version4(from: 0x0a00_0002, to: 1, protocol: 6).packet()
            ]
        let first = try #require(Self.summary(honest, .machine(interface: nil)).forged)
        #expect(first.packets == 0 && first.rule == .ethernet && first.own == "52:54:00:00:00:01")

        let random = (0..<64 as Range<UInt64>).map { place in
            MadeFrame().version4(from: 0x0a00_0001 + place * 77, to: 1, protocol: 17)
                .udp(to: 53).packet()
        }
        let scattered = try #require(Self.summary(random, .machine(interface: nil)).forged)
        #expect(scattered.rule == .scatter && scattered.packets == 64)

        let macs = (0..<64 as Range<UInt64>).map { place in
            MadeFrame(from: 0x5254_0000_0001 + place / 2 * 77)
                .version4(to: 1, protocol: 17).udp(to: 53).packet()
        }
        let interface = FrameMAC(0xfe54_0000_004e)
        let ethernet = try #require(Self.summary(macs, .machine(interface: interface)).forged)
        #expect(ethernet.rule == .ethernet && ethernet.packets == 62)
        #expect(ethernet.own == "52:54:00:00:00:4e")
        #expect(Self.summary(macs, .none).forged == nil)
    }

    /// Guards against: lists that grow with the flood's fantasy.
    @Test func listsAreBounded() {
        let packets = (0..<1_000 as Range<UInt64>).map { place in
            MadeFrame(from: place).tagged(place).version4(from: place, to: place, protocol: 17)
                .udp(to: place).packet(length: UInt32(60 + place))
        }
        let summary = Self.summary(packets)
        let tallies = [
            summary.destinations, summary.destinationPorts, summary.sources, summary.sourceMACs,
            summary.vlans,
        ]
        #expect(tallies.allSatisfy { $0.distinct == 1_000 && $0.top.count == 10 })
    }

    /// Guards against: an IPv6 address that is written in two ways.
    @Test(
        arguments: [
            (0x2001_0db8_0000_0000, 0x0000_0000_0000_0001, "2001:db8::1"), (0, 0, "::"),
            (1 << 48, 0, "1::"), (0x2001_0000_0000_0001, 0x0000_0000_0000_0001, "2001:0:0:1::1"),
            (0x2001_0db8_0000_0001, 0x0001_0001_0001_0001, "2001:db8:0:1:1:1:1:1"),
            (0xfe80_0000_0000_0000, 0x5054_00ff_fe00_0001, "fe80::5054:ff:fe00:1"),
        ] as [(UInt64, UInt64, String)])
    func version6(_ high: UInt64, _ low: UInt64, _ wanted: String) {
        #expect("\(FrameAddress.version6(high, low))" == wanted)
    }
}
