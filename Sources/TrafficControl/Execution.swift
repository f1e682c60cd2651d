// Carries out steps, one request each.
import LinuxSystem
import Mitigation
import Netlink

/// Steps on one port, and the indexes and maps they make.
struct Execution {
    let port: ControlledPort
    let tag: Tag
    var ifbs: [IFBRole: Int32]
    var buckets: [Mitigation.Direction: TokenBuckets]
    var guardCounters: GuardCounters?
    /// The parent under which filters of the port's ingress are written.
    let ingressParent: Handle
    /// What guards are made of, where one is put.
    let guardCode: GuardCode
    /// Whether one of the steps made the hook.
    private(set) var madeHook = false

    init(
        port: ControlledPort, tag: Tag, ifbs: [IFBRole: Int32] = [:],
        buckets: [Mitigation.Direction: TokenBuckets] = [:],
        guardCounters: GuardCounters? = nil, ingressParent: Handle = .clsactIngress,
        guardCode: GuardCode = .none
    ) {
        self.port = port
        self.tag = tag
        self.ifbs = ifbs
        self.buckets = buckets
        self.guardCounters = guardCounters
        self.ingressParent = ingressParent
        self.guardCode = guardCode
    }

    mutating func run(_ step: Step, on socket: inout RouteSocket) throws(StepFailure) {
        switch step {
        case .createIFB(let role):
            let name = role.name(of: port.index)
            let alias = role.alias(of: port)
            ifbs[role] = try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.removeUnfinishedIFB(name)
                return try socket.createIFB(name: name, alias: alias)
            }
        case .deleteIFB(let role):
            let index = try index(of: .ifb(role))
            try StepFailure.netlinked { () throws(NetlinkError) in try socket.deleteLink(index) }
            ifbs[role] = nil
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

    private func changeHook(_ step: Step, on socket: inout RouteSocket) throws(StepFailure) {
        try StepFailure.netlinked { () throws(NetlinkError) in
            switch step {
            case .addHook(let hook):
                try socket.add(
                    hook == .clsact ? .clsact : .ingress, to: port.index, parent: .ingress,
                    handle: .ingressQdisc)
            case .deleteHook:
                try socket.deleteQdisc(of: port.index, parent: .ingress, handle: .ingressQdisc)
            case .deleteFilter(let filter):
                try socket.deleteFilter(
                    on: port.index, parent: filter.parent, preference: filter.preference,
                    proto: filter.proto, handle: filter.handle, kind: filter.kind)
            default: break
            }
        }
    }

    private func changeQueues(_ step: Step, on socket: inout RouteSocket) throws(StepFailure) {
        switch step {
        case .addQdisc(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.add(
                    wanted.qdisc, to: index, parent: wanted.parent, handle: wanted.handle)
            }
        case .changeQdisc(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.change(
                    wanted.qdisc, of: index, parent: wanted.parent, handle: wanted.handle)
            }
        case .deleteQdisc(let device, let parent, let handle):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.deleteQdisc(of: index, parent: parent, handle: handle)
            }
        case .replaceRoot(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.replaceRoot(with: wanted.qdisc, of: index, handle: wanted.handle)
            }
        case .putBack(let replica):
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.put(replica, on: port.index)
            }
        case .addClass(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.addClass(
                    wanted.htb, to: index, parent: Ownership.rootHandle, classID: wanted.id)
            }
        case .changeClass(let device, let wanted):
            let index = try index(of: device)
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.changeClass(
                    wanted.htb, of: index, parent: Ownership.rootHandle, classID: wanted.id)
            }
        default: break
        }
    }

    private func index(of device: Device) throws(StepFailure) -> Int32 {
        switch device {
        case .port: return port.index
        case .ifb(let role):
            guard let index = ifbs[role] else {
                throw .mismatch("\(role.name(of: port.index)) is not there")
            }
            return index
        }
    }

    /// Up, and seen up: a redirect to an ifb that is down cuts the VM off silently.
    private func raise(_ role: IFBRole, on socket: inout RouteSocket) throws(StepFailure) {
        let index = try index(of: .ifb(role))
        let link = try StepFailure.netlinked { () throws(NetlinkError) in
            try socket.setLink(index, up: true)
            return try socket.link(index: index)
        }
        guard link?.isUp == true else {
            throw .mismatch("\(role.name(of: port.index)) does not come up")
        }
    }

    private mutating func put(
        _ wanted: WantedFilter, on device: Device, socket: inout RouteSocket
    ) throws(StepFailure) {
        let index = try index(of: device)
        let actions = try actions(of: wanted)
        func filter(_ match: Match) -> Filter {
            Filter(
                parent: wanted.parent == .clsactIngress ? ingressParent : wanted.parent,
                preference: wanted.preference,
                handle: Ownership.filterHandle, match: match, classID: wanted.classID,
                actions: actions)
        }
        switch wanted.match {
        case .classic(let program):
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.put(filter(.classicBPF(program)), on: index)
            }
        case .buckets(let direction, let tcpPorts, _, let limits):
            let maps = try StepFailure.bpfed { () throws(BPFError) in try TokenBuckets(limits) }
            let classifier = FrameClassifier(direction: direction, tcpPorts: tcpPorts)
            let loaded = try StepFailure.bpfed { () throws(BPFError) in
                try maps.program(classifier).load()
            }
            // The kernel's filter takes a reference of its own; ours ends with this scope.
            let match = Match.extendedBPF(
                descriptor: loaded.descriptor, name: tag.name(tcpPorts: tcpPorts))
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.put(filter(match), on: index)
            }
            buckets[direction] = maps
        }
    }

    private mutating func put(
        _ wanted: WantedGuard, socket: inout RouteSocket
    ) throws(StepFailure) {
        let parent = wanted.parent == .clsactIngress ? ingressParent : wanted.parent
        func filter(_ match: Match, _ actions: [TCAction]) -> Filter {
            Filter(
                parent: parent, preference: wanted.preference, handle: wanted.handle,
                match: match, actions: actions)
        }
        func put(_ match: Match, _ actions: [TCAction]) throws(StepFailure) {
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.put(filter(match, actions), on: port.index)
            }
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
            let loaded = try StepFailure.bpfed { () throws(BPFError) in try program.load() }
            let match = Match.extendedBPF(
                descriptor: loaded.descriptor, name: tag.name(guardLabel: wanted.label))
            try put(match, [])
            guardCounters = counters
        }
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
        guard let maps = buckets[direction] else {
            throw .mismatch("the eBPF policer's limits are not at hand")
        }
        try StepFailure.bpfed { () throws(BPFError) in
            try maps.limits.write(limits.flatMap(\.words))
        }
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
