// Looks at a port: dumps of its qdiscs, classes, filters and ifbs, and the limits of eBPF policers.
//
// Invariants: what is about to be written to is asked for piece by piece, whose cost does not grow with
// the host; a look that comes again and again goes by one dump for all ports, since the kernel tells
// every listener of what is asked for alone. A dump of qdiscs is never believed alone. It silently misses
// interfaces while others are deleted (KERNEL: RTM_GETQDISC never sets NLM_F_DUMP_INTR), so it is held
// against the link's own word (IFLA_QDISC) and against the filters, which are listed for one interface.
// Where they disagree twice, what stands is unknown.
import LinuxSystem
import Mitigation
import Netlink

/// What an observation may use of what is known already.
struct Known {
    /// A dump of all interfaces' qdiscs that was just made.
    var qdiscs: [Int32: [QdiscRecord]]?
    /// The eBPF policers that this process has loaded or found.
    var policers = BPFPolicers()
    /// The map of the port's eBPF guard that this process holds.
    var guardCounters: GuardCounters?
    /// nftables' chains on the ingress of any interface.
    var chains: [IngressChain] = []
    /// Whether the root of another owner is to be looked at, with all below it.
    var readsRoot = false
    /// What of ours may be there besides what the hook's own filters lead to; nil: anything.
    var places: Places?

    /// Places outside of a hook at which trees of ours stand.
    struct Places {
        /// The port's own root.
        var root: Bool
        var ifbs: Set<IFBRole>
    }
}

/// What is asked for at once.
private struct Outset {
    /// The port's own, where it was asked for.
    var link: Link?
    /// What is at the port's hook, where that was asked for alone.
    var hook: QdiscRecord?
    /// The interface with the name of each ifb that was asked for.
    var ifbs: [IFBRole: Link?] = [:]
}

extension RouteSocket {
    /// What stands on a port.
    mutating func observe(
        _ port: ControlledPort, _ known: Known = Known()
    ) throws(StepFailure) -> ObservedTree {
        if let tree = try observation(of: port, known) { return tree }
        var fresh = known
        fresh.qdiscs = nil
        if let tree = try observation(of: port, fresh) { return tree }
        throw .mismatch("the kernel's list of the qdiscs of \(port.name) is incomplete")
    }

    /// What is at a port's hook alone, which is taken to be there: of a port without limits that tells
    /// whether its guards stand, at a cost that does not grow with the host.
    mutating func observeGuards(
        of port: ControlledPort, at hook: Site.Hook, _ wanted: [WantedGuard], _ known: Known
    ) throws(StepFailure) -> ObservedTree {
        var tree = ObservedTree()
        tree.hook = hook
        let hasBoth = wanted.contains { $0.parent == .clsactEgress }
        return try StepFailure.netlinked { () throws(NetlinkError) in
            try observeHook(of: port.index, hasBoth ? [.from, .to] : [.from], known, into: &tree)
            return tree
        }
    }

    /// Nil where the dumps contradict each other.
    private mutating func observation(
        of port: ControlledPort, _ known: Known
    ) throws(StepFailure) -> ObservedTree? {
        let outset = try StepFailure.netlinked { () throws(NetlinkError) -> Outset? in
            try self.outset(of: port, known)
        }
        guard let outset else { throw .gone }
        return try StepFailure.netlinked { () throws(NetlinkError) -> ObservedTree? in
            var tree = try tree(of: port.index, from: outset, known)
            let name = outset.link?.name ?? port.name.bytes
            tree?.chains = known.chains.filter { $0.hangs(on: name) }
            if known.readsRoot, tree?.port.foreignRoot != nil {
                let qdiscs =
                    if let all = known.qdiscs { all[port.index] ?? [] } else {
                        try self.qdiscs(of: port.index)
                    }
                tree?.foreignRoot = try self.foreignRoot(of: port.index, qdiscs)
            }
            return tree
        }
    }

    /// Asks at once for what does not depend on an answer; nil where the port is not there.
    private mutating func outset(
        of port: ControlledPort, _ known: Known
    ) throws(NetlinkError) -> Outset? {
        let index = port.index
        // The kernel takes index 0 without a name for a malformed request.
        guard index > 0 else { return nil }
        var batch = emptyBatch
        let asksForLink = known.asksForLink(of: port)
        if asksForLink { try batch.getLink(index: index) }
        var roles: [IFBRole] = []
        if known.qdiscs == nil {
            try batch.getQdisc(of: index, parent: .ingress)
            roles = IFBRole.allCases.filter { known.places?.ifbs.contains($0) != false }
            for role in roles { try batch.getLink(name: Array(role.name(of: index).utf8)) }
        }
        var answers = run(batch)[...]
        var outset = Outset()
        if asksForLink {
            guard let link = try answers.removeFirst().link() else { return nil }
            outset.link = link
        }
        if known.qdiscs == nil {
            let answer = answers.removeFirst()
            guard answer.refusal?.isNoInterface != true else { return nil }
            outset.hook = try answer.askedQdisc()
        }
        for (role, answer) in zip(roles, answers) {
            outset.ifbs[role] = .some(try answer.link())
        }
        return outset
    }

