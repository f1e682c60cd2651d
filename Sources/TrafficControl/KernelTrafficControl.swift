internal import LinuxSystem
// Traffic control over netlink: observe, plan, execute, hold the answers against the plan.
//
// Invariants: `installed` holds what was last confirmed on each port; a failed change is undone to
// that, so that a port never has less protection than before. A change is confirmed by the objects as
// the kernel tells them with it, each in its answer (RequestBatch); that they go on to stand is
// seen by the looks that come once a second (Repair), which ask for everything.
public import Mitigation
internal import Netlink

/// The kernel's own traffic control.
public struct KernelTrafficControl: TrafficControl, ~Copyable {
    /// What was last confirmed on a port.
    struct Installed {
        var limits: Limits
        var ifbs: [IFBRole: Int32]
        var buckets: [Mitigation.Direction: TokenBuckets]
        var site: Site
        /// Whether the hook is of our making.
        var ownsHook: Bool
    }

    /// What this kernel has, as it was found at start.
    public let parts: KernelParts
    let settings: TrafficControlSettings
    let policer: Policer
    var socket: RouteSocket
    var installed: [Int32: Installed] = [:]
    let policers = BPFPolicers()
    private let programs = ClassicPrograms()
    /// What was asked of ports' guards; a port that is not here keeps what stands there.
    var guarded: [Int32: GuardOrder] = [:]
    /// The guards that were made last (`code`).
    var latestCode = GuardCode.none
    /// What was on ports before ours, where it is known.
    var origins: [Int32: PortOrigin] = [:]
    /// The roots of other owners whose place ours may take, or has taken.
    var roots: [Int32: ForeignRoot] = [:]
    /// Nil where the kernel has no netfilter.
    private var netfilter: NetfilterSocket?
    /// nftables' chains on the ingress of any interface, as they were last seen.
    private(set) var chains: [IngressChain] = []
    /// Ports that the survey left to their first change: what stands on them was not looked at.
    var unsurveyed: Set<Int32> = []
    /// What was found at the last observation of a limited port.
    private var advised: [Int32: [String]] = [:]

    /// Opens the kernel's traffic control and finds out what it has (`KernelProbe`).
    /// - Throws: the kernel's sentence where netlink cannot be opened, and where the configured
    ///   policer is not to be had.
    public static func open(
        _ settings: TrafficControlSettings
    ) throws(TrafficControlError) -> KernelTrafficControl {
        var socket: RouteSocket
        do throws(NetlinkError) {
            socket = try RouteSocket.open()
        } catch {
            throw .refused(error.description)
        }
        let parts = KernelProbe.run(&socket)
        guard let policer = parts.policer(configured: settings.policer) else {
            throw .refused(parts.refusal(of: settings.policer))
        }
        return KernelTrafficControl(
            parts: parts, settings: settings, policer: policer, socket: socket)
    }

    private init(
        parts: KernelParts, settings: TrafficControlSettings, policer: Policer,
        socket: consuming RouteSocket
    ) {
        self.parts = parts
        self.settings = settings
        self.policer = policer
        self.socket = socket
        netfilter = try? NetfilterSocket.open()
    }

    /// What fails is undone to what was confirmed last.
    public mutating func apply(
        _ limits: Limits?, to port: ControlledPort
    ) throws(TrafficControlError) {
        try change(port, to: limits, guards: guarded[port.index])
    }

    /// Both, or what was confirmed last.
    mutating func change(
        _ port: ControlledPort, to limits: Limits?, guards: GuardOrder?
    ) throws(TrafficControlError) {
        let before = installed[port.index]?.limits
        let guardsBefore = guarded[port.index]
        guarded[port.index] = guards
        if redirects(limits) || redirects(before) { lookAtChains() }
        do throws(StepFailure) {
            try reconcile(limits, on: port, at: places(of: port, limits, before))
            unsurveyed.remove(port.index)
        } catch {
            guard !isGone(port) else {
                // One of the steps may have made an ifb.
                forget(port, mayHaveOthers: true)
                throw .gone
            }
            let isOther = before != limits || guardsBefore?.compiled != guards?.compiled
            guarded[port.index] = guardsBefore
            if case .declined = error { throw error.told }
            // Undo what was half done: back to what was confirmed last.
            if isOther {
                do throws(StepFailure) {
                    try reconcile(before, on: port)
                } catch let second {
                    throw .unknown("\(error.told); undoing it: \(second.told)")
                }
            }
            throw error.told
        }
        if limits == nil { roots[port.index] = nil }
    }

    /// RTM_SETLINK, read back.
    public mutating func setLink(_ port: ControlledPort, up: Bool) throws(TrafficControlError) {
        let link: Link?
        do throws(NetlinkError) {
            try socket.setLink(port.index, up: up)
            link = try socket.link(index: port.index)
        } catch {
            throw isGone(port) ? .gone : StepFailure.netlink(error).told
        }
        guard let link else { throw .gone }
        guard link.isUp == up else {
            throw .unknown("the link of \(port.name) is \(up ? "down" : "up")")
        }
    }

