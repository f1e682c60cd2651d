// Frames as a VM would build them, each behind its virtio_net_hdr.
// Invariant: the frame is exactly as long as asked for, or as short as its headers allow.

internal import CLab

/// Builds one packet for a tap: header and frame.
struct FrameWriter {
    /// "SLUI": a flood's payload begins with this mark and the moment it was sent.
    static let stampMark: UInt64 = 0x534c_5549
    /// The mark and eight bytes of CLOCK_MONOTONIC.
    static let stampBytes = 12

    /// virtio_net_hdr and frame.
    private(set) var bytes = [UInt8](repeating: 0, count: Tap.headerBytes)
    /// Where the stamp's eight bytes stand; nil where the frame has no room for it.
    private(set) var stampOffset: Int?

    /// One packet of a flood.
    init(_ flood: Flood, from source: Endpoint, frameBytes: Int) {
        put(flood.to.mac.bytes)
        put(source.mac.bytes)
        for (position, tag) in flood.tags.enumerated() {
            put(position == 0 && flood.tags.count > 1 ? 0x88a8 : 0x8100, bytes: 2)
            put(UInt64(tag & 0x0fff), bytes: 2)
        }
        let wanted = Tap.headerBytes + frameBytes
        switch flood.traffic {
        case .udp4, .tcp4, .segments, .fragments4, .icmp4:
            putIPv4(flood, from: source, end: wanted)
        case .udp6, .tcp6, .fragments6:
            putIPv6(flood, from: source, end: wanted)
        case .arp:
            putARP(from: source, asksFor: flood.to.address4)
            pad(to: wanted)
        }
    }

    /// A raw frame, padded to the 60 bytes of the shortest one.
    init(raw frame: [UInt8]) {
        put(frame)
        pad(to: Tap.headerBytes + 60)
    }

    /// An ARP request of `source` for an address, to everyone.
    init(arpRequestFrom source: Endpoint, for address: IPv4Address) {
        put(MACAddress.broadcast.bytes)
        put(source.mac.bytes)
        putARP(from: source, asksFor: address)
        pad(to: Tap.headerBytes + 60)
    }

    private mutating func put(_ more: [UInt8]) { bytes += more }

    private mutating func put(_ number: UInt64, bytes count: Int) {
        for index in (0..<count).reversed() {
            bytes.append(UInt8(truncatingIfNeeded: number >> (8 * index)))
        }
    }

    private mutating func set(_ number: UInt64, at offset: Int) {
        bytes[offset] = UInt8(truncatingIfNeeded: number >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: number)
    }

    private mutating func pad(to end: Int) {
        guard bytes.count < end else { return }
        bytes += [UInt8](repeating: 0, count: end - bytes.count)
    }

    private mutating func putARP(from source: Endpoint, asksFor address: IPv4Address) {
        put(0x0806, bytes: 2)
        put(0x0001_0800_0604_0001, bytes: 8)
        put(source.mac.bytes + source.address4.bytes)
        put([UInt8](repeating: 0, count: 6) + address.bytes)
    }

    private mutating func putIPv4(_ flood: Flood, from source: Endpoint, end: Int) {
        put(0x0800, bytes: 2)
        let start = bytes.count
        put(0x4500, bytes: 2)
        put(0, bytes: 2)  // total length, below
        // A later fragment: offset 64 words, more to come; else never to be fragmented.
        put(flood.traffic == .fragments4 ? 0x1234_2040 : 0x1234_4000, bytes: 4)
        put(64, bytes: 1)
        put(UInt64(flood.traffic.protocolNumber), bytes: 1)
        put(0, bytes: 2)  // header checksum, below
        put(source.address4.bytes + flood.to.address4.bytes)
        let pseudo = source.address4.bytes + flood.to.address4.bytes
        putTransport(flood, pseudo: pseudo, end: end)
        set(UInt64(bytes.count - start), at: start + 2)
        set(UInt64(~sum(bytes[start..<start + 20])), at: start + 10)
    }

