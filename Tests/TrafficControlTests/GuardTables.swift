// What each profile lets pass and what it refuses, frame by frame.
import Mitigation

@testable import TrafficControl

private let vm = GuardIdentity.vm
private let other = GuardIdentity.stranger
/// A virtual router's address (RFC 5798), lent to the port with its own MAC.
private let virtualMAC = HardwareAddress(0x0000_5e00_0105)
private let virtual4: UInt32 = 0x0a00_0064
private let spare4: UInt32 = 0x0a00_0065

private func v4(
    _ proto: UInt8, _ body: [UInt8], from source: UInt32 = vm.address4, fragment: UInt16 = 0,
    mac: HardwareAddress = vm.mac
) -> GuardFrame {
    .version4(Packet.version4(proto, from: source, fragment: fragment, body), from: mac)
}

private func v6(
    _ next: UInt8, _ body: [UInt8], from source: AddressPrefix6 = vm.address6,
    to destination: AddressPrefix6 = .outside, length: Int? = nil, mac: HardwareAddress = vm.mac
) -> GuardFrame {
    .version6(
        Packet.version6(next, from: source, to: destination, length: length, body), from: mac)
}

private func arp(
    _ operation: UInt16, sender: UInt32, asksFor address: UInt32, mac: HardwareAddress = vm.mac,
    from source: HardwareAddress = vm.mac
) -> GuardFrame {
    .arp(Packet.arp(operation, mac: mac, sender: sender, asksFor: address), from: source)
}

private func dhcp(_ source: UInt16, _ destination: UInt16, from address: UInt32) -> GuardFrame {
    .version4(
        Packet.version4(17, from: address, to: .max, Packet.udp(source, destination)), from: vm.mac)
}

extension GuardTable {
    static let profiles = [tenant, publicRouter, management]
    static let all = profiles + [noRA, noDHCPServer, noIPv6]

    static let tenant = GuardTable(
        name: "tenant",
        guards: Guards(
            profile: .tenant(
                TenantGuard(
                    macs: [vm.mac],
                    prefixes4: [
                        AddressPrefix4(vm.address4), AddressPrefix4(0x0a00_0900, length: 28),
                    ],
                    prefixes6: [
                        vm.address6, AddressPrefix6(0xfd00_0000_0000_0009, 0, length: 64),
                    ],
                    pairs: [
                        .init(mac: virtualMAC, prefix: .version4(AddressPrefix4(virtual4))),
                        .init(prefix: .version4(AddressPrefix4(spare4))),
                    ]))),
        rows: sourceRows + messageRows + headerRows + tenantRows)

    static let publicRouter = GuardTable(
        name: "public-router",
        guards: Guards(
            profile: .publicRouter(
                PublicRouterGuard(
                    mac: vm.mac, prefixes4: [AddressPrefix4(vm.address4)],
                    prefixes6: [AddressPrefix6(0xfd00_0000_0000_0000, 0, length: 64)],
                    linkLocal: nil))),
        rows: sourceRows.filter { $0.name != "IPv6 from a neighbour in the /64" } + messageRows
            + headerRows + publicRows)

    // MARK: Sources: tenants and routers alike

