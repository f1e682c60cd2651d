// A flood's way over this host, and the port that is limited along with the VM.
//
// When a VM's port trips, the ports of its cloudspace on this host are held against it over the
// trip's own seconds: does a router send roughly what the VM sends? Then the flood leaves through it,
// and what is sent to that router is limited too; else it goes to other VMs, and the tenant's VTEP is.
// Such a companion is held at what its callers together may send, without delay, and only as long as
// they are limited. One that is shut down sends nothing, and calls for nobody; nor does one that is
// about to be released.
//
// Invariants: a companion is limited on account of others only: that is no strike of its own, does
// not count for the breaker, and never climbs; no backend and no port with the host's default route
// is one; a poll in which nothing begins or ends allocates nothing here.

/// The ports of a cloudspace on this host that a flood goes over, as measured when its port tripped.
public struct FloodPath: Hashable, Codable, Sendable {
    /// One port of the way.
    public struct Leg: Hashable, Codable, Sendable {
        /// The port's name then.
        public var name: PortName
        /// What it carried, over the trip's time, in the flood's direction.
        public var load: Cap

        /// A port with what it carried.
        public init(name: PortName, load: Cap) {
            self.name = name
            self.load = load
        }
    }

    /// The VM's port first; then a router's inner and outer leg, or the VTEP. Alone: neither is here.
    public var legs: [Leg]
    /// The port that is limited along with the VM's.
    public var companion: PortName?

    /// A way over these ports.
    public init(legs: [Leg], companion: PortName?) {
        self.legs = legs
        self.companion = companion
    }

    /// `vm-1-00df -> spc-00df -> pub-00df`
    public var description: String { legs.map { "\($0.name)" }.joined(separator: " -> ") }
}

/// A port's counters at the ends of its latest polls, the oldest first.
struct CounterHistory: Sendable {
    private struct Entry: Sendable {
        var counters: SIMD4<UInt64>
        var at: UInt64
    }

    /// Whose.
    let slot: Int
    private let capacity: Int
    private var entries: [Entry] = []
    /// Where the oldest entry stands.
    private var oldest = 0

    /// Keeps as many polls as a trip can take, and one more.
    init(slot: Int, rules: Rules) {
        self.slot = slot
        capacity = 2 * rules.window + 1
        entries.reserveCapacity(capacity)
    }

    mutating func keep(_ counters: SIMD4<UInt64>, at: UInt64) {
        let entry = Entry(counters: counters, at: at)
        guard entries.count == capacity else { return entries.append(entry) }
        entries[oldest] = entry
        oldest = (oldest + 1) % capacity
    }

    mutating func forget() {
        entries.removeAll(keepingCapacity: true)
        oldest = 0
    }

    /// Packets and bytes a second of `direction` since the last entry that is not after `moment`, or
    /// since the first one; nil where there are not two.
    func load(_ direction: Direction, since moment: UInt64) -> Cap? {
        guard entries.count > 1 else { return nil }
        let ordered = (0..<entries.count).map { entries[(oldest + $0) % entries.count] }
        guard let last = ordered.last,
            let first = ordered.last(where: { $0.at <= moment })
                ?? ordered.first, last.at > first.at
        else { return nil }
        let seconds = Double(last.at - first.at) / 1_000_000_000
        let lane = direction.lane
        return Cap(
            packetsPerSecond: Double(
                last.counters[lane].minusSaturating(first.counters[lane])) / seconds,
            bytesPerSecond: Double(
                last.counters[lane + 1].minusSaturating(first.counters[lane + 1])) / seconds)
    }
}

/// The places of a cloudspace's ports on this host, by class.
struct Cloudspace: Sendable {
    var vms: [Int] = []
    var routers: [Int] = []
    var vteps: [Int] = []
    /// Its VMs together.
    var group = Group()

    var isEmpty: Bool { vms.isEmpty && routers.isEmpty && vteps.isEmpty }

    /// Whether it has this port, as one of this class.
    func has(_ slot: Int, _ portClass: PortClass) -> Bool {
        switch portClass {
        case .vm: vms.contains(slot)
        case .router: routers.contains(slot)
        case .vtep: vteps.contains(slot)
        case .backend: false
        }
    }

