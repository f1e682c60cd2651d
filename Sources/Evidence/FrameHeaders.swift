// What the headers of a frame say, as far as a sample holds them.
//
// Invariant: nothing is read past the end of what is there; what cannot be read is not told: a frame
// that ends within its headers has the names of those that are whole.
//
//   Ethernet --> 802.1ad, 802.1Q tags --> ARP
//                                     +-> IPv4 ------------------> first fragment --> ports
//                                     +-> IPv6 --> extensions ---> later fragment --> the protocol

/// The headers of one frame.
struct FrameHeaders: Hashable, Sendable {
    /// Who sent it.
    var sourceMAC: FrameMAC
    /// To whom.
    var destinationMAC: FrameMAC
    /// VLAN ids, the outer one first.
    var vlans: [UInt16] = []
    /// `UDP`, `TCP SYN`, `ARP`, `EtherType 0x88cc`.
    var kind = ""
    /// Of IP, and the sender's of ARP.
    var source: FrameAddress?
    /// Of IP, and the one that ARP asks for.
    var destination: FrameAddress?
    /// Of TCP, UDP and SCTP.
    var destinationPort: UInt16?
    var sourcePort: UInt16?

    /// As many tags, and as many IPv6 extensions, are looked behind.
    private static let mostSteps = 8

    /// Reads the beginning of a frame; nil where not even an Ethernet header is there.
    init?(_ bytes: [UInt8]) {
        var reader = Reader(bytes: bytes)
        guard let destination = reader.take(6), let source = reader.take(6),
            var type = reader.take(2)
        else { return nil }
        sourceMAC = FrameMAC(source)
        destinationMAC = FrameMAC(destination)
        for _ in 0..<Self.mostSteps where type == 0x8100 || type == 0x88a8 || type == 0x9100 {
            guard let tag = reader.take(2), let next = reader.take(2) else { break }
            vlans.append(UInt16(tag & 0x0fff))
            type = next
        }
        switch type {
        case 0x0806: readARP(&reader)
        case 0x0800: readVersion4(&reader)
        case 0x86dd: readVersion6(&reader)
        // IEEE 802.3: a length stands there.
        case ..<0x0600: kind = "802.3"
        default: kind = "EtherType 0x\(Self.hexadecimal(type))"
        }
    }

    private static func hexadecimal(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
    }

    /// RFC 826, for Ethernet and IPv4.
    private mutating func readARP(_ reader: inout Reader) {
        kind = "ARP"
        guard let head = reader.take(6), head == 0x0001_0800_0604, reader.skip(8),
            let sender = reader.take(4), reader.skip(6), let target = reader.take(4)
        else { return }
        source = .version4(UInt32(sender))
        destination = .version4(UInt32(target))
    }

    private mutating func readVersion4(_ reader: inout Reader) {
        kind = "IPv4"
        guard let first = reader.take(1), first >> 4 == 4, first & 0xf >= 5, reader.skip(5),
            let fragment = reader.take(2), reader.skip(1), let number = reader.take(1),
            reader.skip(2), let from = reader.take(4), let to = reader.take(4)
        else { return }
        source = .version4(UInt32(from))
        destination = .version4(UInt32(to))
        let isLater = fragment & 0x1fff != 0
        guard !isLater, reader.skip(Int(first & 0xf) * 4 - 20) else {
            kind = Self.name(of: number) + (isLater ? " fragment" : "")
            return
        }
        readTransport(number, &reader)
    }

    private mutating func readVersion6(_ reader: inout Reader) {
        kind = "IPv6"
        guard let first = reader.take(1), first >> 4 == 6, reader.skip(5),
            var next = reader.take(1), reader.skip(1), let from = reader.address6(),
            let to = reader.address6()
        else { return }
        source = from
        destination = to
        for _ in 0..<Self.mostSteps {
            switch next {
            // Hop-by-hop, routing, destination options (RFC 8200); authentication (RFC 4302).
            case 0, 43, 60, 51:
                guard let following = reader.take(1), let length = reader.take(1) else { return }
                let bytes = next == 51 ? (Int(length) + 2) * 4 : (Int(length) + 1) * 8
                next = following
                guard reader.skip(bytes - 2) else { return }
            case 44:
                guard let following = reader.take(1), reader.skip(1),
                    let place = reader.take(2), reader.skip(4)
                else { return }
                next = following
                guard place & 0xfff8 == 0 else {
                    kind = Self.name(of: next) + " fragment"
                    return
                }
            default: return readTransport(next, &reader)
            }
        }
    }

    private mutating func readTransport(_ number: UInt64, _ reader: inout Reader) {
        kind = Self.name(of: number)
        guard [6, 17, 132].contains(number), let from = reader.take(2), let to = reader.take(2)
        else { return }
        sourcePort = UInt16(from)
        destinationPort = UInt16(to)
        // SYN without ACK, RST, FIN: what a flood of openings is made of.
        guard number == 6, reader.skip(9), let flags = reader.take(1), flags & 0x17 == 0x02 else {
            return
        }
        kind = "TCP SYN"
    }

    /// By IANA's numbers.
    private static func name(of number: UInt64) -> String {
        switch number {
        case 1: "ICMP"
        case 2: "IGMP"
        case 4: "IP-in-IP"
        case 6: "TCP"
        case 17: "UDP"
        case 41: "IPv6-in-IP"
        case 47: "GRE"
        case 50: "ESP"
        case 58: "ICMPv6"
        case 132: "SCTP"
        default: "IP protocol \(number)"
        }
    }

    /// Takes bytes from the front.
    private struct Reader {
        let bytes: [UInt8]
        var offset = 0

        /// The next bytes, eight at most, as a number in network order; nil where they are not there.
        mutating func take(_ count: Int) -> UInt64? {
            guard count <= bytes.count - offset else { return nil }
            defer { offset += count }
            return bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt64($1) }
        }

        /// Whether these bytes are there; they are passed then.
        mutating func skip(_ count: Int) -> Bool {
            guard count <= bytes.count - offset else { return false }
            offset += count
            return true
        }

        mutating func address6() -> FrameAddress? {
            guard let high = take(8), let low = take(8) else { return nil }
            return .version6(high, low)
        }
    }
}
