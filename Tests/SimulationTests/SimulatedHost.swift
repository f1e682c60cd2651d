// What stands in for the kernel and the disk under the real turn: host, traffic control and store over
// one world. What a daemon knows of the kernel lives here and dies with it; the world goes on.

import LinkCounters
import Mitigation
import Netlink
import Seeded

@testable import Daemon
@testable import Settings
@testable import TrafficControl

/// The interfaces and their counters.
struct SimulatedHost: Host {
    let world: World
    private var needsAll = true

    init(_ world: World) { self.world = world }

    mutating func takeChanges(_ body: (HostChange) -> Void) throws(NetlinkError) {
        guard !world.isDead else { throw Self.error(110) }
        let changes = world.changes
        world.changes = []
        guard needsAll || world.isOverrun else {
            for change in changes {
                world.noteClaim(change)
                body(change)
            }
            return
        }
        needsAll = true
        if world.isFaulty, world.random.once(in: 8) { throw Self.error(4) }
        let links = world.links
        world.noteClaim(.all(links))
        body(.all(links))
        needsAll = false
        world.isOverrun = false
    }

    mutating func listAgain() { needsAll = true }

    var counterSource: CounterSource { world.walks ? .bpf : .netlink(nil) }

    mutating func takeStandbyPolls() -> [StandbyPoll] {
        defer { world.standby = [] }
        return world.isDead ? [] : world.standby
    }

    mutating func counters(of index: Int32) throws(NetlinkError) -> LinkStatistics? {
        guard !world.isDead else { throw Self.error(110) }
        return world.ifbs[index].map { _ in LinkStatistics() }
    }

    mutating func poll(
        isWanted: (Int32) -> Bool, _ body: (Span<LinkSample>, _ isLate: Bool) -> Void
    ) throws(NetlinkError) {
        func tell(_ index: Int32, _ statistics: LinkStatistics?) {
            body(CollectionOfOne(LinkSample(index: index, statistics: statistics)).span, false)
        }
        guard !world.isDead else { throw Self.error(110) }
        let wait = world.wait
        world.wait = nil
        wait?()
        let reading = wait == nil ? Reading.inTime : .late
        let isCut = world.isFaulty && world.random.once(in: 60)
        let indexes = world.indexes
        for (place, index) in indexes.enumerated() {
            if isCut, place > indexes.count / 2 {
                for missed in indexes[place...] { world.taps[missed]?.ledger.miss() }
                throw Self.error(4)
            }
            if world.ifbs[index] != nil {
                tell(index, world.walks && !isWanted(index) ? nil : LinkStatistics())
            } else if let shown = world.show(index, reading) {
                tell(index, shown)
            }
        }
    }

    mutating func defaultRouteInterfaces() throws(NetlinkError) -> Set<Int32> {
        guard !world.isDead else { throw Self.error(110) }
        return world.routes
    }

    static func error(_ code: Int32) -> NetlinkError {
        NetlinkError(operation: "simulated", code: code)
    }
}

extension World {
    /// All interfaces as they are dumped.
    var links: [Link] {
        indexes.compactMap { taps[$0]?.link ?? ifbs[$0]?.link }
    }

    /// Which ports the daemon knows.
    func noteClaim(_ change: HostChange) {
        switch change {
        case .link(let link): claim(link)
        case .gone(let index):
            claimed.remove(index)
            toldNames[index] = nil
        case .trafficControl: break
        case .all(let links):
            claimed = []
            toldNames = [:]
            for link in links { claim(link) }
        }
    }

    private func claim(_ link: Link) {
        toldNames[link.index] = link.name
        taps[link.index]?.isAnnounced = taps[link.index]?.link.address == link.address
        if link.kind != "ifb", names.match(PortName(bytes: link.name)) != nil {
            claimed.insert(link.index)
        } else {
            claimed.remove(link.index)
        }
    }

