// One history: a world, and one daemon after the other over it, each the real turn.

import ControlAPI
import LinkCounters
import Mitigation
import Netlink
import Recording
import Seeded
import TrafficControl

@testable import Daemon
@testable import Settings

final class History {
    typealias SimulatedTurn = Turn<SimulatedHost, SimulatedControl, SimulatedStore>

    let seed: UInt64
    let world: World
    /// The guards that are said, by chances of their own.
    private var bookRandom: SplitMix
    private var book: GuardBook
    /// What operators say, by chances of its own.
    var wordRandom: SplitMix
    /// Which turns wait for the kernel, by chances of its own.
    private var waitRandom: SplitMix
    private var waitedAt = 0
    var turn: SimulatedTurn
    var reader = Reader()
    var polls = 0
    private var plugs = 0
    private var renames = 0
    /// Whether daemons die by chance.
    var isMortal = false
    /// A daemon died over a word, and may have heard it or not.
    var areWordsDoubted = false
    /// Whether operators say anything in it.
    let isOrdered: Bool
    /// Its ports are those of few cloudspaces, by chances of its own; else of one each.
    private var cloudRandom: SplitMix
    private let isShared: Bool
    /// The present daemon has told nothing yet.
    private var isNew = false
    /// Interfaces that are no ports now, and may go on as what they were.
    private var awaited: Set<Int32> = []

    init(seed: UInt64, policy: Policy? = nil) {
        self.seed = seed
        let world = World(seed: seed)
        world.walks = seed % 2 == 1
        self.world = world
        bookRandom = SplitMix(seed: ~seed)
        var words = SplitMix(seed: seed &* 0x9e37_79b9)
        isOrdered = policy == nil && words.once(in: 3)
        wordRandom = words
        waitRandom = SplitMix(seed: seed ^ 0x5bd1_e995)
        var clouds = SplitMix(seed: seed &* 0xff51_afd7)
        isShared = policy == nil && clouds.once(in: 3)
        cloudRandom = clouds
        var chosen = policy ?? Self.policy(&world.random)
        // A router that carries a flood has none of its own.
        if isShared { for relay in [PortClass.router, .vtep] { chosen.marks[relay] = nil } }
        if isShared, cloudRandom.once(in: 2) {
            chosen.groupMark = Mark(each: SimulatedVM.mark * 5 / 2)
        }
        world.policy = chosen
        book = policy == nil ? Self.book(&bookRandom) : GuardBook()
        turn = SimulatedTurn(
            machine: SimulatedHost(world), control: SimulatedControl(world),
            journal: SimulatedStore(world: world), policy: chosen, names: .default,
            guards: book, now: world.instant)
    }

    /// Some hosts guard some of their ports.
    static func book(_ random: inout SplitMix) -> GuardBook {
        var book = GuardBook()
        guard random.once(in: 3) else { return book }
        for pattern in ["vm-1-<netid>", "spc-*", "vm-*"] where random.once(in: 2) {
            guard let names = try? NamePattern(pattern) else { continue }
            let switches: Set<Guards.Switch> = random.once(in: 2) ? [.noRA] : [.noIPv6]
            book.patterns.append(
                GuardBook.Pattern(names: names, guards: Guards(switches: switches)))
        }
        return book
    }

    /// SLUICE_LOSE_JOURNAL=1: disks are full for a while, and journals are lost. The rules do not yet
    /// hold there: some of what they ask for is only in the journal.
    static let losesJournals = SeededRun.setting("SLUICE_LOSE_JOURNAL") == 1

    static func policy(_ random: inout SplitMix) -> Policy {
        var policy = Policy()
        policy.mode = random.once(in: 16) ? .observe : .enforce
        policy.grace = .seconds(Int64(random.value(0...3)))
        policy.policeDwell = .milliseconds(Int64(random.value(1_000...4_000)))
        policy.shapeDwell = .milliseconds(Int64(random.value(1_000...4_000)))
        policy.tightenDwell = .milliseconds(Int64(random.value(1_000...4_000)))
        policy.calm = .milliseconds(Int64(random.value(1_000...3_000)))
        policy.calmLimit = .seconds(8)
        policy.forgiveness = .seconds(20)
        policy.probe = random.once(in: 3) ? .seconds(4) : nil
        policy.victim = random.once(in: 2) ? .shape : .alert
        policy.stillFlooding = random.once(in: 4) ? .saturated : .unresponsive
        policy.target = PacketRate(perSecond: 2_000)
        policy.breakerMinimum = random.once(in: 2) ? Int(random.value(0...3)) : 1_000
        policy.breakerShutdowns = random.once(in: 3) ? Int(random.value(1...2)) : 1_000
        if random.once(in: 4) { policy.highestRung = Rung.allCases[Int(random.value(1...4))] }
        policy.setMarks()
        return policy
    }