    private mutating func tree(
        of index: Int32, from outset: Outset, _ known: Known
    ) throws(NetlinkError) -> ObservedTree? {
        var tree = ObservedTree()
        tree.link = outset.link
        if let link = outset.link {
            guard let queues = try queues(of: link, known) else { return nil }
            tree.port = queues
        }
        let hook =
            known.qdiscs == nil
            ? outset.hook : tree.port.qdiscs.first { $0.handle == .ingressQdisc }
        tree.hook = hook.flatMap { Site.Hook(rawValue: $0.kind) }
        // Asked for alone, a hook that is not there has no filters; a dump may have missed it.
        if hook != nil || known.qdiscs != nil {
            let directions: [Mitigation.Direction] = tree.hook == .ingress ? [.from] : [.from, .to]
            try observeHook(of: index, directions, known, into: &tree)
            guard tree.hook != nil || (!tree.holdsOurFilters && !tree.hasForeignFilters) else {
                return nil
            }
        }
        for role in IFBRole.allCases
        where known.places?.ifbs.contains(role) != false || tree.redirects(to: role) {
            let named =
                if let asked = outset.ifbs[role] { asked } else {
                    try self.link(name: Array(role.name(of: index).utf8))
                }
            guard let ifb = named else { continue }
            if IFBRole.isUnfinished(ifb) { tree.unfinishedIFBs[role] = ifb.index }
            guard IFBRole.owner(of: ifb)?.role == role else { continue }
            guard let queues = try self.queues(of: ifb, known) else { return nil }
            tree.ifbs[role] = ObservedIFB(link: ifb, queues: queues)
        }
        return tree
    }

    /// A device's qdiscs; classes and filters only below a root of ours. Nil where the list lacks
    /// the root that the link has.
    private mutating func queues(
        of link: Link, _ known: Known
    ) throws(NetlinkError) -> ObservedQueues? {
        var queues = ObservedQueues()
        guard known.asksForRoot(of: link) else { return queues }
        if let all = known.qdiscs {
            queues.qdiscs = all[link.index] ?? []
        } else {
            queues.qdiscs = try readQdiscs(of: link)
        }
        // A link that is down has noop, which is not listed.
        if let kind = link.qdisc, kind != "noop" {
            guard queues.qdiscs.contains(where: { $0.parent == .root && $0.kind == kind }) else {
                return nil
            }
        }
        if queues.ourRoot?.kind == "htb" {
            queues.classes = try classes(of: link.index)
            queues.filters = try filters(of: link.index, parent: Ownership.rootHandle)
        }
        return queues
    }

    /// The qdiscs of a device that matter to us, one by one: its root, and what hangs below a root of
    /// ours.
    private mutating func readQdiscs(of link: Link) throws(NetlinkError) -> [QdiscRecord] {
        var found: [QdiscRecord] = []
        if let kind = link.qdisc, kind != "noop",
            let root = try qdisc(of: link.index, parent: .root)
        {
            found.append(root)
            if root.handle == Ownership.rootHandle,
                let child = try qdisc(
                    of: link.index, parent: Ownership.delayParent(below: root.kind))
            {
                found.append(child)
            }
        }
        return found
    }

    /// Our filters, and whether there are others, asked for directly. A plain `ingress` answers for
    /// the egress with its one list, so that egress is only asked for where there may be a clsact.
    private mutating func observeHook(
        of index: Int32, _ directions: [Mitigation.Direction], _ known: Known,
        into tree: inout ObservedTree
    ) throws(NetlinkError) {
        for direction in directions {
            let parent: Handle = direction == .from ? .clsactIngress : .clsactEgress
            for filter in try filters(of: index, parent: parent) {
                guard !Ownership.isOurHead(filter) else { continue }
                let isGuard = Ownership.isGuard(filter)
                guard isGuard || Ownership.isOurs(filter) else {
                    if tree.hook == .ingress { tree.ingressParent = filter.parent }
                    tree.hasForeignFilters = true
                    if let foreign = ForeignFilter(filter, direction: direction) {
                        tree.foreign.append(foreign)
                    }
                    continue
                }
                // A filter is told by the block it was asked for in.
                tree.add(filter, on: .port, under: parent)
                guard let program = filter.bpfProgramID else { continue }
                if isGuard {
                    // By descriptor where we hold the very program's map.
                    tree.guardCounters =
                        known.guardCounters.flatMap { $0.serves(program) ? $0 : nil }
                        ?? (try? GuardCounters(ofProgram: program))
                } else {
                    tree.buckets[direction] = known.policers.buckets(of: index, ofProgram: program)
                }
            }
        }
    }
}

extension Known {
    /// Whether the port's link has to tell what kind of port it is, whether its root is ours, or by
    /// which name chains hang on it that a redirect would lead past.
    fileprivate func asksForLink(of port: ControlledPort) -> Bool {
        guard let places, qdiscs == nil, port.isOnOpenVSwitch != nil else { return true }
        return places.root || readsRoot || !places.ifbs.isEmpty && !chains.isEmpty
    }

    /// Whether a link's root qdisc can matter: where it may be ours, or ours may come to stand.
    fileprivate func asksForRoot(of link: Link) -> Bool {
        guard let places, link.kind != "ifb", qdiscs == nil else { return true }
        return places.root || readsRoot || link.qdisc == "htb"
    }
}

extension ObservedTree {
    /// Whether a filter of ours leads to an ifb.
    fileprivate func redirects(to role: IFBRole) -> Bool {
        filters.contains { filter in
            (filter.parent == .clsactEgress) == (role == .to) && filter.redirectTarget != nil
        }
    }
}