    /// The counters that a poll sees.
    func show(_ index: Int32, _ reading: Reading) -> LinkStatistics? {
        guard let tap = taps[index] else { return nil }
        if isFaulty {
            if random.once(in: 30) { tap.staleFor = Int(random.value(1...6)) }
            if random.once(in: 400) { tap.counters = LinkStatistics() }
        }
        if tap.staleFor > 0 { tap.staleFor -= 1 } else { tap.shown = tap.counters }
        let cap = tap.standing?.from?.cap
        // The first counters of an interface that could not be listed yet are nobody's.
        guard claimed.contains(index) || !tap.ledger.isFresh else { return tap.shown }
        tap.ledger.note(tap.shown, reading, at: now, policy: policy, cap: cap)
        return tap.shown
    }
}

/// The journal: what was written last outlives the daemon.
struct SimulatedStore: JournalStore {
    let world: World

    mutating func write(_ state: JournalState, now: Instant) throws(JournalError) {
        guard let fate = world.admit(), fate != .half else {
            throw JournalError("the daemon is dead")
        }
        if world.isFaulty, world.failsToWrite {
            world.isJournalBehind = true
            throw JournalError("no space left on device")
        }
        world.isJournalBehind = false
        world.written = state
        world.writtenAt = now
        if world.keepsBytes { world.bytes = try world.document(state, now).bytes() }
    }
}

extension World {
    /// A disk that is full is full for a while.
    var failsToWrite: Bool { journalFails && now / 1_000_000_000 % 7 == 0 }

    func document(_ state: JournalState, _ now: Instant) -> JournalDocument {
        JournalDocument(
            boot: "boot", savedAt: now, wallClock: Int64(now.nanoseconds / 1_000_000_000),
            state: state)
    }

    /// What a successor reads, through the journal's bytes.
    func recall() -> JournalState? {
        guard let written else { return nil }
        do {
            // The codec is dear: some histories go through it at every write, the others now and then.
            guard keepsBytes || random.once(in: 4) else { return written }
            let bytes = try keepsBytes ? bytes ?? [] : document(written, writtenAt).bytes()
            let document = try JournalDocument(bytes: bytes)
            if document.state != written { fail("the journal reads back as something else") }
            return document.state(
                boot: "boot", now: instant, wallClock: 0, forgiveness: policy.forgiveness)
        } catch {
            fail("the journal cannot be read: \(error)")
            return nil
        }
    }
}

/// Traffic control over the world.
struct SimulatedControl: TrafficControl {
    let world: World
    /// What this daemon has brought ports to.
    private var applied: [Int32: Limits] = [:]
    private var leadsTo: [Int32: [Int32]] = [:]
    private var guarded: [Int32: Guards] = [:]
    private var origins: [Int32: PortOrigin] = [:]

    init(_ world: World) { self.world = world }

    var parts: KernelParts {
        KernelParts(hasActPolice: true, hasBPF: true, hasNetem: true, hasIFB: true)
    }

    /// How many ports something is kept of.
    var size: Int { max(applied.count, leadsTo.count, origins.count, guarded.count) }

    mutating func guardCounts(
        of port: ControlledPort
    ) throws(TrafficControlError) -> GuardCounts { GuardCounts() }

    mutating func setGuards(
        _ guards: Guards?, on port: ControlledPort
    ) throws(TrafficControlError) {
        guard let fate = world.admit() else { throw .unknown("the daemon is dead") }
        guard let tap = world.taps[port.index] else { throw .gone }
        guard applied[port.index] != nil || tap.standing == nil else {
            throw .refused("limits stand that are not confirmed yet")
        }
        let fault = try fault(fate) {}
        // Each of a guard's filters is put whole: half of it counts as none.
        guard fate == .after else { throw .unknown("the daemon is dead") }
        world.trace("\(tap.name): guards \(guards?.switches.description ?? "none")")
        tap.setGuards(guards)
        world.notify(.trafficControl(port.index))
        if fault == .lost || world.isDead { throw .unknown("no answer") }
        guarded[port.index] = guards
        world.count("guarded")
    }

    /// What goes wrong with a request; throws where nothing is done.
    private func fault(
        _ fate: Death, onRefusal body: () -> Void
    ) throws(TrafficControlError) -> Fault? {
        let fault = fate == .after ? world.nextFault() : nil
        if let fault { world.trace("\(fault)") }
        switch fault {
        case .refused:
            body()
            throw .refused("no such qdisc")
        case .unanswered: throw .unknown("no answer")
        case .lost, nil: return fault
        }
    }

