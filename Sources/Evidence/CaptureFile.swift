// Packets in a file as pcap has it (draft-ietf-opsawg-pcap): what tcpdump and Wireshark read.
//
// Invariants: what is written is little endian, with nanoseconds, of link type Ethernet, and holds the
// first 128 bytes of each packet with its length on the wire; what is read may be of either byte
// order and precision, and any bytes are read without a trap: what is torn ends with its last whole
// packet.

/// A packet, or the beginning of one.
public struct SampledPacket: Hashable, Sendable {
    /// When it came, in nanoseconds since 1970.
    public var nanoseconds: UInt64
    /// How long it is on the wire, in bytes; never less than there are of it.
    public var length: UInt32
    /// Its beginning.
    public var bytes: [UInt8]

    /// The beginning of a packet of this length; `bytes` beyond the snapshot's length are left out.
    public init(nanoseconds: UInt64, length: UInt32, bytes: some Collection<UInt8>) {
        self.nanoseconds = nanoseconds
        self.bytes = Array(bytes.prefix(CaptureFile.snapLength))
        self.length = max(length, UInt32(self.bytes.count))
    }
}

/// Why bytes are no capture.
public enum CaptureFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// It does not begin as pcap does.
    case foreign
    /// Its packets are of this link type, and no Ethernet frames.
    case linkType(UInt32)

    /// The end of a sentence that begins with the file's name.
    public var description: String {
        switch self {
        case .foreign: "is no pcap file (of pcapng tcpdump makes one: -r OLD -w NEW)"
        case .linkType(let type): "holds packets of link type \(type), and no Ethernet frames"
        }
    }
}

/// A file of packets.
public enum CaptureFile {
    /// As much is kept of a packet, in bytes.
    public static let snapLength = 128

    private static let headBytes = 24
    private static let recordBytes = 16
    private static let nanosecondMagic: UInt32 = 0xa1b2_3c4d
    private static let microsecondMagic: UInt32 = 0xa1b2_c3d4
    private static let ethernet: UInt32 = 1
    /// LINKTYPE has 16 bits; the rest says how long the check sequence is.
    private static let linkTypeMask: UInt32 = 0xffff

    /// A whole file with these packets.
    public static func bytes(of packets: [SampledPacket]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(headBytes + packets.count * (recordBytes + snapLength))
        // Version 2.4, no time zone, no accuracy.
        let head: [UInt32] = [nanosecondMagic, 4 << 16 | 2, 0, 0, UInt32(snapLength), ethernet]
        for word in head { append(word, to: &bytes) }
        for packet in packets {
            let (seconds, nanoseconds) = packet.nanoseconds.quotientAndRemainder(
                dividingBy: 1_000_000_000)
            append(UInt32(truncatingIfNeeded: seconds), to: &bytes)
            append(UInt32(nanoseconds), to: &bytes)
            append(UInt32(packet.bytes.count), to: &bytes)
            append(packet.length, to: &bytes)
            bytes += packet.bytes
        }
        return bytes
    }

    /// The packets in a file, in its order; of each no more than `snapLength` bytes.
    ///
    /// - Parameter most: as many packets; what follows is left out.
    /// - Returns: the packets, and whether the file ends within one, or with what is none.
    /// - Throws: `CaptureFileError` where it is no capture of Ethernet frames.
    public static func read(
        _ bytes: [UInt8], most: Int
    ) throws(CaptureFileError) -> (packets: [SampledPacket], isTorn: Bool) {
        guard let form = Form(bytes) else { throw .foreign }
        guard let type = form.word(bytes, at: 20) else { throw .foreign }
        guard type & linkTypeMask == ethernet else { throw .linkType(type & linkTypeMask) }
        var packets: [SampledPacket] = []
        var offset = headBytes
        while offset < bytes.count, packets.count < most {
            guard let (packet, count) = record(bytes, at: offset, form) else {
                return (packets, true)
            }
            packets.append(packet)
            offset += recordBytes + count
        }
        return (packets, false)
    }

    /// One packet, and how many bytes of it are in the file; nil where it is torn or none.
    private static func record(
        _ bytes: [UInt8], at offset: Int, _ form: Form
    ) -> (SampledPacket, Int)? {
        guard let seconds = form.word(bytes, at: offset),
            let fraction = form.word(bytes, at: offset + 4),
            let held = form.word(bytes, at: offset + 8),
            let length = form.word(bytes, at: offset + 12)
        else { return nil }
        let start = offset + recordBytes
        // On every platform that we run on an Int has room for it.
        let count = Int(held)
        guard count <= bytes.count - start else { return nil }
        let nanoseconds =
            UInt64(seconds) * 1_000_000_000 + UInt64(fraction) * (form.isInNanoseconds ? 1 : 1_000)
        return (
            SampledPacket(
                nanoseconds: nanoseconds, length: length, bytes: bytes[start..<start + count]),
            count
        )
    }

    private static func append(_ word: UInt32, to bytes: inout [UInt8]) {
        for shift in stride(from: UInt32(0), to: 32, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: word >> shift))
        }
    }

    /// A file's byte order and precision.
    private struct Form {
        let isBigEndian: Bool
        let isInNanoseconds: Bool

        init?(_ bytes: [UInt8]) {
            guard bytes.count >= headBytes, let magic = Self.little(bytes, at: 0) else {
                return nil
            }
            switch (magic, magic.byteSwapped) {
            case (nanosecondMagic, _): (isBigEndian, isInNanoseconds) = (false, true)
            case (microsecondMagic, _): (isBigEndian, isInNanoseconds) = (false, false)
            case (_, nanosecondMagic): (isBigEndian, isInNanoseconds) = (true, true)
            case (_, microsecondMagic): (isBigEndian, isInNanoseconds) = (true, false)
            default: return nil
            }
        }

        func word(_ bytes: [UInt8], at offset: Int) -> UInt32? {
            Self.little(bytes, at: offset).map { isBigEndian ? $0.byteSwapped : $0 }
        }

        private static func little(_ bytes: [UInt8], at offset: Int) -> UInt32? {
            guard offset <= bytes.count - 4 else { return nil }
            return (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
        }
    }
}