    private static let sourceRows: [GuardRow] = [
        .passes("TCP", v4(6, Packet.tcp(40_000, 443, flags: 2))),
        .passes("UDP", v4(17, Packet.udp(40_000, 53))),
        .passes("ICMP echo", v4(1, [8, 0, 0, 0, 0, 1, 0, 1])),
        .passes(
            "IPv4 with options",
            .version4(
                Packet.version4(17, from: vm.address4, options: 3, Packet.udp(9, 53)),
                from: vm.mac)),
        .passes("first fragment of UDP", v4(17, Packet.udp(9, 53), fragment: 0x2000)),
        .passes("later fragment", v4(17, [0, 67, 0, 68, 1, 2, 3, 4], fragment: 0x2010)),
        .passes("last fragment", v4(17, [0, 67, 0, 68, 1, 2, 3, 4], fragment: 0x0010)),
        .refused(.sourceMAC, "forged MAC", v4(17, Packet.udp(9, 53), mac: other.mac)),
        .refused(
            .sourceMAC, "forged MAC, own IPv6", v6(17, Packet.udp(9, 53), mac: other.mac)),
        .refused(.sourceIPv4, "forged IPv4", v4(17, Packet.udp(9, 53), from: other.address4)),
        .refused(
            .sourceIPv4, "forged IPv4, TCP", v4(6, Packet.tcp(1, 2, flags: 2), from: 0x0808_0808)),
        .refused(
            .sourceIPv4, "forged IPv4, later fragment",
            v4(17, Packet.udp(9, 53), from: other.address4, fragment: 0x2010)),
        .refused(
            .sourceIPv4, "forged IPv4 behind options",
            .version4(
                Packet.version4(17, from: other.address4, options: 10, Packet.udp(9, 53)),
                from: vm.mac)),
        .refused(.sourceIPv4, "loopback's address", v4(17, Packet.udp(9, 53), from: 0x7f00_0001)),
        .refused(.sourceIPv4, "UDP from 0.0.0.0", v4(17, Packet.udp(9, 53), from: 0)),
        .refused(.sourceIPv4, "TCP from 0.0.0.0", v4(6, Packet.tcp(68, 67, flags: 2), from: 0)),
        .passes("DHCP discover", dhcp(68, 67, from: 0)),
        .passes("DHCP renewal", dhcp(68, 67, from: vm.address4)),
        .refused(
            .sourceIPv4, "DHCP discover to one machine", v4(17, Packet.udp(68, 67), from: 0)),
        .refused(
            .sourceIPv4, "DHCP discover in fragments",
            .version4(
                Packet.version4(
                    17, from: 0, to: .max, fragment: 0x2000, Packet.udp(68, 67)), from: vm.mac)),
        .refused(.dhcpServer, "DHCP offer", dhcp(67, 68, from: vm.address4)),
        .refused(.sourceIPv4, "DHCP offer from 0.0.0.0", dhcp(67, 68, from: 0)),
        .refused(.sourceIPv4, "DHCP offer, forged", dhcp(67, 68, from: other.address4)),
        .refused(.dhcpServer, "DHCP offer from another port", dhcp(4_011, 68, from: vm.address4)),
        .refused(.dhcpServer, "DHCP relay", dhcp(67, 67, from: vm.address4)),
        .refused(
            .dhcpServer, "DHCP offer behind options",
            .version4(
                Packet.version4(17, from: vm.address4, options: 10, Packet.udp(67, 68)),
                from: vm.mac)),
        .refused(
            .dhcpServer, "DHCP offer, first fragment",
            v4(17, Packet.udp(67, 68), fragment: 0x2000)),
        .refused(
            .unreadable, "first fragment without ports",
            v4(17, [0, 67], fragment: 0x2000)),
        .refused(
            .unreadable, "UDP header longer than the packet",
            .version4(
                Packet.version4(17, from: vm.address4, header: 15, Packet.udp(9, 53)),
                from: vm.mac)),
        .refused(
            .unreadable, "UDP longer than its frame",
            .version4(
                Packet.version4(17, from: vm.address4, length: 1_400, Packet.udp(9, 53)),
                from: vm.mac)),

        .passes("ARP request", arp(1, sender: vm.address4, asksFor: Packet.outside4)),
        .passes("ARP answer", arp(2, sender: vm.address4, asksFor: Packet.outside4)),
        .passes("gratuitous ARP", arp(1, sender: vm.address4, asksFor: vm.address4)),
        .passes("ARP probe", arp(1, sender: 0, asksFor: vm.address4)),
        .refused(.arp, "ARP probe for another's", arp(1, sender: 0, asksFor: other.address4)),
        .refused(.arp, "ARP answer from 0.0.0.0", arp(2, sender: 0, asksFor: vm.address4)),
        .refused(
            .arp, "gratuitous ARP for another's",
            arp(1, sender: other.address4, asksFor: other.address4)),
        .refused(
            .arp, "ARP answer for another's", arp(2, sender: other.address4, asksFor: 0x0a00_0002)),
        .refused(
            .arp, "ARP with another's MAC inside",
            arp(2, sender: vm.address4, asksFor: Packet.outside4, mac: other.mac)),
        .refused(
            .sourceMAC, "ARP from another's MAC",
            arp(1, sender: vm.address4, asksFor: Packet.outside4, from: other.mac)),
        .refused(.arp, "inverse ARP", arp(8, sender: vm.address4, asksFor: vm.address4)),
        .refused(
            .arp, "ARP for another link",
            .arp(
                [0, 6] + Packet.arp(1, mac: vm.mac, sender: vm.address4, asksFor: 1).dropFirst(2),
                from: vm.mac)),
        .passes(
            "what QEMU says after a migration",
            GuardFrame(
                0x8035,
                Packet.arp(3, mac: vm.mac, sender: 0, target: vm.mac, asksFor: 0), from: vm.mac,
                to: GuardFrame.everybody)),
        .refused(
            .arp, "RARP answer",
            GuardFrame(
                0x8035,
                Packet.arp(4, mac: vm.mac, sender: 0, target: vm.mac, asksFor: other.address4),
                from: vm.mac)),

        .passes("IPv6 TCP", v6(6, Packet.tcp(40_000, 443, flags: 2))),
        .passes("IPv6 UDP", v6(17, Packet.udp(40_000, 53))),
        .passes("IPv6 echo", v6(58, Packet.message(128))),
        .passes("IPv6 echo from link-local", v6(58, Packet.message(128), from: vm.linkLocal)),
        .refused(
            .sourceIPv6, "forged IPv6",
            v6(17, Packet.udp(9, 53), from: .init(0x2001_0db8_0000_0000, 1))),
        .refused(
            .sourceIPv6, "another's link-local",
            v6(58, Packet.message(128), from: other.linkLocal)),
        .refused(
            .sourceIPv6, "IPv6 from a neighbour in the /64",
            v6(17, Packet.udp(9, 53), from: other.address6)),
        .refused(.sourceIPv6, "UDP from ::", v6(17, Packet.udp(9, 53), from: .none)),
        .refused(.sourceIPv6, "TCP from ::", v6(6, Packet.tcp(1, 2, flags: 2), from: .none)),
        .refused(.sourceIPv6, "echo from ::", v6(58, Packet.message(128), from: .none)),
        .refused(
            .sourceIPv6, "later fragment from ::",
            v6(44, Packet.fragment(17, offset: 9, more: true, Packet.udp(1, 2)), from: .none)),
        .refused(
            .other, "a bridge's spanning tree", GuardFrame(0x0026, [0x42, 0x42, 3], from: vm.mac)),
        .refused(
            .other, "IPv4 behind SNAP",
            GuardFrame(
                0x0040,
                [0xaa, 0xaa, 3, 0, 0, 0, 8, 0]
                    + Packet.version4(
                        17, from: vm.address4, Packet.udp(67, 68)), from: vm.mac)),
        .refused(
            .other, "PPPoE discovery", GuardFrame(0x8863, [0x11, 9, 0, 0, 0, 0], from: vm.mac)),
        .refused(
            .unreadable, "four tags and more",
            GuardFrame(
                0x8100,
                [0, 7, 0x81, 0, 0, 7, 0x81, 0, 0, 7, 0x81, 0, 0, 7, 8, 0]
                    + Packet.version4(17, from: vm.address4, Packet.udp(9, 53)), from: vm.mac)),
    ]

