internal import LinuxSystem
// What of ours stands in the kernel when the daemon starts: adopted where it belongs to a port,
// collected where it belongs to none.
public import Mitigation
internal import Netlink

extension KernelTrafficControl {
    /// What of ours stands on these ports, with the limits as the kernel holds them; ifbs of ours
    /// that belong to none of them are deleted.
    public mutating func survey(
        _ ports: [ControlledPort], lane: Lane
    ) throws(TrafficControlError) -> [Found] {
        do throws(StepFailure) {
            try collect(keeping: Set(ports.map(\.index)))
            var found: [Found] = []
            for port in ports {
                guard let each = try adopt(port, lane: lane) else { continue }
                found.append(each)
            }
            return found
        } catch {
            throw error.told
        }
    }

    private mutating func collect(keeping indexes: Set<Int32>) throws(StepFailure) {
        try StepFailure.netlinked { () throws(NetlinkError) in
            for link in try socket.links() {
                guard let owner = IFBRole.owner(of: link), !indexes.contains(owner.index) else {
                    continue
                }
                try socket.deleteLink(link.index)
            }
        }
    }

    private mutating func adopt(
        _ port: ControlledPort, lane: Lane
    ) throws(StepFailure) -> Found? {
        let observed: ObservedTree
        do throws(StepFailure) {
            observed = try socket.observe(port)
        } catch {
            guard error.isGone else { throw error }
            return nil
        }
        guard !observed.isEmpty else { return nil }
        let tag = observed.filters.lazy.compactMap(Ownership.tag(of:)).first
        let from = observed.limit(.from)
        let to = observed.limit(.to)
        let limits = Limits(
            rung: from?.delay != nil || to?.delay != nil ? .shape : .police,
            incident: tag?.incident ?? 0, from: from, to: to, lane: lane)
        installed[port.index] = Installed(
            limits: limits, ifbs: observed.ifbs.mapValues(\.link.index),
            buckets: observed.adoptedBuckets,
            site: Site(hook: observed.hook ?? .ingress, ownsRoot: observed.ownsRoot))
        return Found(port: port, limits: limits)
    }
}

extension ObservedTree {
    /// The maps of the eBPF policers that stand.
    var adoptedBuckets: [Mitigation.Direction: TokenBuckets] {
        var maps: [Mitigation.Direction: TokenBuckets] = [:]
        for filter in filters {
            guard let program = filter.bpfProgramID else { continue }
            let direction: Mitigation.Direction = filter.parent == .clsactEgress ? .to : .from
            maps[direction] = try? TokenBuckets(ofProgram: program)
        }
        return maps
    }

    /// The limit that stands in a direction, from the queue tree if there is one, else from the
    /// policers.
    func limit(_ direction: Mitigation.Direction) -> Limit? {
        let role: IFBRole = direction == .from ? .from : .to
        if let ifb = ifbs[role] { return ifb.queues.limit }
        if direction == .to, port.ourRoot != nil { return port.limit }
        let parent = direction == .from ? Handle.clsactIngress : .clsactEgress
        let police = filters.filter {
            $0.parent == parent && $0.preference == FrameLane.general.preference
        }.flatMap(\.actions).compactMap(\.police)
        if let packets = police.lazy.compactMap(\.packetsPerSecond).first,
            let bytes = police.lazy.compactMap(\.bytesPerSecond).first
        {
            return Limit(
                cap: Cap(
                    packets: PacketRate(perSecond: packets), bits: BitRate(bytesPerSecond: bytes)))
        }
        return buckets[direction].flatMap(TokenBucketLimits.cap(ofLane: .general))
            .map { Limit(cap: $0) }
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
