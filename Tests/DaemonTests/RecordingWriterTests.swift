// The recording's files: how many there are, and what becomes of them where the disk does not do.
import Lab
import LinuxSystem
import Mitigation
import Recording
import Synchronization
import Testing

@testable import Daemon
@testable import Settings

@Suite(.serialized) struct RecordingWriterTests {
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    private static func offer(_ writer: RecordingWriter, _ count: Int, beginsFile: Bool) throws {
        var bytes = Array(repeating: UInt8(7), count: count)
        try wait(for: "the writer", within: .seconds(5)) {
            writer.offer(&bytes, beginsFile: beginsFile)
            return bytes.isEmpty
        }
    }

    private static func files(_ folder: String) throws -> [FolderEntry] {
        try FolderEntry.list(folder, suffix: RecordFormat.suffix, most: 1_000)
    }

    /// Guards against: files that grow over the quota, the newest deleted instead of the oldest, and
    /// bytes that are lost at the end.
    @Test func theOldestGoFirst() throws {
        let folder = try ScratchFolder()
        var settings = RecordingSettings()
        settings.directory = folder.file("record")
        settings.quota = 1_048_576
        let writer = RecordingWriter(settings, capacity: 1_000) { _ in }
        for _ in 0..<40 {
            try Self.offer(writer, 40_000, beginsFile: true)
            try Self.offer(writer, 25_000, beginsFile: false)
        }
        writer.end()
        let files = try Self.files(settings.directory)
        #expect(files.allSatisfy { $0.size == 65_000 })
        #expect(files.count >= 14 && files.count <= 16)
        #expect(!writer.takeBroken())
    }

    /// Guards against: a folder that cannot be written to that is told at each turn, holds up whoever
    /// gives, or goes unnoticed by the recorder.
    @Test func aBrokenDiskIsToldOnce() throws {
        let folder = try ScratchFolder()
        let blocked = try folder.write("a file", to: "record")
        var settings = RecordingSettings()
        settings.directory = blocked
        let told = Lines()
        let writer = RecordingWriter(settings, capacity: 1_000) { told.add($0.text) }
        for place in 0..<6 { try Self.offer(writer, 10, beginsFile: place % 3 == 0) }
        writer.end()
        #expect(told.all.count == 1)
        #expect(told.all.first?.contains("event=recording-failed why=") == true)
        #expect(writer.takeBroken() && !writer.takeBroken())
    }

    /// Guards against: a recorder that goes on into a file of which a part is missing.
    @Test func whatIsLostIsAnotherBeginning() throws {
        let now = Instant(nanoseconds: 5_000_000_000)
        var engine = RecordedEngine(policy: Policy(), now: now)
        engine.record(RecorderSettings(), configuration: [], now: now, wallNanoseconds: 1)
        var begins: [Bool] = []
        for poll in 1...40 as ClosedRange<UInt64> {
            let moment = now.advanced(by: .milliseconds(Int(100 * poll)))
            var actions: [Action] = []
            engine.finishPoll(now: moment, into: &actions)
            if poll == 20 { engine.breakRecording() }
            engine.endTurn(now: moment, wallNanoseconds: { 1 }) { bytes, beginsFile in
                begins.append(beginsFile)
                bytes = []
            }
        }
        #expect(begins.filter { $0 }.count == 2)
    }
}
