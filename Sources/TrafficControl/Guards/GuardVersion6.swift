// IPv6: the source, then the headers one after the other, then ports or the ICMPv6 type.
//
// The source comes before the type, whatever the type. :: is left to what a machine says before it
// has an address: duplicate address detection, listener reports, router solicitation. A walk over
// extension headers has a bound; what has more of them is refused (RFC 7113).

extension GuardProgram {
    /// As many extension headers as are walked over: RFC 8200 has at most five in front of a
    /// transport that is not encrypted.
    private static let mostHeaders = 5
    /// Hop-by-hop, routing, destination options, mobility, HIP, Shim6: next header, length.
    private static let optionHeaders: [UInt32] = [0, 43, 60, 135, 139, 140]
    private static let fragmentHeader: UInt32 = 44

    /// Where the walk may end; the index is the header that was found.
    private struct Ends {
        var tcp: GuardLabel
        var udp: GuardLabel
        var icmp: GuardLabel
        var laterFragment: GuardLabel
        var other: GuardLabel
    }

    /// The index is the header.
    mutating func emitVersion6() {
        let lengths = makeLabel()
        emit(.loadLength)
        emit(.subtractIndex)
        branch(.less(40), .refuse(.unreadable))
        emit(.loadConstant(0))
        emit(.store(.unspecified))
        emit(.store(.fragment))
        if policy.version6 == .checked { emitSource6(unspecified: lengths) }
        emit(.loadIndexed(.byte, at: 6))
        branch(.equal(InternetProtocol.tcp), .pass)
        emit(.mark(lengths))
        emitEnd(lengthAt: 4, header: 40, else: .refuse(.unreadable))
        emit(.loadIndexed(.byte, at: 6))
        emit(.store(.next))
        emit(.fromIndex)
        emit(.add(40))
        emit(.toIndex)
        emit(.recall(.next))
        let ends = Ends(
            tcp: makeLabel(), udp: makeLabel(), icmp: makeLabel(), laterFragment: makeLabel(),
            other: makeLabel())
        emitWalk(ends)
        emitEnds(ends)
    }

    private mutating func emitSource6(unspecified label: GuardLabel) {
        let own = makeLabel()
        emitOwned6(at: 8, own)
        for offset: UInt32 in [8, 12, 16, 20] {
            emit(.loadIndexed(.word, at: offset))
            branch(.notEqual(0), .refuse(.sourceIPv6))
        }
        emit(.loadConstant(1))
        emit(.store(.unspecified))
        emit(.jump(label))
        emit(.mark(own))
    }

    /// The accumulator is the type of the header at the index.
    private mutating func emitWalk(_ ends: Ends) {
        for _ in 0..<Self.mostHeaders {
            let options = makeLabel()
            let fragment = makeLabel()
            let following = makeLabel()
            emitTransports(ends)
            for type in Self.optionHeaders { branch(.equal(type), options) }
            branch(.equal(Self.fragmentHeader), fragment)
            emit(.jump(ends.other))

            emit(.mark(options))
            emitRoom(8, else: .refuse(.unreadable))
            emit(.loadIndexed(.byte, at: 0))
            emit(.store(.next))
            emit(.loadIndexed(.byte, at: 1))
            emit(.add(1))
            emit(.shiftLeft(3))
            emit(.addIndex)
            emit(.jump(following))

            emit(.mark(fragment))
            emitRoom(8, else: .refuse(.unreadable))
            emit(.loadConstant(1))
            emit(.store(.fragment))
            emit(.loadIndexed(.half, at: 2))
            branch(.anySet(0xfff8), ends.laterFragment)
            emit(.loadIndexed(.byte, at: 0))
            emit(.store(.next))
            emit(.fromIndex)
            emit(.add(8))

            emit(.mark(following))
            emit(.toIndex)
            emit(.recall(.next))
        }
        emitTransports(ends)
        for type in Self.optionHeaders + [Self.fragmentHeader] {
            branch(.equal(type), .refuse(.unreadable))
        }
        emit(.jump(ends.other))
    }

    private mutating func emitTransports(_ ends: Ends) {
        branch(.equal(InternetProtocol.tcp), ends.tcp)
        branch(.equal(InternetProtocol.udp), ends.udp)
        branch(.equal(InternetProtocol.icmpVersion6), ends.icmp)
    }

    private mutating func emitEnds(_ ends: Ends) {
        emit(.mark(ends.tcp))
        emit(.mark(ends.laterFragment))
        emitSpecified()
        emit(.jump(.pass))

        emit(.mark(ends.other))
        emitSpecified()
        emit(.jump(policy.refusesOtherProtocols ? .refuse(.other) : .pass))

        emit(.mark(ends.udp))
        emitSpecified()
        if policy.refusesDHCPServer {
            emitRoom(4, else: .refuse(.unreadable))
            emit(.loadIndexed(.half, at: 0))
            branch(.equal(547), .refuse(.dhcp6Server))
            emit(.loadIndexed(.half, at: 2))
            branch(.equal(546), .refuse(.dhcp6Server))
        }
        emit(.jump(.pass))

        emit(.mark(ends.icmp))
        emitMessage()
    }

