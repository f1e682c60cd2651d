// Samples beside the turn: how many at a time, how many on disk, and what is told of those that failed.
import ControlAPI
import Evidence
import Glibc
import Lab
import LinuxSystem
import Mitigation
import Synchronization
import Testing
import TrafficControl

@testable import Daemon
@testable import Settings

@Suite(.serialized) struct EvidenceTests {
    /// A sampler that waits until it is let go.
    private final class Gate: Sendable {
        private let isOpen = Atomic<Bool>(false)
        let entered = Atomic<Int>(0)
        let most = Atomic<Int>(0)
        private let inside = Atomic<Int>(0)

        func open() { isOpen.store(true, ordering: .releasing) }

        func pass() {
            entered.add(1, ordering: .relaxed)
            let now = inside.add(1, ordering: .relaxed).newValue
            most.max(now, ordering: .relaxed)
            while !isOpen.load(ordering: .acquiring) { usleep(1_000) }
            inside.subtract(1, ordering: .relaxed)
        }
    }

    private static func trip(_ incident: UInt32) -> EvidenceTrip {
        EvidenceTrip(
            incident: incident, index: 7, address: [], name: PortName(bytes: Array("vm-1-aa".utf8)),
            direction: .from, mode: .enforce, sources: .none)
    }

    private static func settings(
        _ folder: borrowing ScratchFolder, quota: UInt64 = 64_000_000
    ) -> EvidenceSettings {
        var settings = EvidenceSettings()
        settings.directory = folder.file("evidence")
        settings.quota = quota
        return settings
    }

    private static let packets = (0..<256).map { place in
        SampledPacket(
            nanoseconds: UInt64(place), length: 200, bytes: [UInt8](repeating: 9, count: 200))
    }

    /// Takes what is told, until there are as many lines.
    private static func lines(_ told: Tidings, _ count: Int) throws -> [AlertLine] {
        var lines: [AlertLine] = []
        try wait(for: "\(count) lines", within: .seconds(10)) {
            lines += told.take()
            return lines.count >= count
        }
        return lines
    }

    private static func ask(_ keeper: EvidenceKeeper, _ request: EvidenceRequest) throws
        -> ControlReply
    {
        let answer = Mutex<ControlReply?>(nil)
        keeper.answer(request) { reply in answer.withLock { $0 = reply } }
        try wait(for: "an answer", within: .seconds(10)) { answer.withLock { $0 != nil } }
        return try #require(answer.withLock { $0 })
    }

