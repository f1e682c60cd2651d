// What is made of the facts of a host: every kind of finding, its state and its cure.
import ControlAPI
import Mitigation
import Settings
import Testing
import TrafficControl

@testable import Doctor

@Suite struct FindingTests {
    /// A host on which all is well.
    static func healthy() -> HostFacts {
        var facts = HostFacts()
        facts.release = "6.1"
        facts.kernel = .seen(
            KernelParts(
                hasActPolice: true, hasBPF: true, hasNetem: true, hasIFB: true, hasActGact: true,
                hasActBPF: true, followsConnections: true))
        facts.ports = .seen([
            PortFacts(
                name: PortName("vm-1-00aa"), portClass: .vm,
                owners: .seen(PortOwners(root: .standard("noqueue"), hook: .absent)))
        ])
        facts.daemon = .answers(status(), Metrics(metrics))
        let file = FileFacts(kind: .file, user: 0, group: 0, mode: 0o600, ageSeconds: 5, bytes: 227)
        let folder = FileFacts(kind: .folder, user: 0, group: 0, mode: 0o700)
        facts.socket = .seen(FileFacts(kind: .socket, user: 0, group: 0, mode: 0o660))
        facts.stateFolder = .seen(folder)
        facts.freeBytes = 1_000_000_000
        facts.journal = .seen(file)
        facts.durableJournal = .seen(file)
        facts.recording = .seen(RecordingFacts(bytes: 7_000_000, ageSeconds: 1))
        facts.logSockets = ["/dev/log"]
        facts.runningText = .same
        return facts
    }

    static func status(
        mode: String = "enforce", version: String = Product.version, latePolls: UInt64 = 0,
        breaker: String? = nil, ports: [PortStatus] = [port()]
    ) -> Status {
        Status(
            version: version, pid: 2, mode: mode, uptimeSeconds: 61, kernel: "6.1",
            kernelNotes: [], polls: 1_000, pollMilliseconds: 100, latePolls: latePolls,
            worstLatenessMicroseconds: 400, mitigated: 0, breaker: breaker, ports: ports)
    }

    static func port(problem: String? = nil) -> PortStatus {
        PortStatus(
            name: "vm-1-00aa", index: 1, portClass: "vm", pattern: "vm-<num>-<netid>",
            netid: "00aa",
            rung: "normal", onRungSeconds: nil, incident: nil, isVictim: false,
            offered: Loads(from: nil, to: nil), delivered: nil, lane: nil, cap: nil,
            delayMilliseconds: nil, enforcement: nil, problem: problem)
    }

    static let metrics = """
        # TYPE sluice_turn_seconds histogram
        sluice_turn_seconds_bucket{le="0.0001"} 900
        sluice_turn_seconds_bucket{le="0.001"} 995
        sluice_turn_seconds_bucket{le="+Inf"} 1000
        sluice_turn_seconds_sum 0.1
        sluice_turn_seconds_count 1000
        sluice_netlink_errors_total{operation="poll"} 0
        sluice_breaker_counted{cause="share"} 0
        sluice_breaker_limit{cause="share"} 4
        # EOF
        """

    private func told(
        _ what: String, _ change: (inout HostFacts) -> Void
    ) -> [Finding] {
        var facts = Self.healthy()
        change(&facts)
        return Examination(facts).findings.filter { $0.what == what }
    }

    private func expect(
        _ what: String, _ state: FindingState, _ text: String, cure: String? = nil,
        _ change: (inout HostFacts) -> Void, location: SourceLocation = #_sourceLocation
    ) {
        let found = told(what, change)
        let isThere = found.contains { one in
            one.state == state && one.fact.contains(text)
                && cure.map { one.cure?.contains($0) == true } ?? true
        }
        #expect(isThere, "\(found)", sourceLocation: location)
    }

    /// Guards against: noise on a host on which all is well.
    @Test func healthyIsQuiet() {
        let examination = Examination(Self.healthy())
        #expect(examination.findings.allSatisfy { $0.state == .ok && $0.cure == nil })
        #expect(Set(examination.findings.map(\.group)) == Set(FindingGroup.allCases))
        #expect(!examination.hasProblem)
    }

