// What the socket says of the daemon and its ports. JSON in snake case; units last in the names.
// Invariant: text from the kernel (names, sentences) is already escaped to printable ASCII.

/// A load in one direction.
public struct Load: Codable, Hashable, Sendable {
    /// Packets per second.
    public var packetsPerSecond: Double
    /// Bits per second.
    public var bitsPerSecond: Double

    enum CodingKeys: String, CodingKey {
        case packetsPerSecond = "packets_per_second"
        case bitsPerSecond = "bits_per_second"
    }

    /// A load of these rates.
    public init(packetsPerSecond: Double, bitsPerSecond: Double) {
        self.packetsPerSecond = packetsPerSecond
        self.bitsPerSecond = bitsPerSecond
    }
}

/// A load for each direction, as the VM's owner sees it.
public struct Loads: Codable, Hashable, Sendable {
    /// What the VM sends; nil where it is not known.
    public var from: Load?
    /// What is sent to the VM; nil where it is not known.
    public var to: Load?

    /// Loads of both directions.
    public init(from: Load?, to: Load?) {
        self.from = from
        self.to = to
    }
}

/// One port on a flood's way over the host.
public struct PathLeg: Codable, Hashable, Sendable {
    /// The interface's name, escaped.
    public var port: String
    /// What it carried of the flood, or beside it, when that tripped.
    public var load: Load

    /// A port with its share.
    public init(port: String, load: Load) {
        self.port = port
        self.load = load
    }
}

/// What a port may never send.
public struct GuardStatus: Codable, Hashable, Sendable {
    /// `tenant`, `public-router` or `management`; nil where single switches are all.
    public var profile: String?
    /// `no-dhcp-server`, `no-ra`, `no-ipv6`.
    public var switches: [String]
    /// `enforce`: forbidden frames are dropped; `monitor`: counted only.
    public var mode: String
    /// Who says so: `guard."vm-<num>-<netid>"` of the configuration, or the name of a file.
    public var origin: String
    /// Whether they stand in the kernel.
    public var inForce: Bool
    /// Why they do not, or what they lack.
    public var problem: String?
    /// Frames that were refused, or would have been, by reason (`source-mac`, `arp`, `dhcp-server` …),
    /// since they stand.
    public var refusedPackets: [String: UInt64]
    /// About how many Ethernet sources those for `source-mac` had; nil where it is not known.
    public var sourceMACs: Int?

    enum CodingKeys: String, CodingKey {
        case profile, switches, mode, origin, problem
        case inForce = "in_force"
        case refusedPackets = "refused_packets"
        case sourceMACs = "source_macs"
    }

    /// A port's guards in their present state.
    public init(
        profile: String?, switches: [String], mode: String, origin: String, inForce: Bool,
        problem: String?, refusedPackets: [String: UInt64], sourceMACs: Int?
    ) {
        self.profile = profile
        self.switches = switches
        self.mode = mode
        self.origin = origin
        self.inForce = inForce
        self.problem = problem
        self.refusedPackets = refusedPackets
        self.sourceMACs = sourceMACs
    }
}

/// One watched port.
public struct PortStatus: Codable, Hashable, Sendable {
    /// The interface's name, escaped.
    public var name: String
    /// The kernel's interface index.
    public var index: Int32
    /// `vm`, `router`, `vtep` or `backend`.
    public var portClass: String
    /// The name pattern by which its class claims it: `vm-<num>-<netid>`.
    public var pattern: String
    /// The cloudspace, four hexadecimal digits or more.
    public var netid: String?
    /// `normal`, `police`, `shape`, `tighten` or `shutdown`.
    public var rung: String
    /// Seconds on this rung; nil on `normal`.
    public var onRungSeconds: Double?
    /// The incident, where there is one.
    public var incident: UInt32?
    /// Flooded from outside.
    public var isVictim: Bool
    /// What the VM sends and is sent, dropped or not.
    public var offered: Loads
    /// What gets through the limits, lane included; nil on a port without limits.
    public var delivered: Loads?
    /// What gets through the management lane (its own servers; ARP, ND, DHCP, ICMP); nil on a port
    /// without limits.
    public var lane: Loads?
    /// What may pass, lane excluded; nil on a port without limits.
    public var cap: Loads?
    /// Added to each packet, in milliseconds, where the port is shaped.
    public var delayMilliseconds: Double?
    /// How the limits are held: `act_police`, `ebpf`, `ifb+tbf`, `ifb+tbf+netem`.
    public var enforcement: String?
    /// What is wrong with this port's limits, in a sentence; nil where all is well.
    public var problem: String?
    /// What of other owners makes its limits ineffective or is skipped by them, a sentence each.
    public var advisories: [String]
    /// The way of its flood, this port first; nil where it has none, or is alone in its cloudspace.
    public var path: [PathLeg]?
    /// The port that is limited along with this one.
    public var companion: String?
    /// The ports on whose account this one is limited.
    public var limitedFor: [String]
    /// What it may never send; nil where nothing is said.
    public var guards: GuardStatus?
    /// What an operator said of it; nil: the rules decide.
    public var order: OrderStatus?

    enum CodingKeys: String, CodingKey {
        case name, index, netid, rung, incident, offered, delivered, lane, cap, enforcement, problem
        case advisories, path, companion, pattern, guards, order
        case limitedFor = "limited_for"
        case portClass = "class"
        case onRungSeconds = "on_rung_seconds"
        case isVictim = "victim"
        case delayMilliseconds = "delay_milliseconds"
    }