    /// Guards against: a sample that is not told with its file and in a few words, comes back as
    /// another one by the socket, lets others than its group read, or is taken twice.
    @Test func aSampleIsKeptAndRead() throws {
        let folder = try ScratchFolder()
        let woken = Atomic<Int>(0)
        let told = Tidings { woken.add(1, ordering: .relaxed) }
        let sampler: EvidenceKeeper.Sampler = { (_) throws(EvidenceFailure) in
            PacketSample(packets: Self.packets, unseen: 3, cutShort: nil)
        }
        let keeper = EvidenceKeeper(Self.settings(folder), sample: sampler, tell: told.add)
        #expect(keeper.take(Self.trip(12)) == nil && keeper.take(Self.trip(12)) == nil)
        let line = try #require(try Self.lines(told, 1).first)
        let file = folder.file("evidence/12.pcap")
        #expect(
            line.text == "event=evidence incident=12 port=vm-1-aa direction=from packets=256 "
                + "file=\(file) summary=\"100% EtherType 0x0909 to 09:09:09:09:09:09, 200 B, "
                + "1 source\" mode=enforce")
        #expect(woken.load(ordering: .relaxed) == 1 && keeper.counts.kept == 1)
        for name in ["12.pcap", "12.json"] {
            #expect(try ControlFiles.mode(of: folder.file("evidence/\(name)")) == 0o640)
        }
        guard case .packets(let bytes) = try Self.ask(keeper, .packets(12)) else {
            Issue.record("no packets")
            return
        }
        #expect(try CaptureFile.read(bytes, most: 1_000).packets == Self.packets)
        guard case .evidence(let report) = try Self.ask(keeper, .report(12)),
            case .evidenceList(let list) = try Self.ask(keeper, .list)
        else {
            Issue.record("no report")
            return
        }
        #expect(report.incident == 12 && report.unseen == 3 && report.summary.packets == 256)
        #expect(list.evidence == [EvidenceItem(report)])
        guard case .problem(404, _) = try Self.ask(keeper, .packets(13)) else {
            Issue.record("a sample of nothing")
            return
        }
    }

    /// Guards against: as many threads, sockets and samples as there are floods, a turn that waits for
    /// them, and ones that are left out without a word.
    @Test func fewAtATime() throws {
        let folder = try ScratchFolder()
        let gate = Gate()
        let told = Tidings {}
        let keeper = EvidenceKeeper(Self.settings(folder)) { (_) throws(EvidenceFailure) in
            gate.pass()
            return PacketSample()
        } tell: { line in
            told.add(line)
        }
        let begin = MonotonicClock.nanoseconds
        let skipped = (1...100).compactMap { keeper.take(Self.trip($0)) }
        let spent = MonotonicClock.nanoseconds - begin
        #expect(skipped.count == 96 && keeper.counts.skipped == 96)
        #expect(
            skipped.first?.text == "event=evidence-skipped incident=5 port=vm-1-aa "
                + "why=\"4 samples are being taken\" mode=enforce")
        // A wait for one of the samples would be for ever.
        #expect(spent < 2_000_000_000)
        try wait(for: "the samplers", within: .seconds(10)) {
            gate.entered.load(ordering: .relaxed) == 4
        }
        gate.open()
        _ = try Self.lines(told, 4)
        #expect(gate.most.load(ordering: .relaxed) == 4)
        try wait(for: "a free thread", within: .seconds(10)) {
            keeper.take(Self.trip(200 + UInt32(keeper.counts.skipped))) == nil
        }
        #expect(try Self.lines(told, 1).count == 1 && keeper.counts.kept == 5)
    }

    /// Guards against: files that grow over the quota, the newest deleted in place of the oldest,
    /// packets that stay without their report, and halves of a crash that stay for ever.
    @Test func theOldestGoFirst() throws {
        let folder = try ScratchFolder()
        let settings = Self.settings(folder, quota: 200_000)
        let store = EvidenceStore(settings: settings)
        let bytes = CaptureFile.bytes(of: Self.packets)
        let report = ControlHarness.evidence
        // Numbers fall, as after a lost journal: the time decides.
        for incident in (1...20 as ClosedRange<UInt32>).reversed() {
            var report = report
            report.incident = incident
            try store.keep(report, packets: bytes)
            if incident == 5 { _ = try folder.write("half", to: "evidence/5.pcap.new") }
            usleep(12_000)
        }
        let entries = try [".pcap", ".json", ".new"].map {
            try FolderEntry.list(settings.directory, suffix: $0, most: 100)
        }
        let sum = entries.flatMap { $0 }.reduce(0) { $0 + $1.size }
        #expect(sum <= 200_000 && sum > 200_000 - 40_000)
        #expect(entries[2].isEmpty)
        let kept = try store.list().evidence.map(\.incident)
        #expect(kept == [5, 4, 3, 2, 1])
        #expect(Set(entries[0].map(\.name)) == Set(kept.map { "\($0).pcap" }))
        #expect(Set(entries[1].map(\.name)) == Set(kept.map { "\($0).json" }))
    }

    /// Guards against: a disk that is full or not there that is not told, leaves a half of a sample,
    /// or loses what was seen: the words are told all the same.
    @Test func aBrokenDiskIsTold() throws {
        let folder = try ScratchFolder()
        _ = try folder.write("a file", to: "evidence")
        let told = Tidings {}
        let keeper = EvidenceKeeper(Self.settings(folder)) { (_) throws(EvidenceFailure) in
            PacketSample(packets: Self.packets, unseen: 0, cutShort: nil)
        } tell: { line in
            told.add(line)
        }
        #expect(keeper.take(Self.trip(1)) == nil)
        let line = try #require(try Self.lines(told, 1).first)
        #expect(line.severity == .error && line.text.contains("summary=\"100% "))
        #expect(line.text.contains("why=\"") && !line.text.contains("file="))
        #expect(keeper.counts.unkept == 1 && keeper.counts.kept == 0)
        guard case .problem(let status, _) = try Self.ask(keeper, .list) else {
            Issue.record("a list of a file")
            return
        }
        #expect(status == 500)
    }

    /// Guards against: an interface that is gone, or a right that is missing, taken for a quiet port,
    /// or for more than a missing sample.
    @Test func aFailureIsTold() throws {
        let folder = try ScratchFolder()
        let told = Tidings {}
        let keeper = EvidenceKeeper(Self.settings(folder)) { (_) throws(EvidenceFailure) in
            throw EvidenceFailure("the interface is gone")
        } tell: { line in
            told.add(line)
        }
        _ = keeper.take(Self.trip(1))
        let line = try #require(try Self.lines(told, 1).first)
        #expect(
            line.text == "event=evidence-failed incident=1 port=vm-1-aa "
                + "why=\"the interface is gone\" mode=enforce")
        #expect(keeper.counts.failed == 1)
        guard case .evidenceList(let list) = try Self.ask(keeper, .list) else {
            Issue.record("no list")
            return
        }
        #expect(list.evidence.isEmpty)
        var off = Self.settings(folder)
        off.isEnabled = false
        let silent = EvidenceKeeper(off) { (_) throws(EvidenceFailure) in
            Issue.record("a sample although none are wanted")
            return PacketSample()
        } tell: { line in
            told.add(line)
        }
        #expect(silent.take(Self.trip(2)) == nil && silent.counts == EvidenceCounts())
    }

    /// Guards against: tenants' packets for whoever may only look, summaries that are kept from them,
    /// and numbers that lead out of the folder.
    @Test func whoMayReadWhat() throws {
        for (access, status) in [(ControlAccess.act, 200), (.read, 403), (.none, 403)] {
            let harness = try ControlHarness(access: access)
            #expect(try harness.ask("GET", "/v1/evidence/7.pcap").status == status)
            let summary = try harness.ask("GET", "/v1/evidence/7")
            #expect(summary.status == (access == .none ? 403 : 200))
        }
        let harness = try ControlHarness()
        let packets = try harness.ask("GET", "/v1/evidence/7.pcap")
        #expect(packets.head.contains("content-type: application/vnd.tcpdump.pcap"))
        #expect(packets.head.contains("content-length: 6"))
        let api = try OpenAPI()
        for (path, operation) in [
            ("/v1/evidence", "GET /v1/evidence"), ("/v1/evidence/7", "GET /v1/evidence/{number}"),
        ] {
            #expect(try api.violations(of: harness.ask("GET", path).body, to: operation) == [])
        }
        for path in ["07", "-1", "x", "7.PCAP", "..", "%2e%2e", "4294967296", "7.pcap.pcap", ""] {
            #expect(try harness.ask("GET", "/v1/evidence/\(path)").status == 404, "\(path)")
        }
        #expect(try harness.ask("GET", "/v1/evidence/8").status == 404)
    }

    /// Guards against: a trip that is not sampled, a way down or a refusal that is, and a flood from
    /// outside that nobody looks into since it is only told.
    @Test(
        arguments: [
            (.moved(from: .normal, to: .police), true), (.moved(from: .normal, to: .shape), true),
            (.victim(true), true), (.watched(true), true), (.victim(false), false),
            (.moved(from: .police, to: .shape), false), (.moved(from: .police, to: .normal), false),
            (.vanished(.police), false), (.refused(.police, "no"), false),
        ] as [(Event.Kind, Bool)])
    func whatIsATrip(_ kind: Event.Kind, _ isOne: Bool) {
        var event = Event(
            sequence: 1, kind: kind, at: Instant(nanoseconds: 1),
            port: PortID(index: 7, generation: 1), name: PortName(bytes: [0x61]), incident: 3,
            reason: nil, mode: .observe)
        #expect(event.isTrip == isOne)
        event.incident = 0
        #expect(!event.isTrip)
    }

    /// Guards against: own addresses that the guards name and the judgement of a sample does not know.
    @Test func ownAddressesOfGuards() throws {
        let mac = try #require(HardwareAddress("52:54:00:00:00:01"))
        let lent = try #require(HardwareAddress("00:00:5e:00:01:07"))
        let tenant = TenantGuard(
            macs: [mac], prefixes4: [try #require(AddressPrefix4("192.0.2.5"))],
            prefixes6: [try #require(AddressPrefix6("2001:db8:0:5::/64"))],
            pairs: [
                TenantGuard.Pair(mac: lent, prefix: try #require(AddressPrefix("192.0.2.100")))
            ])
        let own = try #require(Guards(profile: .tenant(tenant)).ownAddresses)
        #expect(own.macs.map { "\($0)" }.sorted() == ["00:00:5e:00:01:07", "52:54:00:00:00:01"])
        let prefixes = Set(own.prefixes.map { "\($0.address)/\($0.length)" })
        #expect(
            prefixes == [
                "192.0.2.5/32", "192.0.2.100/32", "2001:db8:0:5::/64",
                "fe80::5054:ff:fe00:1/128", "fe80::200:5eff:fe00:107/128",
            ])
        #expect(Guards(switches: [.noRA]).ownAddresses == nil)
    }
}
