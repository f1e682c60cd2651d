// Frames as a guarded port may send them, honest and forged, and tables of them with the verdict.
//
// Every frame of a table has a length of its own (padding behind the packet, as on a wire), so that
// what arrives tells which one it was.
import Mitigation
import Testing

@testable import TrafficControl

/// Bytes of a number in network order.
func big<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    (0..<Number.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
}

/// A frame without its tags.
struct GuardFrame: Hashable, Sendable {
    var destination: HardwareAddress
    var source: HardwareAddress
    var type: UInt16
    var payload: [UInt8]

    init(
        _ type: UInt16, _ payload: [UInt8], from source: HardwareAddress,
        to destination: HardwareAddress = Self.peer
    ) {
        self.type = type
        self.payload = payload
        self.source = source
        self.destination = destination
    }

    static let peer = HardwareAddress(0x5254_0000_fffe)
    static let everybody = HardwareAddress(0xffff_ffff_ffff)

    /// As sent, with these tags in front of its type, padded to `length` and the tags.
    func bytes(tags: [UInt16] = [], length: Int = 0) -> [UInt8] {
        var frame = destination.bytes + source.bytes
        for tag in tags { frame += big(tag) + [0, 7] }
        frame += big(type) + payload
        return frame + [UInt8](repeating: 0, count: max(0, length + 4 * tags.count - frame.count))
    }
}

/// One line of a table: what it is, and why it is refused; nil: it passes.
struct GuardRow: Sendable {
    var name: String
    var frame: GuardFrame
    var refused: GuardReason?

    static func passes(_ name: String, _ frame: GuardFrame) -> GuardRow {
        GuardRow(name: name, frame: frame)
    }

    static func refused(
        _ reason: GuardReason, _ name: String, _ frame: GuardFrame
    ) -> GuardRow {
        GuardRow(name: name, frame: frame, refused: reason)
    }
}

/// A table, and the guards that it is about.
struct GuardTable: Sendable, CustomTestStringConvertible {
    var name: String
    var guards: Guards
    var rows: [GuardRow]

    var testDescription: String { name }

    /// As many rows are sent at a time; each has a length of its own, whatever its tags.
    static let batch = 50
    /// The length of a row's frame, its tags not counted.
    func length(of row: Int) -> Int { 200 + 16 * (row % Self.batch) }
    /// The tags that every frame is sent with once: none, 802.1Q, 802.1ad over 802.1Q.
    static let tags: [[UInt16]] = [[], [0x8100], [0x88a8, 0x8100]]
}

/// Whose frames they are.
struct GuardIdentity: Sendable {
    var mac: HardwareAddress
    var address4: UInt32
    var address6: AddressPrefix6
    var linkLocal: AddressPrefix6

    /// The station `Endpoint(number: 1, network: 0xaa)` of the laboratory.
    static let vm = GuardIdentity(
        mac: HardwareAddress(0x5254_00aa_0001), address4: 0x0a00_0001,
        address6: AddressPrefix6(0xfd00_0000_0000_0000, 1),
        linkLocal: HardwareAddress(0x5254_00aa_0001).linkLocal)
    static let stranger = GuardIdentity(
        mac: HardwareAddress(0x5254_00aa_0099), address4: 0x0a00_0063,
        address6: AddressPrefix6(0xfd00_0000_0000_0000, 0x63),
        linkLocal: HardwareAddress(0x5254_00aa_0099).linkLocal)
}

// MARK: Packets

extension AddressPrefix6 {
    var packed: [UInt8] { big(high) + big(low) }
    static let none = AddressPrefix6(0, 0)
    static let allNodes = AddressPrefix6(0xff02_0000_0000_0000, 1)
    static let allRouters = AddressPrefix6(0xff02_0000_0000_0000, 2)
    static let listeners = AddressPrefix6(0xff02_0000_0000_0000, 0x16)
    static let outside = AddressPrefix6(0xfd00_0000_0000_0000, 0xfffe)

    /// The group in which an address's neighbours are asked for it (ff02::1:ffxx:xxxx).
    var solicited: AddressPrefix6 {
        AddressPrefix6(0xff02_0000_0000_0000, 0x1_ff00_0000 | low & 0xff_ffff)
    }
}

