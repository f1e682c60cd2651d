// The rules that every history is held to, told from outside the decision: from the counters that were
// given out, from what was asked of the kernel, from what the journal held, and from what was told.
//
//   touched     an innocent port, a port that no class claims, a victim's own traffic: never
//   evidence    a trip has its second over the mark; a climb has its flood in the dwell
//   order       one rung at a time, up after its dwell, down after calm or by an operator
//   lane        asked for with all limits, as configured; open while limits stand
//   ceilings    what may be shut down; the breaker's share and its shutdowns
//   told        each number once, none left out, each move from where the last one led
//   remains     at the end (History.settle) nothing of ours, everything of others

import Mitigation
import Netlink
import TrafficControl

@testable import Daemon
@testable import Settings

/// One direction as it was sampled.
struct Side {
    /// Which of the latest 64 polls were over the mark, the latest in bit 0.
    var over: UInt64 = 0
    /// Polls in a row that were far over the mark.
    var fast = 0
    /// The latest sample that was not below the low mark, and the one before.
    var notLowAt: UInt64 = 0
    var formerNotLowAt: UInt64 = 0
}

/// How a poll's counters came.
enum Reading: Int {
    /// Beside a turn that waited.
    case beside
    /// By that turn, in the end.
    case late
    case inTime
}

/// What a decision may rest on, as it is after one poll.
struct Sight {
    private var sampled: LinkStatistics?
    /// When that was.
    fileprivate(set) var at: UInt64 = 0
    /// What was asked for last; others may have taken it out.
    fileprivate var lastCap: Cap?
    var from = Side()
    var to = Side()
    /// Which of the latest 64 polls were over 1.25 times the cap.
    var unresponsive: UInt64 = 0

    fileprivate var isFresh: Bool { sampled == nil }

    mutating func miss() {
        from.over <<= 1
        to.over <<= 1
        from.fast = 0
        to.fast = 0
        unresponsive <<= 1
    }

    mutating func begin() {
        sampled = nil
        (from.over, from.fast) = (0, 0)
        (to.over, to.fast) = (0, 0)
    }

    /// Takes a sample the way DESIGN.md says it, in whole numbers.
    mutating func note(_ new: LinkStatistics, at: UInt64, policy: Policy, cap: Cap?) {
        let interval = policy.pollInterval.wholeNanoseconds
        defer {
            sampled = new
            self.at = at
        }
        guard let old = sampled, at > self.at, at - self.at <= 3 * interval,
            new.rxPackets >= old.rxPackets, new.rxBytes >= old.rxBytes,
            new.txPackets >= old.txPackets, new.txBytes >= old.txBytes
        else { return miss() }
        let time = at - self.at
        Self.note(new.rxPackets - old.rxPackets, new.rxBytes - old.rxBytes, time, at, &from)
        Self.note(new.txPackets - old.txPackets, new.txBytes - old.txBytes, time, at, &to)
        unresponsive <<= 1
        if cap != nil { lastCap = cap }
        guard let cap = lastCap else { return }
        let isFlood =
            Self.reaches(new.rxPackets - old.rxPackets, cap.packets.perSecond * 5 / 4, time)
            || Self.reaches(new.rxBytes - old.rxBytes, cap.bits.bitsPerSecond * 5 / 32, time)
        unresponsive |= isFlood ? 1 : 0
    }

    private static func note(
        _ packets: UInt64, _ bytes: UInt64, _ time: UInt64, _ at: UInt64, _ side: inout Side
    ) {
        let (pps, bytesPerSecond) = (SimulatedVM.mark, SimulatedVM.mark * 1_250)
        let isOver = reaches(packets, pps, time) || reaches(bytes, bytesPerSecond, time)
        let isFast = reaches(packets, pps * 5, time) || reaches(bytes, bytesPerSecond * 5, time)
        side.over = side.over << 1 | (isOver ? 1 : 0)
        side.fast = isFast ? side.fast + 1 : 0
        if reaches(packets, pps / 2, time) || reaches(bytes, bytesPerSecond / 2, time) {
            side.formerNotLowAt = side.notLowAt
            side.notLowAt = at
        }
    }

