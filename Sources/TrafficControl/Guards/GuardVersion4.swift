// IPv4: the source, then, where a rule needs them, the ports; and a management leg's answers.
//
// A later fragment has no ports: its source holds for it. A first one that is too short to show
// them is refused, since a later one could bring them (RFC 1858).

extension GuardProgram {
    private static let unspecified: UInt32 = 0

    /// The index is the header.
    mutating func emitVersion4() {
        let own = makeLabel()
        let unspecified = makeLabel()
        let datagram = makeLabel()
        emit(.loadLength)
        emit(.subtractIndex)
        branch(.less(20), .refuse(.unreadable))
        if policy.checksVersion4 {
            emitOwned4(at: 12, own)
            emit(.loadIndexed(.word, at: 12))
            branch(.equal(Self.unspecified), unspecified)
            emit(.jump(.refuse(.sourceIPv4)))
        }
        emit(.mark(own))
        if policy.refusesDHCPServer {
            emit(.loadIndexed(.byte, at: 9))
            branch(.equal(InternetProtocol.udp), datagram)
        }
        emit(.jump(.pass))
        emit(.mark(datagram))
        if policy.refusesDHCPServer { emitDatagram4() }
        emit(.mark(unspecified))
        if policy.checksVersion4 { emitUnspecified4() }
    }

    /// A server is known by either port: clients listen on 68 whoever sends.
    private mutating func emitDatagram4() {
        emit(.loadIndexed(.half, at: 6))
        branch(.anySet(0x1fff), .pass)
        emitTransport4(room: 4, else: .refuse(.unreadable))
        emit(.loadIndexed(.half, at: 0))
        branch(.equal(67), .refuse(.dhcpServer))
        emit(.loadIndexed(.half, at: 2))
        branch(.equal(68), .refuse(.dhcpServer))
        emit(.jump(.pass))
    }

    /// A DHCP client that has no address yet: one whole datagram to everybody.
    private mutating func emitUnspecified4() {
        let refused = GuardLabel.refuse(.sourceIPv4)
        emit(.loadIndexed(.byte, at: 9))
        branch(.notEqual(InternetProtocol.udp), refused)
        emit(.loadIndexed(.word, at: 16))
        branch(.notEqual(.max), refused)
        emit(.loadIndexed(.half, at: 6))
        branch(.anySet(0x3fff), refused)
        emitTransport4(room: 4, else: refused)
        emit(.loadIndexed(.half, at: 0))
        branch(.notEqual(68), refused)
        emit(.loadIndexed(.half, at: 2))
        branch(.notEqual(67), refused)
        emit(.jump(.pass))
    }

    /// From the network header to the transport header, with `room` bytes of it.
    private mutating func emitTransport4(room: UInt32, else label: GuardLabel) {
        emitEnd(lengthAt: 2, header: 0, else: label)
        emit(.loadIndexed(.byte, at: 0))
        emit(.and(0x0f))
        emit(.shiftLeft(2))
        branch(.less(20), label)
        emit(.addIndex)
        emit(.toIndex)
        emitRoom(room, else: label)
    }

    /// What leaves a router's management leg: answers of TCP and ICMP, to the management network.
    mutating func emitManagement() {
        let own = makeLabel()
        let known = makeLabel()
        let tcp = makeLabel()
        emit(.loadLength)
        emit(.subtractIndex)
        branch(.less(20), .refuse(.unreadable))
        emitOwned4(at: 12, own)
        emit(.jump(.refuse(.sourceIPv4)))
        emit(.mark(own))
        emit(.load(.byte, at: 0))
        branch(.anySet(1), .refuse(.multicast))
        emit(.loadIndexed(.byte, at: 16))
        branch(.equal(0xff), .refuse(.multicast))
        emit(.and(0xf0))
        branch(.equal(0xe0), .refuse(.multicast))
        emit(.loadIndexed(.byte, at: 9))
        branch(.equal(InternetProtocol.udp), .refuse(.udp))
        for network in policy.networks ?? [] { emitMatch4(network, at: 16, known) }
        emit(.jump(.refuse(.destination)))
        emit(.mark(known))
        // TCP that is cut into pieces could show other flags than it has.
        emit(.loadIndexed(.half, at: 6))
        branch(.anySet(0x3fff), .refuse(.fragment))
        emit(.loadIndexed(.byte, at: 9))
        branch(.equal(InternetProtocol.tcp), tcp)
        branch(.notEqual(InternetProtocol.icmp), .refuse(.other))
        emitTransport4(room: 8, else: .refuse(.unreadable))
        emit(.loadIndexed(.byte, at: 0))
        for type in Self.answers { branch(.equal(type), .pass) }
        emit(.jump(.refuse(.connection)))
        emit(.mark(tcp))
        emitAnswer()
    }

    /// ICMP's echo reply, unreachable, time exceeded, parameter problem.
    private static let answers: [UInt32] = [0, 3, 11, 12]

    /// A segment that a connection has from the side that was called: ACK or RST, and SYN only with
    /// ACK.
    private mutating func emitAnswer() {
        let answers = makeLabel()
        emitTransport4(room: 20, else: .refuse(.unreadable))
        emit(.loadIndexed(.byte, at: 13))
        branch(.anySet(0x10), .pass)
        branch(.anySet(0x02), .refuse(.connection))
        branch(.anySet(0x04), answers)
        emit(.jump(.refuse(.connection)))
        emit(.mark(answers))
        emit(.jump(.pass))
    }
}
