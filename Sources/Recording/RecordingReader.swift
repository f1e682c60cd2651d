// Reads a recording's file: its frames, and what they say.
// Invariant: any bytes give items and then an end; what cannot be read ends it with a sentence, and
// what was read before stands.
internal import Mitigation

/// Reads one file of a recording.
public struct RecordingReader: Sendable {
    /// Why the file ends before its end; nil where it was read whole. A file that was cut off in its
    /// last frame is the usual thing after a crash.
    public private(set) var problem: String?
    /// Where that is.
    public private(set) var offset: Int

    private let bytes: [UInt8]
    private var reader: RecordReader
    private var frameEnd: Int
    /// The counters of each place that were written last.
    private var bases: [SIMD4<UInt64>] = []
    private var latest: UInt64 = 0
    private var step: UInt64 = 0
    private var hasStarted = false

    /// A reader of a whole file's bytes.
    ///
    /// - Throws: `RecordingError` where it does not begin as a recording does.
    public init(_ bytes: [UInt8]) throws(RecordingError) {
        guard bytes.starts(with: RecordFormat.magic) else {
            throw RecordingError(description: "it is no recording of this version")
        }
        self.bytes = bytes
        offset = RecordFormat.magic.count
        frameEnd = offset
        reader = RecordReader(bytes, in: offset..<offset)
    }

    /// Whether these bytes begin as a recording does.
    public static func isRecording(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: RecordFormat.magic)
    }

    /// What comes next; nil at the end, or where nothing more can be read (`problem`).
    public mutating func next() -> RecordedItem? {
        guard problem == nil else { return nil }
        while reader.isAtEnd {
            offset = frameEnd
            guard frameEnd < bytes.count else { return nil }
            guard openFrame() else {
                problem = "the file is cut off, or broken, at byte \(offset)"
                return nil
            }
        }
        do throws(RecordingError) {
            return try item()
        } catch {
            problem = "\(error), in the frame at byte \(offset)"
            return nil
        }
    }

    private mutating func openFrame() -> Bool {
        let begin = frameEnd + RecordFormat.frameHead
        guard begin <= bytes.count else { return false }
        let length = Int(RecordFormat.word(bytes, at: frameEnd))
        guard length > 0, length <= RecordFormat.longestFrame, length <= bytes.count - begin,
            RecordFormat.word(bytes, at: frameEnd + 4)
                == RecordFormat.checksum(bytes, in: begin..<begin + length)
        else { return false }
        frameEnd = begin + length
        reader = RecordReader(bytes, in: begin..<frameEnd)
        return true
    }

    private mutating func item() throws(RecordingError) -> RecordedItem {
        guard let tag = RecordTag(rawValue: try reader.byte()) else {
            throw RecordingError(description: "there is no such record")
        }
        guard hasStarted || tag == .start else {
            throw RecordingError(description: "a recording begins with its start")
        }
        switch tag {
        case .start:
            let start: RecordedStart = try reader.value()
            latest = start.now.nanoseconds
            step = 0
            bases.removeAll(keepingCapacity: true)
            for port in start.ports { try declare(port.place) }
            hasStarted = true
            return .start(start)
        case .earlier:
            let polls = Int(try reader.number(upTo: UInt64(RecordFormat.mostPollsBefore)))
            return .earlier(polls: polls, try samples())
        case .poll:
            let at = latest &+ step &+ UInt64(bitPattern: try reader.signed())
            let decidedAt = try reader.change(from: at)
            step = at &- latest
            latest = at
            return .poll(
                RecordedPoll(
                    at: Instant(nanoseconds: at), decidedAt: Instant(nanoseconds: decidedAt),
                    samples: try samples()))
        case .input:
            let at = try reader.change(from: latest)
            let input: EngineInput = try reader.value()
            if case .appear(_, let place) = input { try declare(place) }
            return .input(input, at: Instant(nanoseconds: at))
        case .event:
            return .event(try reader.value())
        }
    }

    /// A port's counters begin at zero.
    private mutating func declare(_ place: Int) throws(RecordingError) {
        while bases.count <= place { bases.append(.zero) }
        bases[place] = .zero
    }

    private mutating func samples() throws(RecordingError) -> [RecordedSample] {
        let count = try reader.count()
        var samples: [RecordedSample] = []
        samples.reserveCapacity(count)
        var place: Int64 = 0
        for _ in 0..<count {
            let head = try reader.number()
            let folded = head >> 2
            place &+= Int64(bitPattern: folded >> 1) ^ -Int64(bitPattern: folded & 1)
            guard place >= 0, place < Int64(bases.count) else {
                throw RecordingError(description: "a sample of a port that is not there")
            }
            var counters = bases[Int(place)]
            if head & 1 != 0 {
                counters.x = try reader.change(from: counters.x)
                counters.y = try reader.change(from: counters.y)
            }
            if head & 2 != 0 {
                counters.z = try reader.change(from: counters.z)
                counters.w = try reader.change(from: counters.w)
            }
            bases[Int(place)] = counters
            samples.append(
                RecordedSample(
                    place: Int(place),
                    counters: Counters(
                        fromPackets: counters.x, fromBytes: counters.y, toPackets: counters.z,
                        toBytes: counters.w)))
        }
        return samples
    }
}
