// Counters by the walk in the kernel, held to netlink's: the same numbers, in whatever happens to
// interfaces meanwhile.
import CLab
import Lab
import LabTesting
import Testing

@testable import LinkCounters
@testable import Netlink

/// Counters by interface.
private typealias Samples = [Int32: LinkStatistics]

extension CounterReader {
    /// One poll of everything, by default of what all want.
    fileprivate mutating func all(wanted: Bool = true) throws -> [Int32: LinkStatistics?] {
        var samples: [Int32: LinkStatistics?] = [:]
        try poll(isWanted: { _ in wanted }) { batch, _ in
            for place in batch.indices {
                let sample = batch[place]
                samples[sample.index] = .some(sample.isRead ? sample.statistics : nil)
            }
        }
        return samples
    }
}

/// Taps as VMs', down and without anybody behind them, by one batch of ip(8).
private func addTaps(_ count: Int, _ prefix: String = "t") throws {
    let line = "echo tuntap add dev \(prefix)$i mode tap"
    try Tool.run("sh", "-c", "for i in $(seq \(count)); do \(line); done | ip -batch -")
}

/// A hypervisor on which a VM has sent to another: each kind of interface that the walk covers has
/// counted.
private func makeTraffic() throws -> (Host, [Station]) {
    let host = try Host()
    let stations = [try host.start(vm: 1), try host.start(vm: 2)]
    // Known to the bridge, so that not all of it is flooded.
    try stations[1].send(arp(from: stations[1].endpoint))
    let flood = try stations[0].flood(
        Flood(to: stations[1].endpoint, packetsPerSecond: 20_000, count: 2_000))
    try wait(for: "the flood", within: .seconds(10)) { flood.sent >= 2_000 }
    try Tool.run("ip", "link", "set", "br0", "up")
    try Tool.run("ip", "addr", "add", "10.0.200.1/16", "dev", "br0")
    _ = try? Tool.run("ping", "-c", "2", "-i", "0.01", "-W", "0.1", "10.0.0.9")
    return (host, stations)
}

/// A gratuitous ARP request.
private func arp(from endpoint: Endpoint) -> [UInt8] {
    let mac = endpoint.mac.bytes
    let address = endpoint.address4.bytes
    return [UInt8](repeating: 0xff, count: 6) + mac + [8, 6, 0, 1, 8, 0, 6, 4, 0, 1] + mac + address
        + [UInt8](repeating: 0, count: 6) + address
}

/// Netlink's counters of an interface are none below those of a walk before it, and none above those of
/// one after it.
private func expect(
    _ netlink: Samples, between before: Samples, and after: Samples, at index: Int32
) throws {
    let (low, sample, high) = try (
        #require(before[index]), #require(netlink[index]), #require(after[index])
    )
    #expect(low.rxPackets <= sample.rxPackets && sample.rxPackets <= high.rxPackets)
    #expect(low.rxBytes <= sample.rxBytes && sample.rxBytes <= high.rxBytes)
    #expect(low.txPackets <= sample.txPackets && sample.txPackets <= high.txPackets)
    #expect(low.txBytes <= sample.txBytes && sample.txBytes <= high.txBytes)
}

