// The simulated host: taps, ifbs, what traffic control holds on them, what others do to it, and the
// moment at which the daemon dies.
//
// Invariants: the same seed gives the same world; the world outlives every daemon; after the moment of
// its death nothing that a daemon asks for has an effect.

import Mitigation
import Netlink
import Seeded

@testable import Daemon
@testable import Settings
@testable import TrafficControl

/// Whose `ingress` or `clsact` stands on a port.
enum Hook { case none, foreign, ours }

/// A tap, and what stands on it.
final class SimulatedTap {
    var link: Link
    var vm: SimulatedVM
    var counters = LinkStatistics()
    /// What the kernel gives out: counters that are read late stay as they were.
    var shown = LinkStatistics()
    /// Polls for which `shown` stays.
    var staleFor = 0
    var hook: Hook
    /// The filters and policers of ours that stand.
    var standing: Limits?
    /// The guards of ours that stand.
    var guards: Guards?
    var measured = Measured()
    /// Polls for which its management lane has been closed.
    var closedFor = 0
    /// The daemon has been told of it.
    var isAnnounced = false
    /// Its link was taken for its predecessor's; others took out its limits.
    var wasTaken = false
    var wasWrecked = false
    /// All that it was ever called.
    var names: Set<String>
    /// What the rules know of it.
    var ledger = Ledger()
    /// Where it is in a cloudspace that others of this host share.
    var place: CloudPlace?
    /// What the VM sent in the latest flow, what of it got through, and what got through to it.
    var offered = DeliveredCounters()
    var sent = DeliveredCounters()
    var received = DeliveredCounters()

    init(_ link: Link, _ vm: SimulatedVM, _ hook: Hook) {
        self.link = link
        self.vm = vm
        self.hook = hook
        names = [PortName(bytes: link.name).description]
    }

    var index: Int32 { link.index }
    var name: PortName { PortName(bytes: link.name) }
    /// The rung that the kernel holds for what the VM sends.
    var fromRung: Rung { standing.map(Ledger.fromRung) ?? .normal }

    /// It had a name that no class claims.
    var lostItsClass: Bool { names.contains { $0.hasPrefix("tap") } }
}

/// An ifb of ours.
struct SimulatedIFB {
    var link: Link
    var role: IFBRole
    var owner: Int32
}

/// What becomes of the call at which the daemon dies.
enum Death: CaseIterable { case before, half, after }

/// What becomes of a change that is asked of the kernel; lost: it is done, and the answer does not come.
enum Fault { case refused, unanswered, lost }

final class World {
    var random: SplitMix
    /// Nanoseconds.
    var now: UInt64 = 5_000_000_000
    var taps: [Int32: SimulatedTap] = [:]
    var ifbs: [Int32: SimulatedIFB] = [:]
    /// All of both in the order of a dump.
    private(set) var indexes: [Int32] = []
    var routes: Set<Int32> = []
    var isFaulty = false
    /// It counts as a walk in the kernel does: an ifb is shown without its counters.
    var walks = false
    /// What was read beside a turn that waited.
    var standby: [StandbyPoll] = []
    /// What happens while the next listing of counters waits.
    var wait: (() -> Void)?
    /// The same, of the next change.
    var changeWait: (() -> Void)?
    var isTraced = false

    /// What is to be notified, and whether some of it was lost.
    var changes: [HostChange] = []
    var isOverrun = false
    /// The ports that the daemon has been told of, and all indexes.
    var claimed: Set<Int32> = []
    var toldNames: [Int32: [UInt8]] = [:]

    /// What operators said of ports, and of classes; and that they said anything.
    var words: [PortName: Said] = [:]
    var modes: [PortClass: Mode] = [:]
    var wouldShutDowns = 0
    var wasOrdered = false
    var isEscalating = false

    /// What the store holds, and as bytes where they are kept each time.
    var written: JournalState?
    var writtenAt = Instant(nanoseconds: 0)
    var bytes: [UInt8]?
    var keepsBytes = false
    /// A write has failed since the journal was last whole.
    var isJournalBehind = false

