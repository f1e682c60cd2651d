// The frames of a self-test: IPv4 between two addresses that are nobody's (RFC 2544), told apart by
// what they carry.
// Invariant: they never leave the throw-away pair; no checksum is set, since nobody looks at one.

/// A frame of a self-test.
enum TestFrame: Hashable {
    /// UDP to the port discard.
    case flood
    /// TCP from a server of the VM's, or to one: the management lane.
    case lane

    private static let header = 14
    private static let protocolOffset = header + 9
    private static let network: [UInt8] = [198, 18, 0]
    private static let networkOffset = header + 12

    /// The Ethernet type of all of them: IPv4.
    static let type: UInt16 = 0x0800

    /// The bytes of one, without a frame check sequence.
    ///
    /// - Parameters:
    ///   - server: the management lane's TCP port, which the sender's is in what the VM sends, and the
    ///     receiver's in what it is sent.
    ///   - count: 60 or more.
    func bytes(_ server: UInt16, isFromVM: Bool, count: Int) -> [UInt8] {
        let client: UInt16 = 40_000
        let ports =
            switch self {
            case .flood: [client, 9]
            case .lane: isFromVM ? [server, client] : [client, server]
            }
        let length = UInt16(clamping: count - Self.header)
        let addresses: [UInt8] = isFromVM ? [2, 1] : [1, 2]
        // To nobody's address: the host's own stack drops it unseen, as what is for others.
        var bytes: [UInt8] = [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, addresses[0], 8, 0]
        bytes +=
            [0x45, 0] + Self.network(length) + [0, 0, 0, 0, 64, self == .flood ? 17 : 6, 0, 0]
        for address in addresses { bytes += Self.network + [address] }
        bytes += ports.flatMap(Self.network)
        switch self {
        case .flood: bytes += Self.network(length - 20) + [0, 0]
        // Sequence and acknowledgement, 20 bytes of header, ACK and PSH, window, checksum, urgent.
        case .lane: bytes += [0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0x7f, 0xff, 0, 0, 0, 0]
        }
        return bytes + [UInt8](repeating: 0, count: max(0, count - bytes.count))
    }

    /// What a frame is, by its first bytes; nil where it is none of ours.
    init?(head: [UInt8]) {
        guard head.count > Self.networkOffset + 3,
            head[Self.networkOffset..<Self.networkOffset + 3].elementsEqual(Self.network)
        else { return nil }
        switch head[Self.protocolOffset] {
        case 17: self = .flood
        case 6: self = .lane
        default: return nil
        }
    }

    private static func network(_ number: UInt16) -> [UInt8] {
        [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)]
    }
}
