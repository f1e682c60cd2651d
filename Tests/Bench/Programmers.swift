// Ways to make a port's tree and to take it down, which take turns.
import CBench
import Lab
import Mitigation

@testable import TrafficControl

/// A tree to be made.
struct Tree {
    var title: String
    var policer: Policer?
    var limits: Limits

    /// A port held to 10,000 packets a second of 250 bytes, at once or with a delay.
    static func limits(delay: Duration? = nil) -> Limits {
        let packets: UInt64 = 10_000
        let cap = Cap(
            packets: PacketRate(perSecond: packets), bits: BitRate(bytesPerSecond: packets * 250))
        return Limits(
            rung: delay == nil ? .police : .shape, incident: 1,
            from: Limit(cap: cap, delay: delay), to: nil, lane: Policy().lane)
    }

    /// What the steps of the tree are, from nothing, on a port without a hook.
    func steps(on port: ControlledPort, _ control: borrowing KernelTrafficControl) throws -> [Step]
    {
        let site = Site(hook: .ingress, root: RootSite(isOurs: true))
        let wanted = try control.tree(limits, port: port, site: site)
        return Plan.steps(from: ObservedTree(), to: wanted, site: site)
    }
}

/// One way to make a tree and to take it down.
protocol Programmer: AnyObject {
    /// What the tables call it.
    var title: String { get }
    func make() throws
    func remove() throws
}

/// Sluice's traffic control, for one tree on many ports.
final class Controller {
    fileprivate let tree: Tree
    fileprivate var control: KernelTrafficControl

    init(_ tree: Tree) throws {
        self.tree = tree
        control = try KernelTrafficControl.open(TrafficControlSettings(policer: tree.policer))
    }
}

/// Sluice's own: observed, planned, done, read back.
final class Ours: Programmer {
    let title = "sluice"
    private let controller: Controller
    private let port: ControlledPort

    init(_ controller: Controller, on port: ControlledPort) {
        self.controller = controller
        self.port = port
    }

    func make() throws { try controller.control.apply(controller.tree.limits, to: port) }
    func remove() throws { try controller.control.apply(nil, to: port) }

    func steps() throws -> [Step] { try controller.tree.steps(on: port, controller.control) }

    /// How many requests changed something in making the tree, how many asked, before and after, and by
    /// how many datagrams all of them went.
    func requests() throws -> Requests {
        let before = Requests.sent
        try make()
        let after = Requests.sent
        try remove()
        return Requests(
            changes: after.changes - before.changes, questions: after.questions - before.questions,
            datagrams: after.datagrams - before.datagrams)
    }
}

/// What was asked of the kernel.
struct Requests {
    var changes: UInt64 = 0
    var questions: UInt64 = 0
    var datagrams: UInt64 = 0

    /// By this thread so far.
    static var sent: Requests {
        Requests(
            changes: cbench_netlink_changes(), questions: cbench_netlink_questions(),
            datagrams: cbench_netlink_datagrams())
    }
}

/// Raw C: the changes that ours sends, prepared, and nothing looked at before or after.
final class Prepared: Programmer {
    let title = "raw C, the same changes prepared"
    private let descriptor: Int32
    private let making: Int32
    private let removing: Int32
    private let port: Int32

    /// Writes down what `ours` sends, once.
    init(_ ours: Ours, on port: Int32) throws {
        descriptor = cbench_netlink_open()
        making = cbench_netlink_log()
        try ours.make()
        let changes = cbench_netlink_log_end()
        removing = cbench_netlink_log()
        try ours.remove()
        _ = cbench_netlink_log_end()
        self.port = port
        guard descriptor >= 0, making >= 0, removing >= 0, changes > 0 else {
            throw LabError("write down the changes")
        }
    }

    func make() throws { try replay(making) }
    func remove() throws { try replay(removing) }

    private func replay(_ log: Int32) throws {
        let refused = cbench_netlink_replay(descriptor, log, making, port)
        guard refused == 0 else { throw LabError("\(title): \(refused) refused") }
    }
}

/// ip(8) and tc(8): a process for each command, or two for all.
final class Commands: Programmer {
    let title: String
    private let folder: ScratchFolder
    private let making: String
    private let removing: String

    /// Nil where the tree cannot be said in commands.
    init?(_ steps: [Step], on port: ControlledPort, batch: Bool) throws {
        guard let script = TCScript(steps, on: port) else { return nil }
        let folder = try ScratchFolder()
        let links = script.links.isEmpty ? [] : ["link del \(IFBRole.from.name(of: port.index))"]
        let hook = "qdisc del dev \(port.name) ingress"
        if batch {
            title = "ip -batch and tc -batch"
            func write(_ links: [String], _ traffic: [String], _ name: String) throws -> String {
                var lines = ["set -e"]
                for (tool, commands) in [("ip", links), ("tc", traffic)] where !commands.isEmpty {
                    let path = try folder.write(Self.text(commands), to: "\(name).\(tool)")
                    lines.append("\(tool) -batch \(path)")
                }
                return try folder.write(Self.text(lines), to: "\(name).sh")
            }
            making = try write(script.links, script.traffic, "make")
            removing = try write(links, [hook], "remove")
        } else {
            title = "a script of ip and tc, a process each"
            making = try folder.write(Self.text(["set -e"] + script.commands), to: "make.sh")
            let undo = ["set -e", "tc \(hook)"] + links.map { "ip \($0)" }
            removing = try folder.write(Self.text(undo), to: "remove.sh")
        }
        self.folder = folder
    }

    func make() throws { try Tool.run("sh", making) }
    func remove() throws { try Tool.run("sh", removing) }

    private static func text(_ lines: [String]) -> String { lines.map { "\($0)\n" }.joined() }
}
