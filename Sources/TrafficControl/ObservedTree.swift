// What stands on a port, as the kernel tells it: ours in detail, everyone else's as presence only.
import Mitigation
import Netlink

/// A device's root queue tree, as dumped.
struct ObservedQueues {
    var qdiscs: [QdiscRecord] = []
    var classes: [ClassRecord] = []
    var filters: [FilterRecord] = []

    /// The root qdisc where it is ours.
    var ourRoot: QdiscRecord? {
        qdiscs.first { $0.handle == Ownership.rootHandle && $0.parent == .root }
    }

    /// The root qdisc where it is another owner's.
    var foreignRoot: QdiscRecord? {
        qdiscs.first {
            $0.parent == .root && $0.handle.rawValue != 0 && $0.handle != Ownership.rootHandle
        }
    }

    /// Whether the root is the kernel's own default: it has no handle, or (down) is not shown.
    var hasDefaultRoot: Bool {
        qdiscs.allSatisfy { $0.parent != .root || $0.handle.rawValue == 0 }
    }
}

/// One of a port's two ifbs.
struct ObservedIFB {
    var link: Link
    var queues: ObservedQueues
}

/// All that matters of a port.
struct ObservedTree {
    /// The port's own link; nil where it was not looked at.
    var link: Link?
    /// The qdisc at ffff:, ours or not.
    var hook: Site.Hook?
    /// Whether tags say that we made it.
    var ownsHook = false
    /// Whether the hook holds anything of others, be it an empty table.
    var hasForeignFilters = false
    /// The filters of others there.
    var foreign: [ForeignFilter] = []
    /// The parent under which others put theirs at an `ingress`: ffff: or ffff:fff2, which mean the
    /// same. The kernel lists every filter under the one that was written last (tcf_block's classid,
    /// tc_new_tfilter), so that ours is written under theirs.
    var ingressParent = Handle.clsactIngress
    /// nftables' chains on the port's ingress.
    var chains: [IngressChain] = []
    /// The filters of our limits at the hook.
    var filters: [FilterRecord] = []
    /// The filters of our guards there.
    var guards: [FilterRecord] = []
    /// The counters of an eBPF guard, where they can be had.
    var guardCounters: GuardCounters?
    /// The buckets of each direction's eBPF filter, where they can be had.
    var buckets: [Mitigation.Direction: TokenBuckets] = [:]
    var port = ObservedQueues()
    /// The port's root, where it is another owner's and was to be looked at.
    var foreignRoot: Result<RootSnapshot, Unrestorable>?
    var ifbs: [IFBRole: ObservedIFB] = [:]
    /// The indexes of ifbs whose maker ended before they were ours.
    var unfinishedIFBs: [IFBRole: Int32] = [:]

    /// Whether no limit of ours is there.
    var isEmpty: Bool { filters.isEmpty && ifbs.isEmpty && port.ourRoot == nil }

    /// Whether a filter of ours is at the hook.
    var holdsOurFilters: Bool { !filters.isEmpty || !guards.isEmpty }

    /// Whether our trees may stand at the port's root.
    var ownsRoot: Bool { port.hasDefaultRoot || port.ourRoot != nil }

    func queues(of device: Device) -> ObservedQueues {
        switch device {
        case .port: port
        case .ifb(let role): ifbs[role]?.queues ?? ObservedQueues()
        }
    }
}

extension QdiscRecord {
    /// Whether this is what was asked for. Bursts and delays come back rounded to scheduler ticks.
    func holds(_ wanted: Qdisc) -> Bool {
        switch wanted {
        case .tokenBucket(let asked):
            guard let held = tokenBucket else { return false }
            return held.bytesPerSecond == asked.bytesPerSecond
                && isNear(UInt64(held.burstBytes), UInt64(asked.burstBytes))
                && held.limitBytes == asked.limitBytes
        case .netem(let asked):
            guard let held = netem else { return false }
            return isNear(held.delayNanoseconds, asked.delayNanoseconds)
                && held.limitPackets == asked.limitPackets
        case .htb(let defaultClass, _): return htbDefault == defaultClass
        case .packetQueue(let limit): return packetQueueLimit == limit
        case .ingress: return kind == "ingress"
        case .clsact: return kind == "clsact"
        }
    }

    /// Whether it is of the kind that was asked for, so that it can be changed in place.
    func isKind(of wanted: Qdisc) -> Bool { kind == wanted.kind }
}

extension ClassRecord {
    /// Whether this is what was asked for.
    func holds(_ asked: HTBClass) -> Bool {
        guard let held = htb else { return false }
        return held.bytesPerSecond == asked.bytesPerSecond
            && held.ceilBytesPerSecond == asked.ceilBytesPerSecond
            && isNear(UInt64(held.burstBytes), UInt64(asked.burstBytes))
            && isNear(UInt64(held.ceilBurstBytes), UInt64(asked.ceilBurstBytes))
    }
}

extension ObservedTree {
    /// Whether `filter` is what was asked for; where it redirects, to the ifb that is there now.
    func holds(_ filter: FilterRecord, _ wanted: WantedFilter) -> Bool {
        guard filter.preference == wanted.preference, filter.parent == wanted.parent else {
            return false
        }
        switch wanted.match {
        case .classic(let program):
            guard filter.classicBPF == program, filter.classID == wanted.classID else {
                return false
            }
        case .buckets(_, let tcpPorts, let rung, _):
            guard let tag = Ownership.tag(of: filter), rung == nil || tag.rung == rung,
                filter.bpfName == tag.name(tcpPorts: tcpPorts)
            else { return false }
        }
        switch wanted.act {
        case nil: return true
        case .redirect(let role, let rung):
            let target = filter.redirectTarget
            return target != nil && target == ifbs[role]?.link.index
                && Ownership.tag(of: filter)?.rung == rung
        case .police(let asked, _, let rung):
            guard rung == nil || Ownership.tag(of: filter)?.rung == rung else { return false }
            let held = filter.actions.compactMap(\.police)
            return held.contains {
                $0.packetsPerSecond == asked.packetsPerSecond
                    && isNear($0.packetBurst, asked.burstPackets)
            }
                && held.contains {
                    $0.bytesPerSecond == asked.bytesPerSecond
                        && isNear(UInt64($0.burstBytes), UInt64(asked.burstBytes))
                }
        }
    }
}

extension FilterRecord {
    /// The interface that it redirects to, where it does.
    var redirectTarget: Int32? { actions.lazy.compactMap(\.redirectTarget).first }
}

/// Equal but for what the kernel's rounding to ticks loses: 1% or 64 units.
private func isNear(_ held: UInt64, _ asked: UInt64) -> Bool {
    let difference = held > asked ? held - asked : asked - held
    return difference <= max(64, asked / 100)
}