@Suite(.serialized) struct KernelCounterTests {
    /// Guards against: a number of the walk that is not netlink's, in either of its two ways of
    /// reading.
    @Test(
        "the walk's counters are netlink's, on taps, a bridge and a vxlan, under traffic",
        .needs(.typeInformation, .vxlan), arguments: [true, false])
    func sameValues(_ isTyped: Bool) async throws {
        try await Namespace.run {
            let (host, stations) = try makeTraffic()
            defer { withExtendedLifetime((host, stations)) {} }
            try Tool.run(
                "sh", "-c",
                "ip link add vx-00aa type vxlan id 170 dstport 4789 remote 10.0.0.77 dev br0 && "
                    + "ip link set vx-00aa up && ip addr add 10.77.0.1/24 dev vx-00aa && "
                    + "ip neigh add 10.77.0.2 lladdr 52:54:00:00:00:77 dev vx-00aa")
            _ = try? Tool.run("ping", "-c", "5", "-i", "0.01", "-W", "0.1", "10.77.0.2")
            try addTaps(200)
            var walk = try KernelWalk.open(try WalkPlan.read(), expected: 0, isTyped: isTyped)
            #expect(!isTyped || walk.isTyped || !KernelParts.current.release.hasPrefix("6.18"))
            var poller = try StatisticsPoller.open()
            var socket = try RouteSocket.open()
            let covered = try socket.links().filter {
                DriverTable.kinds.contains($0.kind ?? "")
            }
            #expect(covered.count == 200 + 2 + 3)
            let flood = try stations[0].flood(
                Flood(to: stations[1].endpoint, packetsPerSecond: 20_000, duration: .seconds(10)))
            var counted: Set<Int32> = []
            for _ in 0..<50 {
                let before = try walk.samples()
                var netlink: Samples = [:]
                try poller.poll { netlink[$0] = $1 }
                let after = try walk.samples()
                #expect(before.count == netlink.count)
                for link in covered {
                    try expect(netlink, between: before, and: after, at: link.index)
                    if netlink[link.index]?.txPackets ?? 0 > 0 { counted.insert(link.index) }
                }
            }
            flood.stop()
            try wait(for: "quiet", within: .seconds(5)) {
                let first = try walk.samples()
                return try walk.samples() == first
            }
            // At rest they are equal.
            let last = try walk.samples()
            var netlink: Samples = [:]
            try poller.poll { netlink[$0] = $1 }
            for link in covered { #expect(last[link.index] == netlink[link.index]) }
            let named = covered.filter { counted.contains($0.index) }.compactMap(\.kind)
            #expect(Set(named) == ["tun", "vxlan", "bridge"])
        }
    }

    /// Guards against: a walk that goes by the interfaces of the one before when they are others by now,
    /// or looks them all up when they are the same.
    @Test(
        "a walk knows whether the interfaces are those of the one before",
        .needs(.typeInformation, .ifb), arguments: [true, false])
    func knowsTheList(_ isTyped: Bool) async throws {
        try await Namespace.run {
            let (host, stations) = try makeTraffic()
            defer { withExtendedLifetime((host, stations)) {} }
            try addTaps(20)
            let plan = try WalkPlan.read()
            var walk = try KernelWalk.open(plan, expected: 0, isTyped: isTyped)
            var socket = try RouteSocket.open()
            let elsewhere = try RunningTool("/usr/bin/unshare", ["--net", "sleep", "60"])
            defer { elsewhere.signal(15) }
            try wait(for: "another namespace", within: .seconds(5)) {
                let theirs = try Tool.run("readlink", "/proc/\(elsewhere.pid)/ns/net")
                return try theirs != Tool.run("readlink", "/proc/self/ns/net")
            }
            var poller = try StatisticsPoller.open()
            func check(_ isSame: Bool) throws {
                var netlink: Samples = [:]
                let samples = try walk.samples()
                #expect(walk.isSameList == (isSame && plan.layout.namespaceSequence != nil))
                let links = try socket.links()
                #expect(Set(samples.keys) == Set(links.map(\.index)))
                try poller.poll { netlink[$0] = $1 }
                let after = try walk.samples()
                for link in links where DriverTable.kinds.contains(link.kind ?? "") {
                    try expect(netlink, between: samples, and: after, at: link.index)
                }
            }
            // The first run is at the opening.
            try check(true)
            let changes = [
                ["link", "add", "v0", "type", "veth", "peer", "v1"], ["link", "del", "t3"],
                ["link", "set", "t4", "netns", "\(elsewhere.pid)"],
            ]
            for change in changes {
                try Tool.run("ip", change)
                try check(false)
                try check(true)
            }
            // Another one at the same index, and in the same place.
            let index = try #require(try socket.links().map(\.index).max()) + 1
            var former: DriverKey?
            for kind in ["bridge", "ifb", "bridge"] {
                if former != nil { try Tool.run("ip", "link", "del", "w") }
                try Tool.run("ip", "link", "add", "w", "index", "\(index)", "type", kind)
                try check(false)
                let driver = try #require(walk.drivers()[index])
                #expect(driver.operations != former?.operations)
                former = driver
                try check(true)
            }
            // What changes no list.
            try Tool.run("ip", "link", "set", "t5", "name", "t5b")
            try Tool.run("ip", "link", "set", "t6", "mtu", "9000", "up")
            try check(true)
        }
    }

    /// Guards against: an interface left out, or read wrong, since its driver is not one of those.
    @Test(
        "what the walk does not cover comes from netlink, where it is wanted; all is told",
        .needs(.typeInformation, .ifb))
    func coverage() async throws {
        try await Namespace.run {
            let (host, stations) = try makeTraffic()
            defer { withExtendedLifetime((host, stations)) {} }
            try addTaps(40)
            try Tool.run("sh", "-c", "ip link add v0 type veth peer v1; ip link set v0 up")
            try Tool.run("sh", "-c", "ip link set v1 up; ip addr add 10.9.0.1/24 dev v0")
            try Tool.run("sh", "-c", "ip neigh add 10.9.0.2 lladdr 52:54:00:00:00:09 dev v0")
            _ = try? Tool.run("ping", "-c", "5", "-i", "0.01", "-W", "0.1", "10.9.0.2")
            try Tool.run("ip", "link", "add", "ifb-f9", "type", "ifb")
            var counters = try CounterReader.open()
            var socket = try RouteSocket.open()
            let links = try socket.links()
            let own = Set(links.filter { ["veth", "ifb", nil].contains($0.kind) }.map(\.index))
            var samples = try counters.all()
            #expect(counters.source == .bpf)
            var poller = try StatisticsPoller.open()
            var netlink: Samples = [:]
            try poller.poll { netlink[$0] = $1 }
            #expect(samples == netlink.mapValues { .some($0) })
            let veth = try #require(links.first { $0.name == Array("v0".utf8) })
            #expect((samples[veth.index] ?? nil)?.txPackets ?? 0 >= 5)
            samples = try counters.all(wanted: false)
            #expect(Set(samples.keys) == Set(netlink.keys))
            #expect(Set(samples.filter { $0.value == nil }.keys) == own)
            let single = try counters.counters(of: veth.index)
            #expect(single == netlink[veth.index])
            let none = try counters.counters(of: 9_999)
            #expect(none == nil)
        }
    }

    /// Guards against: numbers that nothing has spoken for, and a host full of drivers with counters of
    /// their own read one by one.
    @Test(
        "without traffic, and with too few that it covers, netlink is asked",
        .needs(.typeInformation))
    func netlinkWhereItIsBetter() async throws {
        try await Namespace.run {
            try addTaps(20)
            var counters = try CounterReader.open()
            let count = try counters.all().count
            #expect(count == 21)
            guard case .netlink(.some) = counters.source else {
                Issue.record("\(counters.source) without a proof")
                return
            }
        }
        try await Namespace.run {
            try addPairs(20)
            var counters = try CounterReader.open()
            let count = try counters.all().count
            #expect(count == 41)
            guard case .netlink(.some(let why)) = counters.source else {
                Issue.record("\(counters.source) over pairs")
                return
            }
            #expect(why.contains("41"))
        }
        try await Namespace.run {
            var counters = try CounterReader.open(usesBPF: false)
            let count = try counters.all().count
            #expect(count == 1)
            #expect(counters.source == .netlink(nil))
        }
    }

    /// Guards against: a sample of an interface that is gone, a new one left out, and more of them than
    /// there was room for.
    @Test("interfaces that come, go and outgrow the room", .needs(.typeInformation))
    func comingAndGoing() async throws {
        try await Namespace.run {
            let (host, stations) = try makeTraffic()
            defer { withExtendedLifetime((host, stations)) {} }
            var counters = try CounterReader.open()
            let before = try counters.all(wanted: false)
            #expect(counters.source == .bpf)
            try addTaps(1_500, "n")
            for _ in 0..<2 {
                let count = try counters.all(wanted: false).count
                #expect(count == before.count + 1_500)
            }
            #expect(counters.source == .bpf)
            // One poll after the other while another program deletes and makes.
            let churn = "for i in $(seq 150); do echo link del n$i; done | ip -batch -"
            let busy = try RunningTool("/bin/sh", ["-c", churn])
            var polls = 0
            var least = Int.max
            while busy.wait(within: .zero) == nil, polls < 200_000 {
                let samples = try counters.all(wanted: false)
                least = min(least, samples.count)
                #expect(Set(before.keys).isSubset(of: samples.keys))
                polls += 1
            }
            #expect(polls > 10 && least >= before.count)
            let after = try counters.all(wanted: false)
            #expect(after.count == before.count + 1_350)
            #expect(Set(before.keys).isSubset(of: after.keys))
            #expect(counters.source == .bpf)
        }
    }

    /// Guards against: a poll that waits for a lock that others hold for long.
    @Test(
        "polls go on while another holds RTNL", .needs(.typeInformation))
    func anotherHoldsTheLock() async throws {
        try await Namespace.run {
            let (host, stations) = try makeTraffic()
            defer { withExtendedLifetime((host, stations)) {} }
            var counters = try CounterReader.open()
            _ = try counters.all(wanted: false)
            #expect(counters.source == .bpf)
            let lock = try KernelLock()
            let other = try RunningTool("/usr/bin/ip", ["link", "show"])
            defer { other.signal(9) }
            var (polls, gap) = (0, Duration.zero)
            let end = Moment.now + .seconds(1)
            while Moment.now < end {
                let begin = Moment.now
                _ = try counters.all(wanted: false)
                gap = max(gap, Moment.now - begin)
                polls += 1
            }
            Program.write(
                "figure: longest of \(polls) polls while RTNL was held: \(gap.inMilliseconds) ms\n")
            #expect(other.wait(within: .zero) == nil, "netlink was to wait")
            lock.release()
            #expect(other.wait(within: .seconds(10)) != nil)
            #expect(counters.source == .bpf)
            #expect(gap < .milliseconds(200))
        }
    }
}

extension KernelWalk {
    /// The drivers of the latest walk, by index.
    fileprivate borrowing func drivers() -> [Int32: DriverKey] {
        var drivers: [Int32: DriverKey] = [:]
        forEach { drivers[$0.index] = $0.driver }
        return drivers
    }

    /// The counters of a walk, whoever's they are.
    fileprivate mutating func samples() throws -> [Int32: LinkStatistics] {
        try run()
        var samples: [Int32: LinkStatistics] = [:]
        forEach { samples[$0.index] = $0.counters }
        return samples
    }
}
