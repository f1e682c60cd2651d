// A real libvirtd at the same port as the real daemon: the ladder beside its limits, domiftune, and
// the end of a domain while it is limited. The flood comes from a queue of the domain's own tap.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct LibvirtOwnerTests {
    /// Packets a second, of 250 bytes: below what libvirt lets through here, and above the mark.
    private static let offered = 8_000
    private static let loose = Libvirt.Bandwidth(from: 5_000, to: 1_000)
    private static let other = Libvirt.Bandwidth(from: 3_000, to: 2_000)

    /// The domain's port, watched, with the test behind it.
    private static func join(_ stage: borrowing Stage) throws -> Station {
        try Lab.wait(for: "the domain's port", within: .seconds(5)) {
            try stage.daemon.port(Libvirt.port) != nil
        }
        return try Station(joining: Libvirt.port, endpoint: Libvirt.endpoint)
    }

    private static func flood(
        _ vm: Station, packetsPerSecond: Int = Self.offered
    ) throws -> FloodRun {
        try vm.flood(
            Flood(
                to: Host.outside, packetsPerSecond: packetsPerSecond, duration: .seconds(60)))
    }

    private func expectHeld(_ stage: borrowing Stage, _ vm: Station, to wanted: Int) throws {
        measure(for: .milliseconds(1_200))
        let tally = try stage.host.uplink.received.delivered(
            from: vm.mac, during: measure(for: .milliseconds(1_500)))
        let port = try #require(try stage.daemon.port(vm.name))
        report(
            "libvirtd, \(port.rung): \(tally.packetsPerSecond) pps of \(wanted), by "
                + "\(port.enforcement ?? "-")")
        #expect(isWithin(0.05, of: Double(wanted), tally.packetsPerSecond))
    }

    /// Guards against: a rung that does not hold on a domain's port beside libvirt's limits,
    /// anything of libvirt's changed by one, a domain that cannot be ended and started again while
    /// it is limited, and its next port that is taken for the old one, limits and all.
    @Test(
        .needs(.police, .htb, .sfq, .u32, .fw, .ifb, .tbf, .netem, .ingress), .needsVirtualKernel)
    func theLadderOnADomainsPort() async throws {
        try await Namespace.run {
            let libvirt = try Libvirt(Self.loose)
            let stage = try Stage(police: 4, shape: 4)
            try libvirt.start()
            let vm = try Self.join(stage)
            let before = try Snapshot.settled()
            let flood = try Self.flood(vm)
            for (rung, cap) in [("police", 1_000), ("shape", 1_000), ("tighten", 250)] {
                try stage.wait(for: rung, of: vm.name, within: .seconds(10))
                try expectHeld(stage, vm, to: cap)
            }
            flood.stop()
            try stage.daemon.request("POST", "/v1/release", body: "{\"all\": true}")
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])

            let again = try Self.flood(vm)
            try Lab.wait(for: "limits", within: .seconds(15)) {
                try stage.daemon.port(vm.name)?.rung != "normal"
            }
            again.stop()
            vm.close()
            try libvirt.destroy()
            try Lab.wait(for: "the end of the port", within: .seconds(5)) {
                try stage.daemon.port(Libvirt.port) == nil
            }
            #expect(try Tool.run("ip", "-brief", "link", "show", "type", "ifb") == "")
            try libvirt.start()
            let next = try Self.join(stage)
            #expect(try stage.daemon.port(next.name)?.rung == "normal")
            let qdiscs = try Snapshot().qdiscs
            #expect(qdiscs == before.qdiscs)
            let last = try Self.flood(next)
            try Lab.wait(for: "limits", within: .seconds(15)) {
                try stage.daemon.port(next.name)?.rung != "normal"
            }
            last.stop()
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: a domiftune that fails because ours came back between two of its commands,
    /// ours that stay out after it, and a release after which libvirt's limits are not as they are
    /// where only libvirt was.
    @Test(.needs(.police, .htb, .sfq, .u32, .fw, .ifb, .tbf, .ingress), .needsVirtualKernel)
    func domiftuneWhileLimited() async throws {
        try await Namespace.run {
            let libvirt = try Libvirt(Self.loose)
            let stage = try Stage(
                police: 1, shape: 600, calm: 60, settings: "[tc]\nrepairs_per_minute = 600\n")
            try libvirt.start()
            let vm = try Self.join(stage)
            try libvirt.tune(Self.other)
            let alone = try Snapshot.settled()
            try libvirt.tune(Self.loose)
            let first = try Self.flood(vm)
            try stage.wait(for: "shape", of: vm.name, within: .seconds(10))
            first.stop()
            // Above its cap all the time, and few enough to leave libvirt's commands the processor.
            let flood = try Self.flood(vm, packetsPerSecond: 1_500)
            let monitor = try TrafficControlMonitor()
            for round in 0..<10 {
                let bandwidth = round.isMultiple(of: 2) ? Self.loose : Self.other
                try tune(libvirt, bandwidth, watching: monitor)
                // The next one begins when this one is over for us, too.
                try Lab.wait(for: "ours", within: .seconds(5)) {
                    try Tool.run("tc", "filter", "show", "dev", vm.name, "ingress")
                        .contains(" pref 13 ")
                }
            }
            try expectHeld(stage, vm, to: Stage.target)
            flood.stop()
            expectRepairs(monitor.events, count: 10)
            try stage.daemon.request("POST", "/v1/release", body: "{\"all\": true}")
            let left = try Snapshot.settledDifference(from: alone, numbersCount: false)
            #expect(left == [])
            _ = try stage.daemon.stop()
        }
    }

    /// A domiftune may fail only where the machine was too busy for us to wait for its commands.
    private func tune(
        _ libvirt: Libvirt, _ bandwidth: Libvirt.Bandwidth, watching monitor: TrafficControlMonitor
    ) throws {
        for _ in 0..<3 {
            let before = monitor.events.count
            do {
                return try libvirt.tune(bandwidth)
            } catch {
                let events = monitor.events[before...].filter {
                    $0.text.contains("dev \(Libvirt.port) ")
                }
                let pause = zip(events, events.dropFirst()).map { $1.since($0) }.max() ?? .zero
                report("domiftune failed after a pause of \(pause.inMilliseconds) ms: \(error)")
                guard pause >= .milliseconds(250) else { throw error }
            }
        }
        try libvirt.tune(bandwidth)
    }

    /// From the end of each hook with ours on it, and from the beginning of the next one, to the
    /// last of our filters there.
    private func expectRepairs(_ events: [TrafficControlMonitor.Event], count: Int) {
        var times: [(open: Duration, repair: Duration)] = []
        var wiped: TrafficControlMonitor.Event?
        var made: TrafficControlMonitor.Event?
        for event in events where event.text.contains("dev \(Libvirt.port) ") {
            if event.text.hasPrefix("deleted qdisc ingress") {
                wiped = wiped ?? event
            } else if event.text.contains("qdisc ingress") {
                made = event
            } else if event.text.contains("pref 13 bpf"), let begin = wiped, let hook = made {
                times.append((event.since(begin), event.since(hook)))
                (wiped, made) = (nil, nil)
            }
        }
        let open = times.map { Int($0.open.inMilliseconds) }.sorted()
        let repairs = times.map { Int($0.repair.inMilliseconds) }.sorted()
        report("domiftune: without limits for \(open) ms, after libvirt's hook \(repairs) ms")
        #expect(times.count >= count && wiped == nil)
        #expect(times.allSatisfy { $0.repair < .seconds(1) })
    }
}
