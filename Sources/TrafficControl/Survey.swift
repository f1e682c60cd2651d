// What of ours stands in the kernel when the daemon starts: adopted where it belongs to a port and
// says what it is, taken out where it does not.
//
// Invariant: an ifb is never deleted while a filter of ours may lead to it.
internal import LinuxSystem
public import Mitigation
internal import Netlink

extension KernelTrafficControl {
    /// What of ours stands on these ports, with the limits as the kernel holds them. What of ours is
    /// on other interfaces, or cannot be understood, is taken out.
    public mutating func survey(
        _ ports: [ControlledPort], lane: Lane, except known: Set<Int32>
    ) throws(TrafficControlError) -> Survey {
        lookAtChains()
        unsurveyed.formUnion(known)
        var survey = Survey()
        let qdiscs = try allQdiscs()
        // What is held by now needs no look: a survey may come again after others failed.
        for port in ports where installed[port.index] == nil && !known.contains(port.index) {
            do throws(StepFailure) {
                let observed = try socket.observe(
                    port,
                    Known(
                        qdiscs: qdiscs, policers: policers, chains: chains,
                        readsRoot: readsRoot(of: port)))
                if !observed.guards.isEmpty { survey.guarded.insert(port.index) }
                guard let found = try adopt(port, observed, lane: lane) else { continue }
                survey.found.append(found)
            } catch {
                guard !isGone(port) else { continue }
                survey.failed[port.index] = error.told.description
            }
        }
        try sweep(keeping: Set(ports.map(\.index)), into: &survey)
        return survey
    }

    /// One dump for all ports.
    private mutating func allQdiscs() throws(TrafficControlError) -> [Int32: [QdiscRecord]] {
        do throws(NetlinkError) {
            return Dictionary(grouping: try socket.qdiscs(), by: \.index)
        } catch {
            throw StepFailure.netlink(error).told
        }
    }

    /// Takes everything of ours out of all interfaces, and sets links up that we took down.
    public mutating func undo() throws(TrafficControlError) -> Survey {
        var survey = Survey()
        try sweep(keeping: [], into: &survey)
        return survey
    }

    /// Takes ours out of interfaces that are not watched: first what leads to an ifb, then the ifb.
    private mutating func sweep(
        keeping watched: Set<Int32>, into survey: inout Survey
    ) throws(TrafficControlError) {
        let links: [Link]
        var touched: Set<Int32>
        do throws(NetlinkError) {
            links = try socket.links()
            touched = try interfacesThatMayHoldOurs()
        } catch {
            throw StepFailure.netlink(error).told
        }
        for ifb in links { if let owner = ownerOfIFB(ifb) { touched.insert(owner) } }
        touched.formUnion(roots.keys)
        for link in links where touched.contains(link.index) && !watched.contains(link.index) {
            do throws(StepFailure) {
                try clean(link, into: &survey)
            } catch {
                survey.failed[link.index] = error.told.description
            }
        }
        let present = Set(links.map(\.index))
        for ifb in links {
            let isOrphan = ownerOfIFB(ifb).map { !present.contains($0) } ?? false
            guard isOrphan || IFBRole.isUnfinished(ifb) else { continue }
            do throws(NetlinkError) {
                try socket.deleteLink(ifb.index)
                survey.cleaned.append(PortName(bytes: ifb.name))
            } catch {
                guard !error.isNoInterface else { continue }
                survey.failed[ifb.index] = error.description
            }
        }
    }

    /// The interfaces with a hook, or with a root of ours. One listing may silently miss some while
    /// others are deleted: two of them are taken together.
    private mutating func interfacesThatMayHoldOurs() throws(NetlinkError) -> Set<Int32> {
        var touched: Set<Int32> = []
        for _ in 0..<2 {
            for qdisc in try socket.qdiscs()
            where qdisc.handle == .ingressQdisc || qdisc.handle == Ownership.rootHandle {
                touched.insert(qdisc.index)
            }
        }
        return touched
    }

