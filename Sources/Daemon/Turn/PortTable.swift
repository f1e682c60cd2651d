// The interfaces of the host by index, in the order in which the kernel dumps their counters.
//
// Invariants: an index has at most one row; a row that is watched has a slot of the engine and an
// entry of `watched`; an index and a generation are never given twice together, though one number is
// all that is kept of interfaces that are gone. A steady dump comes in the order of the rows, so that a
// look-up is one comparison.
internal import LinkCounters
package import Mitigation
package import Netlink
package import Settings
package import TrafficControl

/// What is known of a watched port beside the engine.
package struct WatchedPort: Sendable {
    /// The port as the engine knows it.
    package var port: Port
    /// How its name was matched.
    package var match: PortMatch
    /// Its link as last reported.
    package var link: Link
    /// What is wrong with its limits.
    package var problem: String?

    /// The port as traffic control knows it.
    package var controlled: ControlledPort {
        ControlledPort(
            index: port.id.index, name: port.name, mtu: port.mtu,
            isOnOpenVSwitch: link.isOnOpenVSwitch)
    }
}

/// The interfaces of the host.
package struct PortTable: Sendable {
    /// What an interface is to us.
    enum Use: Hashable, Sendable {
        case ignored
        case watched(Engine.Slot)
        /// An ifb of ours, by its place in `ifbs`.
        case ours(Int)
    }

    /// An ifb of ours.
    private struct OurIFB: Sendable {
        /// The port whose packets it takes, by interface index.
        var owner: Int32
        var isUp: Bool
        /// The last dump showed it, and its counters with it.
        var isSeen = true
        var isCounted = false
        var received = DeliveredCounters()
        var sent = DeliveredCounters()
    }

    /// Eight bytes, since each poll reads all of them.
    private struct Row: Sendable {
        var index: Int32
        /// A slot; else `ignored`, or below it the place of an ifb, counted down.
        private var place: Int32
        private static let ignored: Int32 = -1

        init(index: Int32, use: Use) {
            self.index = index
            place = 0
            self.use = use
        }

        var use: Use {
            get {
                switch place {
                case 0...: .watched(Int(place))
                case Self.ignored: .ignored
                default: .ours(Int(Self.ignored - 1 - place))
                }
            }
            set {
                place =
                    switch newValue {
                    case .watched(let slot): Int32(slot)
                    case .ignored: Self.ignored
                    case .ours(let place): Self.ignored - 1 - Int32(place)
                    }
            }
        }
    }

    private var rows: [Row] = []
    private var rowOf: [Int32: Int] = [:]
    private var cursor = 0
    private var isOutOfOrder = false
    private var seen: [Int32] = []
    /// What the poll brought of watched ports, in the dump's order: so many of these.
    private var taken: [PortSample] = []
    private var takenCount = 0
    /// What ports' limits drop on the way to the VM, where they drop anything: added to their tx counters.
    private var toDropped: [Engine.Slot: DeliveredCounters] = [:]
    /// Ports that came, or came to their name, since the last turn ended.
    private var renamed: Set<Engine.Slot> = []
    private var ifbs: [OurIFB] = []
    /// The latest generation of each index that is known, and the highest of the others.
    private var generations: [Int32: UInt32] = [:]
    private var formerGeneration: UInt32 = 0
    /// What their limits let through, of the ports that have some.
    private(set) var passing: [Engine.Slot: Passing] = [:]
    /// Every watched port by slot.
    package private(set) var watched = SlotTable<WatchedPort>()

    /// No interface.
    package init() {}

    // MARK: The poll

    /// Begins a dump.
    mutating func beginPoll() {
        cursor = 0
        seen.removeAll(keepingCapacity: true)
        takenCount = 0
        for place in ifbs.indices {
            ifbs[place].isSeen = false
            ifbs[place].isCounted = false
        }
    }

    /// Takes interfaces of the dump, as they were read at `at`. What is watched goes among the samples,
    /// but where that is no measure: it is only there.
    mutating func take(_ batch: Span<LinkSample>, at: Instant, isMeasure: Bool = true) {
        // Apart from the table, so that they are known to be nobody else's once, not for each.
        var all: [PortSample] = []
        swap(&all, &taken)
        defer { swap(&all, &taken) }
        var taken = all.mutableSpan
        var count = takenCount
        for position in batch.indices {
            let index = batch[position].index
            if cursor < rows.count, rows[cursor].index == index {
                cursor += 1
            } else {
                isOutOfOrder = true
                guard let row = rowOf[index] else { continue }
                cursor = row + 1
            }
            if isOutOfOrder { seen.append(index) }
            guard case .watched(let slot) = rows[cursor - 1].use else {
                note(batch[position], of: rows[cursor - 1].use)
                continue
            }
            // One that is shown twice can be more than there is room for.
            guard batch[position].isRead, isMeasure, count < taken.count else { continue }
            taken[count] = PortSample(slot, counters(batch[position].statistics, of: slot), at: at)
            count += 1
        }
        takenCount = count
    }

    /// What an interface's counters say of the port at a slot.
    @inline(__always)
    func counters(_ statistics: LinkStatistics, of slot: Engine.Slot) -> Counters {
        var counters = Counters(
            fromPackets: statistics.rxPackets, fromBytes: statistics.rxBytes,
            toPackets: statistics.txPackets, toBytes: statistics.txBytes)
        if !toDropped.isEmpty, let dropped = toDropped[slot] {
            counters.toPackets &+= dropped.packets
            counters.toBytes &+= dropped.bytes
        }
        return counters
    }

    /// An interface that is no port's.
    private mutating func note(_ sample: LinkSample, of use: Use) {
        guard case .ours(let place) = use else { return }
        ifbs[place].isSeen = true
        guard sample.isRead else { return }
        let statistics = sample.statistics
        ifbs[place].isCounted = true
        ifbs[place].received = DeliveredCounters(
            packets: statistics.rxPackets, bytes: statistics.rxBytes)
        ifbs[place].sent = DeliveredCounters(
            packets: statistics.txPackets, bytes: statistics.txBytes)
    }

    /// Gives `body` what the poll brought of watched ports, in the dump's order, once.
    mutating func takeSamples(_ body: (Span<PortSample>) -> Void) {
        body(taken.span.extracting(0..<takenCount))
        takenCount = 0
    }

    /// Leaves interfaces out of the samples.
    mutating func leaveOut(_ indexes: Set<Int32>) {
        leaveOut(slots: Set(indexes.compactMap { slot(of: $0) }))
    }

    private mutating func leaveOut(slots: Set<Engine.Slot>) {
        var kept = 0
        for place in 0..<takenCount where !slots.contains(taken[place].slot) {
            taken[kept] = taken[place]
            kept += 1
        }
        takenCount = kept
    }

    /// Ends a dump: where the order was another one, the rows follow it from the next dump on.
    mutating func endPoll() {
        guard isOutOfOrder else { return }
        isOutOfOrder = false
        var place: [Int32: Int] = [:]
        for (position, index) in seen.enumerated() { place[index] = position }
        rows.sort { (place[$0.index] ?? .max, $0.index) < (place[$1.index] ?? .max, $1.index) }
        for (position, row) in rows.enumerated() { rowOf[row.index] = position }
    }

    /// What ifbs of ours received and sent, by interface index.
    typealias IFBCounters = [Int32: (received: DeliveredCounters, sent: DeliveredCounters)]

    /// The counters of the ifbs of ours from the last dump, as far as it showed them.
    var ifbCounters: IFBCounters {
        var counters: IFBCounters = [:]
        for row in rows {
            guard case .ours(let place) = row.use, ifbs[place].isCounted else { continue }
            counters[row.index] = (ifbs[place].received, ifbs[place].sent)
        }
        return counters
    }

    // MARK: Interfaces

    /// Of how many interfaces a generation is kept.
    var generationCount: Int { generations.count }

    /// All indexes that are known.
    var indexes: [Int32] { rows.map(\.index) }

    /// The slot of a watched interface.
    func slot(of index: Int32) -> Engine.Slot? {
        guard let row = rowOf[index], case .watched(let slot) = rows[row].use else { return nil }
        return slot
    }

    /// Whether the interface is the one that was known at its index: of the same kind and, where
    /// events may have been lost, with the same address.
    func isSame(_ link: Link, byAddress: Bool) -> Bool {
        guard let slot = slot(of: link.index), let known = watched[slot]?.link else { return true }
        return known.kind == link.kind && (!byAddress || known.address == link.address)
    }

    /// The next identity at an index.
    mutating func newID(_ index: Int32) -> PortID {
        let generation = (generations[index] ?? formerGeneration) &+ 1
        generations[index] = generation
        return PortID(index: index, generation: generation)
    }

    /// An interface that no class claims; with an `owner`, the ifb of ours that takes its packets.
    mutating func note(_ link: Link, owner: Int32?) {
        if let row = rowOf[link.index] {
            switch (rows[row].use, owner) {
            case (.ours(let place), let owner?):
                ifbs[place].owner = owner
                ifbs[place].isUp = link.isUp
                return
            case (.ignored, nil): return
            default: remove(link.index)
            }
        }
        var use = Use.ignored
        if let owner {
            ifbs.append(OurIFB(owner: owner, isUp: link.isUp))
            use = .ours(ifbs.count - 1)
        }
        add(Row(index: link.index, use: use))
    }

    /// The port whose packets this ifb of ours takes; nil where it is none.
    func ownerOfIFB(_ index: Int32) -> Int32? {
        guard let row = rowOf[index], case .ours(let place) = rows[row].use else { return nil }
        return ifbs[place].owner
    }

    /// Whether this is an ifb of ours that is up, and that the last dump showed.
    func isSoundIFB(_ index: Int32) -> Bool {
        guard let row = rowOf[index], case .ours(let place) = rows[row].use else { return false }
        return ifbs[place].isUp && ifbs[place].isSeen
    }

    /// The watched ports by the names that they have had since the last turn ended, but for these
    /// interfaces.
    func portsByName(except indexes: Set<Int32>) -> [DeviceName: Engine.Slot] {
        var ports: [DeviceName: Engine.Slot] = [:]
        for (slot, port) in watched
        where !indexes.contains(port.port.id.index) && !renamed.contains(slot) {
            if let name = DeviceName(port.link.name) { ports[name] = slot }
        }
        return ports
    }

    /// A turn has ended: whatever is read by a name from now on is of the port that has it.
    mutating func endTurn() { renamed.removeAll(keepingCapacity: true) }

    /// A port is watched at this slot, or its properties changed.
    mutating func watch(_ port: WatchedPort, at slot: Engine.Slot) {
        if watched[slot]?.link.name != port.link.name { renamed.insert(slot) }
        if watched[slot] != nil {
            return update(slot) { known in
                known.port = port.port
                known.match = port.match
                known.link = port.link
            }
        }
        if rowOf[port.port.id.index] != nil { remove(port.port.id.index) }
        watched[slot] = port
        add(Row(index: port.port.id.index, use: .watched(slot)))
    }

    /// Forgets an interface; gives the port that it was.
    @discardableResult
    mutating func remove(_ index: Int32) -> WatchedPort? {
        guard let row = rowOf.removeValue(forKey: index) else { return nil }
        if let generation = generations.removeValue(forKey: index) {
            formerGeneration = max(formerGeneration, generation)
        }
        let use = rows[row].use
        rows.remove(at: row)
        for position in row..<rows.count { rowOf[rows[position].index] = position }
        switch use {
        case .ignored: return nil
        case .watched(let slot):
            forgetMeasurements(at: slot)
            renamed.remove(slot)
            // Its place may be another port's before the sample is taken.
            leaveOut(slots: [slot])
            defer { watched[slot] = nil }
            return watched[slot]
        case .ours(let place):
            ifbs.remove(at: place)
            for position in rows.indices {
                if case .ours(let other) = rows[position].use, other > place {
                    rows[position].use = .ours(other - 1)
                }
            }
            return nil
        }
    }

    /// Changes what is known of a watched port.
    mutating func update(_ slot: Engine.Slot, _ body: (inout WatchedPort) -> Void) {
        guard var port = watched[slot] else { return }
        body(&port)
        watched[slot] = port
    }

    /// What the limits of the port at a slot have let through.
    mutating func take(_ measured: Measured, of slot: Engine.Slot, at now: Instant) {
        guard watched[slot] != nil else { return }
        passing[slot, default: Passing()].take(measured, at: now)
        let dropped = passing[slot]?.measured.toDropped
        toDropped[slot] = dropped == DeliveredCounters() ? nil : dropped
    }

    /// Other limits let through what is measured next.
    mutating func forgetMeasurements(at slot: Engine.Slot) {
        passing[slot] = nil
        toDropped[slot] = nil
    }

    private mutating func add(_ row: Row) {
        // The kernel's own order is by index; what differs is put right after the next dump.
        let place = rows.firstIndex { $0.index > row.index } ?? rows.count
        rows.insert(row, at: place)
        for position in place..<rows.count { rowOf[rows[position].index] = position }
        seen.reserveCapacity(rows.count)
        if taken.count < rows.count {
            let none = PortSample(0, Counters(), at: Instant(nanoseconds: 0))
            taken += repeatElement(none, count: rows.count * 2 - taken.count)
        }
    }
}