    // MARK: ICMPv6

    private static let messageRows: [GuardRow] = [
        .passes(
            "neighbour solicitation",
            v6(
                58, Packet.neighbour(135, target: .outside, mac: vm.mac),
                to: AddressPrefix6.outside.solicited)),
        .passes(
            "neighbour advertisement",
            v6(58, Packet.neighbour(136, target: vm.address6, mac: vm.mac))),
        .passes(
            "neighbour advertisement of link-local",
            v6(58, Packet.neighbour(136, target: vm.linkLocal, mac: vm.mac), from: vm.linkLocal)),
        .passes(
            "neighbour advertisement without an option",
            v6(58, Packet.neighbour(136, target: vm.address6))),
        .passes(
            "solicitation with a nonce",
            v6(
                58,
                Packet.neighbour(
                    135, target: .outside, mac: vm.mac, more: [14, 1, 1, 2, 3, 4, 5, 6]))),
        .refused(
            .neighbourDiscovery, "advertisement for another's address",
            v6(
                58,
                Packet.neighbour(
                    136, target: .init(0xfd00_0000_0000_0077, 1), mac: vm.mac))),
        .refused(
            .neighbourDiscovery, "advertisement of another's link-local",
            v6(
                58, Packet.neighbour(136, target: other.linkLocal, mac: vm.mac),
                from: vm.linkLocal)),
        .refused(
            .neighbourDiscovery, "advertisement with another's MAC",
            v6(58, Packet.neighbour(136, target: vm.address6, mac: other.mac))),
        .refused(
            .neighbourDiscovery, "solicitation with another's MAC",
            v6(58, Packet.neighbour(135, target: .outside, mac: other.mac))),
        .refused(
            .neighbourDiscovery, "another's MAC in the second option",
            v6(
                58,
                Packet.neighbour(
                    136, target: vm.address6, mac: vm.mac, more: [2, 1] + other.mac.bytes))),
        .refused(
            .neighbourDiscovery, "option of no length",
            v6(58, Packet.neighbour(136, target: vm.address6, more: [2, 0] + vm.mac.bytes))),
        .refused(
            .neighbourDiscovery, "MAC option of two lengths",
            v6(
                58,
                Packet.neighbour(
                    136, target: vm.address6, more: [2, 2] + vm.mac.bytes + big(UInt64(1))))),
        .refused(
            .neighbourDiscovery, "more options than are read",
            v6(
                58,
                Packet.neighbour(
                    136, target: vm.address6,
                    more: [UInt8](repeatElement([14, 1, 0, 0, 0, 0, 0, 0], count: 5).joined())))),
        .refused(
            .neighbourDiscovery, "advertisement cut short",
            v6(58, Array(Packet.neighbour(136, target: vm.address6).prefix(20)))),
        .refused(
            .neighbourDiscovery, "advertisement in fragments",
            v6(
                44,
                Packet.fragment(
                    58, more: true, Packet.neighbour(136, target: vm.address6, mac: vm.mac)))),
        .passes(
            "router solicitation",
            v6(58, Packet.router(133, mac: vm.mac), from: vm.linkLocal, to: .allRouters)),
        .passes(
            "router solicitation from ::",
            v6(58, Packet.router(133, mac: nil), from: .none, to: .allRouters)),
        .refused(
            .neighbourDiscovery, "router solicitation with another's MAC",
            v6(58, Packet.router(133, mac: other.mac), from: vm.linkLocal, to: .allRouters)),
        .passes(
            "duplicate address detection",
            v6(
                58, Packet.neighbour(135, target: vm.address6), from: .none,
                to: vm.address6.solicited)),
        .passes(
            "duplicate address detection of link-local",
            v6(
                58,
                Packet.neighbour(
                    135, target: vm.linkLocal, more: [14, 1, 1, 2, 3, 4, 5, 6]), from: .none,
                to: vm.linkLocal.solicited)),
        .refused(
            .neighbourDiscovery, "duplicate address detection of another's",
            v6(
                58, Packet.neighbour(135, target: other.linkLocal), from: .none,
                to: other.linkLocal.solicited)),
        .refused(
            .sourceIPv6, "solicitation from :: to one machine",
            v6(58, Packet.neighbour(135, target: vm.address6), from: .none)),
        .refused(
            .sourceIPv6, "advertisement from ::",
            v6(
                58, Packet.neighbour(136, target: vm.address6, mac: vm.mac), from: .none,
                to: .allNodes)),
        .passes(
            "MLD report",
            v6(
                0, Packet.options(58, Packet.listenerReport()), from: vm.linkLocal,
                to: .listeners)),
        .passes(
            "MLD report from ::",
            v6(
                0, Packet.options(58, Packet.listenerReport()), from: .none,
                to: .listeners)),
        .passes(
            "MLD version 1 report from ::",
            v6(
                0,
                Packet.options(
                    58, Packet.message(131, [0, 0, 0, 0] + AddressPrefix6.allNodes.packed)),
                from: .none, to: .allNodes)),
        .refused(
            .multicastRouter, "MLD query (130)",
            v6(0, Packet.options(58, Packet.message(130)), from: vm.linkLocal, to: .allNodes)),
        .refused(
            .routerAdvertisement, "router advertisement (134)",
            v6(58, Packet.router(134, mac: vm.mac), from: vm.linkLocal, to: .allNodes)),
        .refused(
            .sourceIPv6, "router advertisement, forged (the source comes before the type)",
            v6(58, Packet.router(134, mac: vm.mac), from: other.linkLocal, to: .allNodes)),
        .refused(
            .sourceIPv6, "solicitation, forged (ICMPv6 is no exception)",
            v6(58, Packet.neighbour(135, target: .outside, mac: vm.mac), from: other.linkLocal)),
        .refused(
            .sourceIPv6, "router advertisement from ::",
            v6(58, Packet.router(134, mac: vm.mac), from: .none, to: .allNodes)),
        .refused(.redirect, "redirect (137)", v6(58, Packet.message(137), from: vm.linkLocal)),
        .refused(.mobilePrefix, "mobile prefix solicitation (146)", v6(58, Packet.message(146))),
        .refused(.mobilePrefix, "mobile prefix advertisement (147)", v6(58, Packet.message(147))),
        .refused(
            .multicastRouter, "multicast router advertisement (151)", v6(58, Packet.message(151))),
        .refused(
            .multicastRouter, "multicast router solicitation (152)", v6(58, Packet.message(152))),
        .refused(
            .multicastRouter, "multicast router termination (153)", v6(58, Packet.message(153))),
        .passes("DHCPv6 solicit", v6(17, Packet.udp(546, 547), from: vm.linkLocal)),
        .refused(
            .dhcp6Server, "DHCPv6 advertise", v6(17, Packet.udp(547, 546), from: vm.linkLocal)),
        .refused(.dhcp6Server, "DHCPv6 relay", v6(17, Packet.udp(547, 547), from: vm.linkLocal)),
        .refused(
            .dhcp6Server, "DHCPv6 advertise from another port",
            v6(17, Packet.udp(9, 546), from: vm.linkLocal)),
        .refused(
            .sourceIPv6, "DHCPv6 advertise, forged",
            v6(17, Packet.udp(547, 546), from: other.linkLocal)),
    ]

