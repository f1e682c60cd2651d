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
        _ ports: [ControlledPort], lane: Lane
    ) throws(TrafficControlError) -> Survey {
        let links: [Link]
        do throws(NetlinkError) {
            links = try socket.links()
        } catch {
            throw StepFailure.netlink(error).told
        }
        var survey = Survey()
        // What is held by now needs no look: a survey may come again after others failed.
        for port in ports where installed[port.index] == nil {
            do throws(StepFailure) {
                guard let found = try adopt(port, lane: lane) else { continue }
                survey.found.append(found)
            } catch {
                guard !isGone(port) else { continue }
                survey.failed[port.index] = error.told.description
            }
        }
        collect(links, keeping: Set(ports.map(\.index)), into: &survey)
        return survey
    }

    /// Takes ours out of interfaces that are not watched: first what leads to an ifb, then the ifb.
    private mutating func collect(
        _ links: [Link], keeping watched: Set<Int32>, into survey: inout Survey
    ) {
        for ifb in links {
            guard let owner = IFBRole.owner(of: ifb)?.index, !watched.contains(owner) else {
                continue
            }
            do throws(StepFailure) {
                if let link = links.first(where: { $0.index == owner }) {
                    let port = ControlledPort(
                        index: owner, name: PortName(bytes: link.name), mtu: link.mtu)
                    try reconcile(nil, on: port)
                } else {
                    try StepFailure.netlinked { () throws(NetlinkError) in
                        try socket.deleteLink(ifb.index)
                    }
                }
            } catch {
                survey.failed[owner] = error.told.description
            }
        }
    }

    private mutating func adopt(
        _ port: ControlledPort, lane: Lane
    ) throws(StepFailure) -> Found? {
        let observed = try socket.observe(port)
        guard !observed.isEmpty else { return nil }
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
        let isShaped = from?.delay != nil || to?.delay != nil
        let limits = Limits(
            rung: tags.map(\.rung).max() ?? (isShaped ? .shape : .police),
            incident: tags.first?.incident ?? 0, from: from, to: to, lane: lane)
        installed[port.index] = Installed(
            limits: limits, ifbs: observed.ifbs.mapValues(\.link.index),
            buckets: observed.buckets,
            site: Site(hook: observed.hook ?? .ingress, ownsRoot: observed.ownsRoot),
            ownsHook: observed.ownsHook)
        return Found(port: port, limits: limits)
    }
}

extension ObservedTree {
    /// The limit that stands in a direction: the queue's where a filter leads to it, else the
    /// policers'.
    func limit(_ direction: Mitigation.Direction) -> Limit? {
        let parent = direction == .from ? Handle.clsactIngress : .clsactEgress
        let ours = filters.filter { $0.parent == parent }
        if ours.contains(where: { $0.actions.contains { $0.redirectTarget != nil } }) {
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
        return buckets[direction].flatMap { try? $0.limits.read() }
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
