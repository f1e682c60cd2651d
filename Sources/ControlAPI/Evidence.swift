// The packet sample of a trip, summed up: what it held, and who is said to have forged it.

/// A value that packets of a sample have in common.
public struct SampleShare: Codable, Hashable, Sendable {
    /// The value: an address, a port, a protocol, a size in bytes.
    public var what: String
    /// How many packets have it.
    public var packets: Int
    /// These of all packets of the sample, 0 to 1.
    public var share: Double

    /// A value and those that have it.
    public init(what: String, packets: Int, share: Double) {
        self.what = what
        self.packets = packets
        self.share = share
    }
}

/// One property of a sample's packets: how many values there are, and the most frequent ones.
public struct SampleTally: Codable, Hashable, Sendable {
    /// Different values.
    public var distinct: Int
    /// The most frequent ones, the first most; at most ten.
    public var top: [SampleShare]

    /// Values by frequency.
    public init(distinct: Int, top: [SampleShare]) {
        self.distinct = distinct
        self.top = top
    }
}

/// Lengths of a sample's packets on the wire: bytes with the Ethernet header, without the check
/// sequence.
public struct SampleSizes: Codable, Hashable, Sendable {
    /// The shortest.
    public var minimum: Int
    /// Half of them are no longer than this.
    public var median: Int
    /// The longest.
    public var maximum: Int
    /// The most frequent lengths.
    public var common: SampleTally

    /// These lengths.
    public init(minimum: Int, median: Int, maximum: Int, common: SampleTally) {
        self.minimum = minimum
        self.median = median
        self.maximum = maximum
        self.common = common
    }
}

/// Packets whose source is not the port's own.
public struct SampleForgery: Codable, Hashable, Sendable {
    /// By what a source was judged.
    public enum Rule: String, Codable, Hashable, Sendable, CaseIterable {
        /// Against the addresses of the port's guards.
        case guards
        /// Nobody says which are its own: all Ethernet sources but one were taken for forged.
        case ethernet
        /// As `ethernet`, and of so many source addresses all but the most frequent one.
        case scatter
    }

    /// How many.
    public var packets: Int
    /// These of all packets of the sample, 0 to 1.
    public var share: Double
    /// By what they were judged.
    public var rule: Rule
    /// The Ethernet address that was taken for the port's own; nil under `guards`.
    public var own: String?

    /// So many, by this rule.
    public init(packets: Int, share: Double, rule: Rule, own: String?) {
        self.packets = packets
        self.share = share
        self.rule = rule
        self.own = own
    }
}

/// What a sample of packets held.
public struct SampleSummary: Codable, Hashable, Sendable {
    /// How many packets.
    public var packets: Int
    /// Their lengths on the wire together.
    public var bytes: UInt64
    /// From the first to the last.
    public var spanSeconds: Double
    /// All of it in a few words: `92% UDP to 198.51.100.7:53, 64 B, 1 source`.
    public var line: String
    /// `UDP`, `TCP SYN`, `TCP`, `ARP` and the like.
    public var protocols: SampleTally
    /// Where to: IP addresses, and of ARP the address that is asked for.
    public var destinations: SampleTally
    /// TCP, UDP and SCTP ports.
    public var destinationPorts: SampleTally
    /// The same of where they come from.
    public var sourcePorts: SampleTally
    /// Where from: IP addresses, and of ARP the sender's.
    public var sources: SampleTally
    /// Ethernet addresses of the senders.
    public var sourceMACs: SampleTally
    /// VLAN ids, the outer one first: `20`, `100.20`.
    public var vlans: SampleTally
    /// Lengths; nil where there are no packets.
    public var sizes: SampleSizes?
    /// Forged sources; nil where a source cannot be judged: what is sent to a VM, or carried for others.
    public var forged: SampleForgery?

    enum CodingKeys: String, CodingKey {
        case packets, bytes, line, protocols, destinations, sources, vlans, sizes, forged
        case spanSeconds = "span_seconds"
        case destinationPorts = "destination_ports"
        case sourcePorts = "source_ports"
        case sourceMACs = "source_macs"
    }

    /// A sample without packets.
    public init() {
        let nothing = SampleTally(distinct: 0, top: [])
        packets = 0
        bytes = 0
        spanSeconds = 0
        line = "no packets"
        protocols = nothing
        destinations = nothing
        destinationPorts = nothing
        sourcePorts = nothing
        sources = nothing
        sourceMACs = nothing
        vlans = nothing
    }
}

/// The sample of one trip: the answer to `GET /v1/evidence/NUMBER`. Its packets are in
/// `GET /v1/evidence/NUMBER.pcap`.
public struct EvidenceReport: Codable, Hashable, Sendable {
    /// The incident.
    public var incident: UInt32
    /// The port's name.
    public var port: String
    /// `from` or `to`: what the VM sent, or what was sent to it.
    public var direction: String
    /// `enforce` or `observe`.
    public var mode: String
    /// When the sample began, in seconds since 1970.
    public var takenAt: Double
    /// Packets that came while it was taken, and for which there was no room.
    public var unseen: UInt64
    /// Why it ended before its time; nil where it did not.
    public var cutShort: String?
    /// What it held.
    public var summary: SampleSummary

    enum CodingKeys: String, CodingKey {
        case incident, port, direction, mode, unseen, summary
        case takenAt = "taken_at"
        case cutShort = "cut_short"
    }

    /// A sample that was taken.
    public init(
        incident: UInt32, port: String, direction: String, mode: String, takenAt: Double,
        unseen: UInt64, cutShort: String?, summary: SampleSummary
    ) {
        self.incident = incident
        self.port = port
        self.direction = direction
        self.mode = mode
        self.takenAt = takenAt
        self.unseen = unseen
        self.cutShort = cutShort
        self.summary = summary
    }
}

/// One sample of a list.
public struct EvidenceItem: Codable, Hashable, Sendable {
    /// The incident.
    public var incident: UInt32
    /// The port's name.
    public var port: String
    /// `from` or `to`.
    public var direction: String
    /// When the sample began, in seconds since 1970.
    public var takenAt: Double
    /// How many packets.
    public var packets: Int
    /// All of it in a few words.
    public var line: String

    enum CodingKeys: String, CodingKey {
        case incident, port, direction, packets, line
        case takenAt = "taken_at"
    }

    /// The head of a report.
    public init(_ report: EvidenceReport) {
        incident = report.incident
        port = report.port
        direction = report.direction
        takenAt = report.takenAt
        packets = report.summary.packets
        line = report.summary.line
    }
}

/// The samples that are kept: the answer to `GET /v1/evidence`.
public struct EvidenceList: Codable, Hashable, Sendable {
    /// As many as one answer holds, the newest of them.
    public static let most = 1_000

    /// The oldest first.
    public var evidence: [EvidenceItem]

    /// These samples.
    public init(evidence: [EvidenceItem]) { self.evidence = evidence }
}
