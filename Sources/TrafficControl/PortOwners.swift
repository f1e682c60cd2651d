// Who owns what of a port's traffic control, for whoever only looks.
// Invariant: nothing is written, and no capability is needed.
internal import LinuxSystem
internal import Mitigation
internal import Netlink

/// Whose a port's root qdisc, its hook and the filters there are.
public struct PortOwners: Hashable, Sendable {
    /// The qdisc at a port's root.
    public enum Root: Hashable, Sendable {
        /// The kernel's default, of this kind.
        case standard(String)
        /// Ours, in the place of the kernel's default.
        case ours
        /// Ours, in the place of another owner's.
        case inPlaceOfAnother
        /// Another owner's, as tc names it: `htb 1:`.
        case foreign(String)
    }

    /// The `ingress` or `clsact` qdisc that filters hang on.
    public enum Hook: Hashable, Sendable {
        /// There is none.
        case absent
        /// Ours, of this kind.
        case ours(String)
        /// Another owner's, of this kind, with filters of ours on it.
        case borrowed(String)
        /// Another owner's, of this kind, without anything of ours.
        case foreign(String)

        /// Whether filters may hang on what is sent to the VM.
        public var reachesEgress: Bool {
            switch self {
            case .absent: false
            case .ours(let kind), .borrowed(let kind), .foreign(let kind): kind == "clsact"
            }
        }
    }

    /// The root.
    public var root: Root
    /// The hook.
    public var hook: Hook
    /// The filters of others at the hook: `filter pref 49152 (u32)`.
    public var foreignFilters: [String]
    /// nftables' chains on the port's ingress: `netdev filter in`.
    public var chains: [String]
    /// How many filters a NIC carries out.
    public var hardwareFilters: Int
    /// Whether limits of ours stand.
    public var isLimited: Bool

    /// A port of these owners.
    public init(
        root: Root, hook: Hook, foreignFilters: [String] = [], chains: [String] = [],
        hardwareFilters: Int = 0, isLimited: Bool = false
    ) {
        self.root = root
        self.hook = hook
        self.foreignFilters = foreignFilters
        self.chains = chains
        self.hardwareFilters = hardwareFilters
        self.isLimited = isLimited
    }
}

extension PortOwners {
    /// Looks at these ports, in the network namespace of the caller, and gives for each index what is
    /// there or why it is not known; a port that is gone has none. `tc qdisc show`, `tc filter show`
    ///
    /// - Throws: the kernel's sentence where netlink cannot be opened.
    public static func look(
        at ports: [ControlledPort]
    ) throws(TrafficControlError) -> [Int32: Result<PortOwners, TrafficControlError>] {
        var owners: [Int32: Result<PortOwners, TrafficControlError>] = [:]
        do throws(StepFailure) {
            var socket = try StepFailure.netlinked { () throws(NetlinkError) in
                try RouteSocket.open()
            }
            let qdiscs = try StepFailure.netlinked { () throws(NetlinkError) in
                Dictionary(grouping: try socket.qdiscs(), by: \.index)
            }
            var netfilter = try? NetfilterSocket.open()
            let chains = (try? netfilter?.ingressChains()) ?? []
            for port in ports {
                do throws(StepFailure) {
                    let tree = try socket.observe(port, Known(qdiscs: qdiscs, chains: chains))
                    let hardware = tree.hook == nil ? 0 : try socket.hardwareFilters(of: port.index)
                    owners[port.index] = .success(PortOwners(tree, hardwareFilters: hardware))
                } catch .gone {
                    continue
                } catch {
                    owners[port.index] = .failure(error.told)
                }
            }
        } catch {
            throw error.told
        }
        return owners
    }

    private init(_ tree: ObservedTree, hardwareFilters: Int) {
        let root: Root =
            if let ours = tree.port.ourRoot {
                ours.isInPlaceOfAnother ? .inPlaceOfAnother : .ours
            } else if let theirs = tree.port.foreignRoot {
                .foreign("\(theirs.kind) \(theirs.handle)")
            } else {
                .standard(tree.port.qdiscs.first { $0.parent == .root }?.kind ?? "noop")
            }
        let hook: Hook =
            switch tree.hook {
            case nil: .absent
            case let kind? where tree.ownsHook: .ours(kind.rawValue)
            case let kind? where tree.holdsOurFilters: .borrowed(kind.rawValue)
            case let kind?: .foreign(kind.rawValue)
            }
        self.init(
            root: root, hook: hook, foreignFilters: tree.foreign.map(\.told),
            chains: tree.chains.map { "\($0.family) \($0.table) \($0.name)" },
            hardwareFilters: hardwareFilters, isLimited: !tree.isEmpty)
    }
}

extension RouteSocket {
    /// How many filters at a port's hook a NIC carries out.
    fileprivate mutating func hardwareFilters(of index: Int32) throws(StepFailure) -> Int {
        try StepFailure.netlinked { () throws(NetlinkError) in
            var count = 0
            for parent in [Handle.clsactIngress, .clsactEgress] {
                count += try filters(of: index, parent: parent).count(where: \.isInHardware)
            }
            return count
        }
    }
}

extension KernelParts {
    /// What the kernel has, tried on a throw-away ifb in the network namespace of the caller.
    ///
    /// - Throws: the kernel's sentence where netlink cannot be opened.
    public static func probed() throws(TrafficControlError) -> KernelParts {
        do throws(NetlinkError) {
            var socket = try RouteSocket.open()
            return KernelProbe.run(&socket)
        } catch {
            throw StepFailure.netlink(error).told
        }
    }
}
