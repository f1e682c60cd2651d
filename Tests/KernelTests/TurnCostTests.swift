// What a look at all counters costs: CPU against a C loop that receives the same dump and does not
// parse it, heap allocations, and the daemon's resident memory.
import CLab
import ControlAPI
import Daemon
import Lab
import LabTesting
import LinkCounters
import LinuxSystem
import Mitigation
import Settings
import Testing
import TrafficControl

@Suite(.serialized) struct TurnCostTests {
    static let ports = 1_000

    /// Makes VMs' taps, by one batch of ip(8).
    static func makePorts(_ folder: borrowing ScratchFolder, _ ports: Int = ports) throws {
        for first in stride(from: 1, through: ports, by: 1_000) {
            var batch = ""
            for number in first..<min(first + 1_000, ports + 1) {
                batch += "tuntap add dev vm-\(number)-00aa mode tap\n"
                batch += "link set vm-\(number)-00aa up\n"
            }
            try Tool.run("ip", "-batch", try folder.write(batch, to: "links"))
        }
    }

    private static func now() -> Instant { Instant(nanoseconds: MonotonicClock.nanoseconds) }

    /// Guards against: a poll that grows dear, and one that allocates. The looks and the C loop take
    /// turns in one run; the figure is the ratio of the medians.
    @Test(
        .needs(.ifb),
        .enabled(if: clab_thread_cpu_step_ns() < 100_000, "this kernel counts CPU time in ticks"))
    func aLookCostsLittleMoreThanTheDump() async throws {
        try await Namespace.run {
            let ratio = try Self.lookCost(ports: Self.ports, usesBPF: false)
            #expect(ratio <= 1.25)
        }
    }

    /// Guards against: a walk that costs as much as what it stands in for. On two processors; each
    /// further one costs what it costs netlink too.
    @Test(
        .needs(.typeInformation),
        .enabled(if: clab_thread_cpu_step_ns() < 100_000, "this kernel counts CPU time in ticks"),
        arguments: [100, 1_000, 4_000, 10_000])
    func aWalkCostsAThirdOfTheDump(_ ports: Int) async throws {
        try await Namespace.run {
            let ratio = try Self.lookCost(ports: ports, usesBPF: true)
            // The floor of a hundred is a system call or two.
            #expect(ratio <= (ports < 1_000 ? 0.7 : 0.45))
        }
    }

    /// What a turn costs, by the cost of receiving the dump. Nothing may be allocated.
    private static func lookCost(ports: Int, usesBPF: Bool) throws -> Double {
        let folder = try ScratchFolder()
        try makePorts(folder, ports)
        let sender = try Station(
            name: "vm-\(ports + 1)-00aa", endpoint: Endpoint(number: 1), inside: .nobody)
        // What the walk says is believed when it has said more than zero.
        try sender.send([UInt8](repeating: 0xff, count: 60))
        var configuration = Settings.Configuration()
        configuration.policy.grace = .zero
        var settings = JournalSettings()
        settings.directory = folder.file("state")
        settings.runtime = folder.file("run")
        var turn = Turn(
            machine: try KernelHost.open(usesBPF: usesBPF),
            control: try KernelTrafficControl.open(TrafficControlSettings()),
            journal: FileJournal(settings) { _ in },
            policy: configuration.policy, names: configuration.names, now: Self.now())
        // The turns go at their pace, by a clock of their own: one that comes early cannot take the short
        // way (MarkSet.quick).
        var now = Self.now()
        turn.start(now: now)
        #expect(turn.table.watched.count == ports + 1)
        let baseline = clab_stats_open()
        #expect(baseline >= 0)
        for _ in 0..<50 {
            now = now.advanced(by: configuration.policy.pollInterval)
            turn.run(now: now) { now }
            _ = clab_stats_receive(baseline)
        }
        #expect(turn.machine.counterSource == (usesBPF ? .bpf : .netlink(nil)))
        let pairs = min(2_000, 4_000_000 / ports)
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
            now = now.advanced(by: configuration.policy.pollInterval)
            turn.run(now: now) { now }
            allocations += clab_allocations() - before
            looks.append(clab_thread_cpu_ns() - middle)
            dumps.append(middle - begin)
        }
        let look = looks.sorted()[pairs / 2]
        let dump = dumps.sorted()[pairs / 2]
        let ratio = Double(look) / Double(dump)
        report(
            "a look at \(ports) by \(usesBPF ? "bpf" : "netlink"): \(look / 1_000) us, the dump "
                + "alone \(dump / 1_000) us, ratio \(ratio); allocations \(allocations) in "
                + "\(pairs) looks")
        #expect(allocations == 0)
        sender.close()
        return ratio
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
