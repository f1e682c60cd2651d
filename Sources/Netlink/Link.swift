// An interface as RTM_NEWLINK describes it.
// Invariant: names are bytes, since two byte sequences can be one Swift String.

/// A network interface. `ip -d link show`.
public struct Link: Hashable, Sendable {
    /// The interface index; the kernel gives it to another interface as soon as this one is gone.
    public var index: Int32
    /// 1 to 15 bytes, without a terminating NUL.
    public var name: [UInt8]
    /// The alias (at most 255 bytes), nil where there is none.
    public var alias: [UInt8]?
    /// IFLA_INFO_KIND: `tun`, `veth`, `ifb`, `bridge`; nil for hardware and loopback.
    public var kind: String?
    /// IFLA_INFO_SLAVE_KIND: what it is a port of, `bridge`, `openvswitch`, `bond`.
    public var portKind: String?
    /// Whether it is a port of Open vSwitch.
    public var isOnOpenVSwitch: Bool { portKind == "openvswitch" }
    /// The link-layer address; six bytes for Ethernet, none for some tunnels.
    public var address: [UInt8]
    /// ARPHRD_*: 1 is Ethernet, 772 loopback.
    public var hardwareType: UInt16
    /// The largest payload of a frame, in bytes.
    public var mtu: UInt32
    /// IFF_*, as `struct ifinfomsg` has them.
    public var flags: UInt32
    /// IFF_UP: set up by the administrator, carrier or not.
    public var isUp: Bool { flags & 1 != 0 }
    /// The bridge or switch it is a port of.
    public var master: Int32?
    /// Transmit queues.
    public var txQueueCount: UInt32
    /// The root qdisc's kind.
    public var qdisc: String?
    /// Whether it has carrier; true where the kernel does not say.
    public var hasCarrier: Bool

    /// An interface of these properties.
    public init(
        index: Int32, name: [UInt8], alias: [UInt8]? = nil, kind: String? = nil,
        portKind: String? = nil, address: [UInt8] = [], hardwareType: UInt16 = 1,
        mtu: UInt32 = 1500, flags: UInt32 = 0, master: Int32? = nil, txQueueCount: UInt32 = 1,
        qdisc: String? = nil, hasCarrier: Bool = true
    ) {
        self.index = index
        self.name = name
        self.alias = alias
        self.kind = kind
        self.portKind = portKind
        self.address = address
        self.hardwareType = hardwareType
        self.mtu = mtu
        self.flags = flags
        self.master = master
        self.txQueueCount = txQueueCount
        self.qdisc = qdisc
        self.hasCarrier = hasCarrier
    }
}

/// An interface's counters: the leading part of `struct rtnl_link_stats64`.
public struct LinkStatistics: Hashable, Sendable {
    /// Packets received: for a tap, what the VM sent.
    public var rxPackets: UInt64
    /// Packets sent: for a tap, what the VM was sent.
    public var txPackets: UInt64
    /// Bytes received.
    public var rxBytes: UInt64
    /// Bytes sent.
    public var txBytes: UInt64

    /// Counters of these values; a new interface has zeros.
    public init(
        rxPackets: UInt64 = 0, txPackets: UInt64 = 0, rxBytes: UInt64 = 0, txBytes: UInt64 = 0
    ) {
        self.rxPackets = rxPackets
        self.txPackets = txPackets
        self.rxBytes = rxBytes
        self.txBytes = txBytes
    }
}

/// An interface in a look at all of them.
public struct LinkSample: Hashable, Sendable {
    /// Its index.
    public var index: Int32
    /// Whether its counters were read; else it is only there.
    public var isRead: Bool
    /// Its counters; zeros where they were not read.
    public var statistics: LinkStatistics

    /// An interface and its counters; nil: they were not read.
    public init(index: Int32, statistics: LinkStatistics?) {
        self.index = index
        isRead = statistics != nil
        self.statistics = statistics ?? LinkStatistics()
    }
}
