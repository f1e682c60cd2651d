// What a port may never send, as the operator says it: forged addresses, a router's or a DHCP
// server's messages, and whatever else does not belong to what the port is.
//
//   profile   tenant        a virtual machine with its own addresses, and nobody else's
//             publicRouter  a cloudspace's router, on its public leg
//             management    the same router, on the leg from which it must not reach the hosts
//   switches  noDHCPServer, noRA, noIPv6: with a profile, or alone

/// The guards of one port.
public struct Guards: Hashable, Codable, Sendable {
    /// What is done with a forbidden frame.
    public enum Mode: String, Hashable, Codable, Sendable, CaseIterable {
        /// It is counted and dropped.
        case enforce
        /// It is counted, and goes on.
        case monitor
    }

    /// A single thing that a port may not do.
    public enum Switch: String, Hashable, Codable, Sendable, CaseIterable {
        /// Answer as a DHCP or DHCPv6 server.
        case noDHCPServer = "no-dhcp-server"
        /// Advertise itself as an IPv6 router.
        case noRA = "no-ra"
        /// Speak IPv6 at all.
        case noIPv6 = "no-ipv6"
    }

    /// What the port is, where that is known.
    public enum Profile: Hashable, Codable, Sendable {
        /// A virtual machine.
        case tenant(TenantGuard)
        /// A router's public leg.
        case publicRouter(PublicRouterGuard)
        /// A router's management leg.
        case management(ManagementGuard)

        /// `tenant`, `public-router` or `management`.
        public var word: String {
            switch self {
            case .tenant: "tenant"
            case .publicRouter: "public-router"
            case .management: "management"
            }
        }
    }

    /// What the port is.
    public var profile: Profile?
    /// What it may not do besides.
    public var switches: Set<Switch>
    /// What is done with a forbidden frame.
    public var mode: Mode

    /// Guards of these parts.
    public init(
        profile: Profile? = nil, switches: Set<Switch> = [], mode: Mode = .enforce
    ) {
        self.profile = profile
        self.switches = switches
        self.mode = mode
    }

    /// Whether nothing is forbidden.
    public var isEmpty: Bool { profile == nil && switches.isEmpty }
}

/// A virtual machine: it sends from its own addresses, and from those it was lent. A tenant is no
/// router and no DHCP server.
public struct TenantGuard: Hashable, Codable, Sendable {
    /// An address that the port may send from, perhaps only with one of its Ethernet addresses
    /// (a virtual router's: 00:00:5e:00:01:xx).
    public struct Pair: Hashable, Codable, Sendable {
        /// Nil: any of the port's own.
        public var mac: HardwareAddress?
        /// The addresses.
        public var prefix: AddressPrefix

        /// This pair.
        public init(mac: HardwareAddress? = nil, prefix: AddressPrefix) {
            self.mac = mac
            self.prefix = prefix
        }
    }

    /// Its own Ethernet addresses. The link-local IPv6 address made of each is its own too.
    public var macs: [HardwareAddress]
    /// Its own IPv4 addresses.
    public var prefixes4: [AddressPrefix4]
    /// Its own IPv6 addresses; `fe80::/64` where its link-local address is not made of its MAC.
    public var prefixes6: [AddressPrefix6]
    /// What it was lent: allowed address pairs.
    public var pairs: [Pair]

    /// A tenant with these addresses.
    public init(
        macs: [HardwareAddress], prefixes4: [AddressPrefix4] = [],
        prefixes6: [AddressPrefix6] = [], pairs: [Pair] = []
    ) {
        self.macs = macs
        self.prefixes4 = prefixes4
        self.prefixes6 = prefixes6
        self.pairs = pairs
    }
}

