// The operators' topology with the real daemon on it: who is limited along with a flooding VM, by what
// each port delivers and what the kernel holds.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct CloudspaceTests {
    /// Guards against: a flood through the router of which only the VM is limited, so that another VM
    /// of the cloudspace goes on through it; and a companion that outlives its incident.
    @Test(.needs(.ifb, .tbf, .clsact, .htb)) func throughTheRouter() async throws {
        try await Namespace.run {
            let cloud = try Cloud()
            let before = try Snapshot.settled()
            let flood = try cloud.flood(from: 0, to: Host.outside, Stage.floodRate)
            // Another VM stays below its mark, and leaves by the same router.
            let other = try cloud.flood(from: 1, to: Host.outside, 3_000)
            try cloud.stage.wait(for: "police", of: cloud.vms[0].name, within: .seconds(10))
            try cloud.stage.wait(for: "police", of: Cloud.inner, within: .seconds(5))
            let told = try cloud.stage.daemon.line(with: "event=path ", within: .seconds(5))
            #expect(told.contains("path=\"vm-1-00aa -> spc-00aa -> pub-00aa\""))
            #expect(told.contains("companion=spc-00aa") && told.contains("vm-1-00aa:"))
            try cloud.expectDelivered(
                [Cloud.outer: Stage.target, cloud.stage.host.uplink.name: Stage.target], "router")
            try cloud.expectLimited([cloud.vms[0].name, Cloud.inner])
            let router = try #require(try cloud.stage.daemon.port(Cloud.inner))
            #expect(router.limitedFor == [cloud.vms[0].name] && router.cap?.from == nil)
            #expect(router.cap?.to?.packetsPerSecond == Double(Stage.target))
            flood.stop()
            other.stop()
            try cloud.expectReleased(as: before)
        }
    }

    /// Guards against: a flood to the tenant's other VMs that goes on through the VXLAN endpoint, and
    /// a router that is limited for what it does not carry.
    @Test(.needs(.ifb, .tbf, .clsact, .htb, .vxlan)) func betweenVMs() async throws {
        try await Namespace.run {
            let cloud = try Cloud()
            let before = try Snapshot.settled()
            let flood = try cloud.flood(from: 0, to: Cloud.remote, Stage.floodRate)
            let other = try cloud.flood(from: 1, to: Cloud.remote, 3_000)
            try cloud.stage.wait(for: "police", of: Cloud.vtep, within: .seconds(10))
            let told = try cloud.stage.daemon.line(with: "event=path ", within: .seconds(5))
            #expect(told.contains("path=\"vm-1-00aa -> vx-00aa\""))
            // The backend carries the tenant's frames in VXLAN: it alerts, and nothing else.
            try cloud.expectDelivered([Cloud.backend: Stage.target], "vtep")
            try cloud.expectLimited([cloud.vms[0].name, Cloud.vtep])
            let alert = try cloud.stage.daemon.line(
                with: "event=watched-flood ", within: .seconds(5))
            #expect(alert.contains("port=\(Cloud.backend) "))
            flood.stop()
            other.stop()
            try cloud.expectReleased(as: before)
        }
    }

    /// Guards against: two VMs that flood together, each below its mark, and more of them limited
    /// than need be.
    @Test(.needs(.ifb, .tbf, .clsact, .htb)) func together() async throws {
        try await Namespace.run {
            let cloud = try Cloud("[cloudspace]\ntogether = { packets = \"4500pps\" }\n")
            let floods = try [(0, 3_500), (1, 2_000)].map {
                try cloud.flood(from: $0, to: Host.outside, $1)
            }
            try cloud.stage.wait(for: "police", of: cloud.vms[0].name, within: .seconds(10))
            let told = try cloud.stage.daemon.line(with: "rule=group", within: .seconds(5))
            #expect(told.contains("port=vm-1-00aa ") && told.contains("against_pps=4500"))
            measure(for: .seconds(2))
            #expect(try cloud.stage.daemon.port(cloud.vms[1].name)?.rung == "normal")
            for flood in floods { flood.stop() }
        }
    }
}

/// Two VMs in a tenant's bridge, its VXLAN endpoint, and a router between that bridge and the public
/// one: here a bridge of its own, which takes and sends every frame as a router would.
private struct Cloud: ~Copyable {
    static let inner = "spc-00aa"
    static let outer = "pub-00aa"
    static let vtep = "vx-00aa"
    static let backend = "vxbackend"
    /// A VM of the tenant's on another node.
    static let remote = Endpoint(number: 77, network: 0xaa)

    let stage: Stage
    let vms: [Station]
    private let underlay: Station