    /// Guards against: a rung that the kernel does not have and that is told as there, and a missing
    /// part without its module.
    @Test func kernel() {
        func without(_ change: @escaping (inout KernelParts) -> Void) -> (inout HostFacts) -> Void {
            { facts in
                guard var parts = facts.kernel.value else { return }
                change(&parts)
                facts.kernel = .seen(parts)
            }
        }
        expect("rungs", .ok, "police by act_police, shape and tighten by ifb+tbf+netem") { _ in }
        let lacking = without {
            $0.hasActPolice = false
            $0.notes = ["no act_police (unknown): an eBPF token bucket polices"]
        }
        expect("act_police", .note, "(unknown)", cure: "modprobe act_police", lacking)
        expect("rungs", .ok, "police by ebpf", lacking)
        expect(
            "sch_netem", .warning, "no sch_netem", cure: "linux-image",
            without { $0.hasNetem = false })
        let bare = without {
            $0 = KernelParts(
                hasActPolice: true, hasBPF: false, hasNetem: true, hasIFB: false)
        }
        expect("rungs", .problem, "none between", cure: "modprobe ifb", bare)
        expect("ifb", .problem, "no ifb", bare)
        expect(
            "rungs", .problem, "none: ", cure: "modprobe",
            without {
                $0 = KernelParts(
                    hasActPolice: false, hasBPF: false, hasNetem: false, hasIFB: false)
            })
        expect("rungs", .problem, "the policer ebpf", cure: "engine = ") {
            $0.configuration.enforcement.policer = .bpf
            without { $0.hasBPF = false }(&$0)
        }
        expect("parts", .note, "not looked at: no", cure: "as root") { $0.kernel = .hidden("no") }
        expect("clock", .warning, "hpet") { $0.clockSource = "hpet" }
    }

    /// Guards against: a foreign qdisc that is told as ours, and one that keeps a VM unlimited and is
    /// told as harmless.
    @Test func owners() {
        func owned(
            _ root: PortOwners.Root, _ hook: PortOwners.Hook, filters: [String] = [],
            hardware: Int = 0
        ) -> (inout HostFacts) -> Void {
            { facts in
                let owners = PortOwners(
                    root: root, hook: hook, foreignFilters: filters, hardwareFilters: hardware)
                facts.ports = .seen([
                    PortFacts(
                        name: PortName("vm-1-00aa"), portClass: .vm, owners: .seen(owners))
                ])
            }
        }
        let name = "vm-1-00aa"
        expect(
            name, .warning, "htb 1: is another owner's", cure: "replace_foreign_root",
            owned(.foreign("htb 1:"), .absent))
        expect(name, .ok, "limits at the clsact", owned(.foreign("htb 1:"), .foreign("clsact")))
        expect(name, .note, "takes its place") {
            owned(.foreign("htb 1:"), .ours("ingress"))(&$0)
            $0.configuration.enforcement.replacesForeignRoot = true
        }
        expect(name, .ok, "makes a clsact") {
            owned(.foreign("htb 1:"), .absent)(&$0)
            $0.configuration.enforcement.hook = .clsact
        }
        expect(name, .ok, "root: ours", owned(.ours, .ours("ingress")))
        expect(name, .ok, "in the place of another", owned(.inPlaceOfAnother, .absent))
        expect(name, .ok, "hook: ingress, ours", owned(.ours, .ours("ingress")))
        expect(name, .note, "with filters of ours", owned(.ours, .borrowed("ingress")))
        expect(name, .note, "ours would join it", owned(.standard("noqueue"), .foreign("clsact")))
        expect(
            name, .note, "filter pref 49152 (u32)",
            owned(.ours, .borrowed("ingress"), filters: ["filter pref 49152 (u32)"]))
        expect(
            name, .warning, "a NIC carries out 2", cure: "ethtool -K",
            owned(.standard("noqueue"), .foreign("clsact"), hardware: 2))
        expect(name, .warning, "not known: broken") { facts in
            facts.ports = .seen([
                PortFacts(name: PortName(name), portClass: .vm, owners: .hidden("broken"))
            ])
        }
        expect(name, .warning, "does not watch it", cure: "reload") {
            $0.daemon = .answers(Self.status(ports: []), Metrics(""))
        }
        expect("interfaces", .problem, "cannot be listed") { $0.ports = .hidden("no") }
        expect("classes", .warning, "no interface is claimed") { $0.ports = .seen([]) }
    }

    /// Guards against: a machine that sends past the daemon and that nobody is told of.
    @Test func uncovered() {
        expect("tap9", .warning, "a tap that no class claims", cure: "class.vm.names") {
            $0.unclaimed = [UnclaimedLink(name: PortName("tap9"), kind: .tap)]
        }
        expect("macvtap0", .warning, "through the device below", cure: "bridge") {
            $0.unclaimed = [UnclaimedLink(name: PortName("macvtap0"), kind: .macvtap)]
        }
        expect("db (pid 7)", .warning, "2 interfaces by vhost-user", cure: "in that switch") {
            $0.vhostUser = [VhostUserMachine(pid: 7, name: "db", interfaces: 2)]
        }
        expect(
            "eth0", .warning, "8 virtual functions (SR-IOV), 3 handed to VMs", cure: "max_tx_rate"
        ) { $0.virtualFunctions = [VirtualFunctions(device: "eth0", count: 8, passedThrough: 3)] }
        expect("eth0", .note, "8 virtual functions") {
            $0.virtualFunctions = [VirtualFunctions(device: "eth0", count: 8, passedThrough: 0)]
        }
        expect("eth1", .note, "hw-tc-offload is on", cure: "ethtool -K eth1") {
            $0.offloadingDevices = [PortName("eth1")]
        }
        expect("vhost-user", .note, "of 12 processes", cure: "root") { $0.hiddenProcesses = 12 }
    }

