// What a look at all counters costs: CPU against a C loop that receives the same dump and does not
// parse it, heap allocations, and the daemon's resident memory.
import CLab
import ControlAPI
import Daemon
import Lab
import LabTesting
import LinuxSystem
import Mitigation
import Settings
import Testing
import TrafficControl

@Suite(.serialized) struct TurnCostTests {
    static let ports = 1_000

    /// Makes VMs' taps, by one batch of ip(8).
    static func makePorts(_ folder: borrowing ScratchFolder) throws {
        var batch = ""
        for number in 1...ports {
            batch += "tuntap add dev vm-\(number)-00aa mode tap\n"
            batch += "link set vm-\(number)-00aa up\n"
        }
        try Tool.run("ip", "-batch", try folder.write(batch, to: "links"))
    }

    private static func now() -> Instant { Instant(nanoseconds: MonotonicClock.nanoseconds) }

    /// Guards against: a poll that grows dear, and one that allocates. The looks and the C loop take
    /// turns in one run; the figure is the ratio of the medians.
    @Test(
        .needs(.ifb),
        .enabled(if: clab_thread_cpu_step_ns() < 100_000, "this kernel counts CPU time in ticks"))
    func aLookCostsLittleMoreThanTheDump() async throws {
        try await Namespace.run {
            let folder = try ScratchFolder()
            try Self.makePorts(folder)
            var configuration = Settings.Configuration()
            configuration.policy.grace = .zero
            var settings = JournalSettings()
            settings.directory = folder.file("state")
            settings.runtime = folder.file("run")
            var turn = Turn(
                machine: try KernelHost.open(),
                control: try KernelTrafficControl.open(TrafficControlSettings()),
                journal: FileJournal(settings) { _ in },
                policy: configuration.policy, names: configuration.names, now: Self.now())
            turn.start(now: Self.now())
            #expect(turn.table.watched.count == Self.ports)
            let baseline = clab_stats_open()
            #expect(baseline >= 0)
            for _ in 0..<50 {
                turn.run(now: Self.now()) { Self.now() }
                _ = clab_stats_receive(baseline)
            }
            let pairs = 2_000
            var looks: [UInt64] = []
            var dumps: [UInt64] = []
            looks.reserveCapacity(pairs)
            dumps.reserveCapacity(pairs)
            var allocations: UInt64 = 0
            for _ in 0..<pairs {
                let begin = clab_thread_cpu_ns()
                _ = clab_stats_receive(baseline)
                let middle = clab_thread_cpu_ns()
                let before = clab_allocations()
                turn.run(now: Self.now()) { Self.now() }
                allocations += clab_allocations() - before
                looks.append(clab_thread_cpu_ns() - middle)
                dumps.append(middle - begin)
            }
            let look = looks.sorted()[pairs / 2]
            let dump = dumps.sorted()[pairs / 2]
            let ratio = Double(look) / Double(dump)
            report(
                "a look at \(Self.ports): \(look / 1_000) us, the dump alone \(dump / 1_000) us, "
                    + "ratio \(ratio); allocations \(allocations) in \(pairs) looks")
            #expect(ratio <= 1.25)
            #expect(allocations == 0)
        }
    }

    /// Guards against: memory that grows with the ports beyond what a hypervisor has to spare.
    @Test(.needs(.ifb)) func residentMemoryIsSmall() async throws {
        try await Namespace.run {
            let stage = try Stage { _ in
                let folder = try ScratchFolder()
                try Self.makePorts(folder)
            }
            try wait(for: "polls", within: .seconds(20)) { try stage.daemon.status().polls > 50 }
            #expect(try stage.daemon.status().ports.count == Self.ports)
            let status = try readFile("/proc/\(stage.daemon.pid)/status")
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
            let kilobytes = Int(line.split(separator: " ").dropFirst().first ?? "") ?? .max
            report("resident at \(Self.ports) ports: \(kilobytes) kB")
            #expect(kilobytes < 25_000)
            _ = try stage.daemon.stop()
        }
    }
}