    /// Takes ours out of one interface, and sets it up where we took it down.
    private mutating func clean(_ link: Link, into survey: inout Survey) throws(StepFailure) {
        guard link.kind != "ifb" else { return }
        let port = ControlledPort(
            index: link.index, name: PortName(bytes: link.name), mtu: link.mtu)
        let observed = try socket.observe(
            port, Known(policers: policers, readsRoot: readsRoot(of: port)))
        let root = rootSite(of: port, observed, isWanted: false)
        // A hook of ours whose filters are gone bears no mark, but is remembered.
        let hasEmptyHook =
            observed.hook != nil && !observed.hasForeignFilters
            && origins[port.index]?.hadHook == false
        guard
            hasEmptyHook || !observed.isEmpty || !observed.guards.isEmpty
                || !observed.missing(at: root).isEmpty
        else { return }
        guarded[port.index] = GuardOrder(compiled: .none, counters: observed.guardCounters)
        defer { guarded[port.index] = nil }
        // We only take down the link of a port that is tightened.
        let rungs = observed.filters.compactMap { Ownership.tag(of: $0)?.rung }
        try reconcile(nil, on: port)
        roots[port.index] = nil
        survey.cleaned.append(port.name)
        if observed.hasForgottenRoot(root) { survey.defaulted.append(port.name) }
        if !link.isUp, rungs.contains(.tighten) {
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.setLink(link.index, up: true)
            }
        }
    }

    private mutating func adopt(
        _ port: ControlledPort, _ observed: ObservedTree, lane: Lane
    ) throws(StepFailure) -> Found? {
        guard !observed.isEmpty else {
            // Another owner's root may have been put back in part.
            if readsRoot(of: port) { try reconcile(nil, on: port) }
            return nil
        }
        let from = observed.limit(.from)
        let to = observed.limit(.to)
        // Filters without a limit that can be read: a redirect to nowhere, lanes alone.
        let hasUnreadable =
            (from == nil && observed.filters.contains { $0.parent == .clsactIngress })
            || (to == nil && observed.filters.contains { $0.parent == .clsactEgress })
        guard !hasUnreadable, from != nil || to != nil else {
            try reconcile(nil, on: port)
            return nil
        }
        let tags = observed.filters.compactMap(Ownership.tag(of:))
        // The lanes' filters keep the tag of the rung at which they were first put.
        let general = observed.filters.filter { $0.preference == FrameLane.general.preference }
            .compactMap(Ownership.tag(of:))
        let isShaped = from?.delay != nil || to?.delay != nil
        let limits = Limits(
            rung: (general.isEmpty ? tags : general).map(\.rung).max()
                ?? (isShaped ? .shape : .police),
            incident: tags.first?.incident ?? 0, from: from, to: to, lane: lane)
        let site = self.site(of: port, observed: observed, limits: limits)
        advise(limits, port: port, observed: observed, site: site)
        installed[port.index] = Installed(
            limits: limits, ifbs: observed.ifbs.mapValues(\.link.index),
            buckets: observed.buckets, site: site, ownsHook: observed.ownsHook)
        return Found(port: port, limits: limits)
    }
}

extension ObservedTree {
    /// The limit that stands in a direction: the queue's where a filter leads to it, else the
    /// policers'.
    func limit(_ direction: Mitigation.Direction) -> Limit? {
        let parent = direction == .from ? Handle.clsactIngress : .clsactEgress
        let ours = filters.filter { $0.parent == parent }
        if ours.contains(where: { $0.redirectTarget != nil }) {
            let role: IFBRole = direction == .from ? .from : .to
            guard let ifb = ifbs[role], ifb.link.isUp else { return nil }
            return ifb.queues.limit
        }
        if direction == .to, port.ourRoot != nil { return port.limit }
        let police = ours.filter { $0.preference == FrameLane.general.preference }
            .flatMap(\.actions).compactMap(\.police)
        if let packets = police.lazy.compactMap(\.packetsPerSecond).first,
            let bytes = police.lazy.compactMap(\.bytesPerSecond).first
        {
            return Limit(
                cap: Cap(
                    packets: PacketRate(perSecond: packets), bits: BitRate(bytesPerSecond: bytes)))
        }
        return buckets[direction]?.limits
            .flatMap(TokenBucketLimits.cap(ofLane: .general)).map { Limit(cap: $0) }
    }
}

extension ObservedQueues {
    /// The limit that our tree holds.
    fileprivate var limit: Limit? {
        guard let root = ourRoot else { return nil }
        let general = Handle(
            major: Ownership.rootHandle.major, minor: UInt16(FrameLane.general.rawValue + 1))
        let htb = classes.first { $0.classID == general }?.htb
        guard let bytes = root.tokenBucket?.bytesPerSecond ?? htb?.bytesPerSecond else {
            return nil
        }
        let netem = qdiscs.lazy.compactMap(\.netem).first
        // An htb with the shortest of queues polices.
        let isPolicer = qdiscs.contains { ($0.packetQueueLimit ?? .max) <= 10 }
        let delay = netem?.delayNanoseconds ?? 200_000_000
        let queued = Double(netem?.limitPackets ?? 0)
        let average = max(
            64, root.tokenBucket?.minimumPacketBytes ?? htb?.minimumPacketBytes ?? 64)
        let packets =
            netem == nil || delay == 0
            ? bytes / UInt64(average)
            : UInt64((queued / 1.02 / Double(delay) * 1e9).rounded())
        return Limit(
            cap: Cap(
                packets: PacketRate(perSecond: packets), bits: BitRate(bytesPerSecond: bytes)),
            delay: isPolicer ? nil : .nanoseconds(delay))
    }
}