    // MARK: A whole history

    func run() {
        populate()
        world.isFaulty = !world.random.once(in: 4)
        isMortal = !world.random.once(in: 4)
        world.keepsBytes = world.random.once(in: 16)
        world.journalFails = Self.losesJournals && world.random.once(in: 8)
        start()
        for _ in 0..<world.random.value(80...200) where world.failure == nil { step() }
        settle()
    }

    func populate() {
        for _ in 0..<world.random.value(1...12) { plugOne() }
        if let route = world.taps.keys.sorted().first, world.random.once(in: 4) {
            world.routes = [route]
        }
        world.taps[world.plug("eth0", .flood)]?.ledger.isForeign = true
    }

    func plugOne(index: Int32? = nil) {
        let prefixes = ["vm-1-", "vm-2-", "vm-3-", "vm-4-", "vm-5-", "spc-", "vx-"]
        let prefix = prefixes[Int(world.random.next() % 7)]
        plugs += 1
        let netid = String(4_096 + plugs, radix: 16)
        let sources = Source.allCases
        let source = sources[Int(world.random.next() % UInt64(sources.count))]
        let isBackend =
            world.random.once(in: 30) && !world.taps.values.contains { $0.name == Self.backend }
        guard isShared, !isBackend else {
            world.plug(isBackend ? "vxbackend" : prefix + netid, source, index: index)
            return
        }
        plugShared(source, index: index)
    }

    /// A VM of one of the cloudspaces, or what carries the traffic of its VMs.
    private func plugShared(_ source: Source, index: Int32?) {
        let netid = CloudPlace.netids[Int(cloudRandom.value(0...1))]
        let roles = CloudPlace.Role.allCases
        let role = roles[Int(cloudRandom.value(0...UInt64(roles.count - 1)))]
        let relay = "\(role.rawValue)-\(netid)"
        let isFree = world.taps.values.allSatisfy { $0.name != PortName(relay) }
        // An index is never given to another one of the same name.
        if role != .vm, isFree, index == nil {
            world.plug(relay, source)
        } else {
            world.plug("vm-\(plugs)-\(netid)", source, index: index)
        }
    }

    private static let backend = PortName("vxbackend")

    func start() {
        turn.start(now: world.instant)
        world.startedAt = world.now
        world.watchedFrom = world.now
        afterTurn()
    }

    func step(milliseconds: UInt64? = nil) {
        polls += 1
        var time = milliseconds ?? 95 + world.random.value(0...10)
        if world.isFaulty {
            if world.random.once(in: 40) { time = 100 * world.random.value(2...9) }
            disturb()
        }
        if isOrdered, isMortal || world.isFaulty, wordRandom.once(in: 30) { sayWord() }
        world.flow(milliseconds: time)
        if world.isFaulty, world.random.once(in: 300) {
            // The machine slept, or nothing ran for a while.
            let sleep = 1_000_000_000 * world.random.value(5...120)
            world.now += sleep
            world.watchedFrom += sleep
        }
        if isMortal, world.death == nil, world.random.once(in: 60) {
            let kinds = Death.allCases
            world.death = (
                world.calls + Int(world.random.value(1...9)),
                kinds[Int(world.random.next() % UInt64(kinds.count))]
            )
        }
        if world.isFaulty, polls > waitedAt + 30, waitRandom.once(in: 30) {
            waitedAt = polls
            for tap in world.taps.values { tap.ledger.beginWait() }
            switch waitRandom.value(0...2) {
            case 0: wait()
            case 1: world.wait = { self.wait() }
            default: world.changeWait = { self.wait(isDisturbed: false) }
            }
        }
        let caught = turn.counts.standbyPolls
        turn.catchUp { self.world.instant }
        if !world.isDead { turn.run(now: world.instant) { self.world.instant } }
        world.wait = nil
        world.changeWait = nil
        // What was read beside a change counts in the next turn.
        if world.standby.isEmpty { for tap in world.taps.values { tap.ledger.endWait() } }
        if turn.counts.standbyPolls > caught { world.count("caught up") }
        afterTurn()
    }

