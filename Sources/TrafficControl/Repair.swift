// What somebody else took out: found and put back.
//
// Invariants: a redirect that leads nowhere goes before anything else is done, since it cuts the
// machine off while every counter looks well; where a queue cannot be put back the same cap is held
// by the policer, so that a port never has less protection than before.
internal import LinuxSystem
internal import Mitigation
internal import Netlink

extension KernelTrafficControl {
    /// Observes, and carries out what is missing. One dump of all qdiscs serves all ports; none is
    /// made for ports whose guards alone are to stand, and do.
    public mutating func repair(
        _ ports: [ControlledPort], puttingBack: Bool
    ) -> [Int32: Repair] {
        var repairs: [Int32: Repair] = [:]
        var unsure: [ControlledPort] = []
        for port in ports where !standsByGuards(port) { unsure.append(port) }
        guard !unsure.isEmpty else { return [:] }
        lookAtChains()
        do throws(NetlinkError) {
            let qdiscs = Dictionary(grouping: try socket.qdiscs(), by: \.index)
            for port in unsure {
                let held = installed[port.index]
                guard held != nil || guarded[port.index] != nil else { continue }
                repairs[port.index] = repair(port, held, qdiscs, puttingBack)
            }
        } catch {
            let told = StepFailure.netlink(error).told
            for port in unsure { repairs[port.index] = .failed(told) }
        }
        return repairs
    }

    private mutating func repair(
        _ port: ControlledPort, _ held: Installed?, _ qdiscs: [Int32: [QdiscRecord]],
        _ puttingBack: Bool
    ) -> Repair? {
        do throws(StepFailure) {
            let observed = try socket.observe(
                port,
                Known(
                    qdiscs: qdiscs, policers: policers,
                    guardCounters: guarded[port.index]?.counters, chains: chains,
                    readsRoot: readsRoot(of: port)))
            let limits = held?.limits
            let site = self.site(of: port, observed: observed, limits: limits)
            advise(limits, port: port, observed: observed, site: site)
            var wanted =
                if let limits { try tree(limits, port: port, site: site) } else { WantedTree.empty }
            wanted.guards = guarded[port.index]?.compiled.filters(at: site.hook)
            guard let first = Plan.steps(from: observed, to: wanted, site: site).first else {
                return nil
            }
            guard puttingBack else { return try takeOutBrokenRedirects(of: port, observed) }
            return try putBack(limits, on: port, first: first.summary(port))
        } catch {
            return .failed(isGone(port) ? .gone : error.told)
        }
    }

    private mutating func putBack(
        _ limits: Limits?, on port: ControlledPort, first: String
    ) throws(StepFailure) -> Repair? {
        do throws(StepFailure) {
            // Looks again before it writes: the dump was made a moment ago.
            let count = try reconcile(limits, on: port)
            return count == 0 ? nil : .putBack("\(count) objects, the first: \(first)")
        } catch {
            guard let limits, let policed = limits.policed, !isGone(port) else { throw error }
            // What is wanted stays what it was: the next look tries again.
            let wanted = installed[port.index]
            try reconcile(policed, on: port)
            installed[port.index]?.limits = wanted?.limits ?? limits
            throw error
        }
    }

    private mutating func takeOutBrokenRedirects(
        of port: ControlledPort, _ observed: ObservedTree
    ) throws(StepFailure) -> Repair? {
        var execution = Execution(
            port: port, tag: Tag(index: port.index, incident: 0, rung: .normal, ownsHook: false),
            from: observed, policers: policers)
        let broken = observed.brokenRedirects
        try execution.run(broken.map { .deleteFilter($0) }, on: &socket)
        return broken.first.map {
            .takenOut("filter pref \($0.preference) led to an ifb that is not there, or not up")
        }
    }

    /// The ifbs that stand for this port.
    public func redirects(of port: ControlledPort) -> [Int32] {
        installed[port.index].map { $0.ifbs.values.sorted() } ?? []
    }
}

extension ObservedTree {
    /// Filters of ours that lead to an ifb which is not there, not up, or has no tree.
    var brokenRedirects: [FilterRecord] {
        filters.filter { filter in
            guard let target = filter.redirectTarget else { return false }
            let ifb = ifbs[filter.parent == .clsactEgress ? .to : .from]
            return ifb?.link.index != target || ifb?.link.isUp != true
                || ifb?.queues.ourRoot == nil
        }
    }
}

extension Limits {
    /// The same caps without queues; nil where there are none.
    fileprivate var policed: Limits? {
        guard from?.delay != nil || to?.delay != nil else { return nil }
        var limits = self
        limits.from?.delay = nil
        limits.to?.delay = nil
        return limits
    }
}
