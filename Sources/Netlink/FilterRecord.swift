// A filter as the kernel has it, with its actions: raw options, and what of them we know to read.

/// A filter. `tc -s -d filter show dev D parent P`
public struct FilterRecord: Hashable, Sendable {
    /// The interface; -1 where its block is shared.
    public var index: Int32
    /// The qdisc or hook it hangs on.
    public var parent: Handle
    /// Lower ones run first.
    public var preference: UInt16
    /// An Ethernet type, in the host's order.
    public var proto: UInt16
    /// The filter inside its preference; 0 for the head that some kinds list.
    public var handle: UInt32
    /// The chain; 0 is the one that packets enter.
    public var chain: UInt32
    /// `bpf`, `u32`, `matchall`, `flower`, `basic`.
    public var kind: String
    /// The payload of TCA_OPTIONS, as it came.
    public var options: [UInt8]
    /// The classic BPF program, where it is one.
    public var classicBPF: [ClassicInstruction]?
    /// The name of an eBPF program (TCA_BPF_NAME).
    public var bpfName: String?
    /// The kernel's id of an eBPF program (TCA_BPF_ID).
    public var bpfProgramID: UInt32?
    /// What a flower filter asks of the packet's connection.
    public var connection: ConnectionMatch?
    /// Whether a BPF program's result is the verdict (TCA_BPF_FLAG_ACT_DIRECT).
    public var isDirectAction = false
    /// Whether a NIC carries it out (TCA_CLS_FLAGS_IN_HW): then frames may not come to the filters that
    /// the kernel runs.
    public var isInHardware = false
    /// The class that a match goes to.
    public var classID: Handle?
    /// Its actions, in order.
    public var actions: [ActionRecord]

    /// A filter of these properties.
    public init(
        index: Int32, parent: Handle, preference: UInt16, proto: UInt16, handle: UInt32,
        chain: UInt32 = 0, kind: String, options: [UInt8] = [],
        classicBPF: [ClassicInstruction]? = nil, bpfName: String? = nil,
        bpfProgramID: UInt32? = nil, classID: Handle? = nil, actions: [ActionRecord] = []
    ) {
        self.index = index
        self.parent = parent
        self.preference = preference
        self.proto = proto
        self.handle = handle
        self.chain = chain
        self.kind = kind
        self.options = options
        self.classicBPF = classicBPF
        self.bpfName = bpfName
        self.bpfProgramID = bpfProgramID
        self.classID = classID
        self.actions = actions
    }

    /// Whether it is no filter that frames come to but what the kernel makes for those that are: the
    /// head of a preference, the first hash table of a u32.
    public var isHead: Bool {
        handle == 0 || kind == "u32" && handle >= 0x8000_0000 && handle & 0xf_ffff == 0
    }
}

/// An action of a filter, as the kernel has it.
public struct ActionRecord: Hashable, Sendable {
    /// `police`, `mirred`, `gact`, `bpf`, `ct`.
    public var kind: String
    /// The kernel's number of the action in its kind; 0 where its options are not known to us.
    public var index: UInt32
    /// The cookie it was given.
    public var cookie: [UInt8]?
    /// TC_ACT_*: what becomes of the packet; a policer's is what exceeds. 0 where its options are
    /// not known to us.
    public var verdictCode: Int32
    /// `verdictCode`, where it is one of ours.
    public var verdict: Verdict? { Verdict(rawValue: verdictCode) }
    /// What it counted.
    public var statistics: Statistics
    /// What a policer holds.
    public var police: PoliceRecord?
    /// Where a redirect to an interface's egress leads; 0 where that interface is gone.
    public var redirectTarget: Int32?
    /// The classic BPF program, where it is one.
    public var classicBPF: [ClassicInstruction]?
    /// Whether connection tracking remembers what is new.
    public var commits = false

    /// An action of these properties.
    public init(
        kind: String, index: UInt32 = 0, cookie: [UInt8]? = nil, verdictCode: Int32 = 0,
        statistics: Statistics = Statistics(), police: PoliceRecord? = nil,
        redirectTarget: Int32? = nil
    ) {
        self.kind = kind
        self.index = index
        self.cookie = cookie
        self.verdictCode = verdictCode
        self.statistics = statistics
        self.police = police
        self.redirectTarget = redirectTarget
    }
}

/// A policer as the kernel has it. Where both rates are nil it limits nothing: kernels before 5.11
/// accept a packet rate and drop it silently.
public struct PoliceRecord: Hashable, Sendable {
    /// Bytes per second; nil where bytes are not limited.
    public var bytesPerSecond: UInt64?
    /// The burst in bytes, as near as scheduler ticks of 64 ns keep it; 0 without a rate.
    public var burstBytes: UInt32
    /// The longest packet that conforms, in bytes.
    public var mtu: UInt32
    /// Bytes counted for each packet beyond its length.
    public var overhead: UInt16
    /// Packets per second; nil where packets are not limited.
    public var packetsPerSecond: UInt64?
    /// The burst in packets, as near as scheduler ticks keep it; 0 without a rate.
    public var packetBurst: UInt64
    /// TC_ACT_* for what conforms.
    public var conformCode: Int32
    /// TC_ACT_* for what exceeds.
    public var exceedCode: Int32

    /// A policer of these properties.
    public init(
        bytesPerSecond: UInt64? = nil, burstBytes: UInt32 = 0, mtu: UInt32 = 0,
        overhead: UInt16 = 0, packetsPerSecond: UInt64? = nil, packetBurst: UInt64 = 0,
        conformCode: Int32 = 0, exceedCode: Int32 = 2
    ) {
        self.bytesPerSecond = bytesPerSecond
        self.burstBytes = burstBytes
        self.mtu = mtu
        self.overhead = overhead
        self.packetsPerSecond = packetsPerSecond
        self.packetBurst = packetBurst
        self.conformCode = conformCode
        self.exceedCode = exceedCode
    }
}