    var journalFails = false
    /// When the present daemon began, and whether it has looked at what stands.
    var startedAt: UInt64 = 0
    /// The same, later by the time that the machine has slept since: nobody looked then.
    var watchedFrom: UInt64 = 0
    var hasSurveyed = false
    /// Ports that it has found limited, and of which it remembered nothing: told in one number.
    var adopted: Set<Int32> = []

    /// Calls of traffic control and of the store that could be the last.
    var calls = 0
    var death: (call: Int, kind: Death)?
    var isDead = false
    /// What becomes of the next changes, where a test says it.
    var script: [Fault?] = []

    var policy = Policy()
    var names = PortNames.default
    var failure: String?
    var tally: [String: Int] = [:]
    /// Shutdowns that were told.
    var shutdowns: [UInt64] = []

    /// Whether the VMs of a cloudspace were over the mark of their sum in its latest flows, nearly.
    private var floodedTogether: [String: [Bool]] = [:]

    private var nextIndex: Int32 = 2
    private var nextAddress: UInt64 = 1

    init(seed: UInt64) { random = SplitMix(seed: seed) }

    var instant: Instant { Instant(nanoseconds: now) }

    func fail(_ what: String, _ tap: SimulatedTap? = nil) {
        guard failure == nil else { return }
        failure = what + (tap.map { " on \($0.name) (\($0.vm.source))" } ?? "")
    }

    func trace(_ what: @autoclosure () -> String) {
        if isTraced { print("\(now / 1_000_000) ms: \(what())") }
    }

    func count(_ what: @autoclosure () -> String) { tally[what(), default: 0] += 1 }

    // MARK: The daemon's death

    /// What becomes of one call: nil, it is not made any more.
    func admit() -> Death? {
        guard !isDead else { return nil }
        calls += 1
        guard let death, calls >= death.call else { return .after }
        isDead = true
        trace("the daemon dies: \(death.kind) call \(calls)")
        count("death \(death.kind)")
        return death.kind == .before ? nil : death.kind
    }

    /// What becomes of the next change; nil: it is done.
    func nextFault() -> Fault? {
        if !script.isEmpty { return script.removeFirst() }
        guard isFaulty else { return nil }
        switch random.next() % 12 {
        case 0: return .refused
        case 1: return .unanswered
        case 2: return .lost
        default: return nil
        }
    }

    // MARK: Interfaces

    func makeAddress() -> [UInt8] {
        defer { nextAddress += 1 }
        return (0..<6).map { UInt8(truncatingIfNeeded: nextAddress >> (8 * UInt64($0))) }
    }

    func takeIndex() -> Int32 {
        defer { nextIndex += 1 }
        return nextIndex
    }

    /// A tap of this name; at a former index where one is given.
    @discardableResult
    func plug(_ name: String, _ source: Source, index: Int32? = nil) -> Int32 {
        let link = Link(
            index: index ?? takeIndex(), name: Array(name.utf8), kind: "tun",
            address: makeAddress(), flags: 1)
        let place = CloudPlace(name)
        let vm = SimulatedVM(place?.isRelay == true ? .quiet : source, &random)
        let tap = SimulatedTap(link, vm, random.once(in: 3) ? .foreign : .none)
        tap.counters.rxPackets = random.next() >> 20
        tap.counters.rxBytes = random.next() >> 20
        tap.shown = tap.counters
        tap.place = place
        taps[link.index] = tap
        trace("\(name) (\(source)) is plugged at \(link.index)")
        notify(.link(link))
        return link.index
    }

    /// The tap is gone with all that stood on it; its ifbs are interfaces of their own and stay.
    func unplug(_ index: Int32) {
        taps[index] = nil
        trace("unplugged \(index)")
        notify(.gone(index))
    }

