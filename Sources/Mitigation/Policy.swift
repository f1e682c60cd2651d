// The rules of the decision, as the configuration gives them. Every default is DESIGN.md's.

/// Whether decisions are carried out.
public enum Mode: String, Hashable, CaseIterable, Sendable {
    /// Decisions are programmed.
    case enforce
    /// The same decisions and alerts, marked `would`; nothing is programmed.
    case observe
}

/// A high mark for one direction; the low one is `Policy.lowShare` of it.
public struct Mark: Hashable, Sendable {
    /// At or over this many packets a second counts as a flood; nil: packets are not looked at.
    public var packets: PacketRate?
    /// At or over this many bits a second counts as a flood; nil: bits are not looked at.
    public var bits: BitRate?

    /// A mark in packets, in bits, in both, or in neither.
    public init(packets: PacketRate? = nil, bits: BitRate? = nil) {
        self.packets = packets
        self.bits = bits
    }
}

/// The marks of a port, by direction.
public struct Marks: Hashable, Sendable {
    /// What the VM sends.
    public var from: Mark
    /// What is sent to the VM.
    public var to: Mark

    /// Marks for both directions.
    public init(from: Mark = Mark(), to: Mark = Mark()) {
        self.from = from
        self.to = to
    }
}

/// When a port that is limited still counts as flooding, after its rung's dwell.
public enum StillFlooding: String, Hashable, CaseIterable, Sendable {
    /// The offered load stays above `Policy.unresponsiveFactor` times the cap: a sender that backs
    /// off is never driven up by its own success.
    case unresponsive
    /// The delivered load stays at `Policy.saturatedShare` of the cap (the operators' notes).
    case saturated
}

/// What is done for a port that is flooded from outside.
public enum VictimResponse: String, Hashable, CaseIterable, Sendable {
    /// An alert and nothing else.
    case alert
    /// An alert, and what is sent to the VM is shaped; never more.
    case shape
}

/// The rules of the decision.
public struct Policy: Hashable, Sendable {
    /// Whether decisions are carried out.
    public var mode: Mode = .enforce
    /// Classes for which another mode holds.
    public var modes: [PortClass: Mode] = [:]
    /// The time from one poll to the next.
    public var pollInterval: Duration = .milliseconds(100)
    /// Nothing trips in this time after start.
    public var grace: Duration = .seconds(10)

    /// At or over the mark for this long (80% of the polls in it) trips.
    public var sustain: Duration = .seconds(1)
    /// At `fastFactor` times the mark for this long trips.
    public var fastSustain: Duration = .milliseconds(200)
    /// How far over the mark the fast path asks for.
    public var fastFactor: UInt64 = 5

    /// What a policed or shaped port may send: packets a second; bits follow from the average
    /// packet size of the trip.
    public var target: PacketRate = PacketRate(perSecond: 10_000)
    /// Added to each packet when shaped; twice that when tightened.
    public var delay: Duration = .milliseconds(200)
    /// Tightened is the target divided by this.
    public var tightenDivisor: UInt64 = 4
    /// The least time on a rung before the next: police, shape, tighten.
    public var policeDwell: Duration = .seconds(60)
    /// The least time shaped before tightened.
    public var shapeDwell: Duration = .seconds(300)
    /// The least time tightened before shut down.
    public var tightenDwell: Duration = .seconds(300)
    /// The highest rung that a port of a VM may reach.
    public var highestRung: Rung = .shutDown
    /// A port that was shut down comes up again, tightened, after this; nil: an operator decides.
    public var probe: Duration?

    /// When the next rung is due.
    public var stillFlooding: StillFlooding = .unresponsive
    /// Offered over the cap, for `unresponsive`: 1.25.
    public var unresponsiveFactor: Double = 1.25
    /// Delivered over the cap, for `saturated`: 0.9.
    public var saturatedShare: Double = 0.9

    /// The low mark as a share of the high one: 0.5.
    public var lowShare: Double = 0.5
    /// Below the low mark for this long: one rung down.
    public var calm: Duration = .seconds(60)
    /// The longest `calm` that relapses lead to.
    public var calmLimit: Duration = .seconds(3600)
    /// A relapse within this time of a release doubles `calm`.
    public var forgiveness: Duration = .seconds(3600)

    /// What is done for a port that is flooded from outside.
    public var victim: VictimResponse = .alert
    /// What stays reachable while a port is limited.
    public var lane = Lane(
        tcpPorts: [22, 3389],
        management: Cap(
            packets: PacketRate(perSecond: 200), bits: BitRate(bitsPerSecond: 1_000_000)),
        neighbour: Cap(packets: PacketRate(perSecond: 50), bits: BitRate(bitsPerSecond: 400_000)))

    /// No more climbing while this share of the ports (0 to 1) is mitigated.
    public var breakerShare: Double = 0.2
    /// The share never stands in the way of this many mitigated ports.
    public var breakerMinimum: Int = 3
    /// No more climbing after this many shutdowns within an hour.
    public var breakerShutdowns: Int = 3

    /// The router or the VTEP that a VM's flood goes through is limited along with the VM.
    public var companions = true
    /// A router sends roughly what a VM sends where it is this much more or less at most: 0.25.
    public var pathTolerance: Double = 0.25
    /// At or over this, the VMs of one cloudspace on this host are a flood together; without packets
    /// and bits they are not looked at together.
    public var groupMark = Mark()

    /// The marks of each class; a class without marks is watched and never limited.
    public var marks: [PortClass: Marks] = [:]
    /// The marks of single ports, by name; they replace the class's.
    public var portMarks: [PortName: Marks] = [:]

    /// DESIGN.md's defaults, without marks.
    public init() {}

    /// Whether decisions about ports of this class are carried out.
    public func mode(of portClass: PortClass) -> Mode { modes[portClass] ?? mode }

    /// Whether decisions about any port are carried out.
    var enforcesAnything: Bool {
        PortClass.allCases.contains { mode(of: $0) == .enforce }
    }
}