    mutating func add(_ slot: Int, _ portClass: PortClass) {
        // Its sums are by place.
        group = Group()
        switch portClass {
        case .vm: vms.append(slot)
        case .router: routers.append(slot)
        case .vtep: vteps.append(slot)
        case .backend: break
        }
    }

    mutating func remove(_ slot: Int) {
        group = Group()
        vms.removeAll { $0 == slot }
        routers.removeAll { $0 == slot }
        vteps.removeAll { $0 == slot }
    }
}

extension Engine {
    // MARK: Which ports

    /// A port of a cloudspace came, or something of it changed; what was seen of it is kept.
    mutating func join(_ slot: Slot, _ port: Port) {
        companionsAreStale = true
        if let netid = port.netid, netids[slot] == netid,
            cloudspaces[netid]?.has(slot, port.portClass) == true
        {
            return
        }
        leave(slot)
        guard let netid = port.netid, port.portClass != .backend else { return }
        if cloudspaces[netid] == nil {
            cloudspaceOrder.insert(
                netid, at: cloudspaceOrder.firstIndex { $0 > netid } ?? cloudspaceOrder.count)
        }
        cloudspaces[netid, default: Cloudspace()].add(slot, port.portClass)
        netids[slot] = netid
        if port.portClass == .router {
            histories.append(CounterHistory(slot: slot, rules: rules))
        }
        companionsAreStale = true
    }

    /// A port left its cloudspace.
    mutating func leave(_ slot: Slot) {
        guard let netid = netids.removeValue(forKey: slot) else { return }
        cloudspaces[netid]?.remove(slot)
        if cloudspaces[netid]?.isEmpty == true {
            cloudspaces[netid] = nil
            cloudspaceOrder.removeAll { $0 == netid }
        }
        histories.removeAll { $0.slot == slot }
        companionsAreStale = true
    }

    /// Routers are compared with a flood that began some polls ago.
    mutating func keepHistories() {
        for place in histories.indices {
            let meter = meters[histories[place].slot]
            if meter.measured(in: poll) > 0 {
                histories[place].keep(meter.counters, at: meter.at)
            } else {
                histories[place].forget()
            }
        }
    }

    /// What a router's port carried since `start`; nil where that is not known.
    private func carried(_ slot: Slot, _ direction: Direction, _ start: UInt64) -> Cap? {
        histories.first { $0.slot == slot }?.load(direction, since: start)
    }

    // MARK: The path

    /// The way of a flood from the port at `slot`, which has sent `load` since `start`; nil for
    /// anything but a VM of a cloudspace.
    func path(of slot: Slot, load: Cap, since start: UInt64) -> FloodPath? {
        guard policy.companions, let record = records[slot], record.port.portClass == .vm,
            let netid = record.port.netid, let cloudspace = cloudspaces[netid]
        else { return nil }
        let own = FloodPath.Leg(name: record.port.name, load: load)
        // A second VM that floods along, or one that was limited before, is in what the router sends.
        let expected = [load.packets.perSecond, together(cloudspace)].map { Double($0) }
        func matches(_ load: Cap?) -> Bool {
            guard let load else { return false }
            let packets = Double(load.packets.perSecond)
            return expected.contains { abs(packets - $0) <= $0 * rules.pathTolerance }
        }
        func leg(_ slot: Slot, _ direction: Direction) -> FloodPath.Leg? {
            guard let port = records[slot]?.port,
                let load = carried(slot, direction, start)
            else { return nil }
            return FloodPath.Leg(name: port.name, load: load)
        }
        let outer = cloudspace.routers.filter { matches(carried($0, .from, start)) }
            .max { sent($0, .from, start) < sent($1, .from, start) }
        if let outer {
            let inner = cloudspace.routers
                .filter { $0 != outer && matches(carried($0, .to, start)) }
                .max { sent($0, .to, start) < sent($1, .to, start) }
            let legs = [own, inner.flatMap { leg($0, .to) }, leg(outer, .from)]
            return FloodPath(
                legs: legs.compactMap { $0 }, companion: inner.flatMap { companionName($0) })
        }
        guard let vtep = cloudspace.vteps.first, let name = records[vtep]?.port.name else {
            return FloodPath(legs: [own], companion: nil)
        }
        let meter = meters[vtep]
        let latest = Cap(
            packetsPerSecond: meter.rates[Direction.to.lane],
            bytesPerSecond: meter.rates[Direction.to.lane + 1])
        return FloodPath(
            legs: [own, FloodPath.Leg(name: name, load: latest)], companion: companionName(vtep))
    }