    // MARK: Headers in front

    private static func behind(_ headers: [UInt8], _ last: UInt8, _ body: [UInt8]) -> [UInt8] {
        var packet = body
        var next = last
        for header in headers.reversed() {
            packet =
                header == 44
                ? Packet.fragment(next, more: true, packet) : Packet.options(next, packet)
            next = header
        }
        return packet
    }

    private static func advertised(_ headers: UInt8...) -> GuardFrame {
        v6(headers[0], behind(headers, 58, Packet.router(134, mac: vm.mac)), from: vm.linkLocal)
    }

    private static let headerRows: [GuardRow] = [
        .refused(.routerAdvertisement, "134 behind hop-by-hop", advertised(0)),
        .refused(.routerAdvertisement, "134 behind routing", advertised(43)),
        .refused(.routerAdvertisement, "134 behind destination options", advertised(60)),
        .refused(.routerAdvertisement, "134 behind a fragment header", advertised(44)),
        .refused(.routerAdvertisement, "134 behind four", advertised(0, 60, 43, 44)),
        .refused(.routerAdvertisement, "134 behind five", advertised(0, 60, 43, 44, 60)),
        .refused(.unreadable, "134 behind six", advertised(0, 60, 43, 44, 60, 60)),
        .refused(
            .routerAdvertisement, "134 behind long options",
            v6(60, Packet.options(58, count: 9, Packet.router(134, mac: nil)), from: vm.linkLocal)),
        .refused(
            .redirect, "137 behind hop-by-hop",
            v6(0, Packet.options(58, Packet.message(137)), from: vm.linkLocal)),
        .refused(
            .neighbourDiscovery, "another's advertisement behind options",
            v6(
                60,
                Packet.options(
                    58,
                    Packet.neighbour(
                        136, target: other.linkLocal, mac: vm.mac)))),
        .refused(
            .dhcp6Server, "DHCPv6 advertise behind options",
            v6(60, Packet.options(17, Packet.udp(547, 546)), from: vm.linkLocal)),
        .refused(
            .dhcp6Server, "DHCPv6 advertise, first fragment",
            v6(44, Packet.fragment(17, more: true, Packet.udp(547, 546)), from: vm.linkLocal)),
        .refused(
            .unreadable, "first fragment without a type",
            v6(44, Packet.fragment(58, more: true, []), from: vm.linkLocal)),
        .refused(
            .unreadable, "first fragment that ends in its options",
            v6(44, Packet.fragment(60, more: true, [58, 0, 1, 4]), from: vm.linkLocal)),
        .refused(
            .unreadable, "options longer than the packet",
            v6(60, [58, 20, 1, 4, 0, 0, 0, 0] + Packet.message(128))),
        .refused(
            .unreadable, "IPv6 longer than its frame",
            v6(58, Packet.message(128), length: 1_400)),
        .refused(
            .sourceIPv6, "forged behind hop-by-hop",
            v6(0, Packet.options(58, Packet.message(128)), from: other.linkLocal)),
        .passes("echo behind hop-by-hop", v6(0, Packet.options(58, Packet.message(128)))),
        .passes("TCP behind routing", v6(43, Packet.options(6, Packet.tcp(1, 2, flags: 2)))),
        .passes(
            "first fragment of UDP, IPv6",
            v6(44, Packet.fragment(17, more: true, Packet.udp(9, 53)))),
        .passes(
            "later fragment, IPv6",
            v6(44, Packet.fragment(17, offset: 9, more: true, [0, 67, 2, 34, 1, 2, 3, 4]))),
        .passes(
            "last fragment, IPv6",
            v6(44, Packet.fragment(58, offset: 9, more: false, [134, 0, 0, 0, 0, 0, 0, 0]))),
        .refused(
            .sourceIPv6, "later fragment, forged",
            v6(
                44, Packet.fragment(17, offset: 9, more: true, [1, 2, 3, 4, 5, 6, 7, 8]),
                from: other.linkLocal)),
    ]

