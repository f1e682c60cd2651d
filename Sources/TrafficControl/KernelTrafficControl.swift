internal import LinuxSystem
// Traffic control over netlink: observe, plan, execute, read back.
//
// Invariant: `installed` holds what was last confirmed on each port; a failed change is undone to
// that, so that a port never has less protection than before.
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
    }

    /// What this kernel has, as it was found at start.
    public let parts: KernelParts
    let settings: TrafficControlSettings
    let policer: Policer
    var socket: RouteSocket
    var installed: [Int32: Installed] = [:]

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
    }

    /// Observe, plan, execute, read back; what fails is undone to what was confirmed last.
    public mutating func apply(
        _ limits: Limits?, to port: ControlledPort
    ) throws(TrafficControlError) {
        let before = installed[port.index]?.limits
        do throws(StepFailure) {
            try reconcile(limits, on: port)
        } catch {
            guard !error.isGone else {
                installed[port.index] = nil
                throw .gone
            }
            // Undo what was half done: back to what was confirmed last.
            if before != limits {
                do throws(StepFailure) {
                    try reconcile(before, on: port)
                } catch let second {
                    throw .unknown("\(error); undoing it: \(second)")
                }
            }
            throw error.told
        }
    }

    /// Observes, and carries out what is missing. One dump of all qdiscs serves all ports.
    public mutating func repair(_ ports: [ControlledPort]) -> [Int32: Repair] {
        var repairs: [Int32: Repair] = [:]
        do throws(NetlinkError) {
            let qdiscs = Dictionary(grouping: try socket.qdiscs(), by: \.index)
            for port in ports {
                guard let held = installed[port.index] else { continue }
                repairs[port.index] = repair(port, held, qdiscs)
            }
        } catch {
            let told = StepFailure.netlink(error).told
            for port in ports { repairs[port.index] = .failed(told) }
        }
        return repairs
    }

    private mutating func repair(
        _ port: ControlledPort, _ held: Installed, _ qdiscs: [Int32: [QdiscRecord]]
    ) -> Repair? {
        do throws(StepFailure) {
            let observed = try socket.observe(port, qdiscs: qdiscs)
            let site = self.site(of: port, observed: observed)
            let wanted = tree(held.limits, port: port, site: site)
            let steps = Plan.steps(from: observed, to: wanted, site: site)
            guard let first = steps.first else { return nil }
            // Looks again before it writes: the dump may have been an old or a short one.
            try reconcile(held.limits, on: port)
            return .putBack("\(steps.count) objects, the first: \(first.summary(port))")
        } catch {
            return .failed(error.told)
        }
    }

    /// RTM_SETLINK, read back.
    public mutating func setLink(_ port: ControlledPort, up: Bool) throws(TrafficControlError) {
        let link: Link?
        do throws(NetlinkError) {
            try socket.setLink(port.index, up: up)
            link = try socket.link(index: port.index)
        } catch {
            throw StepFailure.netlink(error).told
        }
        guard let link else { throw .gone }
        guard link.isUp == up else {
            throw .unknown("the link of \(port.name) is \(up ? "down" : "up")")
        }
    }

    /// The port's filters went with it; its ifbs stay until they are deleted here.
    public mutating func forget(_ port: ControlledPort) {
        installed[port.index] = nil
        for role in IFBRole.allCases {
            let name = Array(role.name(of: port.index).utf8)
            guard let link = try? socket.link(name: name),
                IFBRole.owner(of: link)?.index == port.index
            else { continue }
            try? socket.deleteLink(link.index)
        }
    }

    /// The policer while a port is policed, the queues while it is shaped.
    public func enforcement(of port: ControlledPort) -> String? {
        guard let held = installed[port.index] else { return nil }
        let shapes = held.limits.from?.delay ?? held.limits.to?.delay
        guard shapes != nil else { return policer.rawValue }
        let queue = policer == .ifb ? "htb" : "tbf"
        var sentence = "ifb+\(queue)" + (parts.hasNetem ? "+netem" : "")
        if held.limits.to != nil, held.site.hook == .ingress {
            sentence +=
                held.site.ownsRoot ? ", to the VM htb" : ", to the VM unlimited: foreign root"
        }
        return sentence
    }

    // MARK: Reconciling

    /// Observe, plan, execute, read back; throws where something of the wanted does not stand.
    private mutating func reconcile(
        _ limits: Limits?, on port: ControlledPort
    ) throws(StepFailure) {
        let observed = try socket.observe(port)
        let site = self.site(of: port, observed: observed)
        let wanted = limits.map { tree($0, port: port, site: site) } ?? .empty
        let steps = Plan.steps(from: observed, to: wanted, site: site)
        var execution = Execution(
            port: port,
            tag: Tag(
                index: port.index, incident: wanted.incident,
                ownsHook: observed.hook == nil || observed.ownsHook),
            ifbs: observed.ifbs.mapValues(\.link.index),
            buckets: installed[port.index]?.buckets ?? observed.adoptedBuckets)
        for step in steps { try execution.run(step, on: &socket) }
        if !steps.isEmpty {
            let after = try socket.observe(port)
            let rest = Plan.steps(from: after, to: wanted, site: site)
            if let first = rest.first {
                throw .mismatch("\(first.summary(port)) does not stand after it was set")
            }
        }
        if let limits {
            installed[port.index] = Installed(
                limits: limits, ifbs: execution.ifbs, buckets: execution.buckets, site: site)
        } else {
            installed[port.index] = nil
        }
    }

    func tree(_ limits: Limits, port: ControlledPort, site: Site) -> WantedTree {
        WantedTree(limits, port: port, site: site, policer: policer, hasNetem: parts.hasNetem)
    }

    /// Joins whatever hook is there; where there is none, makes what the settings say.
    private mutating func site(of port: ControlledPort, observed: ObservedTree) -> Site {
        let hook: Site.Hook
        switch (observed.hook, settings.hook) {
        case (let present?, _): hook = present
        case (nil, .ingress): hook = .ingress
        case (nil, .clsact): hook = .clsact
        case (nil, .auto): hook = isOpenVSwitchPort(port) ? .clsact : .ingress
        }
        return Site(hook: hook, ownsRoot: observed.ownsRoot)
    }

    /// Open vSwitch deletes an `ingress` qdisc on its ports at every carrier event.
    private mutating func isOpenVSwitchPort(_ port: ControlledPort) -> Bool {
        (try? socket.link(index: port.index))?.portKind == "openvswitch"
    }
}
