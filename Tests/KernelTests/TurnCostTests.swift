// What a look at all counters costs: CPU against a C loop that receives the same dump and does not
// parse it, heap allocations, requests and system calls; and the daemon's resident memory. `make bench`
// measures more, and against others; what stands here does not depend on the machine.
import CBench
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

    /// The daemon's turn over this kernel, started.
    private static func makeTurn(
        _ folder: borrowing ScratchFolder, usesBPF: Bool = false
    ) throws -> Turn<KernelHost, KernelTrafficControl, FileJournal> {
        var configuration = Settings.Configuration()
        configuration.policy.grace = .zero
        var settings = JournalSettings()
        settings.directory = folder.file("state")
        settings.runtime = folder.file("run")
        var turn = Turn(
            machine: try KernelHost.open(usesBPF: usesBPF),
            control: try KernelTrafficControl.open(TrafficControlSettings()),
            journal: FileJournal(settings) { _ in },
            policy: configuration.policy, names: configuration.names, now: now())
        turn.start(now: now())
        return turn
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
            // The part that is ours varies with the processor by more than the kernel's.
            #expect(ratio <= 1.35)
        }
    }

    /// Guards against: a walk that costs as much as what it stands in for.
    @Test(
        .needs(.typeInformation),
        .enabled(if: clab_thread_cpu_step_ns() < 100_000, "this kernel counts CPU time in ticks"),
        arguments: [100, 1_000, 4_000, 10_000])
    func aWalkCostsLessThanTheDump(_ ports: Int) async throws {
        try await Namespace.run {
            let ratio = try Self.lookCost(ports: ports, usesBPF: true)
            // Through typed pointers (6.2 on), and where the list is not looked up again (x86-64).
            let isLean = KernelParts.current.release.hasPrefix("6.18")
            #expect(ratio < (isLean ? 0.5 : 1))
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
        var turn = try makeTurn(folder, usesBPF: usesBPF)
        // The turns go at their pace, by a clock of their own: one that comes early cannot take the short
        // way (GrowthBound).
        var now = Self.now()
        #expect(turn.table.watched.count == ports + 1)
        let baseline = clab_stats_open()
        #expect(baseline >= 0)
        for _ in 0..<50 {
            now = now.advanced(by: .milliseconds(100))
            turn.run(now: now) { now }
            _ = clab_stats_receive(baseline)
        }
        #expect(turn.machine.counterSource == (usesBPF ? .bpf : .netlink(nil)))
        let pairs = min(2_000, 4_000_000 / ports)
        var looks: [UInt64] = []
        var dumps: [UInt64] = []
        looks.reserveCapacity(pairs)
        dumps.reserveCapacity(pairs)
        var allocating = 0
        for _ in 0..<pairs {
            let begin = clab_thread_cpu_ns()
            _ = clab_stats_receive(baseline)
            let middle = clab_thread_cpu_ns()
            let before = clab_allocations()
            now = now.advanced(by: .milliseconds(100))
            turn.run(now: now) { now }
            allocating += clab_allocations() == before ? 0 : 1
            looks.append(clab_thread_cpu_ns() - middle)
            dumps.append(middle - begin)
        }
        let look = looks.sorted()[pairs / 2]
        let dump = dumps.sorted()[pairs / 2]
        let ratio = Double(look) / Double(dump)
        report(
            "a look at \(ports) by \(usesBPF ? "bpf" : "netlink"): \(look / 1_000) us, the dump "
                + "alone \(dump / 1_000) us, ratio \(ratio); \(allocating) of \(pairs) looks allocate"
        )
        // But where the default routes are read anew, every ten seconds.
        #expect(allocating <= pairs / 100 + 1)
        sender.close()
        return ratio
    }

    /// Guards against: instructions that creep into what each poll does for each port: reading the dump,
    /// and deciding on it, and what the recorder does with both. They are counted, which no other load
    /// disturbs.
    @Test(.needs(.ifb), .needsSeveralProcessors) func aPollTakesFewInstructions() async throws {
        try await Namespace.run {
            let folder = try ScratchFolder()
            let ports = 200
            try Self.makePorts(folder, ports)
            let socket = folder.file("sluiced.sock")
            // Nothing moves here, so that a walk would be tried again and again.
            let settings = Stage.configuration(socket: socket, journal: folder.path)
                .replacing("[poll]\n", with: "[poll]\ncounters = \"netlink\"\n")
            let config = try folder.write(settings, to: "sluiced.toml")
            // It cannot read the program's debugging information.
            let program = folder.file("sluiced")
            try Tool.run("strip", "-g", "-o", program, try DaemonProcess.binary("sluiced"))
            let counts = folder.file("counts")
            let daemon = try DaemonProcess(
                in: folder, config: config, socket: socket,
                under: [
                    "/usr/bin/valgrind", "--tool=callgrind", "--callgrind-out-file=\(counts)",
                    // Each is entered by no other of them, and so only goes on and off.
                    "--vgdb=no", "--toggle-collect=$s12LinkCounters13CounterReaderV4poll*YKF",
                    "--toggle-collect=$s10Mitigation6EngineV6sampleyys4Span*F",
                    "--toggle-collect=$s9Recording8RecorderV6sampleyys4Span*F",
                    "--toggle-collect=$s9Recording14RecordedEngineV10finishPoll*F", program,
                ], readyWithin: .seconds(60))
            // The first poll, which finds the order of the dump, is one of a hundred. An answer takes
            // so long there that a turn is late, and its polls are not read like others.
            try wait(for: "polls", within: .seconds(60), every: .seconds(2)) {
                try daemon.status().polls >= 100
            }
            _ = try daemon.stop()
            let (instructions, polls) = try Self.counted(try readFile(counts))
            #expect(polls >= 90)
            let each = Double(instructions) / Double(polls) / Double(ports)
            report("instructions for each port in a poll: \(each)")
            #expect(each > 100, "a poll is not where it is looked for")
            #expect(each <= 470)
        }
    }

    /// Of what callgrind wrote: all instructions, and how often a poll was decided on.
    private static func counted(_ text: String) throws -> (instructions: UInt64, polls: UInt64) {
        let lines = text.split(separator: "\n")
        func number(_ line: Substring?, after key: String) throws -> UInt64 {
            let line = try #require(line)
            #expect(line.hasPrefix(key))
            return try #require(UInt64(line.dropFirst(key.count).prefix { $0.isNumber }))
        }
        // A name stands once, behind its number: cfn=(10634) $s10Mitigation6EngineV10finishPoll…
        let decision = ") $s10Mitigation6EngineV10finishPoll"
        let named = try #require(lines.first { $0.contains(decision) })
        let called = "cfn=" + named.drop { $0 != "(" }.prefix { $0 != " " }
        let place = try #require(
            lines.firstIndex { $0 == called || $0.hasPrefix("\(called) ") })
        return (
            try number(lines.first { $0.hasPrefix("totals: ") }, after: "totals: "),
            try number(lines[place + 1], after: "calls=")
        )
    }

    /// Guards against: a turn that asks the kernel for more than the counters, or writes when nothing
    /// happens.
    @Test(.needs(.ifb)) func aSteadyTurnIsOneRequest() async throws {
        try await Namespace.run {
            let folder = try ScratchFolder()
            try Self.makePorts(folder)
            var turn = try Self.makeTurn(folder)
            for _ in 0..<3 { turn.run(now: Self.now()) { Self.now() } }
            let before = (cbench_netlink_changes(), cbench_netlink_questions())
            for _ in 0..<20 { turn.run(now: Self.now()) { Self.now() } }
            #expect(cbench_netlink_questions() - before.1 == 20)
            #expect(cbench_netlink_changes() == before.0)
        }
    }

    /// Guards against: a look after guards that lists what stands on all other ports.
    @Test(.needs(.clsact)) func aGuardIsLookedAtByOneRequest() async throws {
        try await Namespace.run {
            let host = try Host()
            let vms = try (1...8).map { try host.start(vm: $0) }
            let ports = vms.map {
                ControlledPort(index: $0.index, name: PortName($0.name), mtu: 1_500)
            }
            var control = try KernelTrafficControl.open(TrafficControlSettings())
            for port in ports {
                try control.setGuards(Guards(switches: [.noDHCPServer, .noRA]), on: port)
            }
            let before = (cbench_netlink_changes(), cbench_netlink_questions())
            #expect(control.repair(ports, puttingBack: true).isEmpty)
            #expect(cbench_netlink_questions() - before.1 == 8)
            #expect(cbench_netlink_changes() == before.0)
            try Tool.run("tc", "filter", "delete", "dev", vms[2].name, "ingress")
            #expect(control.repair(ports, puttingBack: true).keys.sorted() == [ports[2].index])
            #expect(control.repair(ports, puttingBack: true).isEmpty)
            for vm in vms { vm.close() }
        }
    }

    /// Guards against: a turn of the daemon that makes more system calls than its wait, its timer, its
    /// request, the datagrams of the answer, and the word that it came in time (Lookout).
    @Test(.needs(.ifb), .needsSeveralProcessors)
    func aSteadyTurnMakesFewSystemCalls() async throws {
        try await Namespace.run {
            let stage = try Stage { _ in
                let folder = try ScratchFolder()
                try Self.makePorts(folder)
            }
            try wait(for: "polls", within: .seconds(20)) { try stage.daemon.status().polls > 50 }
            // The turn's thread alone; INT makes strace tell and let go.
            let (_, text) = try Tool.status(
                "timeout",
                [
                    "--signal=INT", "3", "strace", "-c", "-U", "name,calls", "-p",
                    "\(stage.daemon.pid)",
                ])
            var calls: [Substring: Int] = [:]
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ")
                if words.count == 2, let count = Int(words[1]) { calls[words[0]] = count }
            }
            let turns = calls["epoll_wait"] ?? 0
            let datagrams = calls["recvmmsg"] ?? 0
            let others = (calls["total"] ?? .max) - datagrams
            report(
                "system calls of \(turns) turns at \(Self.ports): \(others) and \(datagrams) recvmmsg"
            )
            #expect(turns > 15)
            // Now and then it tells the service manager, and allocates.
            #expect(others <= 4 * turns + 20)
            // 32 KB hold more than a hundred links.
            #expect(datagrams <= (Self.ports / 100 + 3) * turns)
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: a tree that takes more requests than it has objects, one that is looked at
    /// again and again, and requests of which each takes system calls of its own.
    @Test(.needs(.ifb, .tbf, .clsact)) func aTreeTakesFewRequests() async throws {
        try await Namespace.run {
            let host = try Host()
            let vm = try host.start(vm: 1)
            let port = ControlledPort(
                index: vm.index, name: PortName(vm.name), mtu: 1_500, isOnOpenVSwitch: false)
            for policer in Policer.allCases {
                let settings = TrafficControlSettings(policer: policer)
                // What this kernel lacks is counted where it has it.
                guard var control = try? KernelTrafficControl.open(settings) else { continue }
                let netem: UInt64 = control.parts.hasNetem ? 1 : 0
                // Hook and filters; an ifb (made, set up, tbf); of an htb classes, leaf and filters too.
                let expected: (police: UInt64, shape: UInt64) =
                    switch policer {
                    case .actPolice: (4, 8 + netem)
                    case .bpf: (2, 7 + netem)
                    case .ifb: (12, 12)
                    }
                for delay in [nil, Duration.milliseconds(200)] {
                    let begin = NetlinkCounts.now
                    try control.apply(Self.limits(delay: delay), to: port)
                    let made = NetlinkCounts.now - begin
                    let middle = NetlinkCounts.now
                    try control.apply(nil, to: port)
                    let removed = NetlinkCounts.now - middle
                    report(
                        "\(policer.rawValue)\(delay == nil ? "" : ", shaped"): made by \(made), "
                            + "removed by \(removed)")
                    #expect(made.changes == (delay == nil ? expected.police : expected.shape))
                    let hasIFB = policer == .ifb || delay != nil
                    // What is at the hook; of an ifb whether it was there, is, and is up, and nft's chains.
                    #expect(made.questions <= (hasIFB ? 6 : 1))
                    #expect(removed.changes == (hasIFB ? 2 : 1))
                    #expect(removed.questions <= 19)
                    // What may stand without each other goes together; nft's chains come by two.
                    #expect(made.datagrams <= (hasIFB ? 8 : 3))
                    #expect(removed.datagrams <= (hasIFB ? 11 : 4))
                    for counts in [made, removed] {
                        #expect(counts.receptions <= counts.datagrams + 2)
                    }
                }
            }
        }
    }

    /// What this thread has asked the kernel so far.
    private struct NetlinkCounts: CustomStringConvertible {
        var changes: UInt64
        var questions: UInt64
        var datagrams: UInt64
        var receptions: UInt64

        static var now: Self {
            Self(
                changes: cbench_netlink_changes(), questions: cbench_netlink_questions(),
                datagrams: cbench_netlink_datagrams(), receptions: cbench_netlink_receptions())
        }

        static func - (late: Self, early: Self) -> Self {
            Self(
                changes: late.changes - early.changes, questions: late.questions - early.questions,
                datagrams: late.datagrams - early.datagrams,
                receptions: late.receptions - early.receptions)
        }

        var description: String {
            "\(changes) changes and \(questions) questions in \(datagrams) datagrams, answered by "
                + "\(receptions) receptions"
        }
    }

    private static func limits(delay: Duration?) -> Limits {
        let cap = Cap(packets: PacketRate(perSecond: 1_000), bits: BitRate(bytesPerSecond: 250_000))
        return Limits(
            rung: delay == nil ? .police : .shape, incident: 1,
            from: Limit(cap: cap, delay: delay), to: nil, lane: Policy().lane)
    }

    /// Guards against: memory that grows with the ports, or with what is forbidden on each, beyond what
    /// a hypervisor has to spare.
    @Test(.needs(.ifb, .clsact), arguments: [false, true])
    func residentMemoryIsSmall(_ isGuarded: Bool) async throws {
        try await Namespace.run {
            let guards = """
                [guard."vm-<num>-<netid>"]
                switches = ["no-dhcp-server", "no-ra"]

                """
            let stage = try Stage(settings: isGuarded ? guards : "") { _ in
                let folder = try ScratchFolder()
                try Self.makePorts(folder)
            }
            try wait(for: "polls", within: .seconds(60)) {
                let status = try stage.daemon.status()
                return status.polls > 50 && status.ports.count == Self.ports
                    && status.ports.allSatisfy { $0.guards?.inForce ?? false == isGuarded }
            }
            // What an answer took is given back.
            for _ in 0..<3 { try stage.daemon.request("GET", "/v1/metrics") }
            let kilobytes = try kilobytes("VmRSS", ofProcess: "\(stage.daemon.pid)")
            report(
                "resident at \(Self.ports) ports\(isGuarded ? ", each guarded" : ""): "
                    + "\(kilobytes) kB")
            // Without it each page that is needed brings others.
            let isExact = KernelParts.current.present.contains(.writeTracking)
            #expect(kilobytes < (isExact ? 14_000 : 23_000) + (isGuarded ? 2_000 : 0))
            _ = try stage.daemon.stop()
        }
    }
}
