// Guards as a program needs them: one list of addresses for each family, whatever the profile.

/// A prefix, and which of a port's Ethernet addresses may send from it.
struct OwnedPrefix<Prefix: Hashable & Sendable>: Hashable, Sendable {
    var prefix: Prefix
    /// Bit n: the n-th Ethernet address may.
    var owners: UInt32
}

/// What a program decides by.
struct GuardPolicy: Hashable, Sendable {
    /// What becomes of IPv6.
    enum Version6: Hashable, Sendable {
        /// Only what it carries is looked at.
        case unchecked
        /// The source must be the port's.
        case checked
        case refused
    }

    /// What becomes of what neither IPv4 nor IPv6 nor ARP is.
    var refusesOtherFrames = false
    /// The port's Ethernet addresses; empty: any.
    var macs: [HardwareAddress] = []
    var prefixes4: [OwnedPrefix<AddressPrefix4>] = []
    var prefixes6: [OwnedPrefix<AddressPrefix6>] = []
    /// Whether ARP and IPv4 sources are held against `prefixes4`.
    var checksVersion4 = false
    var version6 = Version6.unchecked
    /// Whether IPv6 carries TCP, UDP and ICMPv6 only.
    var refusesOtherProtocols = false
    var refusesDHCPServer = false
    /// ICMPv6 types that are refused.
    var refusedTypes: [UInt32: GuardReason] = [:]
    /// As many tags in the frame's memory are looked behind; more are refused.
    var mostTags: UInt32 = 2
    /// The management networks, where this is such a leg.
    var networks: [AddressPrefix4]?

    /// Every Ethernet address.
    var everyOwner: UInt32 { UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(macs.count)) - 1) }

    init(_ guards: Guards) {
        switch guards.profile {
        case .tenant(let tenant): setTenant(tenant)
        case .publicRouter(let router): setPublicRouter(router)
        case .management(let router): setManagement(router)
        case nil: break
        }
        if guards.switches.contains(.noDHCPServer) { refusesDHCPServer = true }
        if guards.switches.contains(.noRA) {
            refusedTypes[MessageType.routerAdvertisement] = .routerAdvertisement
        }
        if guards.switches.contains(.noIPv6) { version6 = .refused }
    }

    private mutating func setTenant(_ tenant: TenantGuard) {
        macs = tenant.macs
        let own = everyOwner
        for mac in tenant.pairs.compactMap(\.mac) where !macs.contains(mac) { macs.append(mac) }
        prefixes4 = tenant.prefixes4.map { OwnedPrefix(prefix: $0, owners: own) }
        prefixes6 = tenant.prefixes6.map { OwnedPrefix(prefix: $0, owners: own) }
        for pair in tenant.pairs {
            let owners = pair.mac.map { bit(of: $0) } ?? own
            switch pair.prefix {
            case .version4(let prefix):
                prefixes4.append(OwnedPrefix(prefix: prefix, owners: owners))
            case .version6(let prefix):
                prefixes6.append(OwnedPrefix(prefix: prefix, owners: owners))
            }
        }
        prefixes6 += macs.map { OwnedPrefix(prefix: $0.linkLocal, owners: bit(of: $0)) }
        setSourceChecks()
    }

    private mutating func setPublicRouter(_ router: PublicRouterGuard) {
        macs = [router.mac]
        let linkLocal = router.linkLocal ?? router.mac.linkLocal
        prefixes4 = router.prefixes4.map { OwnedPrefix(prefix: $0, owners: everyOwner) }
        prefixes6 = (router.prefixes6 + [linkLocal]).map {
            OwnedPrefix(prefix: $0, owners: everyOwner)
        }
        refusesOtherProtocols = true
        setSourceChecks()
    }

    private mutating func setManagement(_ router: ManagementGuard) {
        macs = [router.mac]
        prefixes4 = router.addresses.map { OwnedPrefix(prefix: $0, owners: everyOwner) }
        networks = router.networks
        checksVersion4 = true
        version6 = .refused
        refusesOtherFrames = true
    }

    private mutating func setSourceChecks() {
        checksVersion4 = true
        version6 = .checked
        refusesOtherFrames = true
        refusesDHCPServer = true
        refusedTypes = MessageType.routersOnly
    }

    private func bit(of mac: HardwareAddress) -> UInt32 {
        macs.firstIndex(of: mac).map { $0 < 32 ? UInt32(1) << UInt32($0) : 0 } ?? 0
    }
}

extension MessageType {
    static let routerSolicitation: UInt32 = 133
    static let routerAdvertisement: UInt32 = 134
    static let neighbourSolicitation: UInt32 = 135
    static let neighbourAdvertisement: UInt32 = 136
    /// Multicast listener reports, versions 1 and 2: those that a machine sends before it has an
    /// address (RFC 3590).
    static let listenerReports: [UInt32] = [131, 143]

    /// What only a router has to say (RFC 4861, 6275, 4286, 3810).
    static let routersOnly: [UInt32: GuardReason] = [
        routerAdvertisement: .routerAdvertisement, 137: .redirect, 146: .mobilePrefix,
        147: .mobilePrefix, 130: .multicastRouter, 151: .multicastRouter, 152: .multicastRouter,
        153: .multicastRouter,
    ]
}