    /// One watched port in its present state.
    public init(
        name: String, index: Int32, portClass: String, pattern: String, netid: String?,
        rung: String,
        onRungSeconds: Double?, incident: UInt32?, isVictim: Bool, offered: Loads,
        delivered: Loads?, lane: Loads?, cap: Loads?, delayMilliseconds: Double?,
        enforcement: String?, problem: String?, advisories: [String] = [],
        path: [PathLeg]? = nil, companion: String? = nil, limitedFor: [String] = [],
        guards: GuardStatus? = nil, order: OrderStatus? = nil
    ) {
        self.name = name
        self.index = index
        self.portClass = portClass
        self.pattern = pattern
        self.netid = netid
        self.rung = rung
        self.onRungSeconds = onRungSeconds
        self.incident = incident
        self.isVictim = isVictim
        self.offered = offered
        self.delivered = delivered
        self.lane = lane
        self.cap = cap
        self.delayMilliseconds = delayMilliseconds
        self.enforcement = enforcement
        self.problem = problem
        self.advisories = advisories
        self.path = path
        self.companion = companion
        self.limitedFor = limitedFor
        self.guards = guards
        self.order = order
    }
}

/// The daemon and all its ports: the answer to `GET /v1/status`.
public struct Status: Codable, Hashable, Sendable {
    /// The daemon's version.
    public var version: String
    /// The daemon's process id.
    public var pid: Int32
    /// `enforce` or `observe`, where that holds for every class; else `mixed`.
    public var mode: String
    /// Seconds since start.
    public var uptimeSeconds: Double
    /// The kernel's release, as `uname -r` prints it.
    public var kernel: String
    /// How each rung is held on this kernel, and what it lacks, one sentence each.
    public var kernelNotes: [String]
    /// Polls since start.
    public var polls: UInt64
    /// The time from one poll to the next, in milliseconds.
    public var pollMilliseconds: Double
    /// Where counters come from: `bpf` (a walk in the kernel) or `netlink`.
    public var counters: String
    /// Why not from BPF; nil where they are, or are not to be.
    public var countersNote: String?
    /// Polls that started more than half an interval late.
    public var latePolls: UInt64
    /// How late the latest poll since start began, in microseconds.
    public var worstLatenessMicroseconds: UInt64
    /// How late polls since start began on average, in microseconds.
    public var meanLatenessMicroseconds: UInt64
    /// Ports above `normal`.
    public var mitigated: Int
    /// What the breaker stands on (`share`, `shutdowns`); nil while it is closed.
    public var breaker: String?
    /// Whether decisions are carried out, by class.
    public var classes: [ClassMode]
    /// All watched ports, by interface index.
    public var ports: [PortStatus]

    enum CodingKeys: String, CodingKey {
        case version, pid, mode, kernel, polls, mitigated, breaker, classes, ports, counters
        case countersNote = "counters_note"
        case uptimeSeconds = "uptime_seconds"
        case kernelNotes = "kernel_notes"
        case pollMilliseconds = "poll_milliseconds"
        case latePolls = "late_polls"
        case worstLatenessMicroseconds = "worst_lateness_microseconds"
        case meanLatenessMicroseconds = "mean_lateness_microseconds"
    }

    /// The daemon's present state.
    public init(
        version: String, pid: Int32, mode: String, uptimeSeconds: Double, kernel: String,
        kernelNotes: [String], polls: UInt64, pollMilliseconds: Double,
        counters: String = "netlink", countersNote: String? = nil, latePolls: UInt64,
        worstLatenessMicroseconds: UInt64 = 0, meanLatenessMicroseconds: UInt64 = 0,
        mitigated: Int, breaker: String?, classes: [ClassMode] = [], ports: [PortStatus]
    ) {
        self.version = version
        self.pid = pid
        self.mode = mode
        self.uptimeSeconds = uptimeSeconds
        self.kernel = kernel
        self.kernelNotes = kernelNotes
        self.polls = polls
        self.pollMilliseconds = pollMilliseconds
        self.counters = counters
        self.countersNote = countersNote
        self.latePolls = latePolls
        self.worstLatenessMicroseconds = worstLatenessMicroseconds
        self.meanLatenessMicroseconds = meanLatenessMicroseconds
        self.mitigated = mitigated
        self.breaker = breaker
        self.classes = classes
        self.ports = ports
    }
}

/// What an operator asks to be taken out: the body of `POST /v1/release`.
public struct ReleaseRequest: Codable, Hashable, Sendable {
    /// One port by name (escaped as `status` prints it).
    public var port: String?
    /// Every port that is limited.
    public var all: Bool?

    /// One port, or all of them.
    public init(port: String? = nil, all: Bool? = nil) {
        self.port = port
        self.all = all
    }
}

/// What was taken out.
public struct ReleaseReply: Codable, Hashable, Sendable {
    /// The ports that are back to `normal`.
    public var released: [String]
    /// The ports that could not be released, each with the kernel's sentence.
    public var failed: [String: String]

    /// What was taken out, and what was not.
    public init(released: [String], failed: [String: String]) {
        self.released = released
        self.failed = failed
    }
}

/// The body of every answer that is not 2xx.
public struct Problem: Codable, Hashable, Sendable, Error {
    /// What went wrong, in a sentence.
    public var error: String
    /// What to do about it.
    public var cure: String?

    /// A problem with its cure.
    public init(error: String, cure: String? = nil) {
        self.error = error
        self.cure = cure
    }
}