    /// A turn waits for the kernel behind another process, and what VMs send meanwhile is read beside
    /// it, by name.
    private func wait(isDisturbed: Bool = true) {
        let known = world.toldNames
        for tap in world.taps.values { tap.ledger.keepSights(world.now) }
        for _ in 0..<waitRandom.value(1...20) {
            world.flow(milliseconds: 95 + waitRandom.value(0...10))
            world.standby.append(StandbyPoll(at: world.instant, interfaces: readBeside(known)))
            guard isDisturbed, waitRandom.once(in: 20) else { continue }
            switch waitRandom.value(0...4) {
            case 0: plugOne()
            case 1: pick().map(world.unplug)
            case 2: reuseIndex()
            case 3: startAgain()
            default: rename()
            }
        }
        world.flow(milliseconds: 95 + waitRandom.value(0...10))
    }

    /// Another machine has the name of one that is gone.
    private func startAgain() {
        guard let index = pick(), let name = world.taps[index]?.name else { return }
        world.unplug(index)
        let sources = Source.allCases
        world.plug("\(name)", sources[Int(waitRandom.next() % UInt64(sources.count))])
    }

    /// All counters. Of those that the daemon does not know by this name it is to believe none.
    private func readBeside(_ known: [Int32: [UInt8]]) -> [NamedCounters] {
        world.indexes.compactMap { index in
            guard let tap = world.taps[index], let name = DeviceName(tap.link.name) else {
                return nil
            }
            let shown =
                tap.link.name == known[index] ? world.show(index, .beside) : tap.counters
            return shown.map { NamedCounters(name, $0) }
        }
    }

    /// What the owner of the turn does after it.
    private func afterTurn() {
        if !world.isDead { afterStart() }
        guard !world.isDead else { return restart() }
        world.checkLanes()
        if polls % 8 == 0 { checkTold() }
    }

    private func afterStart() {
        tell()
        if reader.isSuspended, world.hasSurveyed, !world.isDead { startReader() }
    }

    private func tell() {
        let output = turn.output
        for line in output.untold { read(line.text) }
        if turn.remembered == nil { followTaps(isTold: false) }
        defer { if turn.remembered == nil { followTaps(isTold: true) } }
        guard !output.isEmpty else { return }
        for event in output.events {
            world.checkEvent(event)
            read(AlertLine(event).text)
        }
        for order in output.stops {
            guard let tap = world.taps[order.port.index], tap.vm.source.neverFloods else {
                continue
            }
            if !world.isInGroup(tap) { world.fail("a machine that never flooded is stopped", tap) }
        }
        // Told, and dead before that is written: the one case in which a line comes twice.
        if isMortal, world.random.once(in: 40) {
            world.count("death after telling")
            world.isDead = true
            return
        }
        turn.wasTold(now: world.instant)
    }

    private func read(_ line: String) {
        world.trace(line)
        if let wrong = reader.take(line) { world.fail(wrong) }
    }

    /// Another daemon goes on with what the store and the kernel hold.
    func restart() {
        for _ in 0..<20 {
            let isForgotten = Self.losesJournals && isMortal && world.random.once(in: 30)
            if isForgotten { world.written = nil }
            if isForgotten || world.isJournalBehind {
                reader.isSuspended = true
                world.shutdowns = []
                world.wouldShutDowns = 0
                world.excuseUnmarked()
            }
            world.isDead = false
            world.death = nil
            world.hasSurveyed = false
            world.claimed = []
            world.toldNames = [:]
            world.changes = []
            for index in world.indexes {
                world.noteAnswer(on: index)
                world.taps[index]?.ledger.begin()
            }
            // The time that a restart takes.
            world.flow(milliseconds: 100 * world.random.value(1...30))
            world.startedAt = world.now
            world.watchedFrom = world.now
            let remembered = world.recall()
            noteTakenOut(remembered)
            turn = SimulatedTurn(
                machine: SimulatedHost(world), control: SimulatedControl(world),
                journal: SimulatedStore(world: world), policy: world.policy, names: .default,
                guards: book, remembered: remembered, now: world.instant)
            world.count("restart")
            world.trace("a daemon starts")
            if isMortal, world.random.once(in: 4) {
                world.death = (world.calls + Int(world.random.value(1...4)), .before)
            }
            isNew = true
            turn.start(now: world.instant)
            guard !world.isDead else {
                forgetSettled()
                continue
            }
            checkWords()
            afterStart()
            guard world.isDead else { return }
        }
        world.fail("a daemon dies at every start")
    }