    func notify(_ change: HostChange) {
        // Some are lost without a word.
        if case .trafficControl = change {
            if isFaulty, random.once(in: 12) { return }
        } else {
            indexes = (Array(taps.keys) + Array(ifbs.keys)).sorted()
        }
        changes.append(change)
    }

    // MARK: Ifbs

    func ifb(_ role: IFBRole, of index: Int32) -> SimulatedIFB? {
        for ifb in ifbs.values where ifb.owner == index && ifb.role == role { return ifb }
        return nil
    }

    func ensureIFB(_ role: IFBRole, of port: ControlledPort) {
        if var known = ifb(role, of: port.index) {
            guard !known.link.isUp else { return }
            known.link.flags = 1
            ifbs[known.link.index] = known
            return notify(.link(known.link))
        }
        let link = Link(
            index: takeIndex(), name: Array(role.name(of: port.index).utf8),
            alias: Array(role.alias(of: port).utf8), kind: "ifb", flags: 1)
        ifbs[link.index] = SimulatedIFB(link: link, role: role, owner: port.index)
        notify(.link(link))
    }

    func removeIFBs(of index: Int32, except roles: Set<IFBRole> = []) {
        for ifb in ifbs.values.sorted(by: { $0.link.index < $1.link.index })
        where ifb.owner == index && !roles.contains(ifb.role) {
            ifbs[ifb.link.index] = nil
            notify(.gone(ifb.link.index))
        }
    }

    /// The ifbs that these limits lead to.
    static func roles(_ limits: Limits?) -> Set<IFBRole> {
        var roles: Set<IFBRole> = []
        if limits?.from?.delay != nil { roles.insert(.from) }
        if limits?.to != nil { roles.insert(.to) }
        return roles
    }

    /// Every redirect of these limits leads to an ifb that is there and up.
    func isSound(_ limits: Limits, on index: Int32) -> Bool {
        (limits.from?.delay == nil || ifb(.from, of: index)?.link.isUp == true)
            && (limits.to == nil || ifb(.to, of: index)?.link.isUp == true)
    }

    // MARK: Time

    /// Traffic flows for this long.
    func flow(milliseconds: UInt64) {
        let started = now / 1_000_000
        now += milliseconds * 1_000_000
        for index in indexes where taps[index]?.place?.isRelay != true {
            taps[index]?.flow(from: started, for: milliseconds, self)
        }
        for netid in CloudPlace.netids {
            let members = indexes.compactMap { taps[$0] }.filter { $0.place?.netid == netid }
            guard !members.isEmpty else { continue }
            noteSum(of: members.filter { $0.place?.role == .vm }, netid, for: milliseconds)
            relay(members, isRouted: netid == CloudPlace.routed, from: started, for: milliseconds)
        }
    }

    private func noteSum(of vms: [SimulatedTap], _ netid: String, for milliseconds: UInt64) {
        guard let packets = policy.groupMark.packets, let bits = policy.groupMark.bits else {
            return
        }
        var sum = DeliveredCounters()
        for vm in vms { sum.add(vm.offered) }
        // Counters that are read late make it more in one poll and less in others.
        let isOver =
            sum.packets * 1_000 >= packets.perSecond * milliseconds * 8 / 10
            || sum.bytes * 8_000 >= bits.bitsPerSecond * milliseconds * 8 / 10
        floodedTogether[netid] = (floodedTogether[netid] ?? []).suffix(59) + [isOver]
    }

    /// Whether it may be limited for what it sends together with others of its cloudspace.
    func isInGroup(_ tap: SimulatedTap) -> Bool {
        if remembered(tap)?.isGroup == true { return true }
        guard let place = tap.place, place.role == .vm else { return false }
        return floodedTogether[place.netid]?.contains(true) == true
    }

