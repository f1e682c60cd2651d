// The journal's files: what is read back after a crash, after a loss of power, and from a file that
// somebody or something broke.
import CLab
import FoundationEssentials
import Glibc
import Mitigation
import Synchronization
import Testing
import TrafficControl

@testable import Daemon
@testable import Settings

@Suite struct JournalTests {
    private static let now = Instant(nanoseconds: 90_000_000_000)
    private static let forgiveness = Duration.seconds(3600)

    /// A port that is policed, one strike behind it, on a machine that somebody else limits too.
    private static var state: JournalState {
        let cap = Cap(
            packets: PacketRate(perSecond: 1_000), bits: BitRate(bitsPerSecond: 2_000_000))
        var incident = IncidentMemory(number: 3)
        incident.strikes = 1
        incident.wasMitigated = true
        incident.from.rung = .police
        incident.from.since = Instant(nanoseconds: 80_000_000_000)
        incident.from.cap = cap
        incident.limits = Limits(
            rung: .police, incident: 3, from: Limit(cap: cap, delay: nil), to: nil,
            lane: Policy().lane)
        var memory = PortMemory()
        memory.incident = incident
        var state = JournalState()
        state.engine.lastIncident = 3
        state.engine.lastEvent = 12
        state.ports = [
            PortRecord(
                index: 7, name: PortName(bytes: [0x76, 0x6d, 0xff]), address: [2, 0, 0, 0, 0, 1],
                kind: "tun", origin: PortOrigin(hadHook: true), advisories: ["a"], memory: memory)
        ]
        state.stops = [7]
        return state
    }