/// A router's public leg: its one IPv4 address, its /64, TCP, UDP and ICMPv6; no server's or
/// router's messages.
public struct PublicRouterGuard: Hashable, Codable, Sendable {
    /// Its Ethernet address.
    public var mac: HardwareAddress
    /// Its IPv4 addresses: one, as a rule.
    public var prefixes4: [AddressPrefix4]
    /// What IPv6 it was assigned: a /64, as a rule.
    public var prefixes6: [AddressPrefix6]
    /// Its link-local address; nil: the one made of its MAC.
    public var linkLocal: AddressPrefix6?

    /// A router with these addresses.
    public init(
        mac: HardwareAddress, prefixes4: [AddressPrefix4], prefixes6: [AddressPrefix6] = [],
        linkLocal: AddressPrefix6? = nil
    ) {
        self.mac = mac
        self.prefixes4 = prefixes4
        self.prefixes6 = prefixes6
        self.linkLocal = linkLocal
    }
}

/// A router's management leg: the management network gets into the router, the router not out.
/// TCP's and ICMP's answers to that network pass; nothing that opens, no UDP, multicast or IPv6.
public struct ManagementGuard: Hashable, Codable, Sendable {
    /// The router's Ethernet address.
    public var mac: HardwareAddress
    /// The router's addresses there.
    public var addresses: [AddressPrefix4]
    /// The networks that may speak to it: 10.199.0.0/22.
    public var networks: [AddressPrefix4]

    /// A router with these addresses, for these networks.
    public init(mac: HardwareAddress, addresses: [AddressPrefix4], networks: [AddressPrefix4]) {
        self.mac = mac
        self.addresses = addresses
        self.networks = networks
    }
}

/// A mistake in guards, with the key that holds it.
public struct GuardProblem: Hashable, Sendable {
    /// `mac`, `ipv4`, `ipv6`, `link_local`, `network`, `allow`.
    public var key: String
    /// What is wrong, without the key.
    public var sentence: String
}

extension Guards {
    /// As many Ethernet addresses as a port can have.
    public static let mostMACs = 16
    /// As many prefixes of a family as a port can have.
    public static let mostPrefixes = 64

    /// What of these guards cannot be; empty where all is well.
    public var problems: [GuardProblem] {
        var problems: [GuardProblem] = []
        func note(_ key: String, _ sentence: String, if isWrong: Bool) {
            if isWrong { problems.append(GuardProblem(key: key, sentence: sentence)) }
        }
        let policy = GuardPolicy(self)
        note("mac", "is missing", if: profile != nil && policy.macs.isEmpty)
        for mac in policy.macs where mac.isGroup || mac.number == 0 {
            note("mac", "\(mac) is no machine's address", if: true)
        }
        note(
            "mac", "has more than \(Self.mostMACs) addresses",
            if: policy.macs.count > Self.mostMACs)
        note(
            "ipv4", "has more than \(Self.mostPrefixes) prefixes",
            if: policy.prefixes4.count > Self.mostPrefixes)
        // Each Ethernet address brings its link-local one.
        note(
            "ipv6", "has more than \(Self.mostPrefixes) prefixes",
            if: policy.prefixes6.count > Self.mostPrefixes + policy.macs.count)
        for mask in policy.prefixes4.map(\.prefix) where mask.length == 0 || mask.address == 0 {
            note("ipv4", "\(mask) is no machine's address", if: true)
        }
        for mask in policy.prefixes6.map(\.prefix)
        where mask.length == 0 || mask.high | mask.low == 0 || mask.high >> 56 == 0xff {
            note("ipv6", "\(mask) is no machine's address", if: true)
        }
        switch profile {
        case .publicRouter(let router):
            note("ipv4", "is missing", if: router.prefixes4.isEmpty)
            let isOther = router.linkLocal.map { $0.high >> 54 != 0xfe80 >> 6 } ?? false
            note("link_local", "is not in fe80::/10", if: isOther)
        case .management(let router):
            note("ipv4", "is missing", if: router.addresses.isEmpty)
            note("network", "is missing", if: router.networks.isEmpty)
        case .tenant, nil: break
        }
        return problems
    }
}
