// Which interfaces' counters may be taken from the walk: those of drivers that keep them as
// dev_get_tstats64 reads them.
//
// Invariants: pure; a driver is trusted when its interfaces are of a kind that is known to do so, and
// netlink's numbers lay between two walks' for each of them, and told it from other ways to count. One
// contradiction in a comparison takes that away.
import Netlink

/// What is known of drivers.
struct DriverTable: Sendable {
    /// What is known of one.
    enum Verdict: Hashable, Sendable {
        /// Its interfaces' kind is not one of ours, or not known.
        case foreign
        /// Nothing has spoken against it, and nothing for it: no traffic yet.
        case untried
        case proven
        /// Netlink said another thing.
        case contradicted
    }

    /// Of IFLA_INFO_KIND, those whose drivers count in `dev->tstats` and `dev->stats` from 5.17 on.
    /// veth, ifb, vlan, macvtap and hardware keep counters of their own.
    static let kinds: Set<String> = ["tun", "vxlan", "bridge", "geneve", "openvswitch"]
    /// Of those, the ones that keep `struct pcpu_dstats` in some kernels.
    private static let kindsWithDrops: Set<String> = ["vxlan", "geneve"]
    private var mayCountDrops: Set<DriverKey> = []
    /// More drivers than a host ever has.
    private static let capacity = 256

    private var verdicts: [DriverKey: Verdict] = [:]
    /// Those that are: hosts have one or two, and each interface is looked up at each poll.
    private var proven: [DriverKey] = []

    /// Whether the walk's counters of such an interface are netlink's.
    func isProven(_ driver: DriverKey) -> Bool { proven.contains(driver) }

    /// What is known of a driver; nil where it was never looked at.
    func verdict(of driver: DriverKey) -> Verdict? { verdicts[driver] }

    /// Whether a comparison may bring something for this driver.
    func isWorthProof(_ driver: DriverKey) -> Bool {
        switch verdicts[driver] {
        case nil: verdicts.count < Self.capacity
        case .untried: true
        case .foreign, .proven, .contradicted: false
        }
    }

    /// The kind of a driver's interfaces.
    mutating func note(_ driver: DriverKey, kind: String?) {
        guard verdicts[driver] == nil else { return }
        verdicts[driver] = kind.map(Self.kinds.contains) == true ? .untried : .foreign
        if kind.map(Self.kindsWithDrops.contains) == true { mayCountDrops.insert(driver) }
    }

    /// An interface's counters: of a walk, of netlink after it, and of a walk after that.
    mutating func compare(
        _ driver: DriverKey, before: LinkStatistics, netlink: LinkStatistics, after: LinkStatistics
    ) {
        guard verdicts[driver] == .untried || verdicts[driver] == .proven else { return }
        guard before.isAtMost(netlink), netlink.isAtMost(after) else {
            verdicts[driver] = .contradicted
            proven.removeAll { $0 == driver }
            return
        }
        // All zeros would fit any driver; and so would, where nothing was sent, one that counts drops in
        // their place (struct pcpu_dstats before 6.14).
        guard netlink.txPackets > 0 || netlink.rxPackets > 0 && !mayCountDrops.contains(driver),
            !isProven(driver)
        else { return }
        verdicts[driver] = .proven
        proven.append(driver)
    }

    /// What was contradicted is tried anew: an index may have changed hands in the midst of it.
    mutating func forgive() {
        for (driver, verdict) in verdicts where verdict == .contradicted {
            verdicts[driver] = .untried
        }
    }
}

extension LinkStatistics {
    /// Whether no counter is above the other's.
    fileprivate func isAtMost(_ other: LinkStatistics) -> Bool {
        rxPackets <= other.rxPackets && rxBytes <= other.rxBytes && txPackets <= other.txPackets
            && txBytes <= other.txBytes
    }
}
