// Ways to look at all counters within this process, which take turns.
import CBench
import CLab
import Daemon
import Lab
import LinkCounters
import LinuxSystem
import Mitigation
import Netlink
import Settings
import TrafficControl

/// One way to look at the counters of all links.
protocol Look: AnyObject {
    /// What the tables call it.
    var title: String { get }
    /// Looks once.
    func take() throws
}

extension Look {
    /// What one look cost this thread: CPU time in nanoseconds, and calls of the allocator.
    func measure() throws -> (nanoseconds: Double, allocations: UInt64) {
        let allocations = clab_allocations()
        let begin = clab_thread_cpu_ns()
        try take()
        let end = clab_thread_cpu_ns()
        return (Double(end - begin), clab_allocations() - allocations)
    }
}

/// The floor: the dump is received and not read.
final class BareDump: Look {
    let title = "C: the dump received, not read"
    private let descriptor = clab_stats_open()

    func take() throws {
        guard clab_stats_receive(descriptor) > 0 else { throw LabError("receive the dump") }
    }
}

/// The poller alone.
final class Decode: Look {
    let title = "sluice: every sample decoded"
    private var poller: StatisticsPoller
    /// So that what is decoded is used.
    private var packets: UInt64 = 0

    init() throws { poller = try StatisticsPoller.open() }

    func take() throws {
        var packets: UInt64 = 0
        try poller.poll(batches: { samples in
            for place in samples.indices { packets &+= samples[place].statistics.rxPackets }
        })
        self.packets = packets
    }
}

/// The daemon's own turn: poll and decide.
final class WholeTurn: Look {
    let title: String
    private let folder: ScratchFolder
    /// The walk in the kernel is believed when a port has counted something.
    private let sender: Station?
    /// The turns go at their pace, by a clock of their own.
    private var now = Instant(nanoseconds: MonotonicClock.nanoseconds)
    private var turn: Turn<KernelHost, KernelTrafficControl, FileJournal>

    /// How many ports it watches.
    var watched: Int { turn.table.watched.count }

    /// With `claims`, every VM's port is watched; else no class claims any interface. Throws where BPF is
    /// asked for and refused.
    init(_ title: String, claims: Bool, usesBPF: Bool = false) throws {
        self.title = title
        sender =
            usesBPF
            ? try Station(name: "bench", endpoint: Endpoint(number: 1), inside: .nobody) : nil
        try sender?.send([UInt8](repeating: 0xff, count: 60))
        folder = try ScratchFolder()
        var configuration = Settings.Configuration()
        configuration.policy.grace = .zero
        var journal = JournalSettings()
        journal.directory = folder.file("state")
        journal.runtime = folder.file("run")
        turn = Turn(
            machine: try KernelHost.open(usesBPF: usesBPF),
            control: try KernelTrafficControl.open(TrafficControlSettings()),
            journal: FileJournal(journal) { _ in },
            policy: configuration.policy,
            names: claims ? configuration.names : PortNames(patterns: [:]), now: now)
        turn.start(now: now)
        for _ in 0..<10 { try take() }
        if usesBPF, turn.machine.counterSource != .bpf {
            throw LabError("\(turn.machine.counterSource)")
        }
    }

    func take() throws {
        now = now.advanced(by: .milliseconds(100))
        turn.run(now: now) { now }
    }
}

/// libnl's own cache of links.
final class LinkCache: Look {
    let title = "libnl: nl_cache_refill"

    func take() throws {
        guard cbench_link_cache_refill() > 0 else { throw LabError("refill the cache of links") }
    }
}