    private static func reaches(_ grown: UInt64, _ rate: UInt64, _ time: UInt64) -> Bool {
        UInt128(grown) * 1_000_000_000 >= UInt128(rate) * UInt128(time)
    }
}

/// What is known of a port from outside.
struct Ledger {
    /// Where turns wait, the daemon takes all that was read, or only what turns read, or only what they
    /// read in time: it leaves out what may have been another port's. A decision rests on one of these.
    private var views = [Sight](repeating: Sight(), count: 3)
    /// What a view was after polls that were read beside a turn: a decision may rest on any of them.
    private var missed: [Sight] = []
    /// When a rung was reached by a step of the ladder.
    var since: [Rung: UInt64] = [:]
    var toSince: UInt64 = 0
    /// The rung that we brought the port to.
    var rung = Rung.normal
    var toRung = Rung.normal
    var isRestoring = false
    /// Somebody took out what stood, and it was put back: what it drops is counted anew then, which voids
    /// a poll.
    var repairedAt: UInt64 = 0
    /// An operator's release goes on, or the port has lost its class.
    var isReleasing = false
    /// Asked for and not answered plainly: the limits, and the link.
    var openLimits: Limits??
    var openLink: Bool?
    /// No class ever claimed it.
    var isForeign = false

    /// What a decision that is carried out at `now` may rest on.
    func sights(_ now: UInt64) -> [Sight] {
        missed
            + views.map { view in
                var view = view
                view.at = now
                return view
            }
    }

    mutating func miss() {
        for view in views.indices { views[view].miss() }
    }

    /// Another daemon has no counters to compare the first ones with, and sees a second over the mark
    /// only as a whole; the evidence of a flood, and calm, go on in the journal.
    mutating func begin() {
        for view in views.indices { views[view].begin() }
    }

    /// Takes a sample.
    mutating func note(
        _ new: LinkStatistics, _ reading: Reading, at: UInt64, policy: Policy, cap: Cap?
    ) {
        for view in 0...reading.rawValue {
            views[view].note(new, at: at, policy: policy, cap: cap)
        }
        if reading == .beside { missed.append(views[0]) }
    }

    /// This cap is in force.
    mutating func hold(to cap: Cap) {
        for view in views.indices { views[view].lastCap = cap }
    }

    /// A turn begins that waits: whatever became of an earlier one is long past.
    mutating func beginWait() {
        views = [Sight](repeating: views[0], count: 3)
    }

    /// What has been decided on by now may be carried out later.
    mutating func keepSights(_ now: UInt64) { missed = sights(now) }

    /// What was read beside a turn has been decided on.
    mutating func endWait() { missed = [] }

    /// This daemon has read no counters of it.
    var isFresh: Bool { views[0].isFresh }

    static func fromRung(_ limits: Limits) -> Rung {
        guard let from = limits.from else { return .normal }
        return from.delay == nil ? .police : limits.rung
    }

    /// Nil where it does not show: shaped both ways, as a flooder or as both.
    static func toRung(_ limits: Limits?) -> Rung? {
        guard let limits, limits.to != nil else { return .normal }
        return limits.from?.delay == nil ? .shape : nil
    }
}

extension World {
    // MARK: What is asked of the kernel

    /// Limits are asked for.
    func checkRequest(_ limits: Limits?, to index: Int32) {
        // A port that has just taken the index of another, before the daemon could be told, is not
        // what it decided on.
        guard let tap = taps[index], tap.isAnnounced else { return }
        trace("\(tap.name): \(limits.map { "\($0.rung), \($0)" } ?? "nothing")")
        let base = remembered(tap)?.limits
        let isRestored = limits == base || tap.ledger.openLimits == .some(limits)
        if let limits { checkLimits(limits, tap, isRestored: isRestored) }
        taps[index]?.ledger.isRestoring = isRestored
        defer { taps[index]?.ledger.openLimits = .some(limits) }
        // Without a journal there is nothing to hold a step against.
        if isRestored || isJournalBehind { return }
        let from = base.map(Ledger.fromRung) ?? .normal
        checkStep(tap, from, limits.map(Ledger.fromRung) ?? .normal)
        if tap.place?.isRelay == true { return checkCompanion(limits, from: base, tap) }
        // It was one until it got another name.
        if base?.isCompanion == true { return }
        if let old = Ledger.toRung(base), let new = Ledger.toRung(limits), old != new {
            checkVictimStep(tap, new)
        }
    }

