// The objects that hold a port's limits, as data: nothing here speaks to the kernel.
//
// Guards stand at pref 8 to 10, before all of these (GuardFilters).
//
// From the VM, with act_police or eBPF:          From the VM, with neither:
//   hook (ingress or clsact)                       hook
//     pref 11 own servers   -> policed               pref 13 every frame -> ifb-f
//     pref 12 ARP, ND, …    -> policed             ifb-f: the htb below, without or with a queue
//     pref 13 everything else
//        police: policed                         To the VM, where the port's root may be replaced:
//        shape:  -> ifb-f                          root htb 7a01:
//   ifb-f: tbf 7a01: -> netem 7a02:                  7a01:1 own servers  7a01:2 ARP, ND, …
//                                                    7a01:3 everything else -> netem 7a02:
//   (r2q 11 where it stands in another owner's place)
// To the VM on a clsact: as from the VM, at its egress, to ifb-t.
// Where a redirect would skip what others have on the port: policed on every rung (Neighbours).
import Mitigation
import Netlink

/// The interface that an object stands on.
enum Device: Hashable, Sendable {
    case port
    case ifb(IFBRole)
}

/// A filter of ours.
struct WantedFilter: Hashable, Sendable {
    enum Match: Hashable, Sendable {
        case classic([ClassicInstruction])
        /// Token buckets in eBPF, one for each lane, in the order of `FrameLane`; the rung is told
        /// where nothing else tells it.
        case buckets(Mitigation.Direction, tcpPorts: [UInt16], Rung?, [TokenBucketLimits])
    }

    enum Act: Hashable, Sendable {
        /// Drops what exceeds; what conforms goes on to the next filter. Carries the rung where
        /// nothing else tells it.
        case police(PolicerParameters, overheadBytes: UInt16, Rung?)
        /// To the ifb; carries the rung, since only the queues tell shape from tighten.
        case redirect(IFBRole, Rung)
    }

    var parent: Handle
    var preference: UInt16
    var match: Match
    var classID: Handle?
    var act: Act?
}

/// A qdisc of ours below another.
struct WantedQdisc: Hashable, Sendable {
    var parent: Handle
    var handle: Handle
    var qdisc: Qdisc
}

/// A class of an htb of ours.
struct WantedClass: Hashable, Sendable {
    var id: Handle
    var htb: HTBClass
}

/// A queue tree at the root of a device: qdiscs from the root down, then classes, then filters.
struct QueueTree: Hashable, Sendable {
    var root: WantedQdisc
    var classes: [WantedClass] = []
    var children: [WantedQdisc] = []
    var filters: [WantedFilter] = []
}

/// Where a port's filters and queues may stand.
struct Site: Hashable, Sendable {
    enum Hook: String, Hashable, Sendable { case ingress, clsact }

    /// The hook that is there, or that is made.
    var hook: Hook
    /// What may stand at the port's root: ours, where it is the kernel's default, or ours, or another
    /// owner's that ours may take the place of.
    var root: RootSite
    /// The directions in which a redirect would skip what others have on the port: there the same
    /// cap is held by the policer.
    var guarded: Set<Mitigation.Direction> = []
}

/// All objects that hold one port's limits.
struct WantedTree: Hashable, Sendable {
    var incident: UInt32 = 0
    /// Filters at the hook, in the order in which they are put.
    var filters: [WantedFilter] = []
    var ifbs: [IFBRole: QueueTree] = [:]
    /// At the port's own root.
    var root: QueueTree?
    /// The guards' filters; nil: those that are there stay, whatever they are.
    var guards: [WantedGuard]?

    /// Whether filters of ours shall stand at the hook.
    var needsHook: Bool { !filters.isEmpty || guards?.isEmpty == false }

    /// Whether a guard's filter that is there is not wanted.
    func isSurplus(guard filter: FilterRecord) -> Bool {
        guard let guards else { return false }
        return !guards.contains { $0.stands(at: filter) }
    }

    /// No limits of ours.
    static let empty = WantedTree()

