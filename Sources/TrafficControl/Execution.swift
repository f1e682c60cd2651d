// Carries out steps, and keeps what the kernel answered: the tree as it is then.
//
// Invariants: an ifb was confirmed, up and with its queues, before anything leads to it; a hook that we
// make was confirmed before a filter is put there, which else might meet another's; what is taken out
// goes after what takes its place was confirmed.
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

    /// Carries the steps out in their order, and throws at the first that is refused. Those that may stand
    /// without each other go to the kernel together (`Step.company`), and one of them may have been done
    /// behind one that was refused.
    mutating func run(_ steps: [Step], on socket: inout RouteSocket) throws(StepFailure) {
        var round = Round(batch: socket.emptyBatch)
        for step in steps {
            if step.company == nil || step.company != round.company || round.batch.isFull {
                try settle(&round, on: &socket)
                round.company = step.company
            }
            do throws(StepFailure) {
                if round.company == nil {
                    try runAlone(step, on: &socket)
                } else {
                    try add(step, to: &round)
                }
            } catch {
                try settle(&round, on: &socket)
                throw error
            }
        }
        try settle(&round, on: &socket)
    }

    /// What goes to the kernel together, and what each answer is about.
    private struct Round {
        var company: Step.Company?
        var batch: RequestBatch
        var subjects: [Subject] = []
    }

    private enum Subject {
        case qdisc(Device)
        case trafficClass(Device)
        /// `put`: the entry of an eBPF policer that was written for it.
        case filter(Device, under: Handle, put: PutBuckets?)
        case raised
        case link(IFBRole)
    }

    private struct PutBuckets {
        let direction: Mitigation.Direction
        let buckets: TokenBuckets
        /// The entry was there before.
        let isHeld: Bool

        /// No filter leads to it.
        func takeBack() {
            if !isHeld { buckets.remove() }
        }
    }

    private mutating func settle(
        _ round: inout Round, on socket: inout RouteSocket
    ) throws(StepFailure) {
        guard !round.subjects.isEmpty else { return }
        let (batch, subjects) = (round.batch, round.subjects)
        round = Round(batch: socket.emptyBatch)
        var failure: StepFailure?
        for (subject, answer) in zip(subjects, socket.run(batch)) {
            if let refusal = answer.refusal {
                failure = failure ?? .netlink(refusal)
                // Where there was no answer the filter may stand.
                if case .filter(_, _, let put?) = subject, refusal.isAnswer { put.takeBack() }
            } else {
                do throws(StepFailure) { try take(answer.object, of: subject) } catch {
                    failure = failure ?? error
                }
            }
        }
        if let failure { throw failure }
    }

    /// Takes what the kernel told of a step; where it told nothing, what stands is not known.
    private mutating func take(_ told: Answer.Object?, of subject: Subject) throws(StepFailure) {
        switch (subject, told) {
        case (.raised, _): break
        case (.link(let role), .link(let link)?) where link.isUp: tree.ifbs[role]?.link = link
        case (.link(let role), _): throw .mismatch("\(role.name(of: port.index)) does not come up")
        case (.qdisc(let device), .qdisc(let record)?): tree.update(device) { $0.add(record) }
        case (.trafficClass(let device), .trafficClass(let record)?):
            tree.update(device) { $0.add(record) }
        case (.filter(let device, let parent, let put), _):
            if let put { tree.buckets[put.direction] = put.buckets }
            guard case .filter(let record)? = told else {
                isToldWhole = false
                return
            }
            tree.add(record, on: device, under: parent)
        default: isToldWhole = false
        }
    }

    /// A step that goes alone (`Step.company` is nil).
    private mutating func runAlone(
        _ step: Step, on socket: inout RouteSocket
    ) throws(StepFailure) {
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
        case .putGuard(let wanted): try put(wanted, socket: &socket)
        case .setBuckets(let direction, let limits): try set(limits, of: direction)
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
        case .addHook(let hook):
            let told = try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.add(
                    hook == .clsact ? .clsact : .ingress, to: port.index, parent: .ingress,
                    handle: .ingressQdisc)
            }
            madeHook = true
            guard let told else {
                isToldWhole = false
                return
            }
            tree.hook = Site.Hook(rawValue: told.kind)
        case .deleteHook:
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.deleteQdisc(of: port.index, parent: .ingress, handle: .ingressQdisc)
            }
            tree.removeHook()
        case .deleteFilter(let filter):
            try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.deleteFilter(
                    on: port.index, parent: filter.parent, preference: filter.preference,
                    proto: filter.proto, handle: filter.handle, kind: filter.kind)
            }
            tree.remove(filter)
        case .addQdisc, .changeQdisc, .addClass, .changeClass, .raise, .putFilter: break
        }
    }

    /// A step that goes with others (`Step.company`).
    private mutating func add(_ step: Step, to round: inout Round) throws(StepFailure) {
        switch step {
        case .addQdisc(let device, let wanted):
            let index = try index(of: device)
            try append(.qdisc(device), to: &round) { (batch) throws(NetlinkError) in
                try batch.add(
                    wanted.qdisc, to: index, parent: wanted.parent, handle: wanted.handle)
            }
        case .changeQdisc(let device, let wanted):
            let index = try index(of: device)
            try append(.qdisc(device), to: &round) { (batch) throws(NetlinkError) in
                try batch.change(
                    wanted.qdisc, of: index, parent: wanted.parent, handle: wanted.handle)
            }
        case .addClass(let device, let wanted):
            let index = try index(of: device)
            try append(.trafficClass(device), to: &round) { (batch) throws(NetlinkError) in
                try batch.addClass(
                    wanted.htb, to: index, parent: Ownership.rootHandle, classID: wanted.id)
            }
        case .changeClass(let device, let wanted):
            let index = try index(of: device)
            try append(.trafficClass(device), to: &round) { (batch) throws(NetlinkError) in
                try batch.changeClass(
                    wanted.htb, of: index, parent: Ownership.rootHandle, classID: wanted.id)
            }
        case .raise(let role):
            // Up, and seen up: a redirect to an ifb that is down cuts the VM off silently.
            let index = try index(of: .ifb(role))
            try append(.raised, to: &round) { (batch) throws(NetlinkError) in
                try batch.setLink(index, up: true)
            }
            try append(.link(role), to: &round) { (batch) throws(NetlinkError) in
                try batch.getLink(index: index)
            }
        case .putFilter(let device, let filter): try add(filter, on: device, to: &round)
        case .addHook, .createIFB, .deleteIFB, .deleteQdisc, .replaceRoot, .putBack, .putGuard,
            .setBuckets, .deleteFilter, .deleteHook:
            break
        }
    }

    private func append(
        _ subject: Subject, to round: inout Round,
        _ fill: (inout RequestBatch) throws(NetlinkError) -> Void
    ) throws(StepFailure) {
        do throws(NetlinkError) { try fill(&round.batch) } catch { throw .netlink(error) }
        round.subjects.append(subject)
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

    private mutating func add(
        _ wanted: WantedFilter, on device: Device, to round: inout Round
    ) throws(StepFailure) {
        let index = try index(of: device)
        let actions = try actions(of: wanted)
        let match: Match
        var put: PutBuckets?
        switch wanted.match {
        case .classic(let program): match = .classicBPF(program)
        case .buckets(let direction, let tcpPorts, _, let limits):
            let held = tree.buckets[direction]
            let (buckets, program) = try StepFailure.bpfed { () throws(BPFError) in
                try policers.buckets(
                    of: port.index, direction, tcpPorts: tcpPorts, limits, held: held)
            }
            match = .extendedBPF(descriptor: program, name: tag.name(tcpPorts: tcpPorts))
            put = PutBuckets(
                direction: direction, buckets: buckets, isHeld: held?.isSame(as: buckets) == true)
        }
        let filter = Filter(
            parent: parent(wanted.parent), preference: wanted.preference,
            handle: Ownership.filterHandle, match: match, classID: wanted.classID,
            actions: actions)
        do throws(StepFailure) {
            try append(.filter(device, under: wanted.parent, put: put), to: &round) {
                (batch) throws(NetlinkError) in try batch.put(filter, on: index)
            }
        } catch {
            put?.takeBack()
            throw error
        }
    }

    private mutating func put(
        _ wanted: WantedGuard, socket: inout RouteSocket
    ) throws(StepFailure) {
        func put(_ match: Match, _ actions: [TCAction]) throws(StepFailure) {
            let filter = Filter(
                parent: parent(wanted.parent), preference: wanted.preference,
                handle: wanted.handle, match: match, actions: actions)
            let told = try StepFailure.netlinked { () throws(NetlinkError) in
                try socket.put(filter, on: port.index)
            }
            try take(
                told.map { .filter($0) }, of: .filter(.port, under: wanted.parent, put: nil))
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
    private mutating func set(
        _ limits: [TokenBucketLimits], of direction: Mitigation.Direction
    ) throws(StepFailure) {
        guard var buckets = tree.buckets[direction] else {
            throw .mismatch("the eBPF policer's limits are not at hand")
        }
        try StepFailure.bpfed { () throws(BPFError) in try buckets.set(limits) }
        tree.buckets[direction] = buckets
    }
}

extension Step {
    /// Steps that go to the kernel together, though one of them be refused.
    enum Company {
        /// A device's queues, of which each needs the one before.
        case queues
        /// Filters on a hook that stands.
        case filters
    }

    /// Nil: it goes alone.
    var company: Company? {
        switch self {
        case .addQdisc, .changeQdisc, .addClass, .changeClass, .raise: .queues
        case .putFilter(_, let filter): filter.parent == Ownership.rootHandle ? .queues : .filters
        case .addHook, .createIFB, .deleteIFB, .deleteQdisc, .replaceRoot, .putBack, .putGuard,
            .setBuckets, .deleteFilter, .deleteHook:
            nil
        }
    }

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
