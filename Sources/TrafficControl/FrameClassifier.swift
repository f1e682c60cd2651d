// Which lane a frame belongs to, written once and emitted as classic BPF (one filter a lane) and
// as the head of an eBPF program (one filter for all).
//
// Invariants: the lanes are disjoint and complete; every load is preceded by a check of the frame's
// length, because a load beyond it ends a program with 0, which classic BPF reads as "no match" and
// a direct-action program as "let it pass" (bpf_convert_ctx_access, net/core/filter.c).
//
//            len     ethertype              protocol             ports / type
//   frame ---+---> ARP ------------------------------------------------------> neighbour
//            +---> IPv4, IPv6 ---> TCP, first fragment ---> own server ------> management
//            |                +--> UDP, first fragment ---> DHCP ------------> neighbour
//            |                +--> ICMP, ICMPv6 ---> errors, echo, ND --------> neighbour
//            +---> one tag in the payload: the same, four bytes later
//            +---> all else, and all that is too short -------------------> general
//
// At ingress the kernel has already moved the outer tag out of the frame (skb_vlan_untag in
// __netif_receive_skb_core), so that one more tag is seen through there.
import Mitigation

/// Whose limit a frame counts against.
enum FrameLane: Int, CaseIterable, Sendable {
    /// The VM's own servers.
    case management
    /// ARP, neighbour discovery, DHCP renewal, a little ICMP.
    case neighbour
    /// Everything else.
    case general

    /// The fixed preference of the lane's filter.
    var preference: UInt16 { UInt16(11 + rawValue) }
}

/// A place in a classifier.
enum Label: Hashable, Sendable {
    case lane(FrameLane)
    case local(Int)
}

/// One instruction of a classifier: an accumulator and an index register, as classic BPF has them.
enum ClassifierInstruction: Hashable, Sendable {
    enum Width: Sendable {
        case byte, half
        var bytes: UInt32 { self == .byte ? 1 : 2 }
    }

    /// accumulator = the frame's bytes at `offset`, network order.
    case load(Width, at: UInt32)
    /// accumulator = the frame's bytes at index + `offset`, network order.
    case loadIndexed(Width, at: UInt32)
    /// accumulator = the frame's length in bytes.
    case loadLength
    /// index = the IPv4 header's length in bytes, of the header at `offset`; the accumulator is lost.
    case loadHeaderLength(at: UInt32)
    /// accumulator -= index.
    case subtractIndex
    /// Jumps if accumulator == `value`, else goes on.
    case ifEqual(UInt32, Label)
    /// Jumps if accumulator & `mask` is not 0, else goes on.
    case ifAnySet(UInt32, Label)
    /// Jumps if accumulator < `value` (unsigned), else goes on.
    case ifLess(UInt32, Label)
    /// Jumps.
    case jump(Label)
    /// A place to jump to; no instruction of its own.
    case mark(Label)
}

/// What a classifier follows from: many ports have the same.
struct FrameKind: Hashable, Sendable {
    var direction: Mitigation.Direction
    var tcpPorts: [UInt16]
}

/// The classifier of one direction of one port.
struct FrameClassifier: Sendable {
    let direction: Mitigation.Direction
    let tcpPorts: [UInt16]
    private(set) var instructions: [ClassifierInstruction] = []
    private var nextLocal = 0

    /// For frames of this kind.
    init(_ kind: FrameKind) { self.init(direction: kind.direction, tcpPorts: kind.tcpPorts) }

    /// For frames of `direction`, with these ports as the VM's own servers.
    init(direction: Mitigation.Direction, tcpPorts: [UInt16]) {
        self.direction = direction
        self.tcpPorts = tcpPorts
        let tagged = makeLabel()
        emit(.load(.half, at: 12))
        emitNetworkLayer(at: 14, direction: direction, tcpPorts: tcpPorts, tagged: tagged)
        emit(.mark(tagged))
        emit(.loadLength)
        emit(.ifLess(18, .lane(.general)))
        emit(.load(.half, at: 16))
        emitNetworkLayer(at: 18, direction: direction, tcpPorts: tcpPorts, tagged: nil)
    }

    private mutating func emit(_ instruction: ClassifierInstruction) {
        instructions.append(instruction)
    }

    private mutating func makeLabel() -> Label {
        nextLocal += 1
        return .local(nextLocal)
    }

    /// The accumulator holds the ethertype; the network header is at `base`.
    private mutating func emitNetworkLayer(
        at base: UInt32, direction: Mitigation.Direction, tcpPorts: [UInt16], tagged: Label?
    ) {
        let version4 = makeLabel()
        let version6 = makeLabel()
        emit(.ifEqual(EtherType.version4, version4))
        emit(.ifEqual(EtherType.version6, version6))
        emit(.ifEqual(EtherType.addressResolution, .lane(.neighbour)))
        if let tagged {
            emit(.ifEqual(EtherType.customerTag, tagged))
            emit(.ifEqual(EtherType.serviceTag, tagged))
        }
        emit(.jump(.lane(.general)))
        emit(.mark(version4))
        emitVersion4(at: base, direction: direction, tcpPorts: tcpPorts)
        emit(.mark(version6))
        emitVersion6(at: base, direction: direction, tcpPorts: tcpPorts)
    }

