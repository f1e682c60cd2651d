// From what stands to what is wanted: the steps, and their order.
//
// Order: a queue tree and its ifb before the redirect that leads to it; the lanes before the limit
// of everything else; a redirect that leads nowhere goes first of all; limits that loosen a policer after the shaper stands; what is taken down goes
// in reverse. Only what differs is written: a byte policer starts full at every write.
import LinuxSystem
import Mitigation
import Netlink

/// One request to the kernel.
enum Step: Hashable, Sendable {
    case createIFB(IFBRole)
    case addQdisc(Device, WantedQdisc)
    case changeQdisc(Device, WantedQdisc)
    case deleteQdisc(Device, parent: Handle, handle: Handle)
    /// Ours in the place of another owner's root.
    case replaceRoot(Device, WantedQdisc)
    /// An object of another owner's root; the root itself in the place of ours.
    case putBack(Replica)
    case addClass(Device, WantedClass)
    case changeClass(Device, WantedClass)
    case raise(IFBRole)
    case addHook(Site.Hook)
    case putGuard(WantedGuard)
    case putFilter(Device, WantedFilter)
    case setBuckets(Mitigation.Direction, [TokenBucketLimits])
    case deleteFilter(FilterRecord)
    case deleteHook
    case deleteIFB(IFBRole)

    var putsGuard: Bool {
        if case .putGuard = self { true } else { false }
    }

    /// Whether it puts back what another owner had.
    var putsBack: Bool {
        if case .putBack = self { true } else { false }
    }
}

enum Plan {
    /// The steps from `observed` to `wanted`; none where it stands.
    static func steps(from observed: ObservedTree, to wanted: WantedTree, site: Site) -> [Step] {
        let broken = observed.brokenRedirects
        var steps: [Step] = broken.map { .deleteFilter($0) }
        var observed = observed
        observed.filters.removeAll { broken.contains($0) }
        for role in IFBRole.allCases {
            guard let tree = wanted.ifbs[role] else { continue }
            let present = observed.ifbs[role]
            if present == nil { steps.append(.createIFB(role)) }
            steps += queueSteps(on: .ifb(role), from: present?.queues ?? ObservedQueues(), to: tree)
            if present?.link.isUp != true { steps.append(.raise(role)) }
        }
        if let root = wanted.root { steps += queueSteps(on: .port, from: observed.port, to: root) }
        if wanted.needsHook, observed.hook == nil { steps.append(.addHook(site.hook)) }
        steps += guardSteps(from: observed, to: wanted)
        steps += filterSteps(from: observed, to: wanted)
        steps += removals(from: observed, to: wanted, site: site)
        return steps
    }

    /// Before the limits, as they stand. A program whose counters cannot be had is replaced.
    private static func guardSteps(from observed: ObservedTree, to wanted: WantedTree) -> [Step] {
        (wanted.guards ?? []).filter { asked in
            !observed.guards.contains { asked.isHeld(by: $0) }
                || asked.isProgram && observed.guardCounters == nil
        }.map { .putGuard($0) }
    }

    private static func filterSteps(from observed: ObservedTree, to wanted: WantedTree) -> [Step] {
        var puts: [Step] = []
        var sets: [Step] = []
        for filter in wanted.filters {
            let isHeld = observed.filters.contains { observed.holds($0, filter) }
            if !isHeld { puts.append(.putFilter(.port, filter)) }
            guard case .buckets(let direction, _, _, let limits) = filter.match, isHeld else {
                continue
            }
            let buckets = observed.buckets[direction].flatMap { $0.isCurrent ? $0 : nil }
            switch buckets?.limits {
            // Entries that are not there, or are another version's, are replaced, filter and all.
            case nil: puts.append(.putFilter(.port, filter))
            case limits.flatMap(\.words): break
            default: sets.append(.setBuckets(direction, limits))
            }
        }
        return puts + sets
    }

    private static func queueSteps(
        on device: Device, from observed: ObservedQueues, to wanted: QueueTree
    ) -> [Step] {
        var steps: [Step] = []
        var observed = observed
        // Somebody else's where ours shall stand: on an ifb of ours, or by configuration.
        let isReplaced = observed.foreignRoot != nil
        if isReplaced {
            steps.append(.replaceRoot(device, wanted.root))
            observed = ObservedQueues()
        }
        if let root = observed.ourRoot, !root.isKind(of: wanted.root.qdisc) {
            steps.append(.deleteQdisc(device, parent: .root, handle: Ownership.rootHandle))
            observed = ObservedQueues()
        }
        func qdisc(_ wanted: WantedQdisc) {
            let held = observed.qdiscs.first {
                $0.handle == wanted.handle && $0.parent == wanted.parent
            }
            switch held {
            case nil: steps.append(.addQdisc(device, wanted))
            case .some(let held) where !held.isKind(of: wanted.qdisc):
                steps.append(.deleteQdisc(device, parent: wanted.parent, handle: wanted.handle))
                steps.append(.addQdisc(device, wanted))
            case .some(let held) where !held.holds(wanted.qdisc):
                steps.append(.changeQdisc(device, wanted))
            default: break
            }
        }
        if !isReplaced { qdisc(wanted.root) }
        for wantedClass in wanted.classes {
            switch observed.classes.first(where: { $0.classID == wantedClass.id }) {
            case nil: steps.append(.addClass(device, wantedClass))
            case .some(let held) where !held.holds(wantedClass.htb):
                steps.append(.changeClass(device, wantedClass))
            default: break
            }
        }
        for child in wanted.children { qdisc(child) }
        let tree = ObservedTree()
        for filter in wanted.filters
        where !observed.filters.contains(where: { tree.holds($0, filter) }) {
            steps.append(.putFilter(device, filter))
        }
        return steps
    }

    private static func removals(
        from observed: ObservedTree, to wanted: WantedTree, site: Site
    ) -> [Step] {
        var steps: [Step] = []
        let surplus = observed.filters.filter { filter in
            !wanted.filters.contains {
                $0.preference == filter.preference && $0.parent == filter.parent
            }
        }
        let keepsGuards = wanted.guards.map { !$0.isEmpty } ?? !observed.guards.isEmpty
        if wanted.filters.isEmpty, !keepsGuards, observed.ownsHook, !observed.hasForeignFilters {
            steps.append(.deleteHook)  // our filters go with it, at once
        } else {
            steps += surplus.sorted { $0.preference > $1.preference }
                .map { .deleteFilter($0) }
            steps += observed.guards.filter { wanted.isSurplus(guard: $0) }
                .map { .deleteFilter($0) }
        }
        if wanted.root == nil {
            let missing = observed.missing(at: site.root)
            steps += missing.map { .putBack($0) }
            if missing.isEmpty, observed.port.ourRoot != nil {
                steps.append(.deleteQdisc(.port, parent: .root, handle: Ownership.rootHandle))
            }
        }
        for role in IFBRole.allCases where wanted.ifbs[role] == nil && observed.ifbs[role] != nil {
            steps.append(.deleteIFB(role))
        }
        return steps
    }
}
