// Looks at a port: dumps of its qdiscs, classes, filters and ifbs, and the maps of eBPF policers.
import LinuxSystem
import Mitigation
import Netlink

extension RouteSocket {
    /// What stands on a port; `qdiscs` is a dump of all interfaces' that was just made, nil: ask.
    mutating func observe(
        _ port: ControlledPort, qdiscs: [Int32: [QdiscRecord]]? = nil
    ) throws(StepFailure) -> ObservedTree {
        guard let tree = try observeIfThere(port, qdiscs) else { throw .gone }
        return tree
    }

    private mutating func observeIfThere(
        _ port: ControlledPort, _ known: [Int32: [QdiscRecord]]?
    ) throws(StepFailure) -> ObservedTree? {
        do throws(NetlinkError) {
            guard try link(index: port.index) != nil else { return nil }
            let qdiscs =
                if let known { known } else { Dictionary(grouping: try self.qdiscs(), by: \.index) }
            var tree = ObservedTree()
            tree.port = try queues(of: port.index, qdiscs)
            for qdisc in tree.port.qdiscs where qdisc.handle == .ingressQdisc {
                tree.hook = Site.Hook(rawValue: qdisc.kind)
            }
            if let hook = tree.hook { try observeHook(hook, of: port, into: &tree) }
            for role in IFBRole.allCases {
                let name = Array(role.name(of: port.index).utf8)
                guard let link = try link(name: name), IFBRole.owner(of: link)?.role == role else {
                    continue
                }
                tree.ifbs[role] = ObservedIFB(
                    link: link, queues: try queues(of: link.index, qdiscs))
            }
            return tree
        } catch {
            throw .netlink(error)
        }
    }

    /// A device's qdiscs; classes and filters only below a root of ours.
    private mutating func queues(
        of index: Int32, _ qdiscs: [Int32: [QdiscRecord]]
    ) throws(NetlinkError) -> ObservedQueues {
        var queues = ObservedQueues(qdiscs: qdiscs[index] ?? [])
        if queues.ourRoot?.kind == "htb" {
            queues.classes = try classes(of: index)
            queues.filters = try filters(of: index, parent: Ownership.rootHandle)
        }
        return queues
    }

    private mutating func observeHook(
        _ hook: Site.Hook, of port: ControlledPort, into tree: inout ObservedTree
    ) throws(NetlinkError) {
        let parents: [(Handle, Mitigation.Direction)] =
            hook == .clsact
            ? [(.clsactIngress, .from), (.clsactEgress, .to)] : [(.clsactIngress, .from)]
        for (parent, direction) in parents {
            for var filter in try filters(of: port.index, parent: parent) {
                // A filter is told by the block it was asked for in.
                filter.parent = parent
                guard !Ownership.isOurHead(filter) else { continue }
                guard Ownership.isOurs(filter) else {
                    tree.hasForeignFilters = true
                    continue
                }
                tree.filters.append(filter)
                tree.ownsHook = tree.ownsHook || Ownership.tag(of: filter)?.ownsHook == true
                if let program = filter.bpfProgramID,
                    let words = try? TokenBuckets(ofProgram: program).limits.read()
                {
                    tree.buckets[direction] = words
                }
            }
        }
    }
}