    // MARK: What differs

    private static let tenantRows: [GuardRow] = [
        .passes("second prefix", v4(17, Packet.udp(9, 53), from: 0x0a00_090f)),
        .refused(
            .sourceIPv4, "behind the second prefix", v4(17, Packet.udp(9, 53), from: 0x0a00_0910)),
        .passes(
            "second IPv6 prefix",
            v6(17, Packet.udp(9, 53), from: .init(0xfd00_0000_0000_0009, 0x1234_5678_9abc_def0))),
        .passes("allowed pair", v4(17, Packet.udp(9, 53), from: virtual4, mac: virtualMAC)),
        .passes("allowed address with any own MAC", v4(17, Packet.udp(9, 53), from: spare4)),
        .passes(
            "ARP of the allowed pair",
            arp(1, sender: virtual4, asksFor: virtual4, mac: virtualMAC, from: virtualMAC)),
        .refused(
            .sourceIPv4, "the pair's MAC with the port's own address",
            v4(17, Packet.udp(9, 53), mac: virtualMAC)),
        .refused(
            .sourceIPv4, "the port's own MAC with the pair's address",
            v4(17, Packet.udp(9, 53), from: virtual4)),
        .refused(
            .arp, "ARP for the pair's address from the own MAC",
            arp(1, sender: virtual4, asksFor: virtual4)),
        .passes("IPv6 of a protocol of its own", v6(132, [1, 2, 3, 4, 5, 6, 7, 8])),
        .passes("IPv6 encrypted", v6(50, [1, 2, 3, 4, 5, 6, 7, 8])),
    ]

