// A port's guards over netlink: what was asked, what they counted, what makes them ineffective.
//
// Invariant: a port about which nothing was said in this process keeps the guards that stand there;
// a restart never leaves a port without them.
internal import LinuxSystem
internal import Mitigation
internal import Netlink

/// What was asked of a port's guards, and what was last confirmed of them.
struct GuardOrder {
    var compiled: CompiledGuards
    var counters: GuardCounters?
    /// Whether the hook was of our making.
    var ownsHook = false
    /// Where they stand; nil until that is confirmed.
    var hook: Site.Hook?
}

extension KernelTrafficControl {
    /// What fails is undone to what was confirmed last.
    public mutating func setGuards(
        _ guards: Guards?, on port: ControlledPort
    ) throws(TrafficControlError) {
        try refuseUnconfirmedLimits(of: port)
        let wanted = guards ?? Guards()
        var order = guarded[port.index]
        if order?.compiled.guards != wanted {
            if let problem = wanted.problems.first {
                throw .refused("guards of \(port.name): \(problem.key) \(problem.sentence)")
            }
            let code = code(of: wanted, by: try guardEnforcer(for: wanted))
            // Counters go on where the program stays.
            order = GuardOrder(
                compiled: code.compiled, counters: order?.counters,
                ownsHook: order?.ownsHook ?? false)
        }
        try change(port, to: installed[port.index]?.limits, guards: order)
    }

    /// Limits of a former process would go with a change that does not know them.
    private mutating func refuseUnconfirmedLimits(
        of port: ControlledPort
    ) throws(TrafficControlError) {
        guard installed[port.index] == nil else { return }
        do throws(StepFailure) {
            guard try !socket.observe(port).isEmpty else { return }
        } catch {
            throw isGone(port) ? .gone : error.told
        }
        throw .refused("limits stand on \(port.name) that are not confirmed yet")
    }

    private func guardEnforcer(for guards: Guards) throws(TrafficControlError) -> GuardEnforcer {
        if let found = parts.guardEnforcer(configured: settings.guardEnforcer) { return found }
        guard !guards.isEmpty else { return .actGact }
        let wanted = settings.guardEnforcer?.rawValue ?? "act_gact or bpf(2)"
        throw .refused("this kernel does not have \(wanted), which guards are made of")
    }

    /// The programs of guards. Many ports in a row have the same ones, and each takes them twice: to know
    /// what is asked, and to put it.
    mutating func code(of guards: Guards, by enforcer: GuardEnforcer) -> GuardCode {
        if latestCode.compiled.guards != guards || latestCode.compiled.enforcer != enforcer {
            latestCode = GuardCode(guards, enforcer: enforcer, parts: parts)
        }
        return latestCode
    }

    /// Whether all is well with a port that has guards and nothing else of ours, by its filters alone.
    /// False, too, where that cannot be told.
    mutating func standsByGuards(_ port: ControlledPort) -> Bool {
        guard installed[port.index] == nil, roots[port.index] == nil,
            let order = guarded[port.index], let hook = order.hook
        else { return false }
        var wanted = WantedTree.empty
        wanted.guards = order.compiled.filters(at: hook)
        let site = Site(hook: hook, root: RootSite(isOurs: false))
        guard let guards = wanted.guards, !guards.isEmpty,
            let observed = try? socket.observeGuards(
                of: port, at: hook, guards, Known(guardCounters: order.counters)),
            Plan.steps(from: observed, to: wanted, site: site).isEmpty
        else { return false }
        advise(nil, port: port, observed: observed, site: site)
        return true
    }

    /// Counted by each reason's action, or by the program. Adopted guards are read as they stand.
    public mutating func guardCounts(
        of port: ControlledPort
    ) throws(TrafficControlError) -> GuardCounts {
        do throws(StepFailure) {
            return try readGuardCounts(of: port)
        } catch {
            throw isGone(port) ? .gone : error.told
        }
    }

    private mutating func readGuardCounts(
        of port: ControlledPort
    ) throws(StepFailure) -> GuardCounts {
        if let counters = guarded[port.index]?.counters {
            return try StepFailure.bpfed { () throws(BPFError) in try counters.counts() }
        }
        let records = try StepFailure.netlinked { () throws(NetlinkError) in
            try socket.filters(of: port.index, parent: .clsactIngress)
        }
        var counts = GuardCounts(sourceMACs: 0)
        for record in records where Ownership.isGuard(record) {
            if let program = record.bpfProgramID {
                return try StepFailure.bpfed { () throws(BPFError) in
                    try GuardCounters(ofProgram: program).counts()
                }
            }
            guard let reason = Ownership.guardReason(of: record.handle),
                let seen = record.actions.first?.statistics, seen.packets > 0
            else { continue }
            // What is no part of a connection is told by a rule or by a look-up.
            counts.reasons[reason, default: GuardCount()].packets += seen.packets
            counts.reasons[reason, default: GuardCount()].bytes += seen.bytes
            guard reason == .sourceMAC else { continue }
            counts.sourceMACs = GuardSources.estimate(from: record.actions)
        }
        return counts
    }

    /// What a program of guards dropped: it did not go past the limits. (An action's drops are
    /// listed with the filters.)
    func droppedByGuardProgram(_ port: ControlledPort) throws(StepFailure) -> DeliveredCounters {
        guard let order = guarded[port.index], let counters = order.counters,
            order.compiled.guards.mode == .enforce
        else { return DeliveredCounters() }
        let counts = try StepFailure.bpfed { () throws(BPFError) in try counters.counts() }
        return counts.reasons.values.reduce(into: DeliveredCounters()) { sum, count in
            sum = sum.adding(DeliveredCounters(packets: count.packets, bytes: count.bytes))
        }
    }
}

extension ObservedTree {
    /// What makes guards ineffective on a port, a sentence each.
    func guardAdvisories(_ port: ControlledPort) -> [String] {
        foreign.compactMap { filter in
            guard filter.direction == .from, filter.outcome == .ends,
                filter.preference <= Ownership.guardPreference
            else { return nil }
            return
                "\(filter.told) of another owner stands before the guards of \(port.name), and what "
                + "it takes passes them"
        }
    }
}