    private mutating func emitVersion4(
        at base: UInt32, direction: Mitigation.Direction, tcpPorts: [UInt16]
    ) {
        let tcp = makeLabel()
        let udp = makeLabel()
        emit(.loadLength)
        emit(.ifLess(base + 24, .lane(.general)))
        emit(.load(.half, at: base + 6))
        emit(.ifAnySet(0x1fff, .lane(.general)))  // a later fragment has no ports
        emit(.load(.byte, at: base + 9))
        emit(.ifEqual(InternetProtocol.tcp, tcp))
        emit(.ifEqual(InternetProtocol.udp, udp))
        emit(.ifEqual(InternetProtocol.icmp, .lane(.neighbour)))
        emit(.jump(.lane(.general)))
        emit(.mark(tcp))
        emitIndexedPorts(at: base)
        emit(.loadIndexed(.half, at: base + (direction == .from ? 0 : 2)))
        for port in tcpPorts { emit(.ifEqual(UInt32(port), .lane(.management))) }
        emit(.jump(.lane(.general)))
        emit(.mark(udp))
        emitIndexedPorts(at: base)
        emitDatagram(direction == .from ? (68, 67) : (67, 68)) {
            .loadIndexed(.half, at: base + $0)
        }
    }

    /// index = the header's length; goes on only where the two ports are within the frame.
    private mutating func emitIndexedPorts(at base: UInt32) {
        emit(.loadHeaderLength(at: base))
        emit(.loadLength)
        emit(.subtractIndex)
        // A header longer than the frame: the difference is below zero.
        emit(.ifAnySet(0x8000_0000, .lane(.general)))
        emit(.ifLess(base + 4, .lane(.general)))
    }

    private mutating func emitVersion6(
        at base: UInt32, direction: Mitigation.Direction, tcpPorts: [UInt16]
    ) {
        let tcp = makeLabel()
        let udp = makeLabel()
        let icmp = makeLabel()
        emit(.loadLength)
        emit(.ifLess(base + 44, .lane(.general)))
        emit(.load(.byte, at: base + 6))
        emit(.ifEqual(InternetProtocol.tcp, tcp))
        emit(.ifEqual(InternetProtocol.udp, udp))
        emit(.ifEqual(InternetProtocol.icmpVersion6, icmp))
        emit(.jump(.lane(.general)))
        emit(.mark(tcp))
        emit(.load(.half, at: base + 40 + (direction == .from ? 0 : 2)))
        for port in tcpPorts { emit(.ifEqual(UInt32(port), .lane(.management))) }
        emit(.jump(.lane(.general)))
        emit(.mark(udp))
        emitDatagram(direction == .from ? (546, 547) : (547, 546)) {
            .load(.half, at: base + 40 + $0)
        }
        emit(.mark(icmp))
        emit(.load(.byte, at: base + 40))
        for type in MessageType.allowed(direction) { emit(.ifEqual(type, .lane(.neighbour))) }
        emit(.jump(.lane(.general)))
    }

    private mutating func emitDatagram(
        _ ports: (source: UInt32, destination: UInt32),
        _ load: (UInt32) -> ClassifierInstruction
    ) {
        let matched = makeLabel()
        emit(load(0))
        emit(.ifEqual(ports.source, matched))
        emit(.jump(.lane(.general)))
        emit(.mark(matched))
        emit(load(2))
        emit(.ifEqual(ports.destination, .lane(.neighbour)))
        emit(.jump(.lane(.general)))
    }
}

/// Ethertypes (IEEE 802 numbers, as <linux/if_ether.h> lists them).
enum EtherType {
    static let version4: UInt32 = 0x0800
    static let addressResolution: UInt32 = 0x0806
    static let customerTag: UInt32 = 0x8100
    static let version6: UInt32 = 0x86dd
    static let serviceTag: UInt32 = 0x88a8
}

/// Protocol numbers (IANA, as <netinet/in.h> lists them).
enum InternetProtocol {
    static let icmp: UInt32 = 1
    static let tcp: UInt32 = 6
    static let udp: UInt32 = 17
    static let icmpVersion6: UInt32 = 58
}

/// ICMPv6 types (RFC 4443, RFC 4861).
enum MessageType {
    /// Errors (1 to 4) and echo both ways; solicitations and advertisements of neighbours; from the
    /// VM router solicitations, to it router advertisements.
    static func allowed(_ direction: Mitigation.Direction) -> [UInt32] {
        [1, 2, 3, 4, 128, 129, 135, 136, direction == .from ? 133 : 134]
    }
}