    /// A folder for both places, and what became of `body` there.
    private static func withFolder(_ body: (JournalSettings, String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.path + "/journal-\(UUID())"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var settings = JournalSettings()
        settings.runtime = folder + "/run"
        settings.directory = folder + "/state"
        try body(settings, folder)
    }

    private static func write(_ state: JournalState, _ settings: JournalSettings) throws {
        var journal = FileJournal(settings) { Issue.record("\($0?.description ?? "works")") }
        try journal.write(state, now: now)
        journal.flush()
    }

    private static func read(_ settings: JournalSettings) -> JournalFindings {
        FileJournal.read(settings, now: now, forgiveness: forgiveness)
    }

    /// Guards against: a value that is lost on its way through the files, and files that others read.
    @Test func whatIsWrittenIsRead() throws {
        try Self.withFolder { settings, _ in
            let nothing = Self.read(settings)
            #expect(nothing.state == nil && nothing.problems == [])
            try Self.write(Self.state, settings)
            let findings = Self.read(settings)
            #expect(findings.state == Self.state && findings.problems == [])
            for folder in [settings.runtime, settings.directory] {
                let attributes = try FileManager.default.attributesOfItem(
                    atPath: folder + "/journal.json")
                #expect(attributes[.posixPermissions] as? Int == 0o600)
                let names = try FileManager.default.contentsOfDirectory(atPath: folder)
                #expect(names == ["journal.json"])
            }
        }
    }

    /// Guards against: a write that takes a poll's time where many ports are limited at once. It stands
    /// before every change of the kernel; Foundation's encoder took 0.18 s for these.
    @Test func aThousandPortsAreWrittenAtOnce() throws {
        var state = Self.state
        state.ports = (1...1_000).map { index in
            var port = state.ports[0]
            port.index = Int32(index)
            return port
        }
        let document = JournalDocument(
            boot: "b", savedAt: Self.now, wallClock: 1, state: state)
        let encoder = JSONEncoder()
        var ours: [UInt64] = []
        var foundations: [UInt64] = []
        for _ in 0..<5 {
            let begin = clab_thread_cpu_ns()
            let bytes = try document.bytes()
            let middle = clab_thread_cpu_ns()
            let data = try encoder.encode(document)
            foundations.append(clab_thread_cpu_ns() - middle)
            ours.append(middle - begin)
            #expect(bytes.count > data.count)
        }
        let ratio = Double(ours.sorted()[2]) / Double(foundations.sorted()[2])
        print(
            "figure: a journal of 1000 ports: \(ours.sorted()[2] / 1_000) us, \(ratio) of JSONEncoder's"
        )
        #expect(ratio < 0.6)
    }

    /// Guards against: a file that was cut short or broken at any byte, believed in part or in the
    /// way of the durable copy; and one that nobody can look into afterwards.
    @Test func aBrokenFileIsSetAside() throws {
        try Self.withFolder { settings, _ in
            try Self.write(Self.state, settings)
            let path = settings.runtime + "/journal.json"
            let whole = try Data(contentsOf: URL(filePath: path))
            for length in stride(from: 0, to: whole.count - 1, by: 97) {
                try whole.prefix(length).write(to: URL(filePath: path))
                let findings = Self.read(settings)
                #expect(findings.state == Self.state, "the durable copy, at \(length)")
                #expect(findings.problems.count == 1)
                #expect(findings.problems.first?.hasPrefix(path + ": ") == true)
                let aside = try Data(contentsOf: URL(filePath: path + ".broken"))
                #expect(aside == whole.prefix(length))
            }
            try Data("{\"version\":2}".utf8).write(to: URL(filePath: path))
            try Data("[]".utf8).write(to: URL(filePath: settings.directory + "/journal.json"))
            let findings = Self.read(settings)
            #expect(findings.state == nil && findings.problems.count == 2)
        }
    }

    /// Guards against: a link in place of the file that leads the daemon, as root, to another one; a
    /// pipe that it waits for; and another's file that it writes into.
    @Test func whatStandsInItsPlaceIsNotUsed() throws {
        try Self.withFolder { settings, folder in
            try Self.write(Self.state, settings)
            let path = settings.runtime + "/journal.json"
            let other = folder + "/other"
            try Data("kept".utf8).write(to: URL(filePath: other))
            let files = FileManager.default
            for round in 0..<3 {
                for name in [path, path + ".new"] {
                    _ = try? files.removeItem(atPath: name)
                    switch round {
                    case 0: try files.createSymbolicLink(atPath: name, withDestinationPath: other)
                    case 1: try #require(unsafe mkfifo(name, 0o600) == 0)
                    default: try files.linkItem(atPath: other, toPath: name)
                    }
                }
                let findings = Self.read(settings)
                #expect(findings.state == Self.state && findings.problems.count == 1)
                var journal = FileJournal(settings) { Issue.record("\($0?.description ?? "")") }
                try journal.write(Self.state, now: Self.now)
                journal.flush()
                #expect(try Data(contentsOf: URL(filePath: other)) == Data("kept".utf8))
                #expect(Self.read(settings).state == Self.state)
                let names = try files.contentsOfDirectory(atPath: settings.runtime).sorted()
                #expect(names == ["journal.json", "journal.json.broken"])
            }
        }
    }

    /// Guards against: a machine that starts again and takes its former interfaces for those of
    /// before, or forgives a port that flooded a minute ago.
    @Test func anotherStartOfTheMachineKeepsTheStrikes() throws {
        let written = JournalDocument(
            boot: "before", savedAt: Self.now, wallClock: 1_000_000, state: Self.state)
        let document = try JournalDocument(bytes: try written.bytes())
        #expect(document == written)
        let start = Instant(nanoseconds: 5_000_000_000)
        let state = document.state(
            boot: "after", now: start, wallClock: 1_000_060, forgiveness: Self.forgiveness)
        #expect(state.ports == [] && state.stops == [])
        #expect(state.engine.lastIncident == 3 && state.engine.lastEvent == 12)
        let gone = try #require(state.departed.first)
        #expect(gone.name == PortName(bytes: [0x76, 0x6d, 0xff]) && gone.memory.strikes == 1)
        #expect(gone.memory.incident == nil && gone.until > start)
        // A wall clock that went back, and one that is out of its mind.
        for clock in [Int64.min, 0, .max] {
            let state = document.state(
                boot: "after", now: start, wallClock: clock, forgiveness: Self.forgiveness)
            #expect(state.ports == [])
        }
        let same = document.state(
            boot: "before", now: start, wallClock: 0, forgiveness: Self.forgiveness)
        #expect(same == Self.state)
    }

    /// Guards against: a place that cannot be written, told at each write or in the other's way.
    @Test func aPlaceThatCannotBeWrittenIsToldOnce() throws {
        try Self.withFolder { settings, folder in
            try Self.write(Self.state, settings)
            var later = settings
            later.directory = "/dev/full"
            let told = Told()
            var journal = FileJournal(later) { told.add($0?.description ?? "works") }
            var state = Self.state
            for number in 1...5 as ClosedRange<UInt32> {
                state.engine.lastIncident = number
                try journal.write(state, now: Self.now)
                journal.flush()
            }
            #expect(told.sentences.count == 1)
            #expect(told.sentences.first?.hasPrefix("/dev/full/journal.json: ") == true)
            #expect(Self.read(settings).state == state, "the file in memory goes on")
            later.runtime = "/dev/full"
            var neither = FileJournal(later) { _ in }
            #expect(throws: JournalError.self) { try neither.write(state, now: Self.now) }
        }
    }
}

/// What the journal's thread told.
private final class Told: Sendable {
    private let all = Mutex<[String]>([])
    var sentences: [String] { all.withLock { $0 } }
    func add(_ sentence: String) { all.withLock { $0.append(sentence) } }
}