    /// The filters of a port that is gone went with it; its ifbs are deleted here, and its policers'
    /// entries, unless another interface has its index by now and filters of ours on it.
    public mutating func forget(_ port: ControlledPort) {
        forget(port, mayHaveOthers: unsurveyed.contains(port.index))
    }

    /// `mayHaveOthers`: ifbs of ours may stand for it that were not confirmed.
    private mutating func forget(_ port: ControlledPort, mayHaveOthers: Bool) {
        unsurveyed.remove(port.index)
        origins[port.index] = nil
        roots[port.index] = nil
        guarded[port.index] = nil
        advised[port.index] = nil
        let held = installed.removeValue(forKey: port.index)
        guard mayHaveOthers || held?.ifbs.isEmpty == false || held?.buckets.isEmpty == false else {
            return
        }
        let successor = try? socket.observe(port)
        guard successor?.filters.isEmpty ?? isGone(port) else { return }
        for buckets in (held?.buckets ?? [:]).values { buckets.remove() }
        for role in IFBRole.allCases where mayHaveOthers || held?.ifbs[role] != nil {
            let name = Array(role.name(of: port.index).utf8)
            guard let link = try? socket.link(name: name),
                IFBRole.owner(of: link)?.index == port.index
            else { continue }
            try? socket.deleteLink(link.index)
        }
    }

    /// Whether the kernel says that the port is not there.
    mutating func isGone(_ port: ControlledPort) -> Bool {
        do throws(NetlinkError) {
            return try socket.link(index: port.index) == nil
        } catch {
            return false
        }
    }

    /// The policer while a port is policed, the queues while it is shaped.
    public func enforcement(of port: ControlledPort) -> String? {
        guard let held = installed[port.index] else { return nil }
        let delayed = Mitigation.Direction.allCases.filter { held.limits[$0]?.delay != nil }
        guard !delayed.isEmpty else { return policer.rawValue }
        let policed = policer == .ifb ? [] : delayed.filter { held.site.guarded.contains($0) }
        guard policed != delayed else { return "\(policer.rawValue) in place of a redirect" }
        let queue = policer == .ifb ? "htb" : "tbf"
        var sentence = "ifb+\(queue)" + (parts.hasNetem ? "+netem" : "")
        for direction in policed {
            sentence += ", \(direction.rawValue) the VM \(policer.rawValue) in place of a redirect"
        }
        if held.limits.to != nil, held.site.hook == .ingress {
            let root = held.site.root
            sentence += root.isOurs ? ", to the VM htb" : ", to the VM unlimited: foreign root"
            if root.isOurs, root.theirs != nil { sentence += " in place of a foreign root" }
        }
        return sentence
    }

    /// What was found at the last look at the port.
    public func advisories(of port: ControlledPort) -> [String] { advised[port.index] ?? [] }

    mutating func advise(
        _ limits: Limits?, port: ControlledPort, observed: ObservedTree, site: Site
    ) {
        var sentences =
            limits.map { observed.advisories($0, site: site, policer: policer, port: port) } ?? []
        if guarded[port.index]?.compiled.guards.isEmpty == false {
            sentences += observed.guardAdvisories(port)
        }
        if guarded[port.index]?.compiled.isWeaker(at: site.hook) == true {
            sentences.append(
                "the management guard of \(port.name) does not follow connections: its hook is an "
                    + "ingress, and that needs a clsact (hook = \"clsact\")")
        }
        advised[port.index] = sentences.isEmpty ? nil : sentences
    }

    /// Reads nftables' chains anew; where they cannot be read, those that were there are taken to
    /// stand.
    mutating func lookAtChains() {
        if let seen = try? netfilter?.ingressChains() { chains = seen }
    }

    // MARK: Reconciling