    /// What the VMs of a cloudspace send goes on through its router, or by its VTEP.
    private func relay(
        _ members: [SimulatedTap], isRouted: Bool, from: UInt64, for milliseconds: UInt64
    ) {
        var carried = DeliveredCounters()
        for member in members where member.place?.role == .vm { carried.add(member.sent) }
        for role in [CloudPlace.Role.vtep, .inner, .outer] {
            for member in members where member.place?.role == role {
                var load = Load.quiet
                if role == .outer {
                    if isRouted { load.add(carried, in: milliseconds, \.packets, \.size) }
                } else if isRouted == (role == .inner) {
                    load.add(carried, in: milliseconds, \.toPackets, \.toSize)
                }
                member.flow(from: from, for: milliseconds, self, load)
                if role == .inner { carried = member.received }
            }
        }
    }

    /// Everything that the kernel holds of ours, where there is nothing to hold it for.
    var leftovers: [String] {
        var left = taps.values.filter {
            $0.standing != nil || $0.hook == .ours && $0.guards == nil
        }.map {
            "\($0.name): \($0.hook), \(String(describing: $0.standing))"
        }
        left += ifbs.values.map { String(decoding: $0.link.name, as: UTF8.self) }
        return left.sorted()
    }
}

extension SimulatedTap {
    /// `carried`: in the place of what the VM does.
    fileprivate func flow(
        from: UInt64, for milliseconds: UInt64, _ world: World, _ carried: Load? = nil
    ) {
        offered = DeliveredCounters()
        (self.sent, self.received) = (offered, offered)
        guard link.isUp else { return }
        let load = carried ?? vm.load(milliseconds: from, limits: standing)
        let sent = load.packets * milliseconds / 1_000
        let received = load.toPackets * milliseconds / 1_000
        counters.rxPackets &+= sent
        counters.rxBytes &+= sent * load.size
        offered = DeliveredCounters(packets: sent, bytes: sent * load.size)
        self.sent = offered
        var passed = received
        if let standing {
            let lane = milliseconds / 50
            let isOpen = world.isSound(standing, on: index)
            if let cap = standing.from?.cap {
                let most = min(
                    cap.packets.perSecond, cap.bits.bitsPerSecond / 8 / max(load.size, 1))
                let delivered = isOpen ? min(load.packets, most) * milliseconds / 1_000 : 0
                self.sent = DeliveredCounters(
                    packets: delivered, bytes: delivered * load.size)
                measured.from = measured.from.adding(delivered, delivered * load.size)
                measured.fromLane = measured.fromLane.adding(isOpen ? lane : 0, lane * 100)
                measured.fromSeen = measured.fromSeen.adding(sent + lane, sent * load.size)
            }
            if let cap = standing.to?.cap {
                let most = min(
                    cap.packets.perSecond, cap.bits.bitsPerSecond / 8 / max(load.toSize, 1))
                passed = isOpen ? min(load.toPackets, most) * milliseconds / 1_000 : 0
                let dropped = received - passed
                measured.to = measured.to.adding(passed, passed * load.toSize)
                measured.toDropped = measured.toDropped.adding(dropped, dropped * load.toSize)
            }
        }
        counters.txPackets &+= passed
        counters.txBytes &+= passed * load.toSize
        self.received = DeliveredCounters(packets: passed, bytes: passed * load.toSize)
    }
}

extension DeliveredCounters {
    fileprivate mutating func add(_ other: DeliveredCounters) {
        packets &+= other.packets
        bytes &+= other.bytes
    }
}

extension Load {
    /// In one direction this too, which came in so many milliseconds.
    fileprivate mutating func add(
        _ carried: DeliveredCounters, in milliseconds: UInt64,
        _ packets: WritableKeyPath<Load, UInt64>, _ size: WritableKeyPath<Load, UInt64>
    ) {
        guard carried.packets > 0 else { return }
        self[keyPath: packets] += carried.packets * 1_000 / milliseconds
        self[keyPath: size] = carried.bytes / carried.packets
    }
}

extension DeliveredCounters? {
    fileprivate func adding(_ packets: UInt64, _ bytes: UInt64) -> DeliveredCounters {
        DeliveredCounters(
            packets: (self?.packets ?? 0) &+ packets, bytes: (self?.bytes ?? 0) &+ bytes)
    }
}
