// How an observed tree takes an object that the kernel tells of, in a listing or with a change.
import Mitigation
import Netlink

extension ObservedQueues {
    /// Takes a qdisc as it is now, at its place.
    mutating func add(_ qdisc: QdiscRecord) {
        qdiscs.removeAll { $0.handle == qdisc.handle && $0.parent == qdisc.parent }
        qdiscs.append(qdisc)
    }

    /// Takes a qdisc out; with the root all that hangs on it.
    mutating func remove(_ handle: Handle, at parent: Handle) {
        if parent == .root {
            self = ObservedQueues()
        } else {
            qdiscs.removeAll { $0.handle == handle && $0.parent == parent }
        }
    }

    /// Takes a class as it is now.
    mutating func add(_ added: ClassRecord) {
        classes.removeAll { $0.classID == added.classID }
        classes.append(added)
    }
}

extension ObservedTree {
    mutating func update(_ device: Device, _ body: (inout ObservedQueues) -> Void) {
        switch device {
        case .port: body(&port)
        case .ifb(let role):
            guard var ifb = ifbs[role] else { return }
            body(&ifb.queues)
            ifbs[role] = ifb
        }
    }

    /// Takes a filter of ours as it is now: a guard's or a limit's at the hook, or one below a root.
    mutating func add(_ filter: FilterRecord, on device: Device, under parent: Handle) {
        var filter = filter
        filter.parent = parent
        guard parent != Ownership.rootHandle else {
            return update(device) { $0.filters.put(filter) }
        }
        if Ownership.isGuard(filter) { guards.put(filter) } else { filters.put(filter) }
        ownsHook = ownsHook || Ownership.tag(of: filter)?.ownsHook == true
    }

    /// Takes a filter of ours out of the hook.
    mutating func remove(_ filter: FilterRecord) {
        filters.removeAll { $0 == filter }
        guards.removeAll { $0 == filter }
        guard filter.bpfProgramID != nil, !Ownership.isGuard(filter) else { return }
        buckets[filter.parent == .clsactEgress ? .to : .from] = nil
    }

    /// Takes the hook out, and all that was on it.
    mutating func removeHook() {
        hook = nil
        ownsHook = false
        filters = []
        guards = []
        buckets = [:]
        guardCounters = nil
    }
}

extension [FilterRecord] {
    /// In the place of the one with the same identity.
    fileprivate mutating func put(_ filter: FilterRecord) {
        removeAll {
            $0.parent == filter.parent && $0.preference == filter.preference
                && $0.handle == filter.handle
        }
        append(filter)
    }
}
