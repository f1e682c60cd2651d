// A guest's own network stack behind a tap: its namespace with eth0 in it.

internal import CLab
internal import Glibc

/// The kernel of a guest, as far as the network sees it.
public final class GuestStack: Sendable {
    /// Its network namespace: sockets and processes of the guest start here.
    public let namespace: Namespace
    /// What eth0 has.
    public let endpoint: Endpoint
    let tap: Tap

    init(_ endpoint: Endpoint) throws(LabError) {
        let namespace = try Namespace()
        self.namespace = namespace
        self.endpoint = endpoint
        tap = try namespace.perform { () throws(LabError) in
            // Without these the guest says things nobody asked for, and waits before it speaks.
            for setting in ["accept_dad", "router_solicitations", "accept_ra"] {
                try writeFile("0", to: "/proc/sys/net/ipv6/conf/default/\(setting)")
            }
            let tap = try Tap("eth0", takesSegments: true)
            let mac = endpoint.mac.bytes
            try checked(unsafe clab_link_set_mac("eth0", mac), "set the MAC of eth0")
            try tap.setUp(true)
            try Tool.run("ip", "address", "add", "\(endpoint.address4)/16", "dev", "eth0")
            try Tool.run(
                "ip", "address", "add", "\(endpoint.address6)/64", "dev", "eth0", "nodad")
            return tap
        }
    }

    /// Makes another's addresses known for good, so that nothing depends on ARP or discovery
    /// (`ip neighbour replace ADDRESS lladdr MAC dev eth0 nud permanent`).
    ///
    /// - Throws: `LabError` with the tool's sentence.
    public func addNeighbour(_ other: Endpoint) throws(LabError) {
        try namespace.perform { () throws(LabError) in
            for address in ["\(other.address4)", "\(other.address6)"] {
                try Tool.run(
                    "ip", "neighbour", "replace", address, "lladdr", "\(other.mac)", "dev", "eth0",
                    "nud", "permanent")
            }
        }
    }
}