    init(_ settings: String = "") throws {
        let marks =
            "[class.router]\nfrom = { packets = \"off\", bits = \"off\" }\n"
            + "to = { packets = \"off\", bits = \"off\" }\n"
            + "[class.vtep]\nfrom = { packets = \"off\", bits = \"off\" }\n"
            + "to = { packets = \"off\", bits = \"off\" }\n"
            // What is let through is over it, too: that VMs are limited sooner may not hide it.
            + "[class.backend]\nto = { packets = \"\(Stage.target / 2)pps\" }\n"
        var made: (vms: [Station], underlay: Station)?
        let stage = try Stage(calm: 2, settings: marks + settings) { host in
            made = try Self.makeTopology(host)
        }
        let parts = try #require(made)
        try Lab.wait(for: "the cloudspace", within: .seconds(5)) { [daemon = stage.daemon] in
            try daemon.status().ports.count == 6
        }
        // A bridge is said to be up a moment after its first port is.
        try Lab.wait(for: "the bridges", within: .seconds(5)) {
            try ["tenant", "router"].allSatisfy {
                try Tool.run("ip", "link", "show", "dev", $0).contains(" state UP ")
            }
        }
        self.stage = stage
        vms = parts.vms
        underlay = parts.underlay
    }

    private static func makeTopology(
        _ host: Host
    ) throws -> (vms: [Station], underlay: Station) {
        func ip(_ words: String) throws {
            try Tool.run("ip", words.split(separator: " ").map { String($0) })
        }
        for bridge in ["tenant", "router"] {
            try ip("link add \(bridge) type bridge mcast_snooping 0 forward_delay 0")
            try ip("link set \(bridge) up")
        }
        for (port, bridge, peer) in [(inner, "tenant", "inside"), (outer, Host.bridge, "outside")] {
            try ip("link add \(port) type veth peer name \(peer)")
            try ip("link set \(port) master \(bridge) up")
            try ip("link set \(peer) master router up")
        }
        let underlay = try Station(
            name: backend, endpoint: Endpoint(number: 9, network: 0xbb), framesKept: 1 << 20)
        try ip("address add 10.9.0.1/24 dev \(backend)")
        try ip("neighbour add 10.9.0.2 lladdr 52:54:00:99:99:99 dev \(backend)")
        try ip(
            "link add \(vtep) type vxlan id 170 dstport 4789 local 10.9.0.1 remote 10.9.0.2 "
                + "dev \(backend)")
        try ip("link set \(vtep) master tenant up")
        // Nobody answers floods, so that no bridge learns where their frames belong.
        for (mac, port) in [
            (Host.outside.mac, inner), (Host.outside.mac, "outside"), (remote.mac, vtep),
        ] {
            try Tool.run(
                "bridge", "fdb", "replace", mac.description, "dev", port, "master", "static")
        }
        let vms = try (1...2).map { number in
            let endpoint = Endpoint(number: UInt16(number), network: 0xaa)
            return try Station(
                name: "vm-\(number)-00aa", endpoint: endpoint, bridge: "tenant")
        }
        return (vms, underlay)
    }

    func flood(from number: Int, to: Endpoint, _ rate: Int) throws -> FloodRun {
        try vms[number].flood(
            Flood(to: to, packetsPerSecond: rate, duration: .seconds(60)))
    }

    /// What these ports let through in two seconds that begin when bursts are spent, within 5%.
    func expectDelivered(_ wanted: [String: Int], _ what: String) throws {
        measure(for: .milliseconds(1_500))
        let names = wanted.keys.sorted()
        let before = try names.map { try carried($0) }
        let begin = Moment.now
        measure(for: .seconds(2))
        let after = try names.map { try carried($0) }
        let seconds = (Moment.now - begin).milliseconds / 1_000
        for (place, name) in names.enumerated() {
            let rate = Double(after[place] - before[place]) / seconds
            let cap = Double(wanted[name] ?? 0)
            report("\(what), \(name) delivers \(Int(rate)) pps of \(Int(cap))")
            #expect(isWithin(0.05, of: cap, rate), "\(name)")
        }
    }

    /// Packets that passed: into the host on the router's outer leg, out of it elsewhere.
    private func carried(_ name: String) throws -> Int {
        let counter = name == Self.outer ? "rx_packets" : "tx_packets"
        let text = try Tool.run("ip", "-statistics", "-json", "link", "show", "dev", name)
        let direction = counter.hasPrefix("rx") ? "\"rx\":{" : "\"tx\":{"
        let part = try #require(text.split(separator: direction).last)
        let digits = try #require(part.split(separator: "\"packets\":").dropFirst().first)
        return try #require(Int(digits.prefix { $0.isNumber }))
    }

    /// Reads the kernel: only these ports have something of ours.
    func expectLimited(_ names: [String]) throws {
        let all = vms.map(\.name) + [Self.inner, Self.outer, Self.vtep, Self.backend]
        let held = try all.filter { name in
            let filters = try ["ingress", "egress"].map {
                try Tool.run("tc", "filter", "show", "dev", name, $0)
            }
            let qdiscs = try Tool.run("tc", "qdisc", "show", "dev", name)
            return !filters.joined().isEmpty || qdiscs.contains(" 7a0")
        }
        #expect(held.sorted() == names.sorted())
        let status = try stage.daemon.status()
        #expect(status.ports.filter { $0.cap != nil }.map(\.name).sorted() == names.sorted())
    }

    /// After the flood nothing is limited, and the kernel is as it was.
    func expectReleased(as before: Snapshot) throws {
        try Lab.wait(for: "the release", within: .seconds(20)) { [daemon = stage.daemon] in
            try daemon.status().ports.allSatisfy { $0.rung == "normal" }
        }
        let left = try Snapshot.settledDifference(from: before)
        #expect(left == [])
    }
}
