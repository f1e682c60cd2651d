// What traffic control must know of a port, of the kernel, and of its orders.
public import Mitigation

/// A port as traffic control sees it.
public struct ControlledPort: Hashable, Sendable {
    /// The kernel's interface index: the identity of every request.
    public var index: Int32
    /// The name, for the ifb's alias and for errors.
    public var name: PortName
    /// The largest payload of a frame, in bytes.
    public var mtu: UInt32
    /// Whether it is a port of Open vSwitch, as the kernel told it last; nil: not known, and asked for.
    public var isOnOpenVSwitch: Bool?

    /// A port to be controlled.
    public init(index: Int32, name: PortName, mtu: UInt32, isOnOpenVSwitch: Bool? = nil) {
        self.index = index
        self.name = name
        self.mtu = mtu
        self.isOnOpenVSwitch = isOnOpenVSwitch
    }
}

/// What drops the frames over a cap.
public enum Policer: String, Hashable, Sendable, CaseIterable {
    /// act_police behind a classic BPF classifier.
    case actPolice = "act_police"
    /// A token bucket in eBPF.
    case bpf = "ebpf"
    /// A redirect to an ifb with an htb that does not queue; bounds packets by their bytes.
    case ifb = "ifb"
}

/// What drops and counts the frames that a guard refuses.
public enum GuardEnforcer: String, Hashable, Sendable, CaseIterable {
    /// act_gact behind a classic BPF classifier for each reason.
    case actGact = "act_gact"
    /// One eBPF program.
    case bpf = "ebpf"
}

/// What this kernel has of the parts that the rungs are made of, found by trying.
public struct KernelParts: Hashable, Sendable {
    /// `police` with a packet rate that is kept (5.10 takes it and does not).
    public var hasActPolice: Bool
    /// bpf(2) loads our program.
    public var hasBPF: Bool
    /// `netem`.
    public var hasNetem: Bool
    /// `ifb` links.
    public var hasIFB: Bool
    /// `gact`, which counts what a guard drops.
    public var hasActGact: Bool
    /// `ct` and `flower`, by which a management guard follows connections.
    public var followsConnections: Bool
    /// `bpf` as an action, which tells the Ethernet sources apart that a guard refuses.
    public var hasActBPF: Bool
    /// What is missing and what stands in for it, a sentence each.
    public var notes: [String]

    /// A kernel with these parts.
    public init(
        hasActPolice: Bool, hasBPF: Bool, hasNetem: Bool, hasIFB: Bool, hasActGact: Bool = false,
        hasActBPF: Bool = false, followsConnections: Bool = false, notes: [String] = []
    ) {
        self.hasActPolice = hasActPolice
        self.hasBPF = hasBPF
        self.hasNetem = hasNetem
        self.hasIFB = hasIFB
        self.hasActGact = hasActGact
        self.hasActBPF = hasActBPF
        self.followsConnections = followsConnections
        self.notes = notes
    }
}

/// Which qdisc is made for our filters where a port has neither.
public enum HookChoice: String, Hashable, Sendable, CaseIterable {
    /// `clsact` on a port of Open vSwitch, else `ingress` (libvirt, Proxmox and Neutron delete and
    /// make an `ingress` of their own, which fails over a `clsact`).
    case auto
    /// Always `ingress`.
    case ingress
    /// Always `clsact`.
    case clsact
}

/// How traffic control is to work, by configuration.
public struct TrafficControlSettings: Hashable, Sendable {
    /// The policer to use; nil: the first that this kernel has, in the order of `Policer`.
    public var policer: Policer?
    /// The qdisc to make for our filters.
    public var hook: HookChoice
    /// Whether ours takes the place of another owner's root qdisc where nothing else limits what is
    /// sent to a VM; it is put back afterwards.
    public var replacesForeignRoot: Bool
    /// What guards are made of; nil: the first that this kernel has, in the order of
    /// `GuardEnforcer`.
    public var guardEnforcer: GuardEnforcer?

    /// Settings; by default everything is found out.
    public init(
        policer: Policer? = nil, hook: HookChoice = .auto, replacesForeignRoot: Bool = false,
        guardEnforcer: GuardEnforcer? = nil
    ) {
        self.policer = policer
        self.hook = hook
        self.replacesForeignRoot = replacesForeignRoot
        self.guardEnforcer = guardEnforcer
    }
}