    /// A daemon that died over a release may have taken limits out that the next one puts back.
    private func noteTakenOut(_ remembered: JournalState?) {
        for record in remembered?.ports ?? [] {
            guard let tap = world.taps[record.index], tap.standing?.from == nil,
                record.memory.incident?.from.rung ?? .normal > .normal
            else { continue }
            tap.wasWrecked = true
        }
    }

    /// Ports that ended while no daemon ran are told of in one number. Of one that is there and lost its
    /// class this daemon may be about to tell.
    private func followTaps(isTold: Bool) {
        if isNew { awaited = Set(reader.rungs.keys) }
        isNew = false
        for index in awaited {
            // What leaves is watched until nothing of ours is on it.
            let isClaimed = world.claimed.contains(index) || turn.table.slot(of: index) != nil
            let mayReturn = turn.unsettled.contains { $0.index == index }
            let name = reader.rungs[index]?.name ?? ""
            let isKnown = world.taps[index]?.names.contains(name) == true
            if isKnown, !isTold || !isClaimed && mayReturn { continue }
            awaited.remove(index)
            if !isKnown || !isClaimed { reader.forget(index) }
        }
    }

    /// Nor is one told whose end was written by a daemon that then died with that number.
    private func forgetSettled() {
        guard turn.remembered == nil else { return }
        for index in reader.rungs.keys where !world.claimed.contains(index) {
            let record = world.written?.ports.first { $0.index == index }
            let isToBeTold = world.written?.untold.contains {
                "\($0.text) ".contains(" ifindex=\(index) ")
            }
            guard record?.memory.incident == nil, isToBeTold != true else { continue }
            reader.forget(index)
        }
    }

    private func startReader() {
        var rungs: [Int32: Reader.Place] = [:]
        for slot in turn.engine.slots {
            let view = turn.engine.view(slot)
            rungs[view.port.id.index] = Reader.Place(view)
        }
        reader.start(rungs, last: turn.engine.memory.lastEvent)
    }

    /// What is told is what is.
    private func checkTold() {
        guard !reader.isSuspended else { return }
        for slot in turn.engine.slots {
            let view = turn.engine.view(slot)
            let index = view.port.id.index
            if world.adopted.remove(index) != nil, reader.rungs[index] == nil {
                reader.adopt(index, view)
            }
            let told = reader.rungs[index]
            let isTold =
                view.fromRung == told?.from ?? .normal && view.toRung == told?.to ?? .normal
            if !isTold {
                world.fail(
                    "\(view.port.name) is on \(view.fromRung), \(view.toRung), told \(told as Any)")
            }
        }
    }

    // MARK: The end

    /// With a kernel that works, what stands is what is wanted; with quiet machines, nothing is left.
    private func settle() {
        guard world.failure == nil else { return }
        world.isFaulty = false
        isMortal = false
        world.death = nil
        checkWords()
        takeBackWords()
        converge()
        for index in world.taps.keys { world.taps[index]?.vm.isDone = true }
        let hooks = world.taps.mapValues { $0.hook == .foreign }
        if world.random.once(in: 2) { quieten() }
        release()
        for _ in 0..<8 where world.failure == nil { step(milliseconds: 1_000) }
        guard world.failure == nil else { return }
        if !world.leftovers.isEmpty { world.fail("left: \(world.leftovers)") }
        if world.taps.mapValues({ $0.hook == .foreign }) != hooks { world.fail("a foreign hook") }
        let isHeld = turn.held.values.contains(where: \.isLimited)
        if turn.engine.mitigatedCount != 0 || isHeld { world.fail("still held") }
        // Known gap: a port that is shut down, loses its class, and is forgotten by a death stays down.
        for index in world.claimed.sorted()
        where world.taps[index]?.link.isUp == false
            && world.taps[index]?.wasTaken == false && world.taps[index]?.lostItsClass == false
        {
            world.fail("left down", world.taps[index])
        }
    }