    private static let publicRows: [GuardRow] = [
        .passes("any address of its /64", v6(17, Packet.udp(9, 53), from: other.address6)),
        .passes(
            "advertisement for any address of its /64",
            v6(58, Packet.neighbour(136, target: other.address6, mac: vm.mac))),
        .refused(
            .sourceIPv6, "the /64 beside it",
            v6(17, Packet.udp(9, 53), from: .init(0xfd00_0000_0000_0001, 1))),
        .refused(.other, "IPv6 of another protocol", v6(132, [1, 2, 3, 4, 5, 6, 7, 8])),
        .refused(.other, "IPv6 in IPv6", v6(41, Packet.version6(58, from: vm.linkLocal, [134]))),
        .refused(.other, "IPv6 without a payload", v6(59, [])),
    ]
}

// MARK: The management leg

extension GuardTable {
    private static let node: UInt32 = 0x0ac7_0110
    private static let router: UInt32 = 0x0ac7_0305

    private static func answer(
        _ flags: UInt8, to address: UInt32 = node, from source: UInt32 = router,
        fragment: UInt16 = 0
    ) -> GuardFrame {
        .version4(
            Packet.version4(
                6, from: source, to: address, fragment: fragment,
                Packet.tcp(22, 40_000, flags: flags)), from: vm.mac)
    }

    private static func message(_ type: UInt8, to address: UInt32 = node) -> GuardFrame {
        .version4(
            Packet.version4(1, from: router, to: address, [type, 0, 0, 0, 0, 0, 0, 0]),
            from: vm.mac)
    }

    private static func datagram(
        _ source: UInt16, _ destination: UInt16, to address: UInt32 = node,
        from sender: UInt32 = router
    ) -> GuardFrame {
        .version4(
            Packet.version4(17, from: sender, to: address, Packet.udp(source, destination)),
            from: vm.mac)
    }