    /// Ordered, or ordered, done, and forgotten by a death before it was written.
    private func isReleasing(_ tap: SimulatedTap) -> Bool {
        tap.ledger.isReleasing || remembered(tap)?.isReleasing == true
    }

    func remembered(_ tap: SimulatedTap) -> IncidentMemory? {
        written?.ports.first { $0.index == tap.index && $0.address == tap.link.address }?
            .memory.incident
    }

    private func checkLimits(_ limits: Limits, _ tap: SimulatedTap, isRestored: Bool) {
        if policy.mode == .observe, !wasOrdered { fail("limits in observe mode", tap) }
        if tap.ledger.isForeign { fail("a port that no class claims is limited", tap) }
        if limits.lane != policy.lane { fail("another lane: \(limits.lane)", tap) }
        if limits.isCompanion, tap.place?.isRelay == true || isRestored { return }
        let isInGroup = isRestored || isInGroup(tap)
        if tap.vm.source.isInnocent, !isInGroup { fail("an innocent port is limited", tap) }
        if tap.vm.source.neverFloods, !isInGroup, limits.from != nil || limits.rung != .shape {
            fail("a victim is limited in what it sends", tap)
        }
        for limit in [limits.from, limits.to] {
            guard let cap = limit?.cap else { continue }
            if cap.packets.perSecond >= SimulatedVM.mark
                || cap.bits.bitsPerSecond >= SimulatedVM.mark * 10_000
            {
                fail("a cap over the mark: \(cap)", tap)
            }
        }
    }

    /// A step of what the VM sends.
    private func checkStep(_ tap: SimulatedTap, _ old: Rung, _ new: Rung) {
        guard old != new else { return }
        count("\(old) to \(new)")
        if new > old { return checkClimb(tap, old, new) }
        guard !isReleasing(tap) else { return }
        if new.rawValue + 1 != old.rawValue { fail("from \(old) down to \(new)", tap) }
        if isSaid(.hold, tap) { fail("down to \(new), and is held", tap) }
        check(tap) { calmProblem(tap, $0.from, at: $0.at, since: tap.ledger.since[old] ?? 0) }
    }

    /// Holds a step against what it may rest on: one of the polls has to bear it.
    private func check(_ tap: SimulatedTap, _ problem: (Sight) -> String?) {
        let problems = tap.ledger.sights(now).map(problem)
        if let last = problems.last ?? nil, !problems.contains(nil) { fail(last, tap) }
    }

    private func calmProblem(
        _ tap: SimulatedTap, _ side: Side, at now: UInt64, since: UInt64
    ) -> String? {
        let calm = policy.calm.wholeNanoseconds
        guard now >= since + calm else { return "down before its time" }
        // A death may lose the last clocks that were not written yet.
        guard now > watchedFrom + calm else { return nil }
        let mayBeVoid = now < tap.ledger.repairedAt + calm + 2_000_000_000
        let last = mayBeVoid ? side.formerNotLowAt : side.notLowAt
        return now - last < calm ? "down without calm" : nil
    }

    private func checkClimb(_ tap: SimulatedTap, _ old: Rung, _ new: Rung) {
        if new.rawValue != old.rawValue + 1 { fail("from \(old) up to \(new)", tap) }
        checkCeiling(tap, new)
        if isObserved(tap) { fail("up to \(new), and is only observed", tap) }
        if isEscalating { return }
        if old > .normal, isSaid(.hold, tap) { fail("up to \(new), and is held", tap) }
        checkBreaker(tap)
        if old == .normal {
            if !isInGroup(tap) { check(tap) { tripProblem($0.from, at: $0.at) } }
        } else {
            check(tap) { floodProblem(tap, old, $0) }
        }
    }

