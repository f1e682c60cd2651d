// Carries out steps, one request each, and keeps what the kernel answered: the tree as it is then.
import LinuxSystem
import Mitigation
import Netlink

/// Steps on one port.
struct Execution {
    let port: ControlledPort
    let tag: Tag
    /// What stands: as it was observed, with every step's change as the kernel told it.
    private(set) var tree: ObservedTree
    /// What guards are made of, where one is put.
    let guardCode: GuardCode
    private let policers: BPFPolicers
    /// Whether one of the steps made the hook.
    private(set) var madeHook = false
    /// Whether `tree` has all that the steps changed; else the port has to be observed again.
    private(set) var isToldWhole = true

    init(
        port: ControlledPort, tag: Tag, from tree: ObservedTree, policers: BPFPolicers,
        guardCode: GuardCode = .none
    ) {
        self.policers = policers
        self.port = port
        self.tag = tag
        self.tree = tree
        self.guardCode = guardCode
    }

    mutating func run(_ step: Step, on socket: inout RouteSocket) throws(StepFailure) {
        switch step {
        case .createIFB(let role):
            let name = role.name(of: port.index)
            let alias = role.alias(of: port)
            let link = try StepFailure.netlinked { () throws(NetlinkError) in
                if let index = tree.unfinishedIFBs[role] { try socket.deleteLink(index) }
                return try socket.createIFB(name: name, alias: alias)
            }
            tree.unfinishedIFBs[role] = nil
            tree.ifbs[role] = ObservedIFB(link: link, queues: ObservedQueues())
        case .deleteIFB(let role):
            let index = try index(of: .ifb(role))
            try StepFailure.netlinked { () throws(NetlinkError) in try socket.deleteLink(index) }
            tree.ifbs[role] = nil
        case .raise(let role): try raise(role, on: &socket)
        case .putGuard(let wanted): try put(wanted, socket: &socket)
        case .putFilter(let device, let filter): try put(filter, on: device, socket: &socket)
        case .setBuckets(let direction, let limits): try set(limits, of: direction)
        case .addHook:
            try changeHook(step, on: &socket)
            madeHook = true
        case .deleteHook, .deleteFilter: try changeHook(step, on: &socket)
        case .addQdisc, .changeQdisc, .deleteQdisc, .addClass, .changeClass, .replaceRoot,
            .putBack:
            try changeQueues(step, on: &socket)
        }
    }

    private mutating func changeHook(
        _ step: Step, on socket: inout RouteSocket
    ) throws(StepFailure) {
        try StepFailure.netlinked { () throws(NetlinkError) in
            switch step {
            case .addHook(let hook):
                note(
                    try socket.add(
                        hook == .clsact ? .clsact : .ingress, to: port.index, parent: .ingress,
                        handle: .ingressQdisc)
                ) { tree, hook in tree.hook = Site.Hook(rawValue: hook.kind) }
            case .deleteHook:
                try socket.deleteQdisc(of: port.index, parent: .ingress, handle: .ingressQdisc)
                tree.removeHook()
            case .deleteFilter(let filter):
                try socket.deleteFilter(
                    on: port.index, parent: filter.parent, preference: filter.preference,
                    proto: filter.proto, handle: filter.handle, kind: filter.kind)
                tree.remove(filter)
            default: break
            }
        }
    }

