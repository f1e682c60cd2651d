// The whole path on real packets: a flood from a tap is seen, policed, shaped, tightened, shut down
// and released, in order and at its time, at the rates that were promised.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct LadderTests {
    /// Guards against: a flood seen late; a rung that lets more or less through than its cap; a delay
    /// that is not the one asked for; a rung skipped or early; a link left up; a hook not run.
    @Test(.needs(.ifb, .tbf, .clsact)) func climbsOnTime() async throws {
        let hasNetem = KernelParts.current.lacking([.netem]).isEmpty
        try await Namespace.run {
            let stage = try Stage(
                police: 4, shape: 5, tighten: 5,
                settings: """
                    [shutdown.hook]
                    gentle = ["/usr/bin/touch", "/tmp/sluice-stopped-{domain}-{port}"]
                    hard = "none"
                    """)
            defer { _ = try? Tool.run("rm", "-f", "/tmp/sluice-stopped-vm-1-vm-1-00aa") }
            let rogue = try stage.host.start(vm: 1)
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(40)))

            let policed = try stage.wait(for: "police", of: rogue.name, within: .seconds(5))
            let first = try #require(flood.firstPacket)
            report("first packet to police: \((policed - first).milliseconds) ms")
            // The flood takes a virtual kernel's one processor, too.
            let most = Program.isInVirtualKernel ? Duration.seconds(1) : .milliseconds(500)
            #expect(policed - first <= most)
            try expectRate(stage, rogue, Double(Stage.target), after: policed, delay: nil)

            let shaped = try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))
            expectDwell(4, from: policed, to: shaped)
            try expectRate(
                stage, rogue, Double(Stage.target), after: shaped, delay: hasNetem ? 200 : nil)

            let tightened = try stage.wait(for: "tighten", of: rogue.name, within: .seconds(10))
            expectDwell(5, from: shaped, to: tightened)
            try expectRate(
                stage, rogue, Double(Stage.target) / 4, after: tightened,
                delay: hasNetem ? 400 : nil)

            let stopped = try stage.wait(for: "shutdown", of: rogue.name, within: .seconds(10))
            expectDwell(5, from: tightened, to: stopped)
            #expect(try !rogue.isUp())
            try stage.daemon.line(with: "event=stop ", within: .seconds(5))
            #expect(stage.daemon.lines.contains { $0.contains("detail=exited(0)") })
            #expect(try Tool.run("ls", "/tmp").contains("sluice-stopped-vm-1-vm-1-00aa"))
            #expect(stage.rungs(of: rogue.name) == ["police", "shape", "tighten", "shutdown"])
            // Somebody starts it again.
            try rogue.setUp(true)
            try stage.daemon.line(with: "event=repaired ", within: .seconds(5))
            #expect(try !rogue.isUp())
            flood.stop()
            #expect(!stage.daemon.lines.contains { $0.contains("event=cap-exceeded") })
            _ = try stage.daemon.stop()
        }
    }

    /// Delivered packets and delay in a window that begins a second and a half after a rung, when
    /// bursts are spent and queues are in their steady state.
    private func expectRate(
        _ stage: borrowing Stage, _ rogue: Station, _ wanted: Double, after: Moment, delay: Double?
    ) throws {
        measure(for: .milliseconds(1_500))
        let window = measure(for: .seconds(2))
        let filter = FrameFilter(from: rogue.mac, kind: .udp)
        let tally = try stage.host.uplink.received.delivered(filter, during: window)
        let port = try #require(try stage.daemon.port(rogue.name))
        report(
            "\(port.rung): \(tally.packetsPerSecond) pps of \(wanted), offered "
                + "\(port.offered.from?.packetsPerSecond ?? 0), by \(port.enforcement ?? "-")")
        #expect(isWithin(0.05, of: wanted, tally.packetsPerSecond))
        guard let delay else { return }
        let delays = try #require(try stage.host.uplink.received.delays(filter, during: window))
        report("\(port.rung): delay \(delays.median.milliseconds) ms of \(delay)")
        #expect(isWithin(0.05, of: delay, delays.median.milliseconds))
    }

    private func expectDwell(_ seconds: Double, from: Moment, to: Moment) {
        let dwell = (to - from).milliseconds / 1e3
        report("dwell \(dwell) s of \(seconds)")
        #expect(dwell >= seconds - 0.2 && dwell <= seconds + 1)
    }

    /// Guards against: a port that stays limited after the flood, one that keeps anything of ours,
    /// and a stop of the daemon that takes mitigations out.
    @Test(.needs(.ifb, .tbf, .clsact)) func comesDownAndLeavesNothing() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 2, shape: 60, calm: 2)
            let rogue = try stage.startWatched(vm: 1)
            let before = try Snapshot()
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(20)))
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))
            flood.stop()
            try stage.wait(for: "normal", of: rogue.name, within: .seconds(15))
            #expect(stage.rungs(of: rogue.name) == ["police", "shape", "police", "normal"])
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
            #expect(!stage.daemon.lines.contains { $0.contains("event=cap-exceeded") })
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: `release --all` that leaves something, and a daemon that, stopped, takes its
    /// mitigations along or, started again, does not find them.
    @Test(.needs(.ifb, .tbf, .clsact)) func survivesARestartAndIsReleased() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 1, calm: 60)
            let rogue = try stage.startWatched(vm: 1)
            let before = try Snapshot()
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(20)))
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))
            flood.stop()
            let enforced = try Snapshot.settled()
            #expect(try stage.daemon.stop() == .exited(0))
            let afterStop = try Snapshot.settledDifference(from: enforced)
            #expect(afterStop == [])

            let again = try DaemonProcess(
                in: stage.folder, config: stage.folder.file("sluiced.toml"),
                socket: stage.daemon.socket)
            #expect(try again.port(rogue.name)?.rung == "shape")
            let output = try Tool.run(
                DaemonProcess.binary("sluicectl"), "release", "--all", "--socket", again.socket)
            #expect(output.contains(rogue.name))
            #expect(try again.port(rogue.name)?.rung == "normal")
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
            _ = try again.stop()
        }
    }
}
