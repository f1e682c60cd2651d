// The transitions that are rehearsed: how the daemon comes to each, and what it shall have done.
import Lab
import Mitigation

/// One transition of one port.
struct Act {
    /// What makes the transition.
    enum Deed {
        /// Turns under this load.
        case load(Load)
        /// An operator's release.
        case release
        /// Somebody takes a part out, and the next turn sees it.
        case wipe(Part)
        /// A start over what stands, with the journal or without.
        case start(hasJournal: Bool)
        /// A stop, which leaves everything in place.
        case stop
        /// The port's interface is deleted.
        case vanish
        /// The port gets a name that no class claims.
        case rename
    }

    /// A part of what limits a shaped port.
    enum Part {
        case hook
        case root
        case ifb
    }

    let name: String
    /// The way to where it begins: loads, and the rungs that they lead to.
    let approach: [(Load, Rungs)]
    let deed: Deed
    /// Where it leads; nil: nothing is watched.
    let target: Rungs?

    init(_ name: String, after approach: [(Load, Rungs)], _ deed: Deed, to target: Rungs?) {
        self.name = name
        self.approach = approach
        self.deed = deed
        self.target = target
    }

    private static let toPolice = (Load.flood, Rungs(.police))
    private static let toShape = (Load.flood, Rungs(.shape))
    private static let toTighten = (Load.flood, Rungs(.tighten))
    private static let toShutDown = (Load.flood, Rungs(.shutDown))

    /// All of them; the one that leads to a shaped port by a flood comes before those that keep it.
    static let all: [Act] = [
        Act("trip to police", after: [], .load(.flood), to: Rungs(.police)),
        Act("police to shape", after: [toPolice], .load(.flood), to: Rungs(.shape)),
        Act("shape to tighten", after: [toPolice, toShape], .load(.flood), to: Rungs(.tighten)),
        Act(
            "tighten to shutdown", after: [toPolice, toShape, toTighten], .load(.flood),
            to: Rungs(.shutDown)),
        Act(
            "shutdown to tighten by probe", after: [toPolice, toShape, toTighten, toShutDown],
            .load(.none), to: Rungs(.tighten)),
        Act(
            "tighten to shape by calm", after: [toPolice, toShape, toTighten], .load(.none),
            to: Rungs(.shape)),
        Act(
            "shape to police by calm", after: [toPolice, toShape], .load(.none), to: Rungs(.police)),
        Act("police to normal by calm", after: [toPolice], .load(.none), to: Rungs(.normal)),
        Act("a victim to shape", after: [], .load(.attack), to: Rungs(.normal, to: .shape)),
        Act(
            "a victim to normal by calm", after: [(.attack, Rungs(.normal, to: .shape))],
            .load(.none), to: Rungs(.normal)),
        Act("release from police", after: [toPolice], .release, to: Rungs(.normal)),
        Act("release from shape", after: [toPolice, toShape], .release, to: Rungs(.normal)),
        Act(
            "release from shutdown", after: [toPolice, toShape, toTighten, toShutDown], .release,
            to: Rungs(.normal)),
        Act(
            "repair of the hook", after: [toPolice, toShape], .wipe(.hook), to: Rungs(.shape)),
        Act(
            "repair of the root", after: [toPolice, toShape], .wipe(.root), to: Rungs(.shape)),
        Act("repair of the ifb", after: [toPolice, toShape], .wipe(.ifb), to: Rungs(.shape)),
        Act(
            "start over a shaped port", after: [toPolice, toShape], .start(hasJournal: true),
            to: Rungs(.shape)),
        Act(
            "start without a journal", after: [toPolice, toShape], .start(hasJournal: false),
            to: Rungs(.shape)),
        Act("stop of the daemon", after: [toPolice, toShape], .stop, to: Rungs(.shape)),
        Act("a shaped port vanishes", after: [toPolice, toShape], .vanish, to: nil),
        Act("a shaped port is renamed", after: [toPolice, toShape], .rename, to: nil),
    ]

    /// The load after the transition.
    var load: Load {
        switch deed {
        case .load(let load): load
        case .wipe, .start, .stop: .flood
        case .release, .vanish, .rename: .none
        }
    }

    /// What stands afterwards is what stood before.
    var keepsEverything: Bool {
        switch deed {
        case .wipe, .start, .stop: true
        case .load, .release, .vanish, .rename: false
        }
    }

    /// The rung that is told, and how often: what happens to a port that is no longer watched is
    /// told by whoever saw it, or as one that is gone. nil: nothing moves, and nothing is told.
    var told: (rung: Rung, times: ClosedRange<Int32>)? {
        switch deed {
        case .load: target.map { ($0.to > $0.from ? $0.to : $0.from, 1...1) }
        case .release: (.normal, 1...1)
        case .rename: (.normal, 0...1)
        case .wipe, .start, .stop, .vanish: nil
        }
    }

    /// The acts in which the durable copy's steps are died at in every run: up, and all the way down.
    var killsDurableCopy: Bool {
        switch deed {
        case .load(.flood): target == Rungs(.shape)
        case .release: approach.last?.1 == Rungs(.shape)
        default: false
        }
    }

    /// The port is another one afterwards.
    var usesUpPort: Bool {
        switch deed {
        case .vanish, .rename: true
        case .load, .release, .wipe, .start, .stop: false
        }
    }
}

extension Act.Part {
    /// Takes it out of the port.
    func wipe(_ port: TestPort) throws {
        switch self {
        case .hook: try Tool.run("tc", "qdisc", "del", "dev", port.name, "ingress")
        case .root: try Tool.run("tc", "qdisc", "del", "dev", port.name, "root")
        case .ifb: try Tool.run("ip", "link", "del", "ifb-f\(port.index)")
        }
    }
}