    private mutating func putIPv6(_ flood: Flood, from source: Endpoint, end: Int) {
        put(0x86dd, bytes: 2)
        let start = bytes.count
        put(0x6000_0000, bytes: 4)
        put(0, bytes: 2)  // payload length, below
        let isFragment = flood.traffic == .fragments6
        put(isFragment ? 44 : UInt64(flood.traffic.protocolNumber), bytes: 1)
        put(64, bytes: 1)
        put(source.address6.bytes + flood.to.address6.bytes)
        // Next header, nothing, offset 64 words with more to come, identification.
        if isFragment { put(0x1100_0201_0000_1234, bytes: 8) }
        let pseudo = source.address6.bytes + flood.to.address6.bytes
        putTransport(flood, pseudo: pseudo, end: end)
        set(UInt64(bytes.count - start - 40), at: start + 4)
    }

    private mutating func putTransport(_ flood: Flood, pseudo: [UInt8], end: Int) {
        let start = bytes.count
        switch flood.traffic {
        case .icmp4:
            put(0x0800_0000_0000_0001, bytes: 8)
        case .fragments4, .fragments6:
            // What a careless filter takes for ports.
            put(UInt64(flood.sourcePort) << 16 | UInt64(flood.destinationPort), bytes: 4)
        case .udp4, .udp6, .tcp4, .tcp6, .segments, .arp:
            put(UInt64(flood.sourcePort) << 16 | UInt64(flood.destinationPort), bytes: 4)
            // UDP's length and checksum below; TCP: ACK and PSH, a window, no options.
            flood.traffic.isTCP
                ? put([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0])
                : put(0, bytes: 4)
        }
        let payload = bytes.count
        if bytes.count + Self.stampBytes <= end {
            put(Self.stampMark, bytes: 4)
            stampOffset = bytes.count
            put(0, bytes: 8)
        }
        pad(to: end)
        finishTransport(flood, pseudo: pseudo, start: start, payload: payload)
    }

    /// Lengths, and the checksums, which the kernel completes as it does for a guest with offloads.
    private mutating func finishTransport(
        _ flood: Flood, pseudo: [UInt8], start: Int, payload: Int
    ) {
        let length = bytes.count - start
        switch flood.traffic {
        case .icmp4: set(UInt64(~sum(bytes[start...])), at: start + 2)
        case .fragments4, .fragments6, .arp: break
        case .udp4, .udp6:
            set(UInt64(length), at: start + 4)
            askForChecksum(flood, pseudo: pseudo, start: start, field: 6)
        case .tcp4, .tcp6, .segments:
            askForChecksum(flood, pseudo: pseudo, start: start, field: 16)
        }
        guard case .segments(let size) = flood.traffic else { return }
        var header = virtio_net_hdr()
        header.flags = UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM)
        header.gso_type = UInt8(VIRTIO_NET_HDR_GSO_TCPV4)
        header.hdr_len = UInt16(payload - Tap.headerBytes)
        header.gso_size = size
        header.csum_start = UInt16(start - Tap.headerBytes)
        header.csum_offset = 16
        putHeader(header)
    }

    private mutating func askForChecksum(
        _ flood: Flood, pseudo: [UInt8], start: Int, field: Int
    ) {
        let length = bytes.count - start
        let tail: [UInt8] = [
            0, flood.traffic.protocolNumber, UInt8(length >> 8 & 0xff), UInt8(length & 0xff),
        ]
        set(UInt64(sum((pseudo + tail)[...])), at: start + field)
        var header = virtio_net_hdr()
        header.flags = UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM)
        header.csum_start = UInt16(start - Tap.headerBytes)
        header.csum_offset = UInt16(field)
        putHeader(header)
    }

    private mutating func putHeader(_ header: virtio_net_hdr) {
        unsafe withUnsafeBytes(of: header) { raw in
            for index in raw.indices { unsafe bytes[index] = raw[index] }
        }
    }

    /// The Internet checksum's sum (RFC 1071), not yet complemented.
    private func sum(_ slice: ArraySlice<UInt8>) -> UInt16 {
        var total: UInt32 = 0
        for (position, byte) in slice.enumerated() {
            total += position % 2 == 0 ? UInt32(byte) << 8 : UInt32(byte)
        }
        while total > 0xffff { total = total & 0xffff + total >> 16 }
        return UInt16(total)
    }
}