    static let management = GuardTable(
        name: "management",
        guards: Guards(
            profile: .management(
                ManagementGuard(
                    mac: vm.mac, addresses: [AddressPrefix4(router)],
                    networks: [AddressPrefix4(0x0ac7_0000, length: 22)]))),
        rows: [
            .passes("answer to a connection (SYN, ACK)", answer(0x12)),
            .passes("data (ACK, PSH)", answer(0x18)),
            .passes("end (FIN, ACK)", answer(0x11)),
            .passes("refusal (RST, ACK)", answer(0x14)),
            .passes("refusal (RST)", answer(0x04)),
            .passes("answer to the last address", answer(0x12, to: 0x0ac7_03fe)),
            .refused(.connection, "a connection opened (SYN)", answer(0x02)),
            .refused(.connection, "a connection opened with ECN", answer(0xc2)),
            .refused(.connection, "SYN and FIN", answer(0x03)),
            .refused(.connection, "SYN and RST", answer(0x06)),
            .refused(.connection, "no flag (null scan)", answer(0x00)),
            .refused(.connection, "FIN alone", answer(0x01)),
            .refused(.connection, "FIN, PSH, URG (Christmas)", answer(0x29)),
            .refused(.destination, "answer outside the network", answer(0x12, to: 0x0ac7_0401)),
            .refused(.destination, "to the world", answer(0x12, to: 0x0808_0808)),
            .refused(.sourceIPv4, "from another address", answer(0x12, from: 0x0ac7_0306)),
            .refused(.sourceIPv4, "from 0.0.0.0", answer(0x12, from: 0)),
            .refused(.fragment, "first fragment", answer(0x12, fragment: 0x2000)),
            .refused(.fragment, "second fragment", answer(0x12, fragment: 0x0001)),
            .refused(.fragment, "later fragment", answer(0x12, fragment: 0x2010)),
            .refused(
                .unreadable, "TCP without its flags",
                .version4(
                    Packet.version4(6, from: router, to: node, [0, 22, 0x9c, 0x40, 0, 0, 0, 1]),
                    from: vm.mac)),
            .refused(
                .sourceMAC, "from another MAC",
                .version4(
                    Packet.version4(
                        6, from: router, to: node, Packet.tcp(22, 40_000, flags: 0x12)),
                    from: other.mac)),
            .passes("echo reply", message(0)),
            .passes("unreachable", message(3)),
            .passes("time exceeded", message(11)),
            .refused(.connection, "echo request", message(8)),
            .refused(.connection, "ICMP redirect", message(5)),
            .refused(.connection, "timestamp request", message(13)),
            .refused(.udp, "UDP", datagram(40_000, 53)),
            .refused(.udp, "UDP answer", datagram(161, 40_000)),
            .refused(.multicast, "DHCP to everybody", datagram(68, 67, to: .max)),
            .refused(.sourceIPv4, "DHCP discover", datagram(68, 67, to: .max, from: 0)),
            .refused(.sourceIPv4, "DHCP offer from 0.0.0.0", datagram(67, 68, to: .max, from: 0)),
            .refused(.multicast, "multicast", datagram(5_678, 5_678, to: 0xe000_0005)),
            .refused(
                .multicast, "to a group's MAC",
                GuardFrame(
                    0x0800,
                    Packet.version4(
                        6, from: router, to: node, Packet.tcp(22, 40_000, flags: 0x12)),
                    from: vm.mac, to: HardwareAddress(0x0100_5e00_0005))),
            .refused(
                .other, "GRE",
                .version4(
                    Packet.version4(47, from: router, to: node, [0, 0, 8, 0]), from: vm.mac)),
            .refused(
                .other, "OSPF to one machine",
                .version4(
                    Packet.version4(89, from: router, to: node, [2, 1, 0, 44]), from: vm.mac)),
            .refused(.ipv6, "IPv6 TCP", v6(6, Packet.tcp(22, 9, flags: 0x12))),
            .refused(.ipv6, "IPv6 UDP", v6(17, Packet.udp(9, 53))),
            .refused(
                .ipv6, "duplicate address detection",
                v6(
                    58, Packet.neighbour(135, target: vm.linkLocal), from: .none, to: .allNodes)),
            .refused(
                .ipv6, "MLD report",
                v6(
                    0, Packet.options(58, Packet.listenerReport()), from: .none, to: .listeners)),
            .refused(.ipv6, "router advertisement", v6(58, Packet.router(134, mac: vm.mac))),
            .refused(.ipv6, "redirect", v6(58, Packet.message(137))),
            .refused(.ipv6, "echo behind routing", v6(43, Packet.options(58, Packet.message(128)))),
            .passes("ARP request for a node", arp(1, sender: router, asksFor: node)),
            .passes("ARP answer to a node", arp(2, sender: router, asksFor: node)),
            .passes("gratuitous ARP", arp(1, sender: router, asksFor: router)),
            .passes("ARP probe", arp(1, sender: 0, asksFor: router)),
            .refused(.arp, "ARP answer for another's", arp(2, sender: node, asksFor: router)),
            .refused(.arp, "gratuitous ARP for another's", arp(1, sender: node, asksFor: node)),
            .refused(.arp, "ARP probe for another's", arp(1, sender: 0, asksFor: node)),
            .refused(
                .arp, "who-has for an address outside (the notes' open point)",
                arp(1, sender: router, asksFor: 0x0a01_0203)),
            .refused(
                .arp, "ARP with another's MAC inside",
                arp(2, sender: router, asksFor: node, mac: other.mac)),
            .refused(
                .other, "neighbour discovery of RouterOS",
                GuardFrame(
                    0x88cc, [2, 7, 4], from: vm.mac, to: HardwareAddress(0x0180_c200_000e))),
            .passes(
                "what QEMU says after a migration",
                GuardFrame(
                    0x8035, Packet.arp(3, mac: vm.mac, sender: 0, target: vm.mac, asksFor: 0),
                    from: vm.mac, to: GuardFrame.everybody)),
        ])
}

