// Which trips are sampled, and what the sampler is told of them.
package import Evidence
package import Mitigation
internal import Netlink
internal import Settings
internal import TrafficControl

/// A trip that is to be sampled.
package struct EvidenceTrip: Hashable, Sendable {
    /// The incident.
    package var incident: UInt32
    /// The interface's index on the host.
    package var index: Int32
    /// Its Ethernet address there, which tells whether it is still the same; empty where unknown.
    package var address: [UInt8]
    /// The port's name.
    package var name: PortName
    /// The direction that tripped.
    package var direction: Direction
    /// Whether the trip was carried out.
    package var mode: Mode
    /// Which sources are its own.
    package var sources: SourceJudgement

    /// A trip of a port.
    package init(
        incident: UInt32, index: Int32, address: [UInt8], name: PortName, direction: Direction,
        mode: Mode, sources: SourceJudgement
    ) {
        self.incident = incident
        self.index = index
        self.address = address
        self.name = name
        self.direction = direction
        self.mode = mode
        self.sources = sources
    }
}

extension Event {
    /// Whether it begins what is worth a sample: a port that leaves normal, or a flood that is only
    /// told.
    var isTrip: Bool {
        switch kind {
        case .moved(from: .normal, _), .victim(true), .watched(true): incident > 0
        default: false
        }
    }
}

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// What a sampler is told of a trip; nil for every other event, and where the port is gone.
    package func evidenceTrip(_ event: Event) -> EvidenceTrip? {
        guard event.isTrip, let port = watched(event.port) else { return nil }
        let direction = event.reason?.direction ?? .from
        return EvidenceTrip(
            incident: event.incident, index: event.port.index, address: port.link.address,
            name: event.name, direction: direction, mode: event.mode,
            sources: direction == .from ? sources(of: port) : .none)
    }

    private func sources(of port: WatchedPort) -> SourceJudgement {
        if let own = book.entry(for: port.port.name)?.guards.ownAddresses { return .guards(own) }
        // What a router, an endpoint or the backend sends comes from many.
        guard port.match.portClass == .vm else { return .none }
        return .machine(interface: FrameMAC(bytes: port.link.address))
    }
}

extension Guards {
    /// The addresses that its profile may send from; nil without a profile.
    var ownAddresses: OwnAddresses? {
        switch profile {
        case .tenant(let tenant):
            let pairs = tenant.pairs.map(\.prefix)
            return Self.own(
                tenant.macs + tenant.pairs.compactMap(\.mac),
                tenant.prefixes4.map { .version4($0) } + tenant.prefixes6.map { .version6($0) }
                    + pairs)
        case .publicRouter(let router):
            return Self.own(
                [router.mac],
                router.prefixes4.map { .version4($0) }
                    + (router.prefixes6 + [router.linkLocal].compactMap { $0 }).map {
                        .version6($0)
                    })
        case .management(let router):
            return Self.own([router.mac], router.addresses.map { .version4($0) })
        case nil: return nil
        }
    }

    /// The link-local address of each Ethernet address is its own too.
    private static func own(
        _ macs: [HardwareAddress], _ prefixes: [AddressPrefix]
    ) -> OwnAddresses {
        let all = prefixes + macs.map { .version6($0.linkLocal) }
        return OwnAddresses(
            macs: Set(macs.map { FrameMAC($0.number) }),
            prefixes: all.map { prefix in
                switch prefix {
                case .version4(let part):
                    FramePrefix(.version4(part.address), length: part.length)
                case .version6(let part):
                    FramePrefix(.version6(part.high, part.low), length: part.length)
                }
            })
    }
}
