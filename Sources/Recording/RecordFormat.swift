// A recording's outer form: a line that names it, then frames of whole turns, each with its length and
// its checksum.
//
//   "sluice-record 1\n"  ( length (4)  CRC-32 (4)  records ... )*
//
// Invariants: a file that was cut off at any byte is read up to its last whole frame; nothing behind
// a frame that is not whole is believed; numbers in front are little-endian.
public import Mitigation

/// What a recording's files have in common.
public enum RecordFormat {
    /// How every file begins.
    public static let magic = Array("sluice-record 1\n".utf8)
    /// What every file's name ends with.
    public static let suffix = ".record"
    /// A longer frame is no frame.
    public static let longestFrame = 1 << 24
    /// Length and checksum.
    static let frameHead = 8
    /// A higher place of a port is no place.
    static let mostPlaces: UInt64 = 1 << 18
    /// So many polls back a port's counters may be written, once they matter.
    static let mostPollsBefore = 60

    /// The CRC-32 of IEEE 802.3 of a part of these bytes, which must have it.
    static func checksum(_ bytes: [UInt8], in range: Range<Int>) -> UInt32 {
        var rest = UInt32.max
        for place in range {
            rest = table[Int(UInt8(truncatingIfNeeded: rest) ^ bytes[place])] ^ rest >> 8
        }
        return ~rest
    }

    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { rest, _ in
            rest & 1 == 1 ? 0xedb8_8320 ^ rest >> 1 : rest >> 1
        }
    }

    static func put(_ value: UInt32, in bytes: inout [UInt8], at place: Int) {
        for step in 0..<4 {
            bytes[place + step] = UInt8(truncatingIfNeeded: value >> UInt32(8 * step))
        }
    }

    static func word(_ bytes: [UInt8], at place: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[place + $1]) << UInt32(8 * $1) }
    }
}

/// Where a recording begins, or goes on in another file: enough to begin there.
public struct RecordedStart: Hashable, Sendable {
    /// A port at its place.
    public struct PlacedPort: Hashable, Sendable {
        /// The port.
        public var port: Port
        /// Its place.
        public var place: Int
        /// What is remembered of it.
        public var memory: PortMemory?
        /// What an operator said of it.
        public var order: PortOrder?
    }

    /// Nothing is missing between this and what was recorded before it by the same daemon.
    public var continues: Bool
    /// Tells daemons apart: the moment at which this one's decision began, on its own clock.
    public var startedAt: Instant
    /// The present moment on that clock.
    public var now: Instant
    /// The same on the wall clock: nanoseconds since 1970.
    public var wallNanoseconds: UInt64
    /// The configuration in force, as it was read.
    public var configuration: [UInt8]
    /// The classes for which a mode holds by the configuration or an operator's word.
    public var modes: [PortClass: Mode]
    /// What is remembered apart from the ports.
    public var memory: EngineMemory
    /// All ports, in ascending order of their places.
    public var ports: [PlacedPort]
}

/// The counters of one port in a poll.
public struct RecordedSample: Hashable, Sendable {
    /// The port's place.
    public var place: Int
    /// Its counters.
    public var counters: Counters
}

/// The counters of one poll, those that may matter to a decision, and now and then all that moved.
public struct RecordedPoll: Hashable, Sendable {
    /// When the counters arrived.
    public var at: Instant
    /// When it was decided.
    public var decidedAt: Instant
    /// In the order in which they were read.
    public var samples: [RecordedSample]
}

/// What a recording says, one after the other.
public enum RecordedItem: Hashable, Sendable {
    /// It begins here, or goes on in another file.
    case start(RecordedStart)
    /// Counters of polls before the next one, which had not seemed to matter: how many polls before
    /// the next one (1: the one before it), and the samples.
    case earlier(polls: Int, [RecordedSample])
    /// A poll.
    case poll(RecordedPoll)
    /// The decision was told this.
    case input(EngineInput, at: Instant)
    /// The decision told this.
    case event(Event)
}

extension RecordedStart.PlacedPort: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        port = try reader.value()
        place = Int(try reader.number(upTo: RecordFormat.mostPlaces))
        memory = try reader.optional()
        order = try reader.optional()
    }

    func write(to writer: inout RecordWriter) {
        writer.value(port)
        writer.number(UInt64(place))
        writer.optional(memory)
        writer.optional(order)
    }
}

extension RecordedStart: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        continues = try reader.flag()
        startedAt = try reader.value()
        now = try reader.value()
        wallNanoseconds = try reader.number()
        configuration = try reader.list()
        modes = try reader.modes()
        memory = try reader.value()
        ports = try reader.values()
    }

    func write(to writer: inout RecordWriter) {
        writer.flag(continues)
        writer.value(startedAt)
        writer.value(now)
        writer.number(wallNanoseconds)
        writer.list(configuration)
        writer.modes(modes)
        writer.value(memory)
        writer.values(ports)
    }
}

/// What a record is, in its first byte.
enum RecordTag: UInt8 {
    case start = 1
    case earlier, poll, input, event
}