    /// Observe, plan, execute, hold the answers against the plan; throws where something of the wanted
    /// does not stand. Gives the number of steps that it took. `places`: where ours may be; nil:
    /// anywhere.
    @discardableResult
    mutating func reconcile(
        _ limits: Limits?, on port: ControlledPort, at places: Known.Places? = nil
    ) throws(StepFailure) -> Int {
        let held = installed[port.index]
        let order = guarded[port.index]
        var observed = try socket.observe(
            port,
            Known(
                policers: policers, guardCounters: order?.counters, chains: chains,
                readsRoot: readsRoot(of: port), places: places))
        // A hook of ours whose filters somebody flushed says no longer that it is ours.
        let madeHook =
            held?.ownsHook == true || order?.ownsHook == true
            || origins[port.index]?.hadHook == false
        if madeHook, !observed.holdsOurFilters, !observed.hasForeignFilters {
            // Of another kind than ours was, it is another's.
            let kind = held?.site.hook ?? observed.hook
            observed.ownsHook = observed.hook != nil && observed.hook == kind
        }
        let site = self.site(of: port, observed: observed, limits: limits)
        var wanted =
            if let limits { try tree(limits, port: port, site: site) } else { WantedTree.empty }
        wanted.guards = order?.compiled.filters(at: site.hook)
        let steps = Plan.steps(from: observed, to: wanted, site: site)
        let ownsHook = observed.hook == nil || observed.ownsHook
        var guardCode = GuardCode.none
        if let compiled = order?.compiled, steps.contains(where: \.putsGuard) {
            guardCode = code(of: compiled.guards, by: compiled.enforcer)
        }
        var execution = Execution(
            port: port,
            tag: Tag(
                index: port.index, incident: wanted.incident, rung: limits?.rung ?? .normal,
                ownsHook: ownsHook),
            from: observed, policers: policers, guardCode: guardCode)
        do throws(StepFailure) {
            try execution.run(steps, on: &socket)
            if !steps.isEmpty {
                let after =
                    execution.isToldWhole
                    ? execution.tree
                    : try socket.observe(
                        port,
                        Known(
                            policers: policers, guardCounters: execution.tree.guardCounters,
                            readsRoot: readsRoot(of: port)))
                if let first = Plan.steps(from: after, to: wanted, site: site).first {
                    throw .mismatch("\(first.summary(port)) does not stand after it was set")
                }
                try confirmPutBack(steps, after, site: site, port: port)
            }
        } catch {
            if execution.madeHook { removeEmptyHook(of: port) }
            // Those that the steps came to.
            for (direction, buckets) in observed.buckets
            where execution.tree.buckets[direction] == nil { buckets.remove() }
            throw error
        }
        // Entries whose filter the steps took out or replaced, or somebody else did before.
        for former in [observed.buckets, held?.buckets ?? [:]] {
            for (direction, buckets) in former {
                let kept = execution.tree.buckets[direction]
                if kept?.isSame(as: buckets) != true { buckets.remove() }
            }
        }
        advise(limits, port: port, observed: observed, site: site)
        noteRoot(site.root, of: port, isOurs: wanted.root != nil)
        installed[port.index] = limits.map {
            Installed(
                limits: $0, ifbs: execution.tree.ifbs.mapValues(\.link.index),
                buckets: execution.tree.buckets, site: site,
                ownsHook: ownsHook && !wanted.filters.isEmpty)
        }
        guarded[port.index]?.counters = execution.tree.guardCounters
        guarded[port.index]?.ownsHook = ownsHook && wanted.guards?.isEmpty == false
        guarded[port.index]?.hook = site.hook
        if limits == nil { origins[port.index] = nil }
        return steps.count
    }

    /// Where trees of ours may stand when these limits take the place of those, but for what a change
    /// left that failed twice, which the looks find; nil, anywhere, where all is to go, and where nobody
    /// has looked yet.
    private func places(
        of port: ControlledPort, _ limits: Limits?, _ before: Limits?
    ) -> Known.Places? {
        guard let limits, !unsurveyed.contains(port.index) else { return nil }
        let all = [limits, before].compactMap { $0 }
        var places = Known.Places(root: all.contains { $0.to != nil }, ifbs: [])
        for limits in all where redirects(limits) {
            if limits.from != nil { places.ifbs.insert(.from) }
            if limits.to != nil { places.ifbs.insert(.to) }
        }
        return places
    }

    /// Whether limits may need a redirect.
    private func redirects(_ limits: Limits?) -> Bool {
        guard let limits else { return false }
        return policer == .ifb || limits.from?.delay != nil || limits.to?.delay != nil
    }

    /// A hook that was made for filters that were then refused.
    private mutating func removeEmptyHook(of port: ControlledPort) {
        guard let observed = try? socket.observe(port), observed.hook != nil,
            !observed.holdsOurFilters, !observed.hasForeignFilters
        else { return }
        try? socket.deleteQdisc(of: port.index, parent: .ingress, handle: .ingressQdisc)
    }

    func tree(
        _ limits: Limits, port: ControlledPort, site: Site
    ) throws(StepFailure) -> WantedTree {
        let tree = WantedTree(
            limits, port: port, site: site, policer: policer, hasNetem: parts.hasNetem,
            programs: programs)
        guard !tree.filters.isEmpty || tree.root != nil else {
            throw .declined(
                "what is sent to \(port.name) cannot be limited: its root is another owner's, and "
                    + "its hook an ingress (\(site.root.objection))")
        }
        return tree
    }

    /// Joins whatever hook is there; where there is none, makes what the settings say.
    mutating func site(
        of port: ControlledPort, observed: ObservedTree, limits: Limits?
    ) -> Site {
        let hook = hook(of: port, observed)
        return Site(
            hook: hook,
            root: rootSite(of: port, observed, isWanted: limits?.to != nil && hook == .ingress),
            guarded: limits.map(observed.guarded) ?? [])
    }

    /// The hook that is there, or that is to be made.
    func hook(of port: ControlledPort, _ observed: ObservedTree) -> Site.Hook {
        switch (observed.hook, settings.hook) {
        case (let present?, _): return present
        case (nil, .ingress): return .ingress
        case (nil, .clsact): return .clsact
        case (nil, .auto):
            // Open vSwitch deletes an `ingress` qdisc on its ports at every carrier event.
            let isOnOpenVSwitch = observed.link?.isOnOpenVSwitch ?? port.isOnOpenVSwitch ?? false
            return isOnOpenVSwitch ? .clsact : .ingress
        }
    }
}