// MARK: Switches

extension GuardTable {
    static let noRA = GuardTable(
        name: "no-ra", guards: Guards(switches: [.noRA]),
        rows: [
            .passes("any source", v6(17, Packet.udp(9, 53), from: other.linkLocal, mac: other.mac)),
            .passes("any IPv4", v4(17, Packet.udp(67, 68), from: other.address4)),
            .passes("any ARP", arp(2, sender: other.address4, asksFor: 1)),
            .passes(
                "any advertisement of a neighbour",
                v6(
                    58, Packet.neighbour(136, target: other.address6, mac: other.mac))),
            .passes("DHCPv6 advertise", v6(17, Packet.udp(547, 546))),
            .passes("redirect", v6(58, Packet.message(137))),
            .passes("another frame", GuardFrame(0x88cc, [1, 2, 3], from: other.mac)),
            .passes("spanning tree", GuardFrame(0x0026, [0x42, 0x42, 3, 0], from: other.mac)),
            .passes(
                "later fragment",
                v6(
                    44, Packet.fragment(58, offset: 9, more: false, [134, 0, 0, 0, 0, 0, 0, 0]))),
            .refused(.routerAdvertisement, "134", v6(58, Packet.router(134, mac: vm.mac))),
            .refused(
                .routerAdvertisement, "134 from any source",
                v6(
                    58, Packet.router(134, mac: vm.mac), from: other.linkLocal, mac: other.mac)),
            .refused(.routerAdvertisement, "134 behind five", advertised(0, 60, 43, 44, 60)),
            .refused(.unreadable, "134 behind six", advertised(0, 60, 43, 44, 60, 60)),
            .refused(
                .unreadable, "first fragment without a type",
                v6(
                    44, Packet.fragment(58, more: true, []))),
            .refused(
                .unreadable, "134 behind SNAP",
                GuardFrame(
                    0x0060,
                    [0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd]
                        + Packet.version6(
                            58, from: vm.linkLocal, Packet.router(134, mac: nil)), from: vm.mac)),
        ])

    static let noDHCPServer = GuardTable(
        name: "no-dhcp-server", guards: Guards(switches: [.noDHCPServer]),
        rows: [
            .passes("router advertisement", v6(58, Packet.router(134, mac: vm.mac))),
            .passes("any source", v4(17, Packet.udp(9, 53), from: other.address4, mac: other.mac)),
            .passes("DHCP discover", dhcp(68, 67, from: 0)),
            .passes("DHCPv6 solicit", v6(17, Packet.udp(546, 547))),
            .passes("later fragment", v4(17, [0, 67, 0, 68, 1, 2, 3, 4], fragment: 0x2010)),
            .refused(.dhcpServer, "DHCP offer", dhcp(67, 68, from: other.address4)),
            .refused(
                .dhcpServer, "DHCP offer, first fragment",
                v4(17, Packet.udp(67, 68), fragment: 0x2000)),
            .refused(
                .unreadable, "first fragment without ports", v4(17, [0, 67], fragment: 0x2000)),
            .refused(.dhcp6Server, "DHCPv6 advertise", v6(17, Packet.udp(547, 546))),
            .refused(
                .dhcp6Server, "DHCPv6 advertise behind options",
                v6(60, Packet.options(17, Packet.udp(547, 546)))),
        ])

    static let noIPv6 = GuardTable(
        name: "no-ipv6", guards: Guards(switches: [.noIPv6]),
        rows: [
            .passes("IPv4", v4(17, Packet.udp(67, 68), from: other.address4, mac: other.mac)),
            .passes("ARP", arp(2, sender: other.address4, asksFor: 1)),
            .refused(.ipv6, "TCP", v6(6, Packet.tcp(1, 2, flags: 2))),
            .refused(
                .ipv6, "MLD report",
                v6(
                    0, Packet.options(58, Packet.listenerReport()), from: .none, to: .listeners)),
            .refused(
                .unreadable, "IPv6 behind SNAP",
                GuardFrame(
                    0x0060, [0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd, 0x60], from: vm.mac)),
        ])
}
