// Why a frame is refused, and how many were: what an operator reads.

/// Why a guard refuses a frame. A frame has one reason: the first of the order in which it is
/// looked at (Ethernet source, then what it carries: the network's source before the message).
public enum GuardReason: String, Hashable, Codable, Sendable, CaseIterable {
    /// An Ethernet source that is not the port's.
    case sourceMAC = "source-mac"
    /// ARP with a sender that is not the port, or for addresses that it has no business with.
    case arp = "arp"
    /// An IPv4 source that is not the port's.
    case sourceIPv4 = "source-ipv4"
    /// An IPv6 source that is not the port's.
    case sourceIPv6 = "source-ipv6"
    /// A neighbour's advertisement, solicitation, or router's solicitation that speaks for others.
    case neighbourDiscovery = "neighbour-discovery"
    /// What a DHCP server would send.
    case dhcpServer = "dhcp-server"
    /// What a DHCPv6 server would send.
    case dhcp6Server = "dhcp6-server"
    /// An IPv6 router's advertisement (ICMPv6 134).
    case routerAdvertisement = "router-advertisement"
    /// An IPv6 redirect (137).
    case redirect = "redirect"
    /// Mobile prefix solicitation and advertisement (146, 147).
    case mobilePrefix = "mobile-prefix"
    /// A multicast router's messages: MLD query (130), multicast router discovery (151 to 153).
    case multicastRouter = "multicast-router"
    /// IPv6 where there shall be none.
    case ipv6 = "ipv6"
    /// To a group, or to everybody, where only answers pass.
    case multicast = "multicast"
    /// UDP where only answers pass.
    case udp = "udp"
    /// What would open a connection, or is no part of one.
    case connection = "connection"
    /// To an address outside the management network.
    case destination = "destination"
    /// A fragment, where what it is a part of cannot be told.
    case fragment = "fragment"
    /// What cannot be read to the end: too many tags or headers, a first fragment without its
    /// ports, lengths that are not true.
    case unreadable = "unreadable"
    /// Neither IPv4, IPv6 nor ARP, or a protocol that the port has no business with.
    case other = "other"

    /// A small number that stays the same; the handle of its filter is made of it.
    var number: Int {
        switch self {
        case .sourceMAC: 0
        case .arp: 1
        case .sourceIPv4: 2
        case .sourceIPv6: 3
        case .neighbourDiscovery: 4
        case .dhcpServer: 5
        case .dhcp6Server: 6
        case .routerAdvertisement: 7
        case .redirect: 8
        case .mobilePrefix: 9
        case .multicastRouter: 10
        case .ipv6: 11
        case .multicast: 12
        case .udp: 13
        case .connection: 14
        case .destination: 15
        case .fragment: 16
        case .unreadable: 17
        case .other: 18
        }
    }
}

/// What a port's guards have refused, or in monitor mode would have.
public struct GuardCounts: Hashable, Sendable {
    /// For each reason; those without any are left out.
    public var reasons: [GuardReason: GuardCount]
    /// About how many Ethernet sources the frames had that were refused for theirs
    /// (`GuardSources`); nil where it is not known.
    public var sourceMACs: Int?

    /// These counts.
    public init(_ reasons: [GuardReason: GuardCount] = [:], sourceMACs: Int? = nil) {
        self.reasons = reasons
        self.sourceMACs = sourceMACs
    }
}

/// What a guard has refused for one reason, or in monitor mode would have.
public struct GuardCount: Hashable, Sendable {
    /// Frames.
    public var packets: UInt64
    /// Their bytes.
    public var bytes: UInt64

    /// These counts.
    public init(packets: UInt64 = 0, bytes: UInt64 = 0) {
        self.packets = packets
        self.bytes = bytes
    }
}
