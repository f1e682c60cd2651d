// The ladder beside filters of others and nftables' ingress: what they drop stays dropped, what we
// limit stays limited, and what was theirs is as it was.
import Lab
import LabTesting
import Mitigation
import Testing

@testable import TrafficControl

/// What somebody else has on the port; each drops the forbidden frames.
private enum Layout: String, CaseIterable, Sendable {
    /// A program behind ours that ends classification for all else.
    case behindEnding
    /// One behind ours that lets all else go on.
    case behindGoingOn
    /// A classifier with an action behind ours, and one behind it that pipes.
    case behindWithActions
    /// A program in front of ours that lets all else go on.
    case frontGoingOn
    /// A chain of nftables that counts and drops.
    case nftables

    /// Classic BPF: forbidden UDP over IPv4 gives 2 (TC_ACT_SHOT), all else `rest`.
    static func program(rest: UInt32) -> String {
        "4,40 0 0 36,21 0 1 \(OwnersScene.forbidden),6 0 0 2,6 0 0 \(rest)"
    }

    static func filter(on name: String, _ preference: Int) -> [String] {
        [
            "filter", "add", "dev", name, "ingress", "pref", "\(preference)", "protocol", "all",
            "bpf",
        ]
    }

    func make(on name: String) throws {
        guard self != .nftables else {
            let hook = "{ type filter hook ingress device \"\(name)\" priority 0; }"
            let rule = "udp dport \(OwnersScene.forbidden) drop"
            try Tool.run(
                "nft",
                "add table netdev guard; add chain netdev guard in \(hook); "
                    + "add rule netdev guard in counter; add rule netdev guard in \(rule)")
            return
        }
        try tc("qdisc add dev \(name) clsact")
        func add(_ preference: Int, _ words: [String]) throws {
            try Tool.run("tc", Self.filter(on: name, preference) + words)
        }
        switch self {
        case .behindEnding:
            try add(49_152, ["da", "bytecode", Self.program(rest: 0)])
        case .behindGoingOn:
            try add(49_152, ["da", "bytecode", Self.program(rest: .max)])
        case .behindWithActions:
            let matching = "4,40 0 0 36,21 0 1 \(OwnersScene.forbidden),6 0 0 \(UInt32.max),6 0 0 0"
            try add(49_152, ["bytecode", matching, "action", "drop"])
            try add(49_153, ["bytecode", "1,6 0 0 \(UInt32.max)", "action", "pipe"])
        case .frontGoingOn:
            try add(1, ["da", "bytecode", Self.program(rest: .max)])
        case .nftables: break
        }
    }

    /// Whether a redirect would skip it.
    var isBehind: Bool { self != .frontGoingOn }

    /// Those that this kernel can have.
    static let possible = allCases.filter { layout in
        switch layout {
        case .nftables: KernelParts.current.lacking([.nftables]).isEmpty
        case .behindWithActions: KernelParts.current.lacking([.gact]).isEmpty
        default: true
        }
    }
}

/// The policers of this kernel that are no redirects themselves.
private let policers: [Policer] = [
    KernelParts.current.lacking([.police]).isEmpty ? .actPolice : nil,
    KernelParts.current.lacking([.bpf]).isEmpty ? .bpf : nil,
].compactMap { $0 }

@Suite(.serialized) struct OwnersTests {
    private static func scene(_ policer: Policer?) throws -> OwnersScene {
        let host = try Host()
        let vm = try host.start(vm: 1)
        return try OwnersScene(vm, uplink: host.uplink, TrafficControlSettings(policer: policer))
    }