    /// Backs-off end within a minute, then nothing is doubted any more.
    private func converge() {
        for _ in 0..<45 where world.failure == nil { step(milliseconds: 2_000) }
        for slot in turn.engine.slots where world.failure == nil {
            let view = turn.engine.view(slot)
            let tap = world.taps[view.port.id.index]
            let wanted = view.mode == .enforce ? view.limits : nil
            if view.pending != nil { world.fail("still pending: \(view)", tap) }
            if tap?.standing != wanted { world.fail("not as wanted: \(view)", tap) }
            let isDown = view.mode == .enforce && view.rung == .shutDown
            if tap?.link.isUp != !isDown, tap?.wasTaken == false, !isForgotten(tap, isDown) {
                world.fail("the link: \(view)", tap)
            }
        }
        checkTold()
        checkGuards()
    }

    /// Each port that is claimed has the guards that are said, and no other interface has any.
    private func checkGuards() {
        for (index, tap) in world.taps.sorted(by: { $0.key < $1.key }) {
            let isClaimed = world.claimed.contains(index)
            let wanted = isClaimed ? book.entry(for: tap.name)?.guards : nil
            if tap.guards != wanted { world.fail("guards: \(tap.guards as Any)", tap) }
        }
    }

    /// A known gap: a port that was shut down, lost its class, and was forgotten by a death stays down
    /// until an operator sets it up.
    private func isForgotten(_ tap: SimulatedTap?, _ isDown: Bool) -> Bool {
        guard let tap, !isDown else { return false }
        return !tap.link.isUp && tap.lostItsClass
    }

    /// Down by calm alone.
    private func quieten() {
        for _ in 0..<150 where world.failure == nil {
            step(milliseconds: 290)
            let isOver = turn.engine.slots.allSatisfy {
                let rung = turn.engine.view($0).rung
                return rung == .normal || rung == .shutDown
            }
            if isOver { return }
        }
        world.fail("not calm: \(world.leftovers)")
    }

    /// An operator takes everything out.
    private func release() {
        for index in world.taps.keys { world.taps[index]?.ledger.isReleasing = true }
        _ = turn.release(ReleaseRequest(all: true), now: world.instant)
        if !world.isDead { tell() }
    }
}

extension Event {
    /// What is told of a flood, or of its victim, when it begins.
    fileprivate var isClimb: Bool {
        switch kind {
        case .moved(let from, let to): to > from
        case .victim(let isOn), .watched(let isOn): isOn
        case .held, .refused, .unknown, .vanished, .path: false
        }
    }
}

extension Mark {
    /// So many packets a second, and 10,000 times as many bits.
    fileprivate init(each packets: UInt64) {
        self.init(
            packets: PacketRate(perSecond: packets), bits: BitRate(bitsPerSecond: packets * 10_000))
    }
}

extension Policy {
    /// The same marks for every class.
    mutating func setMarks() {
        let mark = Mark(each: SimulatedVM.mark)
        for portClass in PortClass.allCases { marks[portClass] = Marks(from: mark, to: mark) }
    }
}

// MARK: What happens beside it

extension History {
    func disturb() {
        let random = world.random.next()
        switch random % 400 {
        case 0..<4: wreck()
        case 4..<6: plugOne()
        case 6..<8: pick().map(world.unplug)
        case 8: reuseIndex()
        case 9..<11: rename()
        case 11..<13: orderRelease()
        case 13..<15: world.loseNotifications()
        case 15: reload()
        case 16: setUp()
        case 17: swapUnseen()
        default: break
        }
    }

    private func pick(where isFit: (SimulatedTap) -> Bool = { _ in true }) -> Int32? {
        world.taps.values.filter { isFit($0) && !$0.ledger.isForeign }.map(\.index).sorted()
            .randomElement(using: &world.random)
    }

