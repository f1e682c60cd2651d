// A filter of ours: a cls_bpf classifier, or a flower for connections, and the actions of what it matches.

/// An instruction of classic BPF: `struct sock_filter`, in the host's byte order.
public struct ClassicInstruction: Hashable, Sendable {
    /// The operation.
    public var code: UInt16
    /// How many instructions are skipped where a jump's condition holds.
    public var jt: UInt8
    /// How many are skipped where it does not.
    public var jf: UInt8
    /// The operand.
    public var k: UInt32

    /// An instruction of these fields.
    public init(code: UInt16, jt: UInt8 = 0, jf: UInt8 = 0, k: UInt32 = 0) {
        self.code = code
        self.jt = jt
        self.jf = jf
        self.k = k
    }
}

/// A filter to put. `tc filter replace dev D parent P pref N protocol all handle H bpf …`, `flower …`
public struct Filter: Hashable, Sendable {
    /// The qdisc or hook it hangs on.
    public var parent: Handle
    /// Lower ones run first; never 0.
    public var preference: UInt16
    /// An Ethernet type in the host's order; ETH_P_ALL (3) is every one.
    public var proto: UInt16
    /// Ours inside the preference; never 0.
    public var handle: UInt32
    /// What it matches.
    public var match: Match
    /// The class that a match goes to, on a classful qdisc.
    public var classID: Handle?
    /// What happens to a match, in this order; at most 32.
    public var actions: [TCAction]

    /// The ethertype of every frame: ETH_P_ALL.
    public static let everyProtocol: UInt16 = 0x0003

    /// A filter of these properties.
    public init(
        parent: Handle, preference: UInt16, proto: UInt16 = Filter.everyProtocol, handle: UInt32,
        match: Match, classID: Handle? = nil, actions: [TCAction] = []
    ) {
        self.parent = parent
        self.preference = preference
        self.proto = proto
        self.handle = handle
        self.match = match
        self.classID = classID
        self.actions = actions
    }
}

/// What a filter matches.
public enum Match: Hashable, Sendable {
    /// A program in classic BPF, at most 4,096 instructions: 0 does not match, 0xffff_ffff matches
    /// and takes the filter's class.
    case classicBPF([ClassicInstruction])
    /// A loaded eBPF program, by descriptor, direct action (TCA_BPF_FLAG_ACT_DIRECT): its return
    /// value is the verdict. The kernel keeps its own reference; `name` is shown by tc.
    case extendedBPF(descriptor: Int32, name: String)
    /// What the action ct found of the packet's connection. `flower ct_state +trk-rpl`
    case connection(ConnectionMatch)
}

/// What connection tracking found of a packet; nil: either.
public struct ConnectionMatch: Hashable, Sendable {
    /// Whether it looked, be it in vain.
    public var isTracked: Bool?
    /// Whether the packet is from the side that was called.
    public var isReply: Bool?

    /// A match of these.
    public init(isTracked: Bool? = nil, isReply: Bool? = nil) {
        self.isTracked = isTracked
        self.isReply = isReply
    }
}

/// What becomes of a packet after an action: TC_ACT_*.
public enum Verdict: Int32, Hashable, Sendable, CaseIterable {
    /// The next filter looks at it (tc: `continue`).
    case unspec = -1
    /// It passes, and no later filter sees it.
    case ok = 0
    /// It is dropped (TC_ACT_SHOT).
    case drop = 2
    /// The next action of this filter has it.
    case pipe = 3
}

/// An action of a filter. Every one carries a cookie of at most 16 bytes, by which it is found.
public enum TCAction: Hashable, Sendable {
    /// A limit in packets per second with a burst in packets.
    /// `police pkts_rate R pkts_burst B conform-exceed EXCEED/CONFORM`
    case policePackets(
        perSecond: UInt64, burst: UInt64, conform: Verdict, exceed: Verdict, cookie: [UInt8])
    /// A limit in bytes per second. Each packet counts `overhead` bytes more (14 on ingress, where
    /// the kernel does not count the Ethernet header); one longer than `mtu` bytes exceeds.
    /// `police rate R burst B mtu M overhead O conform-exceed EXCEED/CONFORM`
    case policeBytes(
        perSecond: UInt64, burstBytes: UInt32, mtu: UInt32, overhead: UInt16, conform: Verdict,
        exceed: Verdict, cookie: [UInt8])
    /// Sent on to the egress of another interface; this one is done with it (TC_ACT_STOLEN).
    /// `mirred egress redirect dev I`
    case redirect(toEgressOf: Int32, cookie: [UInt8])
    /// Looks up the packet's connection in zone 0 of the namespace, and remembers it where it is new
    /// and `commits` says so. `action ct`, `action ct commit`
    case connection(commits: Bool, Verdict, cookie: [UInt8])
    /// A program in classic BPF decides: 2 drops, 3 goes on to the next action, -1 stands for
    /// `verdict`. `action bpf bytecode …`
    case classicBPF([ClassicInstruction], Verdict, cookie: [UInt8])
    /// Nothing but a verdict, and a count of what it was given to. `action drop`, `action continue`
    case generic(Verdict, cookie: [UInt8])
}