    /// Guards against: a rung whose redirect skips another owner's rules, one that does not hold
    /// beside them, and anything of theirs changed by it.
    ///
    /// All policers at once, each on a host of its own: they mostly wait.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: Layout.possible)
    fileprivate func theLadderBesideOthers(_ layout: Layout) async throws {
        try await withThrowingTaskGroup { group in
            for policer in policers {
                group.addTask {
                    try await Namespace.run {
                        var scene = try Self.scene(policer)
                        try layout.make(on: scene.vm.name)
                        let climb = try scene.climb("\(layout.rawValue), \(policer.rawValue)")
                        #expect(climb.forbidden == 0 && !climb.isBypassed)
                        #expect(climb.left == [])
                        let advised = climb.advisories.filter {
                            $0.contains("policed and not delayed")
                        }
                        #expect(advised.count == (layout.isBehind ? 2 : 0), "shape and tighten")
                        #expect(climb.advisories.count == advised.count)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// Guards against: a redirect past another owner's rules that nobody is told of, where it is all
    /// that the kernel has.
    @Test(.needs(.ifb, .tbf, .clsact, .htb)) func withoutAPolicerItIsSaid() async throws {
        try await Namespace.run {
            var scene = try Self.scene(.ifb)
            try Layout.behindEnding.make(on: scene.vm.name)
            let climb = try scene.climb("behind, ifb", forbidding: 60)
            #expect(climb.left == [])
            #expect(climb.forbidden > 0, "a redirect skips them: else this test proves nothing")
            #expect(climb.advisories.count == 3)
            #expect(climb.advisories.allSatisfy { $0.contains("skips another owner's filter") })
        }
    }

    /// Guards against: a tap whose owner adds a rule while we redirect past it, and a redirect that
    /// does not come back when the rule is gone.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: policers)
    func whatComesLaterIsHeeded(_ policer: Policer) async throws {
        try await Namespace.run {
            var scene = try Self.scene(policer)
            try tc("qdisc add dev \(scene.vm.name) clsact")
            try scene.control.apply(TestRungs.shape, to: scene.port)
            #expect(scene.control.enforcement(of: scene.port)?.contains("ifb+tbf") == true)
            #expect(scene.control.advisories(of: scene.port) == [])
            let flood = try scene.vm.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: 500, duration: .seconds(30),
                    destinationPort: OwnersScene.forbidden))
            func passes() throws -> Bool {
                measure(for: .milliseconds(600))
                let window = measure(for: .milliseconds(500))
                return try scene.uplink.received.delivered(from: scene.vm.mac, during: window)
                    .packets > 0
            }
            #expect(try passes())

            let name = scene.vm.name
            try Tool.run(
                "tc",
                Layout.filter(on: name, 49_152) + ["da", "bytecode", Layout.program(rest: 0)])
            guard case .putBack = scene.repair() else {
                Issue.record("the redirect stays")
                return
            }
            #expect(scene.control.enforcement(of: scene.port)?.contains("in place of") == true)
            #expect(scene.control.advisories(of: scene.port).count == 1)
            #expect(try !passes(), "their rule is heeded")
            let again = scene.repair()
            #expect(again == nil)

            try tc("filter del dev \(name) ingress pref 49152")
            guard case .putBack = scene.repair() else {
                Issue.record("the redirect does not come back")
                return
            }
            #expect(scene.control.advisories(of: scene.port) == [])
            #expect(try passes())
            flood.stop()
            try scene.control.apply(nil, to: scene.port)
        }
    }

    /// Guards against: limits that are told to stand while a program in front of them lets all pass;
    /// and a false alarm where one in front lets frames go on.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: policers, [UInt32(0), .max])
    func whatHidesOursIsSeen(_ policer: Policer, _ verdict: UInt32) async throws {
        try await Namespace.run {
            var scene = try Self.scene(policer)
            let name = scene.vm.name
            try tc("qdisc add dev \(name) clsact")
            try Tool.run(
                "tc", Layout.filter(on: name, 1) + ["da", "bytecode", "1,6 0 0 \(verdict)"])
            let before = try Snapshot()
            let flood = try scene.vm.flood(
                Flood(to: Host.outside, packetsPerSecond: 5_000, duration: .seconds(30)))
            for limits in TestRungs.all {
                try scene.control.apply(limits, to: scene.port)
                let isBypassed = try scene.isBypassed()
                #expect(isBypassed == (verdict == 0), "\(limits.rung)")
            }
            flood.stop()
            try scene.control.apply(nil, to: scene.port)
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
        }
    }

    /// Guards against: a filter in front that ends classification and that is not told of, before a
    /// single frame has shown it.
    @Test(.needs(.ifb, .tbf, .clsact, .gact)) func whatStandsInFrontIsSaid() async throws {
        try await Namespace.run {
            var scene = try Self.scene(nil)
            let name = scene.vm.name
            try tc("qdisc add dev \(name) clsact")
            let everything = ["bytecode", "1,6 0 0 \(UInt32.max)", "action"]
            try Tool.run("tc", Layout.filter(on: name, 5) + everything + ["ok"])
            try Tool.run("tc", Layout.filter(on: name, 6) + everything + ["continue"])
            try Tool.run("tc", Layout.filter(on: name, 7) + everything + ["drop"])
            try scene.control.apply(TestRungs.shape, to: scene.port)
            let advisories = scene.control.advisories(of: scene.port)
            #expect(advisories.count == 1)
            #expect(advisories.first?.contains("filter pref 5 (bpf)") == true)
            try scene.control.apply(nil, to: scene.port)
        }
    }
}