    private func sent(_ slot: Slot, _ direction: Direction, _ start: UInt64) -> UInt64 {
        carried(slot, direction, start)?.packets.perSecond ?? 0
    }

    /// What all VMs of a cloudspace here get through, in packets a second.
    private func together(_ cloudspace: Cloudspace) -> UInt64 {
        cloudspace.vms.reduce(0) { sum, slot in
            let packets = UInt64(saturating: meters[slot].rates[Direction.from.lane])
            let cap = ladderIndex(slot).flatMap { ladders[$0].cap(.from)?.packets.perSecond }
            return sum.plusSaturating(min(packets, cap ?? .max))
        }
    }

    private func companionName(_ slot: Slot) -> PortName? {
        guard let port = records[slot]?.port, !port.carriesDefaultRoute else { return nil }
        return port.name
    }

    // MARK: Companions

    /// What is called for, after something began or ended: each companion's ladder learns what its
    /// callers together may send.
    mutating func callCompanions() {
        guard companionsAreStale else { return }
        companionsAreStale = false
        var called: [Slot: (cap: Cap, incident: UInt32)] = [:]
        for ladder in ladders where ladder.isCaller {
            guard let slot = companion(of: ladder) else { continue }
            let cap = ladder.from.cap
            let former = called[slot]
            called[slot] = (
                former?.cap.adding(cap) ?? cap, min(former?.incident ?? .max, ladder.incident)
            )
        }
        for index in ladders.indices where ladders[index].to.called != nil {
            if called[ladders[index].slot] == nil { ladders[index].call(nil) }
        }
        for (slot, call) in called.sorted(by: { $0.key < $1.key }) {
            if ladderIndex(slot) == nil {
                begin(
                    Ladder(
                        slot: slot, incident: call.incident, strikes: 0,
                        isEnforced: !isObserved(slot)))
            }
            if let index = ladderIndex(slot) { ladders[index].call(call.cap) }
        }
    }

    /// The place of the port that a limited VM's ladder calls for.
    private func companion(of ladder: Ladder) -> Slot? {
        guard policy.companions, let name = ladder.path?.companion,
            let netid = netids[ladder.slot], let cloudspace = cloudspaces[netid]
        else { return nil }
        let found = (cloudspace.routers + cloudspace.vteps).first {
            records[$0]?.port.name == name && records[$0]?.port.carriesDefaultRoute == false
        }
        // What is only observed limits nobody.
        guard let found, ladder.isEnforced || isObserved(found) else { return nil }
        return found
    }

    /// The ports on whose account the one at `slot` is limited.
    func callers(of slot: Slot) -> [PortName] {
        ladders.filter { $0.isCaller && companion(of: $0) == slot }
            .compactMap { records[$0.slot]?.port.name }
    }

    /// An operator released a port, or it lost its class: those that call for it go on without it.
    mutating func excuseCompanion(at slot: Slot) {
        if let index = ladderIndex(slot) { ladders[index].call(nil) }
        // All ports may be released at once, and most are VMs, for which nobody calls.
        guard let netid = netids[slot], let cloudspace = cloudspaces[netid],
            !cloudspace.vms.contains(slot)
        else { return }
        for member in cloudspace.vms + cloudspace.routers + cloudspace.vteps {
            guard let index = ladderIndex(member), companion(of: ladders[index]) == slot else {
                continue
            }
            ladders[index].path?.companion = nil
        }
    }
}

extension Ladder {
    /// Whether its port is limited in what it sends, may send something, and is not about to be
    /// released: a companion is limited along with it.
    var isCaller: Bool { from.rung > .normal && from.rung < .shutDown && !isReleasing }
}

extension Cap {
    /// What both let pass together.
    fileprivate func adding(_ other: Cap) -> Cap {
        Cap(
            packets: PacketRate(
                perSecond: packets.perSecond.plusSaturating(other.packets.perSecond)),
            bits: BitRate(
                bitsPerSecond: bits.bitsPerSecond.plusSaturating(other.bits.bitsPerSecond)))
    }
}
