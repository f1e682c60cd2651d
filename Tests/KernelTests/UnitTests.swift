// The daemon as systemd runs it, by the unit that is shipped and under all of its restrictions: the
// whole ladder, and what an operator and the manager do to a service.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized, .needsSystemd) struct UnitTests {
    private static let none = "0000000000000000"

    /// Guards against: a rung, the hook or a release that the unit's restrictions forbid, with the
    /// kernel's policer, without, and with eBPF's by the drop-in that the unit names; a process with more rights than it needs, or less priority; a
    /// hook's program that inherits capabilities; a system call that the unit forbids and that goes
    /// unnoticed, since it only fails (in all runs but the first it kills the daemon).
    @Test(.needs(.ifb, .tbf, .bpf), arguments: Way.all)
    fileprivate func climbsUnderItsRestrictions(_ way: Way) throws {
        let engine = way.engine
        let machine = try Machine(
            dropIn: "[Service]\n\(way.dropIn)\n", police: 3, shape: 3, tighten: 3,
            settings: """
                engine = "\(engine)"
                [shutdown.hook]
                gentle = ["/bin/cp", "/proc/self/status", "/run/sluice/hook"]
                hard = "none"
                """)
        defer { machine.close() }
        try machine.service.order("start")
        try expectRestrictions(machine.service, capabilities: way.capabilities)
        let rogue = try machine.startWatched()
        let before = try Snapshot()
        let flood = try machine.flood(rogue)

        for (rung, share) in [("police", 1.0), ("shape", 1), ("tighten", 0.25)] {
            try machine.wait(for: rung, of: rogue)
            try machine.expectRate(Double(Stage.target) * share, of: rogue, on: rung)
            if rung == "police" {
                let enforcement = try machine.service.port(rogue.name)?.enforcement ?? "-"
                report("under the unit, \(engine): \(enforcement)")
                let hasPolicer = KernelParts.current.lacking([.police]).isEmpty
                let first = hasPolicer ? "act_police" : "ifb"
                let policer = engine == "auto" ? first : engine
                #expect(enforcement.contains(policer), "\(enforcement)")
            }
        }
        try machine.wait(for: "shutdown", of: rogue)
        #expect(try !rogue.isUp())
        try machine.service.line(with: "event=stop ", within: .seconds(5))
        let hook = ProcessFacts(try readFile("/run/sluice/hook"))
        #expect(hook["CapPrm"] == Self.none && hook["CapEff"] == Self.none)
        #expect(hook["CapAmb"] == Self.none && hook["CapBnd"] == way.capabilities)
        flood.stop()

        #expect(try Tool.run("/usr/sbin/sluicectl", "release", "--all").contains(rogue.name))
        let left = try Snapshot.settledDifference(from: before)
        #expect(left == [])
        // What a kernel lacks, it says; the rest must not have been refused.
        let lines = try machine.service.lines().filter { !$0.contains("event=kernel ") }
        #expect(lines.contains { $0.contains("event=stop ") && $0.contains("detail=exited(0)") })
        #expect(lines.contains { $0.contains("event=evidence ") && $0.contains("packets=256 ") })
        for word in ["not permitted", "denied", "event=scheduling", "event=refused"] {
            #expect(!lines.contains { $0.contains(word) }, "\(word)")
        }
    }

    /// What the kernel says of the daemon that systemd started.
    private func expectRestrictions(
        _ service: InstalledService, capabilities: String
    ) throws {
        let pid = try service.pid()
        let facts = ProcessFacts(try readFile("/proc/\(pid)/status"))
        for set in ["CapPrm", "CapEff", "CapBnd"] { #expect(facts[set] == capabilities) }
        #expect(facts["CapAmb"] == Self.none)
        #expect(facts["NoNewPrivs"] == "1")
        // SECCOMP_MODE_FILTER
        #expect(facts["Seccomp"] == "2")
        // mlockall(2): all that is mapped counts.
        let locked = facts["VmLck"].flatMap { Int($0.split(separator: " ").first ?? "") } ?? 0
        #expect(locked > 10_000)
        // proc(5): rt_priority and policy are fields 40 and 41, and the third follows the name.
        let stat = try readFile("/proc/\(pid)/stat").split(separator: ")").last ?? ""
        let fields = stat.split(separator: " ")
        #expect(fields[37] == "1", "priority")
        #expect(fields[38] == "1", "SCHED_FIFO")
        report("the unit's process: \(facts["CapEff"] ?? "-"), locked \(locked) kB")
    }

    /// Guards against: a hung or crashed daemon that nobody restarts; mitigations, clocks or incidents
    /// that end with a restart, a stop, a crash or a hang; journal folders that the unit's process
    /// cannot write or that a stop empties.
    @Test func mitigationsOutliveTheProcess() throws {
        // A third of the unit's time, for the test's sake.
        let machine = try Machine(dropIn: "[Service]\nWatchdogSec=3\n", police: 1)
        defer { machine.close() }
        try machine.service.order("start")
        let rogue = try machine.startWatched()
        let flood = try machine.flood(rogue)
        try machine.wait(for: "shape", of: rogue)
        let shaped = Moment.now
        flood.stop()
        let held = Held(
            port: rogue.name, since: shaped, snapshot: try Snapshot.settled(),
            incident: try #require(try machine.service.port(rogue.name)?.incident))

        for (restarts, signal) in [(1, "SIGSTOP"), (2, "SIGKILL")] {
            let former = try machine.service.pid()
            try machine.service.signal(signal)
            let begin = Moment.now
            try wait(for: "the restart after \(signal)", within: .seconds(20)) {
                guard try machine.service.property("NRestarts") == "\(restarts)" else {
                    return false
                }
                return try machine.service.property("ActiveState") == "active"
            }
            report("after \(signal) replaced within \((Moment.now - begin).milliseconds) ms")
            #expect(try machine.service.pid() != former)
            try expectHeld(machine, held)
        }
        try machine.service.order("restart")
        try expectHeld(machine, held)
        try machine.service.order("stop")
        #expect(try machine.service.property("Result") == "success")
        for folder in ["/run/sluice", "/var/lib/sluice"] {
            #expect(try readFile("\(folder)/journal.json").contains(rogue.name))
        }
        let afterStop = try Snapshot.settledDifference(from: held.snapshot)
        #expect(afterStop == [])
        try machine.service.order("start")
        try expectHeld(machine, held)
        let adoptions = try machine.service.lines().filter { $0.contains("event=adopted ") }
        #expect(adoptions.count == 4, "one line for each start that found something")
        #expect(adoptions.allSatisfy { $0.hasSuffix("event=adopted ports=1 shape=1") })
    }

    /// What is to be the same after each start.
    private struct Held {
        var port: String
        var since: Moment
        var snapshot: Snapshot
        var incident: UInt32
    }

    private func expectHeld(_ machine: Machine, _ held: Held) throws {
        let port = try #require(try machine.service.port(held.port))
        let least = (Moment.now - held.since).milliseconds / 1_000 - 1
        #expect(port.rung == "shape" && port.incident == held.incident)
        #expect((port.onRungSeconds ?? 0) >= least, "its time on the rung goes on")
        let changed = try Snapshot.settledDifference(from: held.snapshot)
        #expect(changed == [])
    }

    /// Guards against: a socket whose group the unit's process may not give away; an operator's undo
    /// that leaves something, or leaves the next start of the unit with files that it cannot use.
    @Test(.needs(.ifb, .tbf)) func worksBesideAnOperator() throws {
        let machine = try Machine(
            dropIn: "[Service]\nSystemCallErrorNumber=kill\nSupplementaryGroups=daemon\n",
            police: 1, control: "group = \"daemon\"")
        defer { machine.close() }
        try machine.service.order("start")
        #expect(try machine.service.property("StatusText") == "mode enforce")
        let owner = try Tool.run("stat", "-c", "%U:%G %A", InstalledService.socket)
        #expect(owner == "root:daemon srw-rw----\n")
        let rogue = try machine.startWatched()
        let before = try Snapshot()

        let flood = try machine.flood(rogue)
        try machine.wait(for: "shape", of: rogue)
        flood.stop()
        try machine.service.order("stop")
        #expect(try Snapshot() != before)
        #expect(try Tool.run("/usr/sbin/sluiced", "undo").contains(rogue.name))
        let left = try Snapshot.settledDifference(from: before)
        #expect(left == [])
        try machine.service.order("start")
        try Lab.wait(for: "the port", within: .seconds(5)) {
            try machine.service.port(rogue.name)?.rung == "normal"
        }
        let lines = try machine.service.lines().filter { !$0.contains("event=kernel ") }
        for word in ["not permitted", "denied", "event=adopted", "SYS"] {
            #expect(!lines.contains { $0.contains(word) }, "\(word)")
        }
    }

    /// Guards against: a reload that systemd thinks has failed, or that takes a broken file.
    @Test func reloads() throws {
        let machine = try Machine()
        defer { machine.close() }
        try machine.service.order("start")
        let pid = try machine.service.pid()
        try machine.service.configure(Machine.configuration(mode: "observe"))
        try machine.service.order("reload")
        try machine.service.line(with: "event=reloaded mode=observe", within: .seconds(5))
        #expect(try machine.service.status().mode == "observe")
        #expect(try machine.service.property("StatusText") == "mode observe")
        try machine.service.configure(Machine.configuration(mode: "armed"))
        try machine.service.order("reload")
        try machine.service.line(with: "event=reload-refused ", within: .seconds(5))
        #expect(try machine.service.status().mode == "observe")
        #expect(try machine.service.property("ActiveState") == "active")
        #expect(try machine.service.pid() == pid)
    }

    /// Guards against: lines that journald cuts, or files under another name, facility or severity
    /// than they were told with; lines that it lacks.
    @Test(.needs(.ifb, .tbf)) func journaldHasEachLineWhole() throws {
        let machine = try Machine(police: 1)
        defer { machine.close() }
        try machine.service.order("start")
        let rogue = try machine.startWatched()
        let flood = try machine.flood(rogue)
        try machine.wait(for: "shape", of: rogue)
        flood.stop()
        try machine.service.line(with: " to=shape ", within: .seconds(5))
        // LOG_DAEMON is facility 3; severities are numbered as <syslog.h> does.
        let told = try Self.lines(
            "sluicectl events --json",
            #"""
            {alert: 1, error: 3, warning: 4, notice: 5, info: 6}[.severity] as $severity
            | "sluiced 3 \($severity) syslog \(.line)"
            """#)
        let pid = try machine.service.pid()
        let read = try Self.lines(
            "journalctl --no-pager --output=json --identifier=sluiced _PID=\(pid)",
            #"""
            "\(.SYSLOG_IDENTIFIER) \(.SYSLOG_FACILITY) \(.PRIORITY) \(._TRANSPORT) \(.MESSAGE)"
            """#)
        let longest = read.map(\.utf8.count).max() ?? 0
        report("journald: \(read.count) lines, the longest \(longest) bytes")
        #expect(read == told)
        #expect(read.contains { $0.contains("event=move ") && $0.contains(" to=police ") })
    }

    /// What jq makes of a command's JSON, a line each.
    private static func lines(_ command: String, _ filter: String) throws -> [String] {
        try Tool.run("sh", "-c", "\(command) | jq -r \"$0\"", filter).split(separator: "\n")
            .map { String($0) }
    }

    /// Guards against: a unit for node_exporter's textfile collector that its own restrictions stop, a
    /// file that node_exporter's user may not read, and one that is half written or replaced by
    /// nothing when no daemon answers.
    @Test func metricsReachTheTextfileCollector() throws {
        let machine = try Machine()
        defer { machine.close() }
        let units = ["sluice-metrics.service", "sluice-metrics.timer"]
        let folder = "/var/lib/prometheus/node-exporter"
        for unit in units {
            try Tool.run("cp", "Configs/prometheus/\(unit)", "/etc/systemd/system/\(unit)")
        }
        try Tool.run("mkdir", "-p", folder)
        try Tool.run("systemctl", "daemon-reload")
        defer {
            _ = try? Tool.run("systemctl", "stop", units[1])
            _ = try? Tool.run("rm", ["-rf", folder] + units.map { "/etc/systemd/system/\($0)" })
        }
        try machine.service.order("start")
        try Tool.run("systemctl", "start", units[1])
        try wait(for: "the metrics", within: .seconds(20)) {
            (try? readFile("\(folder)/sluice.prom"))?.contains("\nsluice_polls_total ") == true
        }
        #expect(try Tool.run("stat", "-c", "%a", "\(folder)/sluice.prom") == "644\n")
        let text = try readFile("\(folder)/sluice.prom")
        #expect(!text.contains("# EOF") && text.contains("# TYPE sluice_polls_total counter\n"))

        try machine.service.order("stop")
        let (status, _) = try Tool.status("systemctl", ["start", units[0]])
        #expect(status != .exited(0))
        #expect(try readFile("\(folder)/sluice.prom").contains("\nsluice_polls_total "))
    }

    /// Guards against: a refused configuration that is started again and again.
    @Test func refusedConfigurationFailsOnce() throws {
        let machine = try Machine()
        defer { machine.close() }
        try machine.service.configure(Machine.configuration(mode: "armed"))
        #expect(throws: LabError.self) { try machine.service.order("start") }
        // RestartSec=1: a loop would have begun its second round.
        measure(for: .seconds(2))
        #expect(try machine.service.property("ActiveState") == "failed")
        #expect(try machine.service.property("ExecMainStatus") == "78")
        #expect(try machine.service.property("NRestarts") == "0")
        let lines = try machine.service.lines()
        #expect(lines.count { $0.contains("sluiced.toml:1:8: error: mode") } == 1)
    }

    /// Guards against: a restriction of the unit that gets lost. `systemd-analyze security` counts
    /// them up; what is left is being root, netlink, Unix and packet sockets, the host's network,
    /// /proc/net, and what polls and samples need.
    @Test func exposureIsLow() throws {
        let (status, output) = try Tool.status(
            "systemd-analyze",
            ["security", "--offline=yes", "--no-pager", "--threshold=20", Machine.unit])
        report("exposure: \(output.split(separator: "\n").last ?? "")")
        #expect(status == .exited(0))
    }
}

/// A policer, and the drop-in with which the unit's process gets it.
private struct Way: CustomTestStringConvertible, Sendable {
    var engine: String
    var dropIn: String
    /// As /proc/PID/status writes them.
    var capabilities: String

    var testDescription: String { engine }

    static let all = [
        // CAP_NET_ADMIN (12) and CAP_NET_RAW (13).
        Way(engine: "auto", dropIn: "", capabilities: "0000000000003000"),
        Way(
            engine: "ifb", dropIn: "SystemCallErrorNumber=kill",
            capabilities: "0000000000003000"),
        // And CAP_SYS_ADMIN (21) and CAP_BPF (39).
        Way(
            engine: "ebpf",
            dropIn: """
                CapabilityBoundingSet=CAP_BPF CAP_SYS_ADMIN
                AmbientCapabilities=CAP_BPF CAP_SYS_ADMIN
                SystemCallErrorNumber=kill
                """,
            capabilities: "0000008000203000"),
    ]
}

/// The virtual machine as a hypervisor, in its own first network namespace, and the service on it.
private struct Machine {
    static let unit = "systemd/sluiced.service"

    let service: InstalledService
    let host: Host

    /// Makes the hypervisor and installs the service, stopped.
    init(
        dropIn: String = "", police: Int = 60, shape: Int = 60, tighten: Int = 60,
        control: String = "", settings: String = ""
    ) throws {
        let configuration = Self.configuration(
            police: police, shape: shape, tighten: tighten, control: control)
        service = try InstalledService(
            configuration: configuration + settings,
            unit: Self.unit, dropIn: dropIn)
        host = try Host()
    }

    static func configuration(
        mode: String = "enforce", police: Int = 60, shape: Int = 60, tighten: Int = 60,
        control: String = ""
    ) -> String {
        Stage.configuration(
            socket: InstalledService.socket, police: police, shape: shape, tighten: tighten,
            calm: 60, mode: mode, control: control)
    }

    /// Leaves the machine as the next test wants to find it, whatever happened.
    func close() {
        _ = try? Tool.run("/usr/sbin/sluicectl", "release", "--all")
        try? service.order("stop")
        _ = try? Tool.run("systemctl", "reset-failed")
        host.uplink.close()
        _ = try? Tool.run("ip", "link", "delete", Host.bridge)
        _ = try? Tool.run("rm", "-rf", "/run/sluice", "/var/lib/sluice")
    }

    /// Starts a VM, and waits until the daemon watches its port.
    func startWatched() throws -> Station {
        let vm = try host.start(vm: 1)
        try Lab.wait(for: "the port", within: .seconds(5)) { try service.port(vm.name) != nil }
        return vm
    }

    func flood(_ rogue: Station) throws -> FloodRun {
        try rogue.flood(
            Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(40)))
    }

    func wait(for rung: String, of vm: Station) throws {
        do {
            try Lab.wait(for: "\(vm.name) on \(rung)", within: .seconds(10)) {
                try service.port(vm.name)?.rung == rung
            }
        } catch {
            throw LabError("\(error)", detail: try service.lines().joined(separator: "\n"))
        }
    }

    /// What passes in a second that begins when bursts are spent and queues are steady.
    func expectRate(_ wanted: Double, of vm: Station, on rung: String) throws {
        measure(for: .milliseconds(1_200))
        let window = measure(for: .seconds(1))
        let passed = try host.uplink.received.delivered(
            FrameFilter(from: vm.mac, kind: .udp), during: window)
        report("under the unit, \(rung): \(passed.packetsPerSecond) pps of \(wanted)")
        #expect(isWithin(0.05, of: wanted, passed.packetsPerSecond))
    }
}

/// The lines `NAME: VALUE` of /proc/PID/status.
private struct ProcessFacts {
    private let values: [Substring: String]

    init(_ text: String) {
        let pairs = text.split(separator: "\n").map { line -> (Substring, String) in
            let name = line.prefix { $0 != ":" }
            let value = line.dropFirst(name.count + 1).drop { $0 == "\t" || $0 == " " }
            return (name, String(value))
        }
        values = Dictionary(pairs) { first, _ in first }
    }

    subscript(_ name: String) -> String? { values[Substring(name)] }
}
