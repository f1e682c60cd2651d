// Ours in the place of another owner's root, by configuration: what is sent to the VM is limited while
// it lasts, and then everything is as it was, however the daemon ends on the way.
import Lab
import LabTesting
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

/// What an owner has on a port with a root that ours may take the place of.
private enum Owner: String, CaseIterable, Sendable {
    /// What every kernel has.
    case plain
    /// libvirt's `<bandwidth>`, with a policer on its ingress.
    case libvirt

    func make(on name: String) throws {
        switch self {
        case .plain:
            try tc("qdisc add dev \(name) root handle 1: htb default 1")
            try tc("class add dev \(name) parent 1: classid 1:1 htb rate 40mbit")
            try tc("qdisc add dev \(name) parent 1:1 handle 2: tbf rate 39mbit burst 9k limit 90k")
            try tc(
                "filter add dev \(name) parent 1: pref 7 protocol ip u32 match u32 0 0 flowid 1:1")
            try tc("qdisc add dev \(name) ingress")
        case .libvirt: try Bandwidth(from: 5_000, to: 5_000).set(on: name)
        }
    }

    /// Those that this kernel can have.
    static let possible: [Owner] =
        KernelParts.current.lacking([.police, .sfq, .fw]).isEmpty ? [.plain, .libvirt] : [.plain]
}

private let replacing = TrafficControlSettings(replacesForeignRoot: true)
private let bothWays = TestRungs.limits(
    .shape, 1_000, delay: .milliseconds(200), bothWays: true)

extension OwnersScene {
    /// A scene with an owner's root.
    fileprivate static func make(
        _ owner: Owner, _ settings: TrafficControlSettings = replacing
    ) throws -> OwnersScene {
        let host = try Host()
        let vm = try host.start(vm: 1)
        try owner.make(on: vm.name)
        return try OwnersScene(vm, uplink: host.uplink, settings)
    }

    /// As the turn does it: what was there is kept, then held, then the limits come.
    fileprivate mutating func begin(_ limits: Limits) throws -> PortOrigin {
        let origin = try control.origin(of: port)
        control.hold(origin, for: port)
        try control.apply(limits, to: port)
        return origin
    }

    /// A daemon that starts anew, with what the journal held.
    fileprivate mutating func restart(_ origin: PortOrigin?) throws {
        control = try KernelTrafficControl.open(replacing)
        if let origin { control.hold(origin, for: port) }
    }

    /// The kind and the handle of the port's root.
    fileprivate func root() throws -> String {
        let lines = try Tool.run("tc", "qdisc", "show", "dev", vm.name).split(separator: "\n")
        let root = lines.first { $0.contains(" root ") } ?? ""
        return root.split(separator: " ").dropFirst().prefix(2).joined(separator: " ")
    }

    /// Packets a second that the VM gets of a flood from outside.
    fileprivate func reaching() throws -> Double {
        let flood = try uplink.flood(
            Flood(to: vm.endpoint, packetsPerSecond: Self.offered, duration: .seconds(30)))
        defer { flood.stop() }
        measure(for: .milliseconds(1_500))
        let window = measure(for: .seconds(2))
        return try vm.received.delivered(from: uplink.mac, during: window).packetsPerSecond
    }
}

@Suite(.serialized) struct ForeignRootTests {
    /// Guards against: a limit that does not hold where ours stands in another owner's place, and
    /// anything of his that is not as it was afterwards.
    @Test(.needs(.ifb, .tbf, .htb, .u32), arguments: Owner.possible)
    fileprivate func isLimitedAndPutBack(_ owner: Owner) async throws {
        try await Namespace.run {
            var scene = try OwnersScene.make(owner)
            let before = try Snapshot.settled()
            let free = try scene.reaching()
            #expect(free > 2_000, "else no limit is seen to hold")
            let start = Moment.now
            _ = try scene.begin(bothWays)
            report("\(owner.rawValue): rehearsed and replaced in \(Moment.now - start)")
            #expect(try scene.root() == "htb 7a01:")
            #expect(scene.control.advisories(of: scene.port) == [])
            let limited = try scene.reaching()
            report("\(owner.rawValue): to the VM \(Int(free)) pps, limited \(limited) of 1000")
            #expect(abs(limited - 1_000) <= 50)
            let repair = scene.repair()
            #expect(repair == nil)
            // What the VM sends alone: theirs is back, and goes again.
            try scene.control.apply(TestRungs.shape, to: scene.port)
            #expect(try scene.root() == "htb 1:")
            try scene.control.apply(bothWays, to: scene.port)
            #expect(try scene.root() == "htb 7a01:")
            let begin = Moment.now
            try scene.control.apply(nil, to: scene.port)
            report("\(owner.rawValue): put back in \(Moment.now - begin)")
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
        }
    }