    private func tripProblem(_ side: Side, at now: UInt64) -> String? {
        let interval = policy.pollInterval.wholeNanoseconds
        let window = Int(1_000_000_000 / interval)
        let over = (side.over & (1 << UInt64(window) - 1)).nonzeroBitCount
        if over * 5 < window * 4, side.fast < Int(200_000_000 / interval) {
            return "a trip after \(over) of \(window) polls"
        }
        return now - startedAt < policy.grace.wholeNanoseconds ? "a trip in grace" : nil
    }

    private func floodProblem(_ tap: SimulatedTap, _ old: Rung, _ sight: Sight) -> String? {
        let dwell = dwell(on: old)
        if let since = tap.ledger.since[old], sight.at < since + dwell {
            return "from \(old) up before its dwell"
        }
        guard policy.stillFlooding == .unresponsive, sight.at > watchedFrom + dwell
        else { return nil }
        let interval = policy.pollInterval.wholeNanoseconds
        let inDwell = min(dwell / interval + 1, 63)
        let flooding = (sight.unresponsive & (1 << inDwell - 1)).nonzeroBitCount
        // 80% of the valid polls, which cover half of the dwell, each of 3 intervals at most.
        return flooding * 15 < Int(dwell / interval) * 2 ? "up without a flood" : nil
    }

    /// What carries others' traffic is limited on their account, and as long as they are.
    private func checkCompanion(_ limits: Limits?, from base: Limits?, _ tap: SimulatedTap) {
        let callers = (written?.ports ?? []).filter {
            $0.memory.incident?.path?.companion == tap.name
        }
        guard limits != nil else {
            count("a companion is let go")
            let isCalled = callers.contains { record in
                guard let vm = taps[record.index], vm.link.address == record.address,
                    vm.place?.netid == tap.place?.netid, let incident = record.memory.incident
                else { return false }
                return incident.from.rung > .normal && incident.from.rung < .shutDown
                    && vm.standing?.from != nil && vm.link.isUp && !isReleasing(vm)
            }
            if isCalled, !isReleasing(tap), !wasOrdered { fail("let go before its callers", tap) }
            return
        }
        if base == nil { count("a companion") }
        if routes.contains(tap.index) { fail("the host's way out is limited", tap) }
        if callers.isEmpty { fail("a companion of nobody", tap) }
    }

    private func checkVictimStep(_ tap: SimulatedTap, _ new: Rung) {
        count("to the VM: \(new)")
        if new == .normal {
            guard !isReleasing(tap) else { return }
            if isSaid(.hold, tap) { fail("a held victim is let go", tap) }
            return check(tap) { calmProblem(tap, $0.to, at: $0.at, since: 0) }
        }
        if policy.victim != .shape { fail("a victim is shaped", tap) }
        if isObserved(tap) { fail("a victim is shaped, and is only observed", tap) }
        checkBreaker(tap)
        check(tap) { tripProblem($0.to, at: $0.at) }
    }

    private func checkCeiling(_ tap: SimulatedTap, _ rung: Rung) {
        let match = names.match(tap.name)
        if match?.portClass == .backend { fail("the backend is limited", tap) }
        if rung > policy.highestRung { fail("\(rung) is not allowed", tap) }
        if rung == .shutDown, match?.portClass != .vm || routes.contains(tap.index) {
            fail("shut down", tap)
        }
        // Without its limits it is a flood like any other.
        if tap.vm.source == .tcp, !tap.wasWrecked, !wasOrdered,
            policy.stillFlooding == .unresponsive,
            rung > .police
        {
            fail("a sender that backs off was driven up to \(rung)", tap)
        }
    }

