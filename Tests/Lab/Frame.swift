// A delivered frame as the laboratory remembers it, and how it is read off the wire.
// Invariant: nothing is read past the end of what was received; what cannot be read is `other`.

internal import CLab

/// A frame that arrived.
public struct Frame: Hashable, Sendable {
    /// What a frame carries.
    public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
        /// ARP of any operation.
        case arp
        /// ICMPv6 133 to 137.
        case neighbourDiscovery
        /// UDP between the ports 67 and 68.
        case dhcp
        /// Other ICMP and ICMPv6.
        case icmp
        /// TCP, a first or only fragment.
        case tcp
        /// UDP, a first or only fragment.
        case udp
        /// A later fragment of IPv4 or IPv6.
        case fragment
        /// Anything else.
        case other
    }

    /// When it was read from the tap.
    public var arrived: Moment
    /// When a flood sent it; nil for all other frames.
    public var sent: Moment?
    /// Bytes, Ethernet header and VLAN tags included, the frame check sequence not.
    public var bytes: UInt32
    /// The packets that it stands for on a wire: more than one for a TSO frame.
    public var packets: UInt32
    /// The sender's Ethernet address.
    public var source: MACAddress
    /// The receiver's Ethernet address.
    public var destination: MACAddress
    /// What it carries.
    public var kind: Kind
    /// How many VLAN tags stand in front.
    public var tags: UInt8
    /// The TCP or UDP source port, else 0.
    public var sourcePort: UInt16
    /// The TCP or UDP destination port, else 0.
    public var destinationPort: UInt16
}

/// Which frames are meant; nil is any.
public struct FrameFilter: Hashable, Sendable {
    /// The sender.
    public var source: MACAddress?
    /// The receiver.
    public var destination: MACAddress?
    /// What it carries.
    public var kind: Frame.Kind?
    /// The TCP or UDP source port.
    public var sourcePort: UInt16?
    /// The TCP or UDP destination port.
    public var destinationPort: UInt16?

    /// The frames that have all of these.
    public init(
        from source: MACAddress? = nil, to destination: MACAddress? = nil,
        kind: Frame.Kind? = nil, sourcePort: UInt16? = nil, destinationPort: UInt16? = nil
    ) {
        self.source = source
        self.destination = destination
        self.kind = kind
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }

    /// Whether a frame is meant.
    public func matches(_ frame: Frame) -> Bool {
        (source ?? frame.source) == frame.source
            && (destination ?? frame.destination) == frame.destination
            && (kind ?? frame.kind) == frame.kind
            && (sourcePort ?? frame.sourcePort) == frame.sourcePort
            && (destinationPort ?? frame.destinationPort) == frame.destinationPort
    }
}

/// Reads a header and a frame, while the buffer that it was given is not written to.
@safe struct FrameReader {
    private let packet: UnsafeRawBufferPointer
    private var offset = Tap.headerBytes

    init(_ packet: UnsafeRawBufferPointer) { unsafe self.packet = packet }

    /// The frame, or nil where not even an Ethernet header is there. When it arrived is left to whoever
    /// looks at the clock.
    mutating func read() -> Frame? {
        let count = unsafe packet.count - Tap.headerBytes
        guard count >= 14 else { return nil }
        var frame = Frame(
            arrived: Moment(nanoseconds: 0), sent: nil, bytes: UInt32(count), packets: 1,
            source: MACAddress(number(at: offset + 6, bytes: 6)),
            destination: MACAddress(number(at: offset, bytes: 6)), kind: .other, tags: 0,
            sourcePort: 0, destinationPort: 0)
        offset += 12
        while [0x8100, 0x88a8].contains(number(at: offset, bytes: 2)) {
            frame.tags += 1
            offset += 4
        }
        let type = number(at: offset, bytes: 2)
        offset += 2
        switch type {
        case 0x0806: frame.kind = .arp
        case 0x0800: readIPv4(into: &frame)
        case 0x86dd: readIPv6(into: &frame)
        default: break
        }
        return frame
    }

    private mutating func readIPv4(into frame: inout Frame) {
        let lengthWords = number(at: offset, bytes: 1) & 0x0f
        let protocolNumber = number(at: offset + 9, bytes: 1)
        let isLater = number(at: offset + 6, bytes: 2) & 0x1fff != 0
        offset += Int(lengthWords) * 4
        readTransport(protocolNumber, isLater: isLater, into: &frame)
    }

    private mutating func readIPv6(into frame: inout Frame) {
        var next = number(at: offset + 6, bytes: 1)
        var isLater = false
        offset += 40
        if next == 44 {
            next = number(at: offset, bytes: 1)
            isLater = number(at: offset + 2, bytes: 2) & 0xfff8 != 0
            offset += 8
        }
        readTransport(next, isLater: isLater, into: &frame)
    }

    private mutating func readTransport(
        _ protocolNumber: UInt64, isLater: Bool, into frame: inout Frame
    ) {
        guard !isLater else {
            frame.kind = .fragment
            frame.sent = stamp(at: offset + 4)
            return
        }
        switch protocolNumber {
        case 1: frame.kind = .icmp
        case 58:
            let type = number(at: offset, bytes: 1)
            frame.kind = (133...137).contains(type) ? .neighbourDiscovery : .icmp
        case 6, 17:
            frame.sourcePort = UInt16(number(at: offset, bytes: 2))
            frame.destinationPort = UInt16(number(at: offset + 2, bytes: 2))
            let isTCP = protocolNumber == 6
            let isDHCP =
                !isTCP && [67, 68].contains(frame.sourcePort)
                && [67, 68].contains(frame.destinationPort)
            frame.kind = isTCP ? .tcp : isDHCP ? .dhcp : .udp
            offset += isTCP ? Int(number(at: offset + 12, bytes: 1) >> 4) * 4 : 8
            frame.sent = stamp(at: offset)
            countSegments(into: &frame)
        default: break
        }
    }

    /// gso_size of struct virtio_net_hdr: payload bytes of each packet that this frame stands for.
    private func countSegments(into frame: inout Frame) {
        let header = unsafe packet.loadUnaligned(as: virtio_net_hdr.self)
        let payload = unsafe packet.count - offset
        guard header.gso_type != UInt8(VIRTIO_NET_HDR_GSO_NONE), header.gso_size > 0, payload > 0
        else { return }
        let size = Int(header.gso_size)
        frame.packets = UInt32((payload + size - 1) / size)
    }

    private func stamp(at offset: Int) -> Moment? {
        guard number(at: offset, bytes: 4) == FrameWriter.stampMark else { return nil }
        return Moment(nanoseconds: number(at: offset + 4, bytes: 8))
    }

    /// A number in network order; zeros where the frame has ended.
    private func number(at offset: Int, bytes: Int) -> UInt64 {
        guard unsafe offset + bytes <= packet.count else { return 0 }
        var value: UInt64 = 0
        for index in offset..<offset + bytes { unsafe value = value << 8 | UInt64(packet[index]) }
        return value
    }
}
