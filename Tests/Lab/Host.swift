// A hypervisor in the calling thread's namespace: a bridge, an uplink, and the taps of its VMs.
// Invariant: made, used and closed on a thread of one namespace (`Namespace.run`).

internal import CLab

/// A hypervisor with a bridge and an uplink.
public final class Host: Sendable {
    /// The bridge's name.
    public static let bridge = "br0"

    /// What is behind the uplink: the last number of the /16 but one.
    public static let outside = Endpoint(number: 0xfffe)

    /// The way out: what the VMs send arrives in `uplink.received`; with a guest inside, it is the
    /// outside host that the VMs' connections end in.
    public let uplink: Station

    /// Makes the bridge and the uplink, both up, without IPv6 of their own and without multicast
    /// snooping or netfilter, so that no frame is seen that no test sent and none is dropped, and
    /// with an address of its own, which would else be the least of its ports'.
    ///
    /// - Throws: `LabError` where the namespace has a bridge of this name already.
    public init(outside: Station.Inside = .sink, uplinkName: String = "uplink") throws(LabError) {
        for scope in ["all", "default"] {
            try writeFile("1", to: "/proc/sys/net/ipv6/conf/\(scope)/disable_ipv6")
        }
        for family in ["ip", "ip6", "arp"] {
            // Netfilter on bridges drops frames that are malformed, where the kernel has it.
            try? writeFile("0", to: "/proc/sys/net/bridge/bridge-nf-call-\(family)tables")
        }
        try Tool.run(
            "ip", "link", "add", Self.bridge, "address", "52:54:00:ff:ff:00", "type", "bridge",
            "mcast_snooping", "0", "forward_delay", "0")
        try checked(unsafe clab_link_set_up(Self.bridge, true), "set \(Self.bridge) up")
        uplink = try Station(
            name: uplinkName, endpoint: Self.outside, inside: outside, bridge: Self.bridge,
            framesKept: 1 << 20)
        // A second of a flood of 20,000 frames waits for its reader rather than being lost, where
        // one processor does all the work: then a loss is one of the limits under test.
        try checked(
            unsafe clab_link_set_queue_length(uplinkName, 20_000), "queue of \(uplinkName)")
    }

    /// Starts a VM: tap `vm-<number>-<netid>` on the bridge, addresses made of the number.
    ///
    /// - Throws: `LabError`; EBUSY where its tap exists.
    public func start(
        vm number: UInt16, netid: UInt16 = 0xaa, inside: Station.Inside = .sink
    ) throws(LabError) -> Station {
        try Station(
            name: "vm-\(number)-\(hexadecimal(UInt64(netid), digits: 4))",
            endpoint: Endpoint(number: number, network: netid), inside: inside,
            bridge: Self.bridge)
    }
}
