// A port: a network interface of the host that the daemon watches.
// Invariants: identity is the interface's index and generation, never its name alone, since the
// kernel gives both to another interface at once; names are bytes, since two different byte
// sequences can be one Swift String.

/// What a port is, by the configuration's name patterns.
public enum PortClass: String, Hashable, CaseIterable, Sendable {
    /// A virtual machine's tap.
    case vm
    /// A cloudspace's virtual router.
    case router
    /// A tenant's VXLAN endpoint.
    case vtep
    /// The network that carries all VXLAN traffic.
    case backend
}

/// An interface's identity while it lives.
public struct PortID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The kernel's interface index.
    public var index: Int32
    /// Tells interfaces with the same index apart, since the daemon started; a later one has a higher
    /// one.
    public var generation: UInt32

    /// The interface of this generation at `index`.
    public init(index: Int32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }

    /// By index, then generation.
    public static func < (left: Self, right: Self) -> Bool {
        (left.index, left.generation) < (right.index, right.generation)
    }

    /// `index.generation`
    public var description: String { "\(index).\(generation)" }
}

/// An interface name as the kernel has it: 1 to 15 bytes, any but `/`, `:`, NUL and blanks.
public struct PortName: Hashable, Sendable, CustomStringConvertible {
    /// The raw bytes, without a terminating NUL.
    public let bytes: [UInt8]

    /// A name of these bytes.
    public init(bytes: [UInt8]) { self.bytes = bytes }

    /// A name of this text's UTF-8 bytes.
    public init(_ text: String) { bytes = Array(text.utf8) }

    /// Printable everywhere: every byte that is not graphic ASCII, and `\` and `"`, stands as
    /// `\xNN`.
    public var description: String {
        var text = ""
        for byte in bytes {
            if byte > 0x20, byte < 0x7f, byte != UInt8(ascii: "\\"), byte != UInt8(ascii: "\"") {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let hex = String(byte, radix: 16)
                text += hex.count == 1 ? "\\x0\(hex)" : "\\x\(hex)"
            }
        }
        return text
    }
}

/// A watched interface.
public struct Port: Hashable, Sendable {
    /// Which interface, while it lives.
    public var id: PortID
    /// Its present name; a rename keeps the identity.
    public var name: PortName
    /// What it is.
    public var portClass: PortClass
    /// The cloudspace it belongs to, where the name pattern tells.
    public var netid: UInt32?
    /// The largest payload of a frame, in bytes, without the Ethernet header.
    public var mtu: UInt32
    /// Whether the host's default route leaves through it: such a port is never shut down.
    public var carriesDefaultRoute: Bool

    /// A watched interface.
    public init(
        id: PortID, name: PortName, portClass: PortClass, netid: UInt32? = nil, mtu: UInt32 = 1500,
        carriesDefaultRoute: Bool = false
    ) {
        self.id = id
        self.name = name
        self.portClass = portClass
        self.netid = netid
        self.mtu = mtu
        self.carriesDefaultRoute = carriesDefaultRoute
    }
}

/// Whose traffic: as the VM's owner sees it, not as the host does.
public enum Direction: String, Hashable, CaseIterable, Sendable {
    /// From the VM: the port's rx, tc ingress.
    case from
    /// To the VM: the port's tx, tc egress.
    case to
}

/// A port's counters, both directions, as `struct rtnl_link_stats64` has them: they only grow while
/// the interface lives.
public struct Counters: Hashable, Sendable {
    /// Packets that the VM sent (rx_packets): the offered load, dropped or not.
    public var fromPackets: UInt64
    /// Bytes that the VM sent (rx_bytes).
    public var fromBytes: UInt64
    /// Packets to the VM (tx_packets).
    public var toPackets: UInt64
    /// Bytes to the VM (tx_bytes).
    public var toBytes: UInt64

    /// Counters of these values; a new interface has zeros.
    public init(
        fromPackets: UInt64 = 0, fromBytes: UInt64 = 0, toPackets: UInt64 = 0, toBytes: UInt64 = 0
    ) {
        self.fromPackets = fromPackets
        self.fromBytes = fromBytes
        self.toPackets = toPackets
        self.toBytes = toBytes
    }
}

/// A port's counters in a poll.
public struct PortSample: Sendable {
    /// The port's place.
    public var slot: Engine.Slot
    /// Its counters.
    public var counters: Counters
    /// When they were read.
    public var at: Instant

    /// The counters of the port at `slot`, as they were read at `at`.
    public init(_ slot: Engine.Slot, _ counters: Counters, at: Instant) {
        self.slot = slot
        self.counters = counters
        self.at = at
    }
}

/// What got through in one direction, as the objects that limit it count.
public struct DeliveredCounters: Hashable, Sendable {
    /// Packets that passed.
    public var packets: UInt64
    /// Bytes that passed.
    public var bytes: UInt64

    /// Counters of these values.
    public init(packets: UInt64 = 0, bytes: UInt64 = 0) {
        self.packets = packets
        self.bytes = bytes
    }
}