    mutating func apply(
        _ limits: Limits?, to port: ControlledPort
    ) throws(TrafficControlError) {
        if !world.isDead { world.checkRequest(limits, to: port.index) }
        guard let fate = world.admit() else { throw .unknown("the daemon is dead") }
        guard world.taps[port.index] != nil else { throw .gone }
        let fault = try fault(fate) { world.noteAnswer(on: port.index) }
        guard fate == .after else {
            world.applyHalf(limits, to: port)
            throw .unknown("the daemon is dead")
        }
        let wait = world.changeWait
        world.changeWait = nil
        wait?()
        install(limits, on: port)
        if fault == .lost || world.isDead { throw .unknown("no answer") }
        world.noteDone(on: port.index)
        applied[port.index] = limits
        if limits == nil {
            leadsTo[port.index] = nil
            origins[port.index] = nil
        } else {
            noteRedirects(port.index)
        }
    }

    private func install(_ limits: Limits?, on port: ControlledPort) {
        let roles = World.roles(limits)
        for role in IFBRole.allCases where roles.contains(role) { world.ensureIFB(role, of: port) }
        let hadLimits = world.taps[port.index]?.standing != nil
        world.taps[port.index]?.take(limits)
        if limits == nil {
            // A hook of ours shows by its filters, or by what was kept of the port.
            let isOurs = hadLimits || origins[port.index]?.hadHook == false
            if isOurs { world.taps[port.index]?.dropHook() }
        } else if world.taps[port.index]?.hook == Hook.none {
            world.taps[port.index]?.hook = .ours
        }
        world.removeIFBs(of: port.index, except: roles)
        world.notify(.trafficControl(port.index))
        world.noteEffect(on: port.index)
    }

    private mutating func noteRedirects(_ index: Int32) {
        leadsTo[index] = World.roles(world.taps[index]?.standing).compactMap {
            world.ifb($0, of: index)?.link.index
        }
    }

    mutating func origin(of port: ControlledPort) throws(TrafficControlError) -> PortOrigin {
        guard !world.isDead, let tap = world.taps[port.index] else { throw .gone }
        let origin = PortOrigin(hadHook: tap.hook != .none && tap.guards == nil)
        origins[port.index] = origin
        return origin
    }

    mutating func hold(_ origin: PortOrigin, for port: ControlledPort) {
        origins[port.index] = origin
    }

    mutating func repair(_ ports: [ControlledPort], puttingBack: Bool) -> [Int32: Repair] {
        var repairs: [Int32: Repair] = [:]
        for port in ports {
            guard let tap = world.taps[port.index] else { continue }
            let lacksGuards = guarded[port.index].map { tap.guards != $0 } ?? false
            let wanted = applied[port.index]
            let isWhole =
                wanted.map { tap.standing == $0 && world.isSound($0, on: port.index) } ?? true
            guard !isWhole || lacksGuards, world.admit() == .after else { continue }
            if world.isFaulty, world.random.once(in: 8) {
                repairs[port.index] = .failed(.unknown("no answer"))
                continue
            }
            tap.ledger.isRestoring = true
            tap.ledger.repairedAt = world.now
            world.trace("\(tap.name): repaired, \(puttingBack)")
            if puttingBack {
                if lacksGuards { tap.setGuards(guarded[port.index]) }
                if let wanted { install(wanted, on: port) }
                repairs[port.index] = .putBack("a filter")
            } else if let wanted, tap.standing != nil, !world.isSound(wanted, on: port.index) {
                world.taps[port.index]?.take(nil)
                world.notify(.trafficControl(port.index))
                repairs[port.index] = .takenOut("an ifb is gone")
            }
            noteRedirects(port.index)
            world.count("repaired")
        }
        return repairs
    }

    func redirects(of port: ControlledPort) -> [Int32] { leadsTo[port.index] ?? [] }

