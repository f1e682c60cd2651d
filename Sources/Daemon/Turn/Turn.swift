// One turn: take events, poll, decide, apply, write the journal, tell. Runs the same over the kernel
// and over a simulated host; time is an argument.
//
//   takeChanges   which interfaces there are, and what somebody did to them
//   poll          counters in; first those that were read beside a turn that waited (TurnStandby)
//   decide        the engine's actions
//   carryOut      announced in the journal, done, answered
//   setGuards     what ports may never send, where that is another thing than what stands
//   look          what is broken is put right, what is limited is measured
//   commit        the journal says how it is now; then the owner tells
//
// Invariants: one thread; no lock is waited for; what the engine asked for is answered before the
// turn ends; a change is in the journal before it is in the kernel, and has happened in the journal
// before it is told; what is told is handed over in order, each once.
internal import LinkCounters
package import Mitigation
internal import Netlink
package import Recording
package import Settings
package import TrafficControl

/// The daemon's turn over a host, its traffic control, and the journal.
package struct Turn<
    Machine: Host & ~Copyable, Control: TrafficControl & ~Copyable, Store: JournalStore & ~Copyable
>: ~Copyable {
    package var machine: Machine
    package var control: Control
    package var journal: Store
    package internal(set) var engine: RecordedEngine
    package internal(set) var table = PortTable()
    package internal(set) var names: PortNames
    package internal(set) var settings: TurnSettings
    /// Who has which guards.
    package internal(set) var book: GuardBook
    /// The configuration's rules, and what operators said in their place.
    package internal(set) var configured: Policy
    package internal(set) var orders: OrderBook
    package internal(set) var polls: UInt64 = 0
    /// What went wrong and what was done about it, since the start.
    package internal(set) var counts = TurnCounts()
    /// From decisions to the kernel's word on all that they asked for.
    package internal(set) var changeTime = DurationHistogram()
    /// What the turns left since `wasTold` was last called.
    package internal(set) var output = TurnOutput()

    var actions: [Action] = []
    var defaultRoutes: Set<Int32> = []
    var routesReadAt: Instant?
    /// The list of interfaces was read, and what stands on them looked at.
    var hasListed = false
    var hasSurveyed = false
    var surveyedAt: Instant?
    var adoption = Adoption()
    /// Indexes at which a former daemon limited another interface than is there now.
    var inherited: Set<Int32> = []
    /// What a former daemon remembered of interfaces that are not its ports now: kept in the journal
    /// until all that stands has been looked at.
    var unsettled: [PortRecord] = []
    /// Ports that no class claims any more, with something of ours still on them.
    var leaving: Set<Int32> = []
    /// Of those, ones whose index is another interface's by now.
    var replaced: Set<Int32> = []
    /// Ports with something of ours on them, or about to have.
    var held: [Engine.Slot: HeldPort] = [:]
    /// Ports with guards, or about to have or lose some.
    package internal(set) var guarded: [Engine.Slot: PortGuards] = [:]
    /// When the present round of counting guards began, and the ports that it has still to see.
    var countedAt: Instant?
    var uncounted: [Engine.Slot] = []
    /// Whether it looks if they stand, and when the last one began that did.
    var looksAtGuards = false
    var guardsLookedAt: Instant?
    /// Of those held, ones that somebody touched.
    var disturbed: Set<Engine.Slot> = []
    /// When the present round of measurements began, and the ports that it has still to see.
    var measuredAt: Instant?
    var unmeasured: [Engine.Slot] = []
    var interruptions = 0
    /// How many turns in a row could not list the interfaces that they had to.
    var unlisted = 0
    /// Ports that are not here.
    var departed = Departed()
    /// What a former daemon remembered, until the interfaces are known.
    var remembered: JournalState?
    /// Something is to be written.
    var hasChanged = false
    var writtenAt: Instant?
    var isJournalBroken = false
    /// Where the counters of the last poll came from.
    var counterSource: CounterSource?

    /// Mitigated ports are looked at and measured this often.
    static var measureInterval: Duration { .seconds(1) }
    /// Each port costs a few requests, any of which may wait for the kernel's lock: this many ports are
    /// looked at in one step, and no more but where a round of all would take longer than its time.
    static var lookedAtInAStep: Int { 8 }
    /// So many turns in a row wait for a list of the interfaces.
    static var mostUnlisted: Int { 10 }
    /// The default routes are read this often.
    static var routesInterval: Duration { .seconds(10) }
    /// Clocks go on in the journal this often, while a port is limited.
    static var journalInterval: Duration { .seconds(5) }

    /// A turn that has not run.
    ///
    /// - Parameter remembered: what the journal held, by the present clock.
    package init(
        machine: consuming Machine, control: consuming Control, journal: consuming Store,
        policy: Policy, names: PortNames, settings: TurnSettings = TurnSettings(),
        guards: GuardBook = GuardBook(), remembered: JournalState? = nil, now: Instant
    ) {
        self.machine = machine
        self.control = control
        self.journal = journal
        self.names = names
        self.settings = settings
        book = guards
        self.remembered = remembered
        configured = policy
        orders = remembered?.orders ?? OrderBook()
        engine = RecordedEngine(policy: orders.applied(to: policy), now: now)
        actions.reserveCapacity(64)
    }

    /// Lists the interfaces, and goes on with what is remembered and with what stands on them. Once,
    /// before the first `run`.
    package mutating func start(now: Instant) {
        listChanges(now: now)
        survey(now: now)
        commit(now: now)
    }

    /// One turn at the moment `now`; `clock` gives the moment at which the counters arrived.
    ///
    /// Where events were lost and the interfaces cannot be listed anew, nothing is decided: by now an
    /// index may be another machine's. A second later that counts less than a flood.
    package mutating func run(now: Instant, clock: () -> Instant) {
        listChanges(now: now)
        guard knowsInterfaces else {
            polls += 1
            return commit(now: now)
        }
        survey(now: now)
        endOrders(now: now)
        poll(clock: clock)
        guard knowsInterfaces else {
            polls += 1
            return commit(now: now)
        }
        let decided = clock()
        engine.finishPoll(now: decided, into: &actions)
        carryOut(now: decided, clock: clock)
        let done = clock()
        setGuards(now: done, clock: clock)
        look(now: done, clock: clock)
        countGuards(now: done)
        for index in leaving.sorted() { leave(index, now: done) }
        polls += 1
        table.endTurn()
        commit(now: done)
    }

    /// Whether something may be decided on the interfaces as they were listed.
    var knowsInterfaces: Bool { unlisted == 0 || unlisted > Self.mostUnlisted }

    /// Takes what changed since the last turn.
    package mutating func takeChanges(now: Instant) {
        listChanges(now: now)
        commit(now: now)
    }

    // MARK: The poll

    private mutating func poll(clock: () -> Instant) {
        table.beginPoll()
        var readAt: Instant?
        do throws(NetlinkError) {
            // So old what is asked for by itself may be, in a poll that has one moment.
            let patience = engine.policy.pollInterval / 10
            try Self.read(
                machine: &machine, into: &table, at: &readAt, patience: patience, clock: clock)
            interruptions = 0
        } catch {
            counts.failedPolls += 1
            // An interrupted dump has shown what it has shown; only when it goes on is it told.
            if error.isInterruptedDump { interruptions += 1 }
            if !error.isInterruptedDump || interruptions > 10 {
                output.notes.append(.pollFailed(error.description))
                interruptions = 0
            }
        }
        table.endPoll()
        _ = decideMissed { readAt ?? clock() }
        // What leaves is watched only until nothing of ours is on it.
        if !leaving.isEmpty { table.leaveOut(leaving) }
        if knowsInterfaces { table.takeSamples { engine.sample($0) } }
        noteSource()
    }

    /// Where counters come from is told when it changes; not each reason why not from elsewhere.
    private mutating func noteSource() {
        let source = machine.counterSource
        defer { counterSource = source }
        switch (counterSource, source) {
        case (nil, _), (.bpf?, .bpf), (.netlink?, .netlink): return
        default: output.notes.append(.counters(source))
        }
    }

    /// The counters of one poll, and when they were read. Names its parts one by one: what is done for
    /// each interface looks up nothing of the turn, whose layout is known at run time only where it is
    /// not specialised.
    private static func read(
        machine: inout Machine, into table: inout PortTable, at readAt: inout Instant?,
        patience: Duration, clock: () -> Instant
    ) throws(NetlinkError) {
        try machine.poll { index in
            table.slot(of: index) != nil
        } _: { samples, isLate in
            // The request may have waited for the kernel's lock: the counters are as old as their
            // arrival, not as the turn. Those asked for by themselves have waited alone: too long, and
            // they are left out, since a poll has one moment, which is recorded.
            let at = readAt ?? clock()
            readAt = at
            table.take(samples, at: at, isMeasure: !isLate || clock().since(at) <= patience)
        }
    }

    // MARK: Orders

    /// New rules and names: every port is looked at again, every clock goes on.
    package mutating func replace(
        policy: Policy, names: PortNames, settings: TurnSettings, guards: GuardBook, now: Instant
    ) {
        self.names = names
        replace(guards: guards, now: now)
        self.settings = settings
        configured = policy
        engine.replace(policy: orders.applied(to: policy), now: now)
        // Interfaces that no pattern claimed before are in the list too.
        machine.listAgain()
        takeChanges(now: now)
    }
}