    private func checkBreaker(_ tap: SimulatedTap) {
        guard hasSurveyed else { return }
        // What is limited on others' account is no decision of its own, and does not count.
        // Nor does what a predecessor at a port's index left there, its own before all.
        let isFirst = (remembered(tap)?.rung ?? .normal) == .normal
        let mitigated = taps.values.filter {
            $0.standing.map { !$0.isCompanion } ?? false && isOnItsAccount($0)
                && !(isFirst && $0.index == tap.index)
        }
        // What leaves is a port until nothing of ours, guards included, can be on it.
        let leaving = taps.values.filter(\.lostItsClass)
        let ports = claimed.union((mitigated + leaving).map(\.index)).count
        let most = max(Double(policy.breakerMinimum), policy.breakerShare * Double(ports))
        if Double(mitigated.count) > most + 0.001 {
            fail("a climb with \(mitigated.count) of \(ports) mitigated", tap)
        }
        if recentShutdowns >= policy.breakerShutdowns { fail("a climb after shutdowns", tap) }
    }

    /// Whether decisions about this port are only told, by its class or by an operator.
    private func isObserved(_ tap: SimulatedTap) -> Bool {
        guard let portClass = names.match(tap.name)?.portClass else { return false }
        return isSaid(.exempt, tap) || (modes[portClass] ?? policy.mode) == .observe
    }

    private func isSaid(_ order: PortOrder, _ tap: SimulatedTap) -> Bool {
        words[tap.name].map { $0.order == order && $0.until.map { $0 > instant } != false } ?? false
    }

    /// Limits that stand on a tap were meant for it.
    private func isOnItsAccount(_ tap: SimulatedTap) -> Bool {
        guard let incident = remembered(tap) else { return false }
        return incident.rung > .normal || incident.asked != nil
    }

    private var recentShutdowns: Int { shutdowns.count { now - $0 < 3_600_000_000_000 } }

    func dwell(on rung: Rung) -> UInt64 {
        switch rung {
        case .police: policy.policeDwell.wholeNanoseconds
        case .shape: policy.shapeDwell.wholeNanoseconds
        case .tighten: policy.tightenDwell.wholeNanoseconds
        case .normal, .shutDown: 0
        }
    }

    /// The link is asked for.
    func checkLink(up isUp: Bool, of index: Int32) {
        guard let tap = taps[index], tap.isAnnounced else {
            taps[index]?.wasTaken = true
            return
        }
        trace("\(tap.name): link \(isUp ? "up" : "down")")
        let rung = remembered(tap)?.from.rung ?? .normal
        let isAgain = tap.ledger.openLink == isUp
        taps[index]?.ledger.openLink = isUp
        taps[index]?.ledger.isRestoring = isAgain || isUp == (rung != .shutDown)
        guard !isAgain, !isJournalBehind, isUp == (rung == .shutDown) else { return }
        guard isUp else {
            if tap.vm.source.neverFloods, !isInGroup(tap) {
                fail("a port that never flooded is shut down", tap)
            }
            count("\(rung) to shutdown")
            return checkClimb(tap, rung, .shutDown)
        }
        count("shutdown to \(Rung.tighten)")
        let probe = policy.probe?.wholeNanoseconds ?? .max
        if !isReleasing(tap), now - (tap.ledger.since[.shutDown] ?? 0) < probe {
            fail("up without an operator or a probe", tap)
        }
    }

    /// What was asked for last has had its effect.
    func noteEffect(on index: Int32) {
        guard let tap = taps[index] else { return }
        let rung = tap.link.isUp ? tap.fromRung : .shutDown
        if rung != tap.ledger.rung, !tap.ledger.isRestoring {
            taps[index]?.ledger.since[rung] = now
        }
        let toRung = Ledger.toRung(tap.standing) ?? tap.ledger.toRung
        if toRung != tap.ledger.toRung, !tap.ledger.isRestoring {
            taps[index]?.ledger.toSince = now
        }
        taps[index]?.ledger.rung = rung
        taps[index]?.ledger.toRung = toRung
        if let cap = tap.standing?.from?.cap { taps[index]?.ledger.hold(to: cap) }
    }

    /// The answer was plain: what is asked for next is another request.
    func noteAnswer(on index: Int32) {
        taps[index]?.ledger.openLimits = nil
        taps[index]?.ledger.openLink = nil
    }