    private mutating func changeQueues(
        _ step: Step, on socket: inout RouteSocket
    ) throws(StepFailure) {
        switch step {
        case .addQdisc(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                let told = try socket.add(
                    wanted.qdisc, to: index, parent: wanted.parent, handle: wanted.handle)
                note(told, on: device) { $0.add($1) }
            }
        case .changeQdisc(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                let told = try socket.change(
                    wanted.qdisc, of: index, parent: wanted.parent, handle: wanted.handle)
                note(told, on: device) { $0.add($1) }
            }
        case .deleteQdisc(let device, let parent, let handle):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.deleteQdisc(of: index, parent: parent, handle: handle)
            }
            tree.update(device) { $0.remove(handle, at: parent) }
        case .replaceRoot(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.replaceRoot(with: wanted.qdisc, of: index, handle: wanted.handle)
            }
            isToldWhole = false
        case .putBack(let replica):
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.put(replica, on: port.index)
            }
            isToldWhole = false
        case .addClass(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                let told = try socket.addClass(
                    wanted.htb, to: index, parent: Ownership.rootHandle, classID: wanted.id)
                note(told, on: device) { $0.add($1) }
            }
        case .changeClass(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                let told = try socket.changeClass(
                    wanted.htb, of: index, parent: Ownership.rootHandle, classID: wanted.id)
                note(told, on: device) { $0.add($1) }
            }
        default: break
        }
    }

    private func index(of device: Device) throws(StepFailure) -> Int32 {
        switch device {
        case .port: return port.index
        case .ifb(let role):
            guard let ifb = tree.ifbs[role] else {
                throw .mismatch("\(role.name(of: port.index)) is not there")
            }
            return ifb.link.index
        }
    }

    /// Takes what the kernel told of a change; where it told nothing, what stands is not known.
    private mutating func note<Record>(
        _ told: Record?, _ body: (inout ObservedTree, Record) -> Void
    ) {
        guard let told else {
            isToldWhole = false
            return
        }
        body(&tree, told)
    }

    /// The same of a device's queues.
    private mutating func note<Record>(
        _ told: Record?, on device: Device, _ body: (inout ObservedQueues, Record) -> Void
    ) {
        note(told) { tree, told in tree.update(device) { body(&$0, told) } }
    }

    /// Puts a filter, and takes it as the kernel tells it.
    private mutating func put(
        _ filter: Filter, on device: Device, under parent: Handle, _ socket: inout RouteSocket
    ) throws(StepFailure) {
        let index = try index(of: device)
        try StepFailure.netlinked { () throws(NetlinkError) in
            note(try socket.put(filter, on: index)) { tree, told in
                tree.add(told, on: device, under: parent)
            }
        }
    }

    /// Up, and seen up: a redirect to an ifb that is down cuts the VM off silently.
    private mutating func raise(
        _ role: IFBRole, on socket: inout RouteSocket
    ) throws(StepFailure) {
        let index = try index(of: .ifb(role))
        let link = try StepFailure.netlinked { () throws(NetlinkError) in
            try socket.setLink(index, up: true)
            return try socket.link(index: index)
        }
        guard let link, link.isUp else {
            throw .mismatch("\(role.name(of: port.index)) does not come up")
        }
        tree.ifbs[role]?.link = link
    }

    private mutating func put(
        _ wanted: WantedFilter, on device: Device, socket: inout RouteSocket
    ) throws(StepFailure) {
        let actions = try actions(of: wanted)
        func filter(_ match: Match) -> Filter {
            Filter(
                parent: parent(wanted.parent), preference: wanted.preference,
                handle: Ownership.filterHandle, match: match, classID: wanted.classID,
                actions: actions)
        }
        switch wanted.match {
        case .classic(let program):
            try put(filter(.classicBPF(program)), on: device, under: wanted.parent, &socket)
        case .buckets(let direction, let tcpPorts, _, let limits):
            let held = tree.buckets[direction]
            let (buckets, program) = try StepFailure.bpfed { () throws(BPFError) in
                try policers.buckets(
                    of: port.index, direction, tcpPorts: tcpPorts, limits, held: held)
            }
            let match = Match.extendedBPF(
                descriptor: program, name: tag.name(tcpPorts: tcpPorts))
            do throws(StepFailure) {
                try put(filter(match), on: device, under: wanted.parent, &socket)
            } catch {
                // Where there was no answer the filter may stand.
                if case .netlink(let refusal) = error, refusal.isAnswer,
                    held?.isSame(as: buckets) != true
                {
                    buckets.remove()
                }
                throw error
            }
            tree.buckets[direction] = buckets
        }
    }

    private mutating func put(
        _ wanted: WantedGuard, socket: inout RouteSocket
    ) throws(StepFailure) {
        func put(_ match: Match, _ actions: [TCAction]) throws(StepFailure) {
            let filter = Filter(
                parent: parent(wanted.parent), preference: wanted.preference,
                handle: wanted.handle, match: match, actions: actions)
            try self.put(filter, on: .port, under: wanted.parent, &socket)
        }
        switch wanted.match {
        case .rule(let digest, let countsSources):
            try put(
                .classicBPF(guardCode.program(digest)),
                wanted.actions(countsSources: countsSources, cookie: tag.cookie))
        case .remember(let digest):
            try put(
                .classicBPF(guardCode.program(digest)),
                [.connection(commits: true, .unspec, cookie: tag.cookie)])
        case .lookUp(let digest):
            try put(
                .classicBPF(guardCode.program(digest)),
                [.connection(commits: false, .unspec, cookie: tag.cookie)])
        case .unanswering:
            try put(
                .connection(WantedGuard.unanswering),
                [.generic(wanted.verdict, cookie: tag.cookie)])
        case .program:
            let counters = try StepFailure.bpfed { () throws(BPFError) in try GuardCounters() }
            let program = GuardBytecode(
                guardCode.flow, policy: guardCode.policy, mode: wanted.mode,
                counters: counters.map.descriptor)
            let loaded = try StepFailure.bpfed { () throws(BPFError) in
                let loaded = try program.load()
                counters.program = try loaded.identifier()
                return loaded
            }
            let match = Match.extendedBPF(
                descriptor: loaded.descriptor, name: tag.name(guardLabel: wanted.label))
            try put(match, [])
            tree.guardCounters = counters
        }
    }

    /// The parent under which a filter is written where it is to stand under `wanted`.
    private func parent(_ wanted: Handle) -> Handle {
        wanted == .clsactIngress ? tree.ingressParent : wanted
    }

    private func actions(of wanted: WantedFilter) throws(StepFailure) -> [TCAction] {
        switch wanted.act {
        case nil: return []
        case .redirect(let role, _):
            return [.redirect(toEgressOf: try index(of: .ifb(role)), cookie: tag.cookie)]
        case .police(let police, let overhead, _):
            return [
                .policePackets(
                    perSecond: police.packetsPerSecond, burst: police.burstPackets, conform: .pipe,
                    exceed: .drop, cookie: tag.cookie),
                .policeBytes(
                    perSecond: police.bytesPerSecond, burstBytes: police.burstBytes,
                    mtu: Formulas.largestFrameBytes, overhead: overhead, conform: .unspec,
                    exceed: .drop, cookie: tag.cookie),
            ]
        }
    }

    /// Changes the limits of a policer that runs, without a refill.
    private func set(
        _ limits: [TokenBucketLimits], of direction: Mitigation.Direction
    ) throws(StepFailure) {
        guard let buckets = tree.buckets[direction] else {
            throw .mismatch("the eBPF policer's limits are not at hand")
        }
        try StepFailure.bpfed { () throws(BPFError) in try buckets.set(limits) }
    }
}