    mutating func measure(
        _ port: ControlledPort, links: LinkCounters
    ) throws(TrafficControlError) -> Measured {
        guard !world.isDead, let tap = world.taps[port.index] else { throw .gone }
        return tap.measured
    }

    mutating func setLink(_ port: ControlledPort, up: Bool) throws(TrafficControlError) {
        if !world.isDead { world.checkLink(up: up, of: port.index) }
        guard let fate = world.admit(), fate != .half else { throw .unknown("the daemon is dead") }
        guard let tap = world.taps[port.index] else { throw .gone }
        let fault = world.nextFault()
        if let fault { world.trace("\(fault)") }
        switch fault {
        case .refused:
            world.noteAnswer(on: port.index)
            throw .refused("not now")
        case .unanswered: throw .unknown("no answer")
        case .lost, nil: break
        }
        tap.link.flags = up ? 1 : 0
        world.notify(.link(tap.link))
        world.noteEffect(on: port.index)
        if fault == .lost || world.isDead { throw .unknown("no answer") }
        world.noteDone(on: port.index)
    }

    mutating func survey(
        _ ports: [ControlledPort], lane: Lane, except known: Set<Int32>
    ) throws(TrafficControlError) -> Survey {
        guard world.admit() == .after else { throw .unknown("the daemon is dead") }
        let isScripted = !world.script.isEmpty
        if isScripted { world.script.removeFirst() }
        if isScripted || world.isFaulty && world.random.once(in: 6) {
            throw .unknown("an interrupted dump")
        }
        var survey = Survey()
        let watched = Dictionary(uniqueKeysWithValues: ports.map { ($0.index, $0) })
        for index in world.taps.keys.sorted() where !known.contains(index) {
            guard let tap = world.taps[index] else { continue }
            let hasEmptyHook = tap.standing == nil && origins[index]?.hadHook == false
            if hasEmptyHook, watched[index] == nil { tap.dropHook() }
            if tap.guards != nil {
                if watched[index] != nil {
                    survey.guarded.insert(index)
                } else {
                    tap.setGuards(nil)
                }
            }
            guard let standing = tap.standing else { continue }
            if let port = watched[index] {
                survey.found.append(Found(port: port, limits: standing))
                applied[index] = standing
                world.adopted.insert(index)
                noteRedirects(index)
            } else {
                tap.take(nil)
                tap.dropHook()
                world.removeIFBs(of: index)
            }
        }
        for ifb in world.ifbs.values.sorted(by: { $0.link.index < $1.link.index })
        where !known.contains(ifb.owner) && world.taps[ifb.owner]?.standing == nil {
            world.removeIFBs(of: ifb.owner)
        }
        world.hasSurveyed = true
        return survey
    }

    mutating func forget(_ port: ControlledPort) {
        applied[port.index] = nil
        leadsTo[port.index] = nil
        origins[port.index] = nil
        guarded[port.index] = nil
        guard world.admit() == .after else { return }
        world.removeIFBs(of: port.index)
    }

    func enforcement(of port: ControlledPort) -> String? {
        applied[port.index] == nil ? nil : "simulated"
    }

    func advisories(of port: ControlledPort) -> [String] { [] }
}

extension World {
    /// Cut off in the middle: a hook and ifbs, and the old filters.
    fileprivate func applyHalf(_ limits: Limits?, to port: ControlledPort) {
        guard limits != nil else { return }
        for role in IFBRole.allCases where Self.roles(limits).contains(role) {
            ensureIFB(role, of: port)
        }
        if taps[port.index]?.hook == Hook.none { taps[port.index]?.hook = .ours }
    }
}

extension SimulatedTap {
    /// These limits stand; what counts begins anew.
    func take(_ limits: Limits?) {
        if limits?.from != standing?.from || limits?.to != standing?.to { measured = Measured() }
        standing = limits
    }

    /// These guards stand.
    func setGuards(_ new: Guards?) {
        guard new != guards else { return }
        guards = new
        if new == nil, standing == nil { dropHook() } else if hook == .none { hook = .ours }
    }

    /// A hook of ours on which nothing of ours stands any more.
    func dropHook() {
        if hook == .ours, guards == nil { hook = .none }
    }
}