    /// Goes on where the source is an address.
    private mutating func emitSpecified() {
        guard policy.version6 == .checked else { return }
        emit(.recall(.unspecified))
        branch(.notEqual(0), .refuse(.sourceIPv6))
    }

    // MARK: ICMPv6

    /// The index is the message.
    private mutating func emitMessage() {
        emitRoom(4, else: .refuse(.unreadable))
        let unspecified = makeLabel()
        let checks = policy.version6 == .checked
        if checks {
            emit(.recall(.unspecified))
            branch(.notEqual(0), unspecified)
        }
        emit(.loadIndexed(.byte, at: 0))
        for (type, reason) in policy.refusedTypes.sorted(by: { $0.key < $1.key }) {
            branch(.equal(type), .refuse(reason))
        }
        guard checks else {
            emit(.jump(.pass))
            return
        }
        emitDiscovery(unspecified: unspecified)
    }

    /// Solicitations and advertisements speak only of the port's own addresses, and are never cut
    /// into fragments, in the later of which another link-layer address could stand (RFC 6980).
    private mutating func emitDiscovery(unspecified: GuardLabel) {
        let refused = GuardLabel.refuse(.neighbourDiscovery)
        let solicitation = makeLabel()
        let advertisement = makeLabel()
        let router = makeLabel()
        let target = makeLabel()
        let options = makeLabel()
        branch(.equal(MessageType.neighbourSolicitation), solicitation)
        branch(.equal(MessageType.neighbourAdvertisement), advertisement)
        branch(.equal(MessageType.routerSolicitation), router)
        emit(.jump(.pass))

        emit(.mark(unspecified))
        emitUnspecified6(advertisement: advertisement, router: router)

        emit(.mark(advertisement))
        emitRoom(24, else: refused)
        emitOwned6(at: 8, target)
        emit(.jump(refused))

        emit(.mark(solicitation))
        emitRoom(24, else: refused)
        emit(.mark(target))
        emit(.fromIndex)
        emit(.add(24))
        emit(.jump(options))

        emit(.mark(router))
        emitRoom(8, else: refused)
        emit(.fromIndex)
        emit(.add(8))

        emit(.mark(options))
        emit(.toIndex)
        emit(.recall(.fragment))
        branch(.notEqual(0), refused)
        emitOptions()
    }

    /// From ::, to a group: a solicitation for an own address, which looks for duplicates; listener
    /// reports; a router solicitation.
    private mutating func emitUnspecified6(advertisement: GuardLabel, router: GuardLabel) {
        emit(.storeIndex(.cursor))
        emit(.recallIndex(.network))
        emit(.loadIndexed(.byte, at: 24))
        branch(.notEqual(0xff), .refuse(.sourceIPv6))
        emit(.recallIndex(.cursor))
        emit(.loadIndexed(.byte, at: 0))
        for type in MessageType.listenerReports { branch(.equal(type), .pass) }
        branch(.equal(MessageType.routerSolicitation), router)
        // The target of this one must be the port's own, as an advertisement's must.
        branch(.equal(MessageType.neighbourSolicitation), advertisement)
        emit(.jump(.refuse(.sourceIPv6)))
    }

    /// As many options of a message as are looked at; a solicitation has two, and a nonce.
    private static let mostOptions = 4

    /// The index is the first option. Link-layer addresses (1, 2) must be the frame's own source.
    private mutating func emitOptions() {
        let refused = GuardLabel.refuse(.neighbourDiscovery)
        for _ in 0..<Self.mostOptions {
            let address = makeLabel()
            let following = makeLabel()
            emit(.recall(.end))
            emit(.subtractIndex)
            branch(.equal(0), .pass)
            branch(.less(8), refused)
            emit(.loadIndexed(.byte, at: 1))
            branch(.equal(0), refused)
            emit(.loadIndexed(.byte, at: 0))
            branch(.equal(1), address)
            branch(.equal(2), address)
            emit(.jump(following))
            emit(.mark(address))
            emit(.loadIndexed(.byte, at: 1))
            branch(.notEqual(1), refused)
            emitEqualsSource(at: 2, else: refused)
            emit(.mark(following))
            emit(.loadIndexed(.byte, at: 1))
            emit(.shiftLeft(3))
            emit(.addIndex)
            emit(.toIndex)
            emit(.recall(.end))
            branch(.lessThanIndex, refused)
        }
        emit(.recall(.end))
        emit(.subtractIndex)
        branch(.equal(0), .pass)
        emit(.jump(refused))
    }
}
