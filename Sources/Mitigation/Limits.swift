// The wanted state of a port: which rung, and what traffic control shall hold there.

/// A step of the ladder, the gentlest first.
public enum Rung: UInt8, Hashable, Comparable, CaseIterable, Sendable, CustomStringConvertible {
    /// Nothing of ours on the port.
    case normal
    /// What exceeds the target is dropped.
    case police
    /// Redirected to an ifb with the target rate and a delay.
    case shape
    /// A quarter of the rate, twice the delay.
    case tighten
    /// The link is down and the VM is stopped.
    case shutDown

    /// The gentler rung comes first.
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    /// The rung's name in alerts, JSON and configuration: `normal`, `police`, `shape`, `tighten`,
    /// `shutdown`.
    public var description: String {
        switch self {
        case .normal: "normal"
        case .police: "police"
        case .shape: "shape"
        case .tighten: "tighten"
        case .shutDown: "shutdown"
        }
    }
}

/// A limit in packets and in bits that hold at the same time.
public struct Cap: Hashable, Codable, Sendable {
    /// Packets in a second.
    public var packets: PacketRate
    /// Bits in a second, Ethernet header included.
    public var bits: BitRate

    /// Both limits at the same time.
    public init(packets: PacketRate, bits: BitRate) {
        self.packets = packets
        self.bits = bits
    }
}

/// How one direction of a port is limited.
public struct Limit: Hashable, Codable, Sendable {
    /// What may pass.
    public var cap: Cap
    /// Added to each packet; nil where what exceeds the cap is dropped at once (police).
    public var delay: Duration?

    /// A policer without `delay`, a shaper with it.
    public init(cap: Cap, delay: Duration? = nil) {
        self.cap = cap
        self.delay = delay
    }
}

/// The management lane: what stays reachable, within its own limits, while a port is limited.
public struct Lane: Hashable, Codable, Sendable {
    /// TCP ports of the VM's own servers (22 and 3389 by default), at most 16.
    public var tcpPorts: [UInt16]
    /// The limit of those.
    public var management: Cap
    /// The limit of ARP, neighbour discovery, DHCP renewal and ICMP together.
    public var neighbour: Cap

    /// A lane for these servers.
    public init(tcpPorts: [UInt16], management: Cap, neighbour: Cap) {
        self.tcpPorts = tcpPorts
        self.management = management
        self.neighbour = neighbour
    }
}

/// What traffic control shall hold on one port. Equal values need no work.
public struct Limits: Hashable, Codable, Sendable {
    /// The rung these limits belong to (police, shape or tighten).
    public var rung: Rung
    /// The incident that called for them; carried in every object's cookie.
    public var incident: UInt32
    /// Limits what the VM sends.
    public var from: Limit?
    /// Limits what is sent to the VM.
    public var to: Limit?
    /// What stays reachable.
    public var lane: Lane

    /// The wanted state of one port.
    public init(rung: Rung, incident: UInt32, from: Limit?, to: Limit?, lane: Lane) {
        self.rung = rung
        self.incident = incident
        self.from = from
        self.to = to
        self.lane = lane
    }
}