    /// It is done: a release has ended where nothing is left.
    func noteDone(on index: Int32) {
        noteAnswer(on: index)
        guard let tap = taps[index], tap.standing == nil, tap.link.isUp else { return }
        if tap.ledger.isReleasing { trace("\(tap.name): released") }
        tap.ledger.isReleasing = false
    }

    /// After a turn: the lane of what is limited is open, or was a moment ago.
    func checkLanes() {
        for index in indexes {
            guard let standing = taps[index]?.standing else { continue }
            guard let tap = taps[index], tap.link.isUp, !isSound(standing, on: index) else {
                taps[index]?.closedFor = 0
                continue
            }
            taps[index]?.closedFor += 1
            if tap.closedFor > 400 { fail("cut off for \(tap.closedFor) polls", tap) }
        }
    }
}

/// What an operator said of a port.
struct Said: Equatable {
    var order: PortOrder
    var until: Instant?
}

/// What was told, as a reader of the log knows it.
struct Reader {
    /// Where a port's moves have led.
    struct Place {
        var from = Rung.normal
        var to = Rung.normal
        var name: String

        init(name: String) { self.name = name }

        init(_ view: PortView) {
            (from, to, name) = (view.fromRung, view.toRung, view.port.name.description)
        }
    }

    private var lines: [UInt64: String] = [:]
    private var last: UInt64 = 0
    /// Where each port's moves have led, by interface index.
    private(set) var rungs: [Int32: Place] = [:]
    /// How many lines came a second time.
    private(set) var repeats = 0
    /// After a journal was lost, until what stands has been looked at: numbers say nothing.
    var isSuspended = false

    var size: Int { max(lines.count, rungs.count) }

    /// A line of the log. Answers with what is wrong with it.
    mutating func take(_ text: String) -> String? {
        guard !isSuspended else { return nil }
        let fields = Dictionary(
            text.split(separator: " ").compactMap { field -> (String, String)? in
                let parts = field.split(separator: "=", maxSplits: 1)
                return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
            }, uniquingKeysWith: { first, _ in first })
        guard let number = fields["seq"].flatMap({ UInt64($0) }),
            let index = fields["ifindex"].flatMap({ Int32($0) })
        else { return "no number: \(text)" }
        if let known = lines[number] {
            repeats += 1
            return known == text ? nil : "number \(number) twice: \(known), \(text)"
        }
        guard number == last + 1 else { return "after number \(last): \(text)" }
        last = number
        lines[number] = text
        lines[number &- 256] = nil
        return follow(fields, index, text)
    }

    private mutating func follow(
        _ fields: [String: String], _ index: Int32, _ text: String
    ) -> String? {
        if fields["event"]?.hasSuffix("vanished") == true { rungs[index] = nil }
        guard fields["event"] == "move" || fields["event"] == "would-move" else { return nil }
        func rung(_ key: String) -> Rung? {
            Rung.allCases.first { "\($0)" == fields[key] }
        }
        guard let old = rung("from"), let new = rung("to"), old != new else { return "\(text)" }
        let name = fields["port"] ?? ""
        var known = rungs[index] ?? Place(name: name)
        known.name = name
        let isFrom = fields["direction"] == "from"
        if (isFrom ? known.from : known.to) != old { return "it was on \(known): \(text)" }
        if isFrom { known.from = new } else { known.to = new }
        rungs[index] = known
        return nil
    }

    /// A port is another one now, or its journal was lost.
    mutating func forget(_ index: Int32) { rungs[index] = nil }

    /// A port was found limited.
    mutating func adopt(_ index: Int32, _ view: PortView) { rungs[index] = Place(view) }

    /// The journal was lost, and numbers with it.
    mutating func start(_ rungs: [Int32: Place], last: UInt64) {
        isSuspended = false
        lines = [:]
        self.last = last
        self.rungs = rungs
    }
}

extension Limits {
    /// Policed on the way to the port alone: a router or a VTEP along with a VM.
    fileprivate var isCompanion: Bool { from == nil && to != nil && to?.delay == nil }
}