    /// What holds `limits` on `port`.
    init(
        _ limits: Limits, port: ControlledPort, site: Site, policer: Policer, hasNetem: Bool,
        programs: ClassicPrograms = ClassicPrograms()
    ) {
        incident = limits.incident
        let maker = TreeMaker(
            rung: limits.rung, lane: limits.lane, mtu: port.mtu, policer: policer,
            hasNetem: hasNetem, programs: programs)
        if let limit = limits.from {
            let (filters, tree) = maker.hooked(
                limit, direction: .from, redirects: !site.guarded.contains(.from))
            self.filters += filters
            ifbs[.from] = tree
        }
        if let limit = limits.to {
            if site.hook == .clsact {
                let (filters, tree) = maker.hooked(
                    limit, direction: .to, redirects: !site.guarded.contains(.to))
                self.filters += filters
                ifbs[.to] = tree
            } else if site.root.isOurs {
                root = maker.hierarchy(
                    limit, direction: .to, isInPlaceOfAnother: site.root.theirs != nil)
            }
        }
    }

    private init() {}
}

/// Makes the parts of a tree.
struct TreeMaker {
    let rung: Rung
    let lane: Lane
    let mtu: UInt32
    let policer: Policer
    let hasNetem: Bool
    let programs: ClassicPrograms

    /// Filters at the hook, and the ifb's tree where one is needed. Without `redirects`, what is to
    /// be delayed is policed to the same cap, where the policer is not itself a redirect.
    func hooked(
        _ limit: Limit, direction: Mitigation.Direction, redirects: Bool
    ) -> ([WantedFilter], QueueTree?) {
        let isQueued = limit.delay != nil && redirects
        let parent = direction == .from ? Handle.clsactIngress : Handle.clsactEgress
        let role: IFBRole = direction == .from ? .from : .to
        let kind = FrameKind(direction: direction, tcpPorts: lane.tcpPorts)
        func redirect(_ program: [ClassicInstruction]) -> WantedFilter {
            WantedFilter(
                parent: parent, preference: FrameLane.general.preference,
                match: .classic(program), act: .redirect(role, rung))
        }
        switch policer {
        case .actPolice:
            var filters = [FrameLane.management, .neighbour].map { lane in
                policed(cap(of: lane), lane, kind, parent: parent)
            }
            guard isQueued else {
                filters.append(policed(limit.cap, .general, kind, parent: parent))
                return (filters, nil)
            }
            filters.append(redirect(programs.program(kind, for: .general)))
            return (filters, shaper(limit))
        case .bpf:
            let general = isQueued ? TokenBucketLimits.unlimited : TokenBucketLimits(limit.cap)
            let buckets = WantedFilter(
                parent: parent, preference: FrameLane.management.preference,
                match: .buckets(
                    direction, tcpPorts: lane.tcpPorts, isQueued ? nil : rung,
                    [
                        TokenBucketLimits(lane.management), TokenBucketLimits(lane.neighbour),
                        general,
                    ]))
            guard isQueued else { return ([buckets], nil) }
            return ([buckets, redirect(programs.program(kind, for: .general))], shaper(limit))
        case .ifb:
            return ([redirect(ClassicCode.everything)], hierarchy(limit, direction: direction))
        }
    }

    private func cap(of frames: FrameLane) -> Cap {
        frames == .management ? lane.management : lane.neighbour
    }

    private func policed(
        _ cap: Cap, _ frames: FrameLane, _ kind: FrameKind, parent: Handle
    ) -> WantedFilter {
        WantedFilter(
            parent: parent, preference: frames.preference,
            match: .classic(programs.program(kind, for: frames)),
            act: .police(
                Formulas.police(cap),
                overheadBytes: parent == .clsactIngress ? Formulas.ethernetHeaderBytes : 0,
                frames == .general ? rung : nil))
    }

