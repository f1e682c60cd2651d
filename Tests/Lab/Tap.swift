// A tap and the descriptor behind it, which a VM's network backend holds.
// Invariant: every frame on the descriptor stands behind a virtio_net_hdr of `Tap.headerBytes`.

internal import CLab
internal import Glibc

/// What a frame is sent from or to.
public struct Endpoint: Hashable, Sendable {
    /// Its Ethernet address.
    public var mac: MACAddress
    /// Its IPv4 address, in a /16.
    public var address4: IPv4Address
    /// Its IPv6 address, in a /64.
    public var address6: IPv6Address

    /// These addresses.
    public init(mac: MACAddress, address4: IPv4Address, address6: IPv6Address) {
        self.mac = mac
        self.address4 = address4
        self.address6 = address6
    }

    /// Addresses made of a number: 52:54:00:00:nn:nn (`network` in the middle), 10.0.n.n, fd00::n.
    public init(number: UInt16, network: UInt16 = 0) {
        mac = MACAddress(0x5254_0000_0000 | UInt64(network) << 16 | UInt64(number))
        address4 = IPv4Address(10, 0, UInt8(number >> 8), UInt8(number & 0xff))
        address6 = IPv6Address(0xfd00_0000_0000_0000, UInt64(number))
    }
}

/// A tap that lives as long as this object.
final class Tap: Sendable {
    /// sizeof(struct virtio_net_hdr), what IFF_VNET_HDR puts in front of every frame.
    static let headerBytes = MemoryLayout<virtio_net_hdr>.size

    /// A header and the largest frame, with room for two VLAN tags.
    static let largestRead = headerBytes + 65_536 + 22

    let name: String
    /// The interface's index in its namespace.
    let index: Int32
    private let file: Descriptor

    var descriptor: Int32 { file.number }

    /// Makes a tap in the calling thread's namespace, down (`ip tuntap add NAME mode tap
    /// vnet_hdr`). With `takesSegments`, the descriptor is given frames of up to 64 KB whole.
    init(_ name: String, takesSegments: Bool) throws(LabError) {
        self.name = name
        file = try Descriptor(unsafe clab_tap_open(name), "open tap \(name)")
        index = Int32(unsafe if_nametoindex(name))
        try checked(clab_tap_set_offload(file.number, takesSegments), "set offloads of \(name)")
    }

    /// Joins a tap that another program made with several queues, as one more of them. It lives as
    /// long as any of its queues.
    init(joining name: String) throws(LabError) {
        self.name = name
        file = try Descriptor(unsafe clab_tap_join(name), "join tap \(name)")
        index = Int32(unsafe if_nametoindex(name))
        try checked(clab_tap_set_offload(file.number, false), "set offloads of \(name)")
    }

    /// Sets the link up or down (`ip link set NAME up`).
    func setUp(_ isUp: Bool) throws(LabError) {
        try checked(unsafe clab_link_set_up(name, isUp), "set \(name) \(isUp ? "up" : "down")")
    }

    /// Writes a header and a frame; what the kernel does not take is lost, as on a wire.
    ///
    /// - Returns: whether it was taken.
    @discardableResult
    func write(_ packet: UnsafeRawBufferPointer) -> Bool {
        unsafe Glibc.write(file.number, packet.baseAddress, packet.count) == packet.count
    }

    /// Reads one header and frame.
    ///
    /// - Returns: their length, or nil where none is waiting.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        let count = unsafe Glibc.read(file.number, buffer.baseAddress, buffer.count)
        return count > Self.headerBytes ? count : nil
    }
}