enum Packet {
    static let outside4: UInt32 = 0x0a00_fffe

    static func udp(_ source: UInt16, _ destination: UInt16, _ body: [UInt8] = [1, 2, 3, 4])
        -> [UInt8]
    {
        big(source) + big(destination) + big(UInt16(8 + body.count)) + [0, 0] + body
    }

    /// Flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
    static func tcp(_ source: UInt16, _ destination: UInt16, flags: UInt8) -> [UInt8] {
        big(source) + big(destination) + big(UInt32(1)) + big(UInt32(1)) + [0x50, flags]
            + [0xff, 0xff, 0, 0, 0, 0]
    }

    static func version4(
        _ proto: UInt8, from source: UInt32, to destination: UInt32 = outside4,
        options: Int = 0, fragment: UInt16 = 0, length: Int? = nil, header: Int? = nil,
        _ body: [UInt8]
    ) -> [UInt8] {
        let total = length ?? 20 + options * 4 + body.count
        return [UInt8(0x45 + options) & 0xf0 | UInt8(header ?? 5 + options), 0]
            + big(UInt16(total)) + [0x12, 0x34] + big(fragment)
            + [64, proto, 0, 0] + big(source) + big(destination)
            + [UInt8](repeating: 1, count: options * 4) + body
    }

    static func version6(
        _ next: UInt8, from source: AddressPrefix6, to destination: AddressPrefix6 = .outside,
        length: Int? = nil, _ body: [UInt8]
    ) -> [UInt8] {
        [0x60, 0, 0, 0] + big(UInt16(length ?? body.count)) + [next, 255] + source.packed
            + destination.packed + body
    }

    /// Hop-by-hop, destination options or routing: `count` times eight bytes.
    static func options(_ next: UInt8, count: UInt8 = 1, _ body: [UInt8]) -> [UInt8] {
        [next, count - 1, 1, UInt8(count * 8 - 4)]
            + [UInt8](repeating: 0, count: Int(count) * 8 - 4) + body
    }

    /// A fragment header; `offset` in units of eight bytes.
    static func fragment(
        _ next: UInt8, offset: UInt16 = 0, more: Bool, _ body: [UInt8]
    ) -> [UInt8] {
        [next, 0] + big(offset << 3 | (more ? 1 : 0)) + [0, 0, 0x12, 0x34] + body
    }

    static func message(_ type: UInt8, _ body: [UInt8] = [0, 0, 0, 0]) -> [UInt8] {
        [type, 0, 0, 0] + body
    }

    /// 135 or 136, with a link-layer address option (1 or 2).
    static func neighbour(
        _ type: UInt8, target: AddressPrefix6, option: UInt8? = nil, mac: HardwareAddress? = nil,
        more: [UInt8] = []
    ) -> [UInt8] {
        var body: [UInt8] = [0, 0, 0, 0] + target.packed
        if let mac { body += [option ?? (type == 135 ? 1 : 2), 1] + mac.bytes }
        return message(type, body + more)
    }

    static func router(_ type: UInt8, mac: HardwareAddress?) -> [UInt8] {
        message(type, [0, 0, 0, 0] + (mac.map { [1, 1] + $0.bytes } ?? []))
    }

    static func listenerReport() -> [UInt8] {
        message(143, [0, 0, 0, 1, 4, 0, 0, 0] + AddressPrefix6.allNodes.packed)
    }

    static func arp(
        _ operation: UInt16, mac: HardwareAddress, sender: UInt32,
        target: HardwareAddress = HardwareAddress(0), asksFor address: UInt32
    ) -> [UInt8] {
        [0, 1, 8, 0, 6, 4] + big(operation) + mac.bytes + big(sender) + target.bytes
            + big(address)
    }
}

extension GuardFrame {
    static func version4(_ packet: [UInt8], from mac: HardwareAddress) -> GuardFrame {
        GuardFrame(0x0800, packet, from: mac)
    }

    static func version6(_ packet: [UInt8], from mac: HardwareAddress) -> GuardFrame {
        GuardFrame(0x86dd, packet, from: mac)
    }

    static func arp(_ packet: [UInt8], from mac: HardwareAddress) -> GuardFrame {
        GuardFrame(0x0806, packet, from: mac, to: everybody)
    }
}