    /// Another owner deletes what is ours.
    private func wreck() {
        guard let index = pick(where: { $0.standing != nil || $0.guards != nil }) else { return }
        world.count("wrecked")
        for tap in world.taps.values where tap.standing != nil { tap.wasWrecked = true }
        if let ifb = world.ifbs.values.map(\.link.index).sorted()
            .randomElement(using: &world.random), world.random.once(in: 2)
        {
            if world.random.once(in: 2) {
                world.ifbs[ifb] = nil
                world.notify(.gone(ifb))
            } else if var known = world.ifbs[ifb] {
                known.link.flags = 0
                world.ifbs[ifb] = known
                world.notify(.link(known.link))
            }
            return
        }
        world.taps[index]?.standing = nil
        if bookRandom.once(in: 2) { world.taps[index]?.guards = nil }
        world.taps[index]?.dropHook()
        world.notify(.trafficControl(index))
    }

    /// Another VM gets the index of one that is gone.
    private func reuseIndex() {
        guard let index = pick() else { return }
        world.unplug(index)
        plugOne(index: index)
    }

    /// The same, and all notifications are lost.
    private func swapUnseen() {
        reuseIndex()
        world.changes = []
        world.isOverrun = true
    }

    private func rename() {
        guard let index = pick(where: { $0.name != PortName("vxbackend") }),
            let tap = world.taps[index]
        else { return }
        let isLost = world.random.once(in: 3)
        renames += 1
        tap.link.name = Array((isLost ? "tap\(renames)" : "vm-7-\(renames)").utf8)
        tap.names.insert(tap.name.description)
        tap.place = nil
        if isLost { tap.ledger.isReleasing = true }
        world.notify(.link(tap.link))
    }

    private func orderRelease() {
        guard let index = pick(), let name = world.taps[index]?.name else { return }
        world.trace("an operator releases \(name)")
        world.taps[index]?.ledger.isReleasing = true
        _ = turn.release(ReleaseRequest(port: name.description), now: world.instant)
        world.count("release")
        let isWatched = turn.table.watched.values.contains { $0.port.name == name }
        if isWatched, world.words[name]?.order == .hold { world.words[name] = nil }
        areWordsDoubted = areWordsDoubted || world.isDead
    }

    private func reload() {
        var policy = world.policy
        policy.policeDwell = .milliseconds(Int64(world.random.value(1_000...4_000)))
        policy.target = PacketRate(perSecond: world.random.value(500...8_000))
        world.policy = policy
        if bookRandom.once(in: 2) { book = Self.book(&bookRandom) }
        turn.replace(
            policy: policy, names: .default, settings: TurnSettings(), guards: book,
            now: world.instant)
    }

    /// libvirt starts a machine again whose link we took down.
    private func setUp() {
        guard let index = pick(where: { !$0.link.isUp }) else { return }
        world.taps[index]?.link.flags = 1
        world.taps[index].map { world.notify(.link($0.link)) }
    }
}

extension World {
    func loseNotifications() {
        changes = []
        isOverrun = true
    }

    /// What bears no mark is lost with a journal that could not be written: an empty hook, and a link
    /// that was taken down in that moment.
    func excuseUnmarked() {
        for tap in taps.values {
            if tap.standing == nil, tap.hook == .ours { tap.hook = .none }
            // A release that was done may be gone from it.
            tap.ledger.isReleasing = true
        }
        for record in written?.ports ?? [] where record.memory.incident?.rung != .shutDown {
            taps[record.index]?.link.flags = 1
        }
    }

    func checkEvent(_ event: Event) {
        if event.mode != policy.mode, !wasOrdered { fail("told as \(event.mode)") }
        guard let tap = taps[event.port.index], tap.name == event.name else { return }
        if event.reason?.rule == .group { count("together") }
        let isOnOthers = event.reason?.rule == .companion || isInGroup(tap)
        if tap.vm.source.isInnocent, event.isClimb, !isOnOthers {
            fail("told of an innocent port: \(event.kind)", tap)
        }
        // What would have been stands in the way of nobody who is armed.
        if case .moved(_, .shutDown) = event.kind {
            if event.mode == .enforce { shutdowns.append(now) } else { wouldShutDowns += 1 }
        }
        let count = shutdowns.count + wouldShutDowns
        if count > policy.breakerShutdowns, !wasOrdered { fail("\(count) shutdowns") }
    }
}