extension Step {
    /// What it is about, for an alert: `filter pref 13 on vm-1-00aa`.
    func summary(_ port: ControlledPort) -> String {
        switch self {
        case .createIFB(let role): "link \(role.name(of: port.index))"
        case .addQdisc(let device, let wanted), .changeQdisc(let device, let wanted),
            .replaceRoot(let device, let wanted):
            "qdisc \(wanted.qdisc.kind) \(wanted.handle) on \(device.name(port))"
        case .deleteQdisc(let device, _, let handle):
            "removal of qdisc \(handle) on \(device.name(port))"
        case .putBack(let replica): "another owner's \(replica) on \(port.name)"
        case .addClass(let device, let wanted), .changeClass(let device, let wanted):
            "class \(wanted.id) on \(device.name(port))"
        case .raise(let role): "link \(role.name(of: port.index)) up"
        case .addHook(let hook): "qdisc \(hook.rawValue) on \(port.name)"
        case .putGuard(let wanted):
            "guard pref \(wanted.preference) "
                + "(\(Ownership.guardReason(of: wanted.handle)?.rawValue ?? wanted.match.title)) on "
                + port.name.description
        case .putFilter(let device, let filter):
            "filter pref \(filter.preference) on \(device.name(port))"
        case .setBuckets(let direction, _): "eBPF limits \(direction.rawValue) \(port.name)"
        case .deleteFilter(let filter):
            "removal of filter pref \(filter.preference) on \(port.name)"
        case .deleteHook: "removal of our hook on \(port.name)"
        case .deleteIFB(let role): "removal of link \(role.name(of: port.index))"
        }
    }
}

extension Device {
    func name(_ port: ControlledPort) -> String {
        switch self {
        case .port: port.name.description
        case .ifb(let role): role.name(of: port.index)
        }
    }
}
