// Real floods, and what is kept of them: by the real daemon, on disk, and read by tcpdump.
import CLab
import ControlAPI
import Evidence
import FoundationEssentials
import Lab
import LabTesting
import LinuxSystem
import Mitigation
import Settings
import SystemPackage
import Testing
import TrafficControl

@testable import Daemon

@Suite(.serialized) struct EvidenceTests {
    /// What the daemon told and kept of the first trip.
    private struct Told {
        var incident: UInt32
        var line: String
        /// As `sluicectl evidence` has it.
        var report: EvidenceReport
        var packets: [SampledPacket]
        var file: String
    }

    private static func sluicectl(_ stage: borrowing Stage, _ arguments: String...) throws -> String
    {
        try Tool.run(
            DaemonProcess.binary("sluicectl"),
            ["evidence"] + arguments + ["--socket", stage.daemon.socket])
    }

    private static func decode<Answer: Decodable>(
        _ text: String, as type: Answer.Type
    ) throws -> Answer {
        try JSONDecoder().decode(type, from: Data(text.utf8))
    }

    /// Waits for the sample of the first trip.
    private static func sample(_ stage: borrowing Stage) throws -> Told {
        let line = try stage.daemon.line(with: "event=evidence ", within: .seconds(15))
        let told = ToldLine(number: 1, at: 0, severity: "notice", line: line)
        let incident = try #require(told["incident"].flatMap { UInt32($0) })
        let file = try #require(told["file"])
        #expect(file == stage.folder.file("state/evidence/\(incident).pcap"))
        let bytes = try #require(try AtomicFile(path: file).read(limit: 1_000_000))
        let read = try CaptureFile.read(bytes, most: 1_000)
        #expect(!read.isTorn)
        let json = try sluicectl(stage, "\(incident)", "--json")
        #expect(
            try OpenAPI().violations(of: json, to: "GET /v1/evidence/{number}") == [])
        return Told(
            incident: incident, line: line, report: try decode(json, as: EvidenceReport.self),
            packets: read.packets,
            file: file)
    }

    /// tcpdump's lines of a file, of frames with their Ethernet headers.
    private static func tcpdump(_ file: String) throws -> [String] {
        let text = try Tool.run("tcpdump", "-r", file, "-nn", "-e", "-t")
        return text.split(separator: "\n").map(String.init)
    }

    /// Guards against: an observing daemon that keeps no sample, one of other packets than the
    /// flood's, a file that tcpdump does not read, words that name another target, and a command that
    /// has not the same to say.
    @Test(.needs(.ifb, .tbf, .clsact)) func aWouldBeTripIsSampled() async throws {
        try await Namespace.run {
            let stage = try Stage(mode: "observe")
            let rogue = try stage.startWatched(vm: 1)
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(30)))
            let told = try Self.sample(stage)
            flood.stop()
            let target = "\(Host.outside.address4):7777"
            #expect(told.line.contains("100% UDP to \(target), 250 B, 1 source"))
            #expect(told.line.contains(" direction=from packets=256 "))
            #expect(told.line.hasSuffix("mode=observe"))
            let summary = told.report.summary
            #expect(summary.packets == 256 && told.packets.count == 256)
            #expect(summary.sourceMACs.top.map(\.what) == ["\(rogue.mac)"])
            #expect(summary.sizes?.minimum == 250 && summary.sizes?.maximum == 250)
            #expect(summary.forged?.packets == 0 && summary.forged?.rule == .ethernet)
            #expect(told.packets.allSatisfy { $0.bytes.count == 128 && $0.length == 250 })
            report(
                "sample: \(summary.packets) packets in \(summary.spanSeconds * 1e3) ms, "
                    + "\(told.report.unseen) while it was full")

            let lines = try Self.tcpdump(told.file)
            #expect(lines.count == 256)
            #expect(
                lines.allSatisfy {
                    $0.contains("\(rogue.mac) > \(Host.outside.mac)") && $0.contains("length 250")
                        && $0.contains("> \(Host.outside.address4).7777: UDP")
                }, "\(lines.first ?? "")")
            try Self.checkCommand(stage, told)
            _ = try stage.daemon.stop()
        }
    }

    /// The same by every way to ask.
    private static func checkCommand(_ stage: borrowing Stage, _ told: Told) throws {
        let list = try sluicectl(stage)
        #expect(list.contains("vm-1-00aa") && list.contains("100% UDP to"))
        let text = try sluicectl(stage, "\(told.incident)")
        report(text)
        #expect(text.contains("incident \(told.incident): vm-1-00aa, sent by it, observe"))
        let copy = try stage.folder.write("", to: "copy.pcap")
        let program = try DaemonProcess.binary("sluicectl")
        let command =
            "\(program) evidence \(told.incident) --pcap --socket \(stage.daemon.socket) > \(copy)"
        try Tool.run("sh", "-c", command)
        try Tool.run("cmp", copy, told.file)
        let offline = try Tool.run(program, ["evidence", copy])
        #expect(offline.contains("summary    100% UDP to"))
        let (none, said) = try Tool.status(
            program, ["evidence", "4711", "--socket", stage.daemon.socket])
        #expect(none == .exited(1) && said.contains("there is no sample of incident 4711"))
        let (broken, why) = try Tool.status(program, ["evidence", program])
        #expect(broken == .exited(2) && why.contains("is no pcap file"))
        let mode = try Tool.run("stat", "-c", "%a", told.file)
        #expect(mode == "640\n")
    }

    /// Guards against: a sample before the action, an action that waits for its sample, and one that
    /// shows only what passes the limit.
    @Test(.needs(.ifb, .tbf, .clsact)) func theActionComesFirst() async throws {
        try await Namespace.run {
            let stage = try Stage()
            let rogue = try stage.startWatched(vm: 1)
            let monitor = try TrafficControlMonitor()
            measure(for: .milliseconds(300))
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(30)))
            let told = try Self.sample(stage)
            flood.stop()
            let events = try Self.decode(
                try stage.daemon.request("GET", "/v1/events"), as: EventsReply.self
            ).events
            let move = try #require(events.first { $0["event"] == "move" && $0["to"] == "police" })
            let evidence = try #require(events.first { $0["event"] == "evidence" })
            #expect(move.number < evidence.number && move["incident"] == evidence["incident"])
            let first = Double(try #require(told.packets.first).nanoseconds) / 1e9
            #expect(move.at <= told.report.takenAt && told.report.takenAt <= first)
            // The kernel's own word, as tc heard of it: never later than a poll.
            let trees = monitor.events.filter {
                $0.text.contains("filter dev \(rogue.name) ") && !$0.text.hasPrefix("deleted")
            }
            let tree = try #require(trees.last, "\(monitor.events)")
            let late = tree.time.inSeconds - first.truncatingRemainder(dividingBy: 86_400)
            report(
                "action to first packet: \((first - move.at) * 1e3) ms after it was told, tree "
                    + "\(-late * 1e3) ms before; sample of \(told.packets.count)")
            #expect(late <= 0.1)
            // More than the limit lets through: what is offered is sampled.
            let span = told.report.summary.spanSeconds
            #expect(Double(told.packets.count) / span > Double(Stage.target) * 3)
            #expect(told.report.mode == "enforce")
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: tags that the kernel took out of a frame and that stay out of the file, and the
    /// other direction's packets in a sample.
    @Test(.needs(.ifb)) func tagsAndDirections() async throws {
        try await Namespace.run {
            let host = try Host()
            let rogue = try host.start(vm: 1)
            let victim = try host.start(vm: 2)
            for (tags, wanted) in [([20], "20"), ([100, 20], "100.20")] as [([UInt16], String)] {
                let flood = try rogue.flood(
                    Flood(
                        to: victim.endpoint, packetsPerSecond: 2_000, duration: .seconds(10),
                        tags: tags))
                let sent = SampleSummary(
                    try Self.look(rogue, .from).packets, sources: .none)
                #expect(sent.vlans.top == [SampleShare(what: wanted, packets: 256, share: 1)])
                #expect(sent.sizes?.common.top.map(\.what) == ["250"])
                #expect(
                    sent.line == "100% UDP to \(victim.endpoint.address4):7777, 250 B, 1 source")
                let received = try Self.look(victim, .to).packets
                let other = try Self.look(victim, .from).packets
                flood.stop()
                #expect(received.count == 256 && other.isEmpty)
                #expect(SampleSummary(received, sources: .none).vlans.top.first?.what == wanted)
                let folder = try ScratchFolder()
                let file = folder.file("tags.pcap")
                try AtomicFile(path: file).replace(
                    CaptureFile.bytes(of: received), isDurable: false)
                let lines = try Self.tcpdump(file)
                #expect(lines.allSatisfy { $0.contains("vlan 20") && $0.contains("UDP") })
            }
        }
    }

    private static func trip(_ station: Station, _ direction: Mitigation.Direction) -> EvidenceTrip
    {
        EvidenceTrip(
            incident: 1, index: station.index, address: [],
            name: PortName(bytes: Array(station.name.utf8)), direction: direction, mode: .enforce,
            sources: .none)
    }

    private static func look(
        _ station: Station, _ direction: Mitigation.Direction
    ) throws(EvidenceFailure) -> PacketSample {
        try PacketSampler.sample(trip(station, direction))
    }

    /// Guards against: an interface that is gone, down, or another one by now, and a right that is
    /// missing, taken for a quiet port; and a sample that is lost since its interface went meanwhile.
    @Test(.needs(.ifb)) func whatStandsInTheWay() async throws {
        try await Namespace.run {
            let host = try Host()
            let vm = try host.start(vm: 1)
            func why(_ trip: EvidenceTrip) -> String {
                do throws(EvidenceFailure) {
                    _ = try PacketSampler.sample(trip)
                    return ""
                } catch {
                    return error.description
                }
            }
            var trip = Self.trip(vm, .from)
            trip.address = [1, 2, 3, 4, 5, 6]
            #expect(why(trip) == "another interface has the index of this port")
            trip = Self.trip(vm, .from)
            try Capability.without([.rawNetwork]) { #expect(why(trip).contains("CAP_NET_RAW")) }
            // A name is nothing to it.
            try vm.setUp(false)
            #expect(why(trip) == "the interface is down or gone")
            try renameLink(Array(vm.name.utf8), to: Array("vm-9-00aa".utf8))
            try Tool.run("ip", "link", "set", "vm-9-00aa", "up")
            let flood = try vm.flood(
                Flood(to: Host.outside, packetsPerSecond: 100, duration: .seconds(10)))
            try wait(for: "the flood", within: .seconds(5)) { flood.sent > 0 }
            let slow = try PacketSampler.sample(trip)
            #expect(slow.packets.count >= 50 && slow.packets.count <= 110)
            #expect(slow.cutShort == nil && slow.unseen == 0)
            try Tool.run("sh", "-c", "(sleep 0.3; ip link set vm-9-00aa down) >/dev/null 2>&1 &")
            let short = try PacketSampler.sample(trip)
            flood.stop()
            #expect(short.cutShort == "the interface is down or gone")
            #expect(short.packets.count >= 5 && short.packets.count < 80)
            vm.close()
            #expect(why(trip) == "the interface is gone")
        }
    }

    /// Guards against: a sample that makes a flood dearer for the host than it is. A sample that has its
    /// 256 packets and is not closed is the dearest; the floods with and without one take turns.
    @Test(
        .needs(.ifb),
        .enabled(if: clab_thread_cpu_step_ns() < 100_000, "this kernel counts CPU time in ticks"))
    func aFrameCostsLittleMore() async throws {
        try await Namespace.run {
            let host = try Host()
            let vm = try host.start(vm: 1)
            func flood() throws -> Double {
                let run = try vm.flood(
                    Flood(
                        to: Host.outside, packetsPerSecond: 100_000, duration: .seconds(5),
                        count: 20_000))
                let sent = run.finish()
                return Double(run.processorTime.inMilliseconds) * 1e6 / Double(max(sent, 1))
            }
            var bare: [Double] = []
            var sampled: [Double] = []
            for _ in 0..<9 {
                bare.append(try flood())
                let capture = try PacketCapture(
                    index: vm.index, isOutgoing: false, packets: 256, snapLength: 128)
                sampled.append(try flood())
                #expect(capture.packets.count == 256 && capture.unseen() > 10_000)
            }
            let (without, with) = (bare.sorted()[4], sampled.sorted()[4])
            report("a frame: \(without) ns of CPU, beside a full sample \(with) ns")
            #expect(with <= without * 1.3)
        }
    }

    /// Guards against: a turn that pays for samples under way, or for handing over.
    @Test(.needs(.ifb)) func aSampleCostsTheTurnLittle() async throws {
        try await Namespace.run {
            let host = try Host()
            let folder = try ScratchFolder()
            let vm = try host.start(vm: 1)
            var settings = EvidenceSettings()
            settings.directory = folder.file("evidence")
            var journal = JournalSettings()
            journal.directory = folder.file("state")
            journal.runtime = folder.file("run")
            var configuration = Settings.Configuration()
            configuration.policy.grace = .zero
            var turn = Turn(
                machine: try KernelHost.open(),
                control: try KernelTrafficControl.open(TrafficControlSettings()),
                journal: FileJournal(journal) { _ in }, policy: configuration.policy,
                names: configuration.names, now: Self.now())
            turn.start(now: Self.now())
            for _ in 0..<50 { turn.run(now: Self.now()) { Self.now() } }
            let keeper = EvidenceKeeper(settings) { _ in }
            _ = keeper.take(Self.trip(vm, .from))
            var trip = Self.trip(vm, .from)
            trip.incident = 2
            let before = clab_allocations()
            let begin = MonotonicClock.nanoseconds
            _ = keeper.take(trip)
            let handed = clab_allocations() - before
            let spent = MonotonicClock.nanoseconds - begin
            let middle = clab_allocations()
            for _ in 0..<200 { turn.run(now: Self.now()) { Self.now() } }
            let turned = clab_allocations() - middle
            report(
                "handing over: \(spent) ns, \(handed) allocations; 200 turns beside two "
                    + "samples: \(turned) allocations")
            #expect(handed <= 16 && turned == 0)
            try wait(for: "the samples", within: .seconds(10)) { keeper.counts.kept == 2 }
        }
    }

    /// Guards against: half a sample on a full disk, and older ones that pay for it.
    @Test(.needs(.ifb)) func aFullDiskHasNoHalves() async throws {
        try await Namespace.run {
            let folder = try ScratchFolder()
            var settings = EvidenceSettings()
            settings.directory = folder.file("evidence")
            try FolderEntry.makeFolder(settings.directory)
            try Tool.run("mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", settings.directory)
            defer { _ = try? Tool.run("umount", settings.directory) }
            let store = EvidenceStore(settings: settings)
            let packets = (0..<256).map {
                SampledPacket(
                    nanoseconds: $0, length: 128, bytes: [UInt8](repeating: 1, count: 128))
            }
            var kept: [UInt32] = []
            var failures: Set<Errno> = []
            for incident in 1...5 as ClosedRange<UInt32> {
                let report = EvidenceReport(
                    incident: incident, port: "a", direction: "from", mode: "enforce", takenAt: 1,
                    unseen: 0, cutShort: nil, summary: SampleSummary(packets, sources: .none))
                do throws(Errno) {
                    try store.keep(report, packets: CaptureFile.bytes(of: packets))
                    kept.append(incident)
                } catch {
                    failures.insert(error)
                }
            }
            #expect(failures == [.noSpace] && kept == [1, 2])
            for suffix in [".pcap", ".json", ".new"] {
                let files = try FolderEntry.list(settings.directory, suffix: suffix, most: 100)
                #expect(
                    files.map(\.name) == (suffix == ".new" ? [] : kept.map { "\($0)\(suffix)" }))
            }
        }
    }

    private static func now() -> Instant { Instant(nanoseconds: MonotonicClock.nanoseconds) }
}
