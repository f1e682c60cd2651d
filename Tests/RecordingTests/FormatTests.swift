// A recording's files: whole, cut off at any byte, broken at any byte, and of strangers.
import Mitigation
import Seeded
import Testing

@testable import Recording

@Suite struct FormatTests {
    private static func items(_ bytes: [UInt8]) throws -> (items: [RecordedItem], problem: String?)
    {
        var reader = try RecordingReader(bytes)
        var items: [RecordedItem] = []
        while let item = reader.next() { items.append(item) }
        return (items, reader.problem)
    }

    private static func history(polls: UInt64 = 200) -> RecordedHistory {
        let history = RecordedHistory(seed: 11)
        history.run(polls: polls)
        return history
    }

    /// Guards against: a value that comes back as another one, over what all histories hold.
    @Test func valuesComeBack() throws {
        var count = 0
        for seed in 1...40 as ClosedRange<UInt64> {
            let history = RecordedHistory(seed: seed)
            history.run(polls: 200)
            for file in history.files {
                for item in try Self.items(file).items {
                    var writer = RecordWriter()
                    switch item {
                    case .start(let value):
                        writer.value(value)
                        #expect(try read(writer) == value)
                    case .input(let value, _):
                        writer.value(value)
                        #expect(try read(writer) == value)
                    case .event(let value):
                        writer.value(value)
                        #expect(try read(writer) == value)
                    case .poll, .earlier: continue
                    }
                    count += 1
                }
            }
        }
        #expect(count > 1_000)
    }

    private func read<Value: Recordable>(_ writer: RecordWriter) throws -> Value {
        var reader = RecordReader(writer.bytes, in: 0..<writer.bytes.count)
        let value: Value = try reader.value()
        #expect(reader.isAtEnd)
        return value
    }

    /// Guards against: numbers at the ends of their types that come back as others.
    @Test func numbersComeBack() throws {
        var random = SplitMix(seed: 5)
        for _ in 0..<20_000 {
            let (one, other) = (random.extreme(), random.extreme())
            var writer = RecordWriter()
            writer.number(one)
            writer.signed(Int64(bitPattern: other))
            writer.change(from: one, to: other)
            var reader = RecordReader(writer.bytes, in: 0..<writer.bytes.count)
            #expect(try reader.number() == one)
            #expect(try reader.signed() == Int64(bitPattern: other))
            #expect(try reader.change(from: one) == other)
        }
    }

    /// Guards against: a file cut off by a crash that is refused, read beyond its last whole frame, or
    /// not up to it.
    @Test func aTornFileIsReadToItsLastWholeFrame() throws {
        let file = try #require(Self.history().files.first)
        let whole = try Self.items(file).items
        #expect(try Self.items(file).problem == nil)
        var counts: Set<Int> = []
        for length in stride(from: RecordFormat.magic.count, to: file.count, by: 7) {
            let torn = try Self.items(Array(file[..<length]))
            #expect(torn.items == Array(whole[..<torn.items.count]))
            counts.insert(torn.items.count)
        }
        #expect(counts.count > 5)
    }

    /// Guards against: a broken byte that is believed.
    @Test func aBrokenByteEndsTheFile() throws {
        let file = try #require(Self.history().files.first)
        let whole = try Self.items(file).items
        for place in stride(from: RecordFormat.magic.count, to: file.count, by: 131) {
            var broken = file
            broken[place] ^= 0x10
            let read = try Self.items(broken)
            #expect(read.problem != nil)
            #expect(read.items == Array(whole[..<read.items.count]))
        }
    }

    /// Guards against: something else that is taken for a recording.
    @Test func strangersAreRefused() {
        for text in ["", "sluice-record 2\n", "time,port\n", "sluice-record 1"] {
            #expect(throws: RecordingError.self) { try RecordingReader(Array(text.utf8)) }
        }
    }

    /// Guards against: a slow disk that lets the buffer grow or the recording go on with a hole in
    /// it: what is dropped is counted, and the recording begins anew.
    @Test func aSlowDiskIsAHoleAndNotAGuess() throws {
        var settings = RecorderSettings()
        settings.capacity = 24_000
        let history = RecordedHistory(seed: 3, settings: settings)
        history.hasFaults = false
        history.run(polls: 100)
        history.isDiskSlow = true
        history.run(polls: 2_000)
        history.isDiskSlow = false
        history.run(polls: 200)
        let recorder = try #require(history.engine.recorder)
        #expect(recorder.dropped > 100)
        let replay = try replayed(history)
        #expect(replay.gaps == 1)
        // What both accounts have is the same.
        let before = replay.recorded.prefix { $0 == history.told[Int($0.sequence) - 1] }
        #expect(before.count == replay.recorded.count)
    }
}
