// The ladder on ports of a real Open vSwitch.
//
// Its policer (3.1) is a matchall at preference 1 that lets what conforms go on: it runs before ours
// and limits beside it, and no redirect of ours skips it. At every carrier event, and when it starts,
// it deletes the `ingress` qdisc of a port and makes its own anew. So ours joins an `ingress` of its,
// and is put back after; on a port without, ours is a clsact, which it leaves alone.
import Lab
import LabTesting
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

@Suite(.serialized) struct OpenVSwitchTests {
    /// What Open vSwitch does to what a VM sends.
    enum Policing: String, CaseIterable, Sendable {
        /// Nothing.
        case none
        /// Less than our caps: 800 kbit/s, 400 packets a second of 250 bytes.
        case tight
        /// More than our caps.
        case loose
        /// In packets, between our caps.
        case packets

        /// The settings of the interface.
        var settings: String {
            switch self {
            case .none: "ingress_policing_rate=0"
            case .tight: "ingress_policing_rate=800 ingress_policing_burst=80"
            case .loose: "ingress_policing_rate=8000 ingress_policing_burst=800"
            case .packets: "ingress_policing_kpkts_rate=1 ingress_policing_kpkts_burst=1"
            }
        }

        /// What it lets through in packets of 250 bytes, of which ingress counts 236.
        var ceiling: Double? { self == .tight ? 800_000 / 8 / 236 : nil }
    }

    /// A switch with a VM and a way out on it.
    private struct Scene: ~Copyable {
        let openVSwitch: OpenVSwitch
        var owners: OwnersScene

        static func make(_ policing: Policing, policer: Policer? = nil) throws -> Scene {
            let openVSwitch = try OpenVSwitch()
            for scope in ["all", "default"] {
                try Tool.run("sysctl", "-qw", "net.ipv6.conf.\(scope).disable_ipv6=1")
            }
            let uplink = try Station(name: "uplink", endpoint: Host.outside, framesKept: 1 << 20)
            let vm = try Station(name: "vm-1-00aa", endpoint: Endpoint(number: 1, network: 0xaa))
            for name in [uplink.name, vm.name] {
                try openVSwitch.configure("add-port \(OpenVSwitch.bridge) \(name)")
            }
            try openVSwitch.configure("set interface \(vm.name) \(policing.settings)")
            let owners = try OwnersScene(
                vm, uplink: uplink, TrafficControlSettings(policer: policer))
            return Scene(openVSwitch: openVSwitch, owners: owners)
        }
    }

    private static let cases: [(Policing, Policer)] =
        Policing.allCases.map { ($0, .actPolice) } + [(.tight, .bpf)]

    /// Guards against: a rung that does not hold on a port of Open vSwitch, a limit of its that ours
    /// lifts, and anything of its changed.
    @Test(
        .needs(.openvswitch, .matchall, .police, .netem),
        arguments: cases)
    func theLadderOnItsPorts(_ policing: Policing, _ policer: Policer) async throws {
        try await Namespace.run {
            var scene = try Scene.make(policing, policer: policer)
            let climb = try scene.owners.climb(
                "ovs \(policing.rawValue), \(policer.rawValue)", ceiling: policing.ceiling)
            #expect(climb.left == [])
            #expect(climb.advisories == [])
            #expect(!climb.isBypassed, "what its policer drops before ours did not go past ours")
        }
    }

    /// Guards against: a hook that is chosen by what a port was before it became the switch's, or after.
    @Test(.needs(.openvswitch)) func itsPortsAreReported() async throws {
        try await Namespace.run {
            let openVSwitch = try OpenVSwitch()
            let vm = try Station(name: "vm-1-00aa", endpoint: Endpoint(number: 1, network: 0xaa))
            var monitor = try LinkMonitor.open()
            var reported: Bool?
            for (change, isPort) in [("add", true), ("del", false), ("add", true)] {
                try openVSwitch.configure("\(change)-port \(OpenVSwitch.bridge) \(vm.name)")
                try wait(for: "the report of \(change)-port", within: .seconds(10)) {
                    try monitor.drain { event in
                        guard case .link(let link) = event, link.index == vm.index else { return }
                        reported = link.isOnOpenVSwitch
                    }
                    return reported == isPort
                }
            }
            vm.close()
        }
    }

    /// Guards against: limits that Open vSwitch takes out at a carrier event or a restart, and that
    /// stay out; and its own policer that does not come back as it was.
    @Test(
        .needs(.openvswitch, .matchall, .police, .netem),
        arguments: [Policing.none, .loose])
    func whatItWipesIsPutBack(_ policing: Policing) async throws {
        try await Namespace.run {
            var scene = try Scene.make(policing)
            let before = try Snapshot.settled()
            let name = scene.owners.vm.name
            try scene.owners.control.apply(TestRungs.shape, to: scene.owners.port)
            var wipes = 0
            for round in 0..<4 {
                if round == 2 {
                    try scene.openVSwitch.stop()
                    try scene.openVSwitch.start()
                } else {
                    try Tool.run("ip", "link", "set", name, "down")
                    try Tool.run("ip", "link", "set", name, "up")
                }
                // What it does of itself, it does within a second.
                let deadline = Moment.now + .seconds(2)
                while Moment.now < deadline {
                    let begin = Moment.now
                    let repair = scene.owners.repair()
                    let took = Moment.now - begin
                    if case .putBack(let what) = repair {
                        wipes += 1
                        report("ovs \(policing.rawValue), put back in \(took): \(what)")
                    } else {
                        #expect(repair == nil)
                    }
                    measure(for: .milliseconds(50))
                }
                let flood = try scene.owners.vm.flood(
                    Flood(to: Host.outside, packetsPerSecond: 8_000, duration: .seconds(5)))
                measure(for: .milliseconds(1_200))
                let passed = try scene.owners.uplink.received.delivered(
                    from: scene.owners.vm.mac, during: measure(for: .seconds(1)))
                flood.stop()
                #expect(abs(passed.packetsPerSecond - 1_000) <= 50, "after wipe \(round)")
            }
            #expect(policing == .none ? wipes == 0 : wipes > 0, "it leaves a clsact alone")
            try scene.owners.control.apply(nil, to: scene.owners.port)
            let left = try Snapshot.settledDifference(from: before, numbersCount: false)
            #expect(left == [])
        }
    }
}