    /// Guards against: a root that is replaced unasked, or before anybody has written down what it is.
    @Test(.needs(.ifb, .tbf, .htb, .u32)) func isLeftAlone() async throws {
        try await Namespace.run {
            for settings in [TrafficControlSettings(), replacing] {
                var scene = try OwnersScene.make(.plain, settings)
                let origin = try scene.control.origin(of: scene.port)
                #expect((origin.root == nil) == !settings.replacesForeignRoot)
                if !settings.replacesForeignRoot { scene.control.hold(origin, for: scene.port) }
                try scene.control.apply(bothWays, to: scene.port)
                #expect(try scene.root() == "htb 1:")
                let advisories = scene.control.advisories(of: scene.port)
                #expect(advisories.count == 1)
                let why =
                    settings.replacesForeignRoot
                    ? "could not be written to the journal" : "see replace_foreign_root in [tc]"
                #expect(advisories.first?.contains(why) == true)
                try scene.control.apply(nil, to: scene.port)
                scene.vm.close()
                try Tool.run("ip", "link", "delete", Host.bridge)
                scene.uplink.close()
            }
        }
    }

    /// Guards against: a root that is taken away and cannot be put back, and a rehearsal that leaves
    /// its ifb behind.
    @Test(
        .needs(.ifb, .tbf, .htb, .u32, .mirred, .bpfClassifier), arguments: RootLayout.plainRefused)
    func whatCannotBePutBackStays(_ layout: RootLayout, _ culprit: String) async throws {
        try await Namespace.run {
            let host = try Host()
            let vm = try host.start(vm: 1)
            try layout.make(on: vm.name)
            try tc("qdisc add dev \(vm.name) ingress")
            var scene = try OwnersScene(vm, uplink: host.uplink, replacing)
            let before = try Snapshot.settled()
            _ = try scene.begin(bothWays)
            #expect(try scene.root() == "htb 1:")
            let advisories = scene.control.advisories(of: scene.port)
            #expect(advisories.first?.contains("(\(culprit)") == true)
            #expect(advisories.first?.contains("could not be put back as it is") == true)
            try scene.control.apply(nil, to: scene.port)
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
        }
    }

    /// Guards against: a daemon that ends while ours stands in another's place, and the next one that
    /// does not know it; with the port's class gone from the configuration, too.
    @Test(.needs(.ifb, .tbf, .htb, .u32), arguments: Owner.possible, [true, false])
    fileprivate func afterACrash(_ owner: Owner, _ isWatched: Bool) async throws {
        try await Namespace.run {
            var scene = try OwnersScene.make(owner)
            let before = try Snapshot.settled()
            let origin = try scene.begin(bothWays)
            try scene.restart(origin)
            let ports = isWatched ? [scene.port] : []
            let survey = try scene.control.survey(ports, lane: TestRungs.lane, except: [])
            if isWatched {
                #expect(survey.found.first?.limits.to != nil)
                #expect(scene.control.advisories(of: scene.port) == [])
                try scene.control.apply(nil, to: scene.port)
            } else {
                #expect(survey.cleaned == [scene.port.name] && survey.defaulted == [])
            }
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
        }
    }

    /// Guards against: a daemon that ends between any two requests of the way there.
    @Test(.needs(.ifb, .tbf, .htb, .u32), arguments: Owner.possible)
    fileprivate func afterACrashOnTheWayThere(_ owner: Owner) async throws {
        try await Namespace.run {
            var scene = try OwnersScene.make(owner)
            let before = try Snapshot.settled()
            var socket = try RouteSocket.open()
            var count = 0
            var all = 0
            repeat {
                try scene.restart(nil)
                let origin = try scene.control.origin(of: scene.port)
                scene.control.hold(origin, for: scene.port)
                let observed = try socket.observe(scene.port, Known(readsRoot: true))
                let site = scene.control.site(
                    of: scene.port, observed: observed, limits: bothWays)
                let wanted = try scene.control.tree(bothWays, port: scene.port, site: site)
                let steps = Plan.steps(from: observed, to: wanted, site: site)
                all = steps.count
                var execution = Execution(
                    port: scene.port,
                    tag: Tag(
                        index: scene.port.index, incident: 3, rung: .shape, ownsHook: false),
                    from: observed, policers: BPFPolicers())
                try execution.run(Array(steps.prefix(count)), on: &socket)
                try scene.restart(origin)
                if count % 2 == 0 {
                    // It goes on with what was asked for, and then comes down.
                    try scene.control.apply(bothWays, to: scene.port)
                    #expect(try scene.root() == "htb 7a01:")
                    try scene.control.apply(nil, to: scene.port)
                } else {
                    let survey = try scene.control.undo()
                    #expect(survey.failed.isEmpty && survey.defaulted == [])
                }
                let left = try Snapshot.settledDifference(from: before)
                #expect(left == [], "after \(count) of \(all)")
                count += 1
            } while count <= all
            report("\(owner.rawValue): whole again after each of \(all) requests there")
        }
    }