    /// tbf with netem below it; without netem tbf's own queue is the delay, and small frames cost
    /// as much as the average one.
    private func shaper(_ limit: Limit) -> QueueTree {
        let parameters = Formulas.shape(limit.cap, delay: limit.delay ?? .zero, mtu: mtu)
        guard hasNetem else {
            let queued = Formulas.bytes(
                perSecond: parameters.bytesPerSecond, nanoseconds: parameters.delayNanoseconds)
            return QueueTree(
                root: WantedQdisc(
                    parent: .root, handle: Ownership.rootHandle,
                    qdisc: .tokenBucket(
                        TokenBucket(
                            bytesPerSecond: parameters.bytesPerSecond,
                            burstBytes: parameters.burstBytes,
                            limitBytes: max(queued, parameters.burstBytes),
                            minimumPacketBytes: parameters.averageBytes))))
        }
        return QueueTree(
            root: WantedQdisc(
                parent: .root, handle: Ownership.rootHandle,
                qdisc: .tokenBucket(
                    TokenBucket(
                        bytesPerSecond: parameters.bytesPerSecond,
                        burstBytes: parameters.burstBytes, limitBytes: 1_000_000,
                        minimumPacketBytes: 0))),
            children: [
                WantedQdisc(
                    parent: Ownership.delayParent(below: "tbf"),
                    handle: Ownership.delayHandle,
                    qdisc: .netem(
                        Netem(
                            delayNanoseconds: parameters.delayNanoseconds,
                            limitPackets: parameters.limitPackets)))
            ])
    }

    /// An htb with a class for each lane; the third one queues or delays. Small frames cost what
    /// the cap's packets leave to each, so that bytes bound packets too.
    func hierarchy(
        _ limit: Limit, direction: Mitigation.Direction, isInPlaceOfAnother: Bool = false
    ) -> QueueTree {
        let major = Ownership.rootHandle.major
        let kind = FrameKind(direction: direction, tcpPorts: lane.tcpPorts)
        let caps: [(FrameLane, Cap)] = [
            (.management, lane.management), (.neighbour, lane.neighbour), (.general, limit.cap),
        ]
        let classes = caps.map { frames, cap in
            WantedClass(
                id: Handle(major: major, minor: UInt16(frames.rawValue + 1)), htb: htbClass(cap))
        }
        let filters = [FrameLane.management, .neighbour].map { frames in
            WantedFilter(
                parent: Ownership.rootHandle, preference: frames.preference,
                match: .classic(programs.program(kind, for: frames)),
                classID: Handle(major: major, minor: UInt16(frames.rawValue + 1)))
        }
        let defaultClass = UInt32(FrameLane.general.rawValue + 1)
        let qdisc: Qdisc =
            isInPlaceOfAnother
            ? .htb(defaultClass: defaultClass, rateToQuantum: Ownership.replacingQuantum)
            : .htb(defaultClass: defaultClass)
        return QueueTree(
            root: WantedQdisc(parent: .root, handle: Ownership.rootHandle, qdisc: qdisc),
            classes: classes,
            children: [leaf(limit, below: Ownership.delayParent(below: "htb"))],
            filters: filters)
    }

    private func htbClass(_ cap: Cap) -> HTBClass {
        let parameters = Formulas.shape(cap, delay: .zero, mtu: mtu)
        return HTBClass(
            bytesPerSecond: parameters.bytesPerSecond,
            ceilBytesPerSecond: parameters.bytesPerSecond, burstBytes: parameters.burstBytes,
            ceilBurstBytes: parameters.burstBytes, minimumPacketBytes: parameters.averageBytes)
    }

    /// The queue of the general class: delayed where the limit asks for it and the kernel can, else
    /// a plain one, which at its rate gives the delay; without a delay just the policer's burst.
    private func leaf(_ limit: Limit, below parent: Handle) -> WantedQdisc {
        let parameters = Formulas.shape(limit.cap, delay: limit.delay ?? .zero, mtu: mtu)
        let qdisc: Qdisc =
            limit.delay != nil && hasNetem
            ? .netem(
                Netem(
                    delayNanoseconds: parameters.delayNanoseconds,
                    limitPackets: parameters.limitPackets))
            : .packetQueue(limitPackets: parameters.limitPackets)
        return WantedQdisc(parent: parent, handle: Ownership.delayHandle, qdisc: qdisc)
    }
}