    /// Guards against: a daemon that is late, at fault or at its breaker, and is told as well.
    @Test func daemon() {
        func said(_ status: Status, _ more: String = "") -> (inout HostFacts) -> Void {
            { $0.daemon = .answers(status, Metrics(Self.metrics + "\n" + more)) }
        }
        expect("sluiced", .problem, "does not answer: gone", cure: "systemctl start") {
            $0.daemon = .silent("gone")
        }
        expect("sluiced", .note, "does not answer us", cure: "control.group") {
            $0.daemon = .denied("no")
        }
        expect("sluiced", .note, "limits nothing", cure: "arm", said(Self.status(mode: "observe")))
        expect("sluiced", .warning, "this sluicectl is", said(Self.status(version: "0.0.9")))
        expect("polls", .ok, "0 of 1000 polls more than half of 100 ms late") { _ in }
        expect("polls", .warning, "20 of 1000", cure: "real time", said(Self.status(latePolls: 20)))
        expect("turns", .ok, "less than 1.0 ms") { _ in }
        expect(
            "turns", .warning, "more than a second", cure: "RTNL",
            said(Self.status(), "sluice_turn_seconds_bucket{le=\"0.001\"} 900"))
        expect(
            "netlink", .note, "limit 3", cure: "events",
            said(Self.status(), "sluice_netlink_errors_total{operation=\"limit\"} 3"))
        expect(
            "repairs", .note, "2: limits that somebody",
            said(Self.status(), "sluice_repairs_total 2"))
        expect(
            "losses", .warning, "1: ports are left", said(Self.status(), "sluice_contested_ports 1")
        )
        expect(
            "losses", .warning, "9: log lines", cure: "log daemon",
            said(Self.status(), "sluice_log_lines_dropped_total{reason=\"reader\"} 9"))
        expect(
            "journal", .problem, "on disk cannot be written",
            said(Self.status(), "sluice_journal_broken{copy=\"disk\"} 1"))
        expect(
            "vm-1-00aa", .problem, "refused", cure: "explain vm-1-00aa",
            said(Self.status(ports: [Self.port(problem: "refused")])))
        expect("breaker", .problem, "open (share)", said(Self.status(breaker: "share")))
        expect("breaker", .ok, "closed: share 0 of 4") { _ in }
    }

    /// Guards against: a socket, a journal or a disk that is not as it should be and is not told.
    @Test func files() {
        expect("socket", .problem, "is not there") { $0.socket = .seen(nil) }
        expect("socket", .problem, "it is no socket") {
            $0.socket = .seen(FileFacts(kind: .file, user: 0, group: 0, mode: 0o644))
        }
        expect("socket", .warning, "cannot reach it") { $0.socketGroup = 12 }
        expect("socket", .ok, "mode 660, uid 0, gid 12") {
            $0.socketGroup = 12
            $0.socket = .seen(FileFacts(kind: .socket, user: 0, group: 12, mode: 0o660))
        }
        expect("state", .warning, "is not there") { $0.stateFolder = .seen(nil) }
        expect("state", .warning, "9.0 MB free", cure: "free space") { $0.freeBytes = 9_000_000 }
        expect("state", .problem, "900.0 kB free") { $0.freeBytes = 900_000 }
        expect("journal", .note, "nothing was limited") { $0.journal = .seen(nil) }
        expect("journal, on disk", .note, "denied", cure: "root") {
            $0.durableJournal = .hidden("denied")
        }
        expect("journal", .ok, "227 bytes, written 5s ago") { _ in }
        expect("recording", .ok, "7.0 MB of 256.0 MB, written 1s ago") { _ in }
        expect("recording", .warning, "249.0 MB more", cure: "quota") { $0.freeBytes = 100_000_000 }
        expect("recording", .warning, "written 10min ago") {
            $0.recording = .seen(RecordingFacts(bytes: 1, ageSeconds: 600))
        }
        expect("recording", .note, "off", cure: "[recording]") {
            $0.configuration.recording.isEnabled = false
        }
        expect("log", .warning, "alerts are lost") { $0.logSockets = [] }
        expect("file", .problem, "f:1:2: error: wrong", cure: "right") {
            $0.mistakes = [Mistake(sentence: "f:1:2: error: wrong", cure: "right")]
        }
        expect("file", .note, "cannot be read by this user", cure: "root") {
            $0.isConfigurationReadable = false
        }
        expect("in force", .warning, "not what stands", cure: "reload") { $0.runningText = .other }
        #expect(told("in force") { $0.runningText = .unknown }.isEmpty)
    }
}
