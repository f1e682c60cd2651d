// How numbers stand in a recording: 7 bits a byte, the lowest first, so that small ones are short;
// signed ones folded so that the small ones of both signs are short too.
// Invariants: what is written is read back equal; a reader never goes past the end, never traps on
// any bytes, and asks for no more memory than the bytes that are there account for.

/// Why bytes are no recording.
public struct RecordingError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One sentence.
    public var description: String
}

/// Bytes that are written.
struct RecordWriter: Sendable {
    var bytes: [UInt8] = []

    mutating func byte(_ value: UInt8) { bytes.append(value) }

    mutating func number(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    mutating func signed(_ value: Int64) { number(RecordWriter.folded(value)) }

    /// The way from `old` to `new`, around the end of the type where that is shorter.
    mutating func change(from old: UInt64, to new: UInt64) {
        signed(Int64(bitPattern: new &- old))
    }

    mutating func list(_ value: [UInt8]) {
        number(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    mutating func flag(_ value: Bool) { byte(value ? 1 : 0) }

    mutating func text(_ value: String) { list(Array(value.utf8)) }

    mutating func value(_ value: some Recordable) { value.write(to: &self) }

    mutating func optional(_ value: (some Recordable)?) {
        flag(value != nil)
        value?.write(to: &self)
    }

    mutating func values(_ values: [some Recordable]) {
        number(UInt64(values.count))
        for value in values { value.write(to: &self) }
    }

    static func folded(_ value: Int64) -> UInt64 {
        UInt64(bitPattern: value &<< 1) ^ UInt64(bitPattern: value &>> 63)
    }
}

/// Bytes that are read.
struct RecordReader: Sendable {
    private let bytes: [UInt8]
    private(set) var place: Int
    private let end: Int

    /// Reads `range` of the bytes, which must have it.
    init(_ bytes: [UInt8], in range: Range<Int>) {
        self.bytes = bytes
        place = range.lowerBound
        end = range.upperBound
    }

    var isAtEnd: Bool { place >= end }

    mutating func byte() throws(RecordingError) -> UInt8 {
        guard place < end else { throw RecordingError(description: "a record is cut off") }
        defer { place += 1 }
        return bytes[place]
    }

    mutating func number() throws(RecordingError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            let next = try byte()
            value |= UInt64(next & 0x7f) << shift
            guard next & 0x80 != 0 else { return value }
        }
        throw RecordingError(description: "a number is too long")
    }

    mutating func signed() throws(RecordingError) -> Int64 {
        let value = try number()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    mutating func change(from old: UInt64) throws(RecordingError) -> UInt64 {
        old &+ UInt64(bitPattern: try signed())
    }

    /// A number that is at most `most`.
    mutating func number(upTo most: UInt64) throws(RecordingError) -> UInt64 {
        let value = try number()
        guard value <= most else { throw RecordingError(description: "a number is too large") }
        return value
    }

    /// How many things follow, each of which takes a byte or more.
    mutating func count() throws(RecordingError) -> Int {
        let count = try number()
        guard count <= UInt64(end - place) else {
            throw RecordingError(description: "a record is cut off")
        }
        return Int(count)
    }

    mutating func flag() throws(RecordingError) -> Bool { try byte() != 0 }

    mutating func list() throws(RecordingError) -> [UInt8] {
        let count = try count()
        defer { place += count }
        return Array(bytes[place..<place + count])
    }

    mutating func text() throws(RecordingError) -> String {
        String(decoding: try list(), as: UTF8.self)
    }

    mutating func value<Value: Recordable>() throws(RecordingError) -> Value {
        try Value(from: &self)
    }

    mutating func optional<Value: Recordable>() throws(RecordingError) -> Value? {
        try flag() ? try Value(from: &self) : nil
    }

    mutating func values<Value: Recordable>() throws(RecordingError) -> [Value] {
        let count = try count()
        var values: [Value] = []
        for _ in 0..<count { values.append(try Value(from: &self)) }
        return values
    }
}

extension Array: Recordable where Element: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) { self = try reader.values() }

    func write(to writer: inout RecordWriter) { writer.values(self) }
}

/// What stands in a recording.
protocol Recordable {
    init(from reader: inout RecordReader) throws(RecordingError)
    func write(to writer: inout RecordWriter)
}
