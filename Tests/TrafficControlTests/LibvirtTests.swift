// The ladder beside libvirt's `<bandwidth>`: the very commands of virNetDevBandwidthSet and
// virNetDevBandwidthClear (src/util/virnetdevbandwidth.c), which domiftune runs too.
import Lab
import LabTesting
import Mitigation
import Testing

@testable import TrafficControl

/// What libvirt makes of `<bandwidth>`.
struct Bandwidth: Sendable {
    /// What the VM may send, in kilobytes of 1,000 a second: `<outbound average=…/>`.
    var from: Int
    /// What it may be sent.
    var to: Int

    /// virNetDevBandwidthClear.
    static func clear(_ name: String) {
        for what in ["root", "ingress"] {
            _ = try? Tool.run("tc", "qdisc", "del", "dev", name, what)
        }
    }

    /// virNetDevBandwidthSet, on an interface whose host side is the other end.
    func set(on name: String) throws {
        Self.clear(name)
        try tc("qdisc add dev \(name) root handle 1: htb default 1")
        let quantum = max(1, to * 1024 / 8 / 1500)
        try tc(
            "class add dev \(name) parent 1: classid 1:1 htb rate \(to)kbps quantum \(quantum)")
        try tc("qdisc add dev \(name) parent 1:1 handle 2: sfq perturb 10")
        try tc("filter add dev \(name) parent 1:0 protocol all prio 1 handle 1 fw flowid 1")
        try tc("qdisc add dev \(name) ingress")
        try tc(
            "filter add dev \(name) parent ffff: protocol all u32 match u32 0 0 police "
                + "rate \(from)kbps burst \(from)kb mtu 64kb drop flowid :1")
    }

    /// What passes in a second of the scene's frames, of which ingress counts 236 bytes.
    var packets: Double { Double(from) * 1_000 / 236 }
}

@Suite(.serialized) struct LibvirtTests {
    private static func scene(
        _ bandwidth: Bandwidth, _ policer: Policer? = nil
    ) throws -> OwnersScene {
        let host = try Host()
        let vm = try host.start(vm: 1)
        try bandwidth.set(on: vm.name)
        return try OwnersScene(vm, uplink: host.uplink, TrafficControlSettings(policer: policer))
    }

    /// Guards against: a rung that does not hold beside libvirt's limits or lifts them, and anything
    /// of libvirt's changed by it. Its policer stands behind ours: where it is tighter than our cap
    /// no redirect skips it.
    @Test(
        .needs(.police, .htb, .sfq, .u32, .fw, .ifb, .tbf, .netem),
        arguments: [(5_000, Policer.actPolice), (125, .actPolice), (125, .bpf)])
    func theLadderBesideBandwidth(_ from: Int, _ policer: Policer) async throws {
        try await Namespace.run {
            let bandwidth = Bandwidth(from: from, to: 1_000)
            var scene = try Self.scene(bandwidth, policer)
            let what = "libvirt \(from) kB/s, \(policer.rawValue)"
            let climb = try scene.climb(
                what, ceiling: bandwidth.packets < 1_000 ? bandwidth.packets : nil)
            #expect(climb.left == [] && !climb.isBypassed)
            // Tightened, our cap is the lower one again, and the redirect is made.
            #expect(climb.advisories.count == (from == 125 ? 1 : 0))
        }
    }

    /// Guards against: a root of libvirt's that is replaced unasked, and a limit on what is sent to
    /// the VM that is told to stand and does not.
    @Test(.needs(.police, .htb, .sfq, .u32, .fw, .ifb, .tbf))
    func itsRootIsLeftAlone() async throws {
        try await Namespace.run {
            var scene = try Self.scene(Bandwidth(from: 5_000, to: 1_000))
            let before = try Snapshot.settled()
            let bothWays = TestRungs.limits(
                .shape, 1_000, delay: .milliseconds(200), bothWays: true)
            try scene.control.apply(bothWays, to: scene.port)
            let advisories = scene.control.advisories(of: scene.port)
            #expect(advisories.count == 1)
            #expect(advisories.first?.contains("its root htb 1: is another owner's") == true)
            try scene.control.apply(nil, to: scene.port)
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
        }
    }

    /// Guards against: a domiftune that fails over ours, ours that stay out after it, and a release
    /// that takes libvirt's new `ingress` for ours.
    @Test(.needs(.police, .htb, .sfq, .u32, .fw, .ifb, .tbf, .bpf), arguments: [false, true])
    func domiftuneWhileLimited(_ hadNone: Bool) async throws {
        try await Namespace.run {
            let new = Bandwidth(from: 3_000, to: 2_000)
            // Libvirt's alone, for comparison.
            var scene = try Self.scene(new, .bpf)
            let alone = try Snapshot.settled()
            let name = scene.vm.name
            Bandwidth.clear(name)
            if !hadNone { try Bandwidth(from: 5_000, to: 1_000).set(on: name) }
            for rung in TestRungs.all {
                try scene.control.apply(rung, to: scene.port)
                try new.set(on: name)
                guard case .putBack = scene.repair() else {
                    Issue.record("not put back on \(rung.rung)")
                    continue
                }
                let again = scene.repair()
                #expect(again == nil)
            }
            try scene.control.apply(nil, to: scene.port)
            let difference = try Snapshot.settledDifference(from: alone)
            #expect(difference == [])
        }
    }

    /// Guards against: a wipe of another owner's that one repair does not put right, or that takes
    /// long: libvirt's, Neutron's and Proxmox' commands, and an operator's.
    @Test(.needs(.ifb, .tbf, .ingress, .htb)) func everyWipeIsRepairedAtOnce() async throws {
        try await Namespace.run {
            let host = try Host()
            let vm = try host.start(vm: 1)
            var scene = try OwnersScene(
                vm, uplink: host.uplink, TrafficControlSettings(hook: .ingress))
            let before = try Snapshot.settled()
            let bothWays = TestRungs.limits(
                .shape, 1_000, delay: .milliseconds(200), bothWays: true)
            try scene.control.apply(bothWays, to: scene.port)
            let ifb = "ifb-f\(scene.port.index)"
            let wipes: [[String]] = [
                ["qdisc del dev \(vm.name) ingress"],
                ["qdisc del dev \(vm.name) root"],
                ["qdisc del dev \(vm.name) root", "qdisc del dev \(vm.name) ingress"],
                ["qdisc del dev \(vm.name) ingress", "qdisc add dev \(vm.name) ingress"],
                ["filter del dev \(vm.name) ingress"],
                ["filter del dev \(vm.name) ingress pref 13"],
                ["qdisc del dev \(ifb) root"],
                ["qdisc replace dev \(ifb) root pfifo"],
            ]
            var times: [Duration] = []
            for _ in 0..<25 {
                for wipe in wipes {
                    for line in wipe { try tc(line) }
                    let begin = Moment.now
                    let repair = scene.repair()
                    times.append(Moment.now - begin)
                    guard case .putBack = repair else {
                        Issue.record("\(wipe): \(String(describing: repair))")
                        continue
                    }
                }
            }
            let again = scene.repair()
            #expect(again == nil)
            times.sort()
            let p99 = times[times.count * 99 / 100]
            report(
                "\(times.count) wipes repaired: median \(times[times.count / 2]), p99 \(p99), "
                    + "longest \(times.last ?? .zero)")
            #expect(p99 < .milliseconds(500))
            try scene.control.apply(nil, to: scene.port)
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
        }
    }
}
