// Which parts of traffic control this kernel has, found by making one of each.

internal import CLab
internal import Glibc

/// A part of the kernel that a limit may need.
public enum KernelPart: String, Hashable, Sendable, CaseIterable {
    /// The action police.
    case police = "act_police"
    /// The action mirred.
    case mirred = "act_mirred"
    /// The action gact: ok, drop, pipe.
    case gact = "act_gact"
    /// The action bpf.
    case actBPF = "act_bpf"
    /// The action ct.
    case connections = "act_ct"
    /// The qdisc netem.
    case netem = "sch_netem"
    /// The qdisc tbf.
    case tbf = "sch_tbf"
    /// The qdisc htb.
    case htb = "sch_htb"
    /// The qdisc prio.
    case prio = "sch_prio"
    /// The qdisc ingress.
    case ingress = "sch_ingress"
    /// The qdisc clsact.
    case clsact = "sch_clsact"
    /// The classifier bpf with a classic program.
    case bpfClassifier = "cls_bpf"
    /// The classifier matchall.
    case matchall = "cls_matchall"
    /// The classifier flower.
    case flower = "cls_flower"
    /// The classifier u32.
    case u32 = "cls_u32"
    /// The classifier fw.
    case fw = "cls_fw"
    /// The qdisc sfq.
    case sfq = "sch_sfq"
    /// The qdisc fq_codel.
    case fqCodel = "sch_fq_codel"
    /// nftables' hook on an interface's ingress, and the tool.
    case nftables = "nftables netdev"
    /// Interfaces of the kind ifb.
    case ifb = "ifb"
    /// Interfaces of the kind vxlan.
    case vxlan = "vxlan"
    /// The datapath of Open vSwitch.
    case openvswitch = "openvswitch"
    /// bpf(2).
    case bpf = "bpf(2)"
    /// The kernel's description of its own types.
    case typeInformation = "BTF"
    /// Noting writes to any mapping without a stop (userfaultfd(2), UFFD_FEATURE_WP_ASYNC, 6.7 on).
    case writeTracking = "userfaultfd(2) write tracking"
}

/// What this kernel has.
public struct KernelParts: Hashable, Sendable {
    /// The kernel's release, as `uname -r` prints it.
    public var release: String
    /// The parts that it has.
    public var present: Set<KernelPart>

    /// What this kernel has; looked up once in the life of the process.
    public static let current = probe()

    /// The parts of `needed` that this kernel lacks, in their order of declaration.
    public func lacking(_ needed: [KernelPart]) -> [KernelPart] {
        KernelPart.allCases.filter { needed.contains($0) && !present.contains($0) }
    }

    /// Tries each part in a private namespace of its own, which goes with what was made there.
    ///
    /// A process that may not make namespaces finds nothing.
    public static func probe() -> KernelParts {
        let release = (try? readFile("/proc/sys/kernel/osrelease")) ?? "unknown"
        let parts = KernelPart.allCases.filter { part in
            guard let namespace = try? Namespace() else { return false }
            let made: Void? = try? namespace.perform { () throws(LabError) in try make(part) }
            return made != nil
        }
        return KernelParts(
            release: String(release.prefix { $0 != "\n" }), present: Set(parts))
    }

    /// Makes one of a part, on the loopback.
    private static func make(_ part: KernelPart) throws(LabError) {
        switch part {
        case .police: try tc("actions add action police rate 1mbit burst 70000 drop")
        case .mirred: try tc("actions add action mirred egress redirect dev lo")
        case .netem: try tc("qdisc add dev lo root netem delay 1ms")
        case .tbf: try tc("qdisc add dev lo root tbf rate 1mbit burst 10000 limit 10000")
        case .htb: try tc("qdisc add dev lo root htb")
        case .prio: try tc("qdisc add dev lo root prio")
        case .ingress: try tc("qdisc add dev lo ingress")
        case .clsact: try tc("qdisc add dev lo clsact")
        case .bpfClassifier: try filter("bpf bytecode", "1,6 0 0 4294967295,")
        case .matchall: try filter("matchall classid 1:1")
        case .flower: try filter("flower")
        case .u32: try filter("u32 match u32 0 0 classid 1:1")
        case .fw: try filter("handle 1 fw classid 1:1")
        case .gact: try tc("actions add action gact drop")
        case .connections: try tc("actions add action ct")
        case .actBPF:
            let words = "actions add action bpf bytecode".split(separator: " ").map { String($0) }
            try Tool.run("tc", words + ["1,6 0 0 4294967295,"])
        case .sfq: try tc("qdisc add dev lo root sfq")
        case .fqCodel: try tc("qdisc add dev lo root fq_codel")
        case .nftables:
            try Tool.run(
                "nft",
                "add table netdev probe; add chain netdev probe in "
                    + "{ type filter hook ingress device lo priority 0; }")
        case .ifb: try Tool.run("ip", "link", "add", "probe0", "type", "ifb")
        case .vxlan:
            try Tool.run(
                "ip", "link", "add", "probe0", "type", "vxlan", "id", "1", "dstport", "4789", "dev",
                "lo")
        case .openvswitch: try Tool.run("genl", "ctrl", "get", "name", "ovs_datapath")
        case .bpf:
            // CONFIG_BPF_SYSCALL makes both bpf(2) and its file system, or neither.
            guard try readFile("/proc/filesystems").contains("\tbpf\n") else {
                throw LabError("bpf(2)", detail: "not in this kernel")
            }
        case .typeInformation:
            guard unsafe access("/sys/kernel/btf/vmlinux", R_OK) == 0 else {
                throw LabError("BTF", detail: "not in this kernel")
            }
        case .writeTracking:
            _ = try Descriptor(clab_track_writes(), "track writes")
        }
    }

    private static func tc(_ line: String) throws(LabError) {
        try Tool.run("tc", line.split(separator: " ").map { String($0) })
    }

    private static func filter(_ kind: String, _ more: String...) throws(LabError) {
        try tc("qdisc add dev lo ingress")
        let words = "filter add dev lo parent ffff: protocol all pref 1 \(kind)"
        try Tool.run("tc", words.split(separator: " ").map { String($0) } + more)
    }
}
