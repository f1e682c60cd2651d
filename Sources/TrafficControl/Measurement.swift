internal import LinuxSystem
// What got through a port's limits, from the counters of the objects that limit it.
public import Mitigation
internal import Netlink

extension KernelTrafficControl {
    /// What got through a limited port. Lanes are counted by their policers or classes, what is
    /// shaped by the ifb's own counters.
    public mutating func measure(
        _ port: ControlledPort, links: LinkCounters
    ) throws(TrafficControlError) -> Measured {
        guard let held = installed[port.index] else { return Measured() }
        var measured = Measured()
        do throws(StepFailure) {
            if held.limits.from != nil {
                let lanes = try passed(.from, held, port: port, links: links)
                measured.from = lanes.general
                measured.fromLane = lanes.lane
                measured.fromSeen = lanes.seen
                    .adding(try filters(.from, port).droppedBeforeOurs)
                    .adding(try droppedByGuardProgram(port))
            }
            guard held.limits.to != nil else { return measured }
            if held.site.hook == .clsact {
                let lanes = try passed(.to, held, port: port, links: links)
                measured.to = lanes.general
                measured.toLane = lanes.lane
                if let ifb = held.ifbs[.to], let counters = links(ifb) {
                    measured.toDropped = counters.received.subtracting(counters.sent)
                }
            } else if held.site.root.isOurs {
                let classes = try classes(of: port.index)
                measured.to = classes.general.passed
                measured.toLane = classes.lane.passed
                measured.toDropped = DeliveredCounters(
                    packets: classes.general.droppedPackets, bytes: 0)
            }
            return measured
        } catch {
            throw error.told
        }
    }

    private struct LanePair {
        var general: DeliveredCounters
        var lane: DeliveredCounters
        /// What came to the filters, passed or dropped.
        var seen = DeliveredCounters()
    }

    private mutating func passed(
        _ direction: Mitigation.Direction, _ held: Installed, port: ControlledPort,
        links: LinkCounters
    ) throws(StepFailure) -> LanePair {
        let ifb = held.ifbs[direction == .from ? .from : .to]
        switch policer {
        case .ifb:
            guard let ifb else { throw .mismatch("no ifb") }
            let classes = try classes(of: ifb)
            let seen = try filters(direction, port).filter(Ownership.isOurs).seen
            return LanePair(
                general: classes.general.passed, lane: classes.lane.passed, seen: seen)
        case .bpf:
            guard let buckets = held.buckets[direction] else { throw .mismatch("no eBPF policer") }
            let counters = try StepFailure.bpfed { () throws(BPFError) in try buckets.counters() }
            guard let lanes = counters else { throw .mismatch("another version's eBPF policer") }
            var pair = LanePair(
                general: lanes[FrameLane.general.rawValue].passed,
                lane: lanes[FrameLane.management.rawValue].passed
                    .adding(lanes[FrameLane.neighbour.rawValue].passed))
            for lane in lanes { pair.seen = pair.seen.adding(lane.passed).adding(lane.dropped) }
            if let ifb, let counters = links(ifb) { pair.general = counters.sent }
            return pair
        case .actPolice:
            let ours = try filters(direction, port).filter(Ownership.isOurs)
            var pair = LanePair(
                general: DeliveredCounters(), lane: DeliveredCounters(), seen: ours.seen)
            for filter in ours {
                if filter.preference == FrameLane.general.preference {
                    pair.general = filter.passed
                } else {
                    pair.lane = pair.lane.adding(filter.passed)
                }
            }
            if let ifb, let counters = links(ifb) { pair.general = counters.sent }
            return pair
        }
    }

    private mutating func filters(
        _ direction: Mitigation.Direction, _ port: ControlledPort
    ) throws(StepFailure) -> [FilterRecord] {
        let parent = direction == .from ? Handle.clsactIngress : .clsactEgress
        return try StepFailure.netlinked { () throws(NetlinkError) in
            try socket.filters(of: port.index, parent: parent)
        }
    }

    private struct ClassCounters {
        var passed = DeliveredCounters()
        var droppedPackets: UInt64 = 0
    }

    private mutating func classes(
        of index: Int32
    ) throws(StepFailure) -> (general: ClassCounters, lane: ClassCounters) {
        let records = try StepFailure.netlinked { () throws(NetlinkError) in
            try socket.classes(of: index)
        }
        var general = ClassCounters()
        var lane = ClassCounters()
        for record in records where record.classID.major == Ownership.rootHandle.major {
            let passed = DeliveredCounters(
                packets: record.statistics.packets, bytes: record.statistics.bytes)
            if record.classID.minor == UInt16(FrameLane.general.rawValue + 1) {
                general.passed = passed
                general.droppedPackets = UInt64(record.statistics.drops)
            } else {
                lane.passed = lane.passed.adding(passed)
            }
        }
        return (general, lane)
    }
}

extension FilterRecord {
    /// What the last policer of a chain let through. It counts what reaches it and how many of those
    /// it drops; the bytes of the dropped are taken as average ones.
    fileprivate var passed: DeliveredCounters {
        guard let last = actions.last(where: { $0.police != nil }) else {
            return DeliveredCounters()
        }
        let seen = last.statistics.packets
        let dropped = min(seen, UInt64(last.statistics.drops))
        guard seen > 0 else { return DeliveredCounters() }
        let passed = seen - dropped
        return DeliveredCounters(
            packets: passed, bytes: last.statistics.bytes.share(of: passed, in: seen))
    }
}

extension UInt64 {
    /// What `part` has of this, which `whole` has; a part is at most the whole, which is not zero.
    fileprivate func share(of part: UInt64, in whole: UInt64) -> UInt64 {
        whole.dividingFullWidth(multipliedFullWidth(by: part)).quotient
    }
}

extension ActionRecord {
    /// The bytes of the dropped are taken as average ones.
    fileprivate var dropped: DeliveredCounters {
        let packets = min(statistics.packets, UInt64(statistics.drops))
        guard packets > 0 else { return DeliveredCounters() }
        return DeliveredCounters(
            packets: packets, bytes: statistics.bytes.share(of: packets, in: statistics.packets))
    }
}

extension [FilterRecord] {
    /// What came to these filters: the first action of each counts all that the filter matched.
    fileprivate var seen: DeliveredCounters {
        reduce(into: DeliveredCounters()) { seen, filter in
            guard let first = filter.actions.first?.statistics else { return }
            seen = seen.adding(DeliveredCounters(packets: first.packets, bytes: first.bytes))
        }
    }

    /// What filters of others before ours dropped, as far as their actions tell: Open vSwitch's
    /// policer is one. It did not go past ours.
    fileprivate var droppedBeforeOurs: DeliveredCounters {
        reduce(into: DeliveredCounters()) { dropped, filter in
            guard !Ownership.isOurs(filter),
                ForeignFilter(filter, direction: .from)?.isBeforeOurs == true
            else { return }
            for action in filter.actions { dropped = dropped.adding(action.dropped) }
        }
    }
}

extension DeliveredCounters {
    func adding(_ other: DeliveredCounters) -> DeliveredCounters {
        DeliveredCounters(packets: packets &+ other.packets, bytes: bytes &+ other.bytes)
    }

    /// Zero where `other` is larger.
    func subtracting(_ other: DeliveredCounters) -> DeliveredCounters {
        DeliveredCounters(
            packets: packets - min(packets, other.packets), bytes: bytes - min(bytes, other.bytes))
    }
}