    /// Guards against: a daemon that ends between any two requests of the way back, and the root in
    /// part that stays so.
    @Test(.needs(.ifb, .tbf, .htb, .u32), arguments: Owner.possible)
    fileprivate func afterACrashOnTheWayBack(_ owner: Owner) async throws {
        try await Namespace.run {
            var scene = try OwnersScene.make(owner)
            let before = try Snapshot.settled()
            var socket = try RouteSocket.open()
            var count = 0
            repeat {
                let origin = try scene.begin(bothWays)
                let objects = try #require(origin.root).objects
                count += 1
                for object in objects.prefix(count) {
                    try socket.put(object, on: scene.port.index)
                }
                try scene.restart(origin)
                // The hook and the ifb are still ours in the even rounds.
                if count % 2 == 1 {
                    var other = try KernelTrafficControl.open(TrafficControlSettings())
                    _ = try other.undo()
                }
                if count % 3 == 0 {
                    try scene.control.apply(nil, to: scene.port)
                } else {
                    let ports = count % 3 == 1 ? [scene.port] : []
                    _ = try scene.control.survey(ports, lane: TestRungs.lane, except: [])
                    try scene.control.apply(nil, to: scene.port)
                }
                let left = try Snapshot.settledDifference(from: before)
                #expect(left == [], "after \(count) of \(objects.count)")
                if count == objects.count { break }
            } while true
            report("\(owner.rawValue): whole again after each of \(count) requests")
        }
    }

    /// Guards against: a lost journal that is not told of, while ours stands and when it goes.
    @Test(.needs(.ifb, .tbf, .htb, .u32)) func whatNobodyRemembersIsSaid() async throws {
        try await Namespace.run {
            var scene = try OwnersScene.make(.plain)
            _ = try scene.begin(bothWays)
            try scene.restart(nil)
            _ = try scene.control.survey([scene.port], lane: TestRungs.lane, except: [])
            let advisories = scene.control.advisories(of: scene.port)
            #expect(advisories.first?.contains("is not remembered") == true)
            try scene.restart(nil)
            let survey = try scene.control.undo()
            #expect(survey.defaulted == [scene.port.name] && survey.failed.isEmpty)
            #expect(try !scene.root().hasPrefix("htb"))
        }
    }

    /// Guards against: a second replacement in one incident, and an old root that is put back over
    /// what its owner did meanwhile: another one, the same again, or none.
    @Test(.needs(.ifb, .tbf, .htb, .u32), arguments: ["another", "the same", "none"])
    func whatTheOwnerDoesMeanwhileStays(_ what: String) async throws {
        try await Namespace.run {
            var scene = try OwnersScene.make(.plain)
            let name = scene.vm.name
            let origin = try scene.begin(bothWays)
            func change() throws {
                try tc("qdisc del dev \(name) root")
                guard what != "none" else { return }
                try tc("qdisc del dev \(name) ingress")
                if what == "the same" { return try Owner.plain.make(on: name) }
                try tc("qdisc add dev \(name) root handle 9: htb default 1")
                try tc("class add dev \(name) parent 9: classid 9:1 htb rate 7mbit")
                try tc("qdisc add dev \(name) ingress")
            }
            try change()
            _ = scene.repair()
            let again = scene.repair()
            #expect(again == nil)
            let root = try scene.root()
            let expected = ["none": "htb 7a01:", "another": "htb 9:", "the same": "htb 1:"]
            #expect(root == expected[what])
            let advisories = scene.control.advisories(of: scene.port)
            #expect(
                what == "none"
                    ? advisories == []
                    : advisories.first?.contains("it was put there while ours stood") == true)
            if what == "none" { try scene.restart(origin) }
            try scene.control.apply(nil, to: scene.port)
            #expect(try what == "none" ? !scene.root().hasPrefix("htb") : scene.root() == root)
        }
    }

}
