// Values as JSON, written in one pass. The journal is written before the kernel is changed, and a status
// may tell of thousands of ports: an encoder that keeps a tree of what it encodes takes some hundred
// microseconds and a hundred kilobytes for each port, this one less than ten and nothing but the text.
//
// Invariants: what JSONDecoder reads back is what was encoded; members stand in the order in which the
// value gives them; what JSON cannot say is an error, and never a trap.

/// JSON of values.
public enum JSONText {
    /// How members are named.
    public enum Names: Sendable {
        /// As the value names them.
        case given
        /// `exportedAt` as `exported_at`; keys of dictionaries, too.
        case snakeCase
    }

    /// A value as one line, with its end.
    ///
    /// - Throws: `EncodingError` where it holds a number that is infinite or none; what the value's own
    ///   `encode(to:)` throws.
    public static func line(
        of value: some Encodable, names: Names = .given
    ) throws -> [UInt8] {
        let text = Text(Output(names))
        try text.value(value)
        guard !text.output.isBroken else {
            throw EncodingError.invalidValue(
                value,
                EncodingError.Context(
                    codingPath: [], debugDescription: "goes on with a container that has ended"))
        }
        text.output.endLine()
        return text.output.bytes
    }
}

// MARK: The text

/// What was written, for all places.
private final class Text {
    var output: Output

    init(_ output: Output) { self.output = output }

    /// Any value, whatever it is made of.
    func value(_ value: some Encodable) throws {
        let depth = output.depth
        let start = output.bytes.count
        try value.encode(to: Place(text: self, depth: depth))
        output.close(to: depth)
        // It had nothing to say.
        if output.bytes.count == start { output.literal("{}") }
    }
}

/// What was written, and which containers are open.
private struct Output {
    private struct Level {
        var end: UInt8
        var isEmpty = true
    }

    var bytes: [UInt8] = []
    /// A value went on with a container that had ended.
    private(set) var isBroken = false
    private var levels: [Level] = []
    private let names: JSONText.Names

    init(_ names: JSONText.Names) { self.names = names }

    /// How many containers are open.
    var depth: Int { levels.count }

    /// Opens a container; gives the depth at which its elements stand.
    mutating func open(_ begin: UInt8, _ end: UInt8) -> Int {
        bytes.append(begin)
        levels.append(Level(end: end))
        return depth
    }

    /// Closes what was opened below this depth.
    mutating func close(to depth: Int) {
        while levels.count > depth { bytes.append(levels.removeLast().end) }
    }

    /// Another element of the container whose elements stand at this depth.
    mutating func next(at depth: Int) {
        close(to: depth)
        guard depth > 0, levels.count == depth else {
            isBroken = true
            return
        }
        if !levels[depth - 1].isEmpty { bytes.append(UInt8(ascii: ",")) }
        levels[depth - 1].isEmpty = false
    }

    /// Another member's name.
    mutating func name(_ name: String, at depth: Int) {
        next(at: depth)
        bytes.append(UInt8(ascii: "\""))
        for byte in name.utf8 {
            if names == .snakeCase, (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) {
                bytes.append(UInt8(ascii: "_"))
                bytes.append(byte | 0x20)
            } else {
                append(escaping: byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
    }

    mutating func literal(_ text: StaticString) {
        bytes.append(contentsOf: text.description.utf8)
    }

    mutating func endLine() { bytes.append(UInt8(ascii: "\n")) }

    mutating func flag(_ value: Bool) { literal(value ? "true" : "false") }

    mutating func string(_ value: String) {
        bytes.append(UInt8(ascii: "\""))
        if value.utf8.contains(where: Self.mustEscape) {
            for byte in value.utf8 { append(escaping: byte) }
        } else {
            bytes.append(contentsOf: value.utf8)
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func mustEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    private mutating func append(escaping byte: UInt8) {
        guard Self.mustEscape(byte) else { return bytes.append(byte) }
        guard byte < 0x20 else {
            bytes.append(UInt8(ascii: "\\"))
            return bytes.append(byte)
        }
        literal("\\u00")
        for digit in [byte >> 4, byte & 0xf] {
            bytes.append(digit + (digit < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10))
        }
    }

    mutating func integer(_ value: Int64) {
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        integer(value.magnitude)
    }

    mutating func integer(_ value: UInt64) {
        var rest = value
        let start = bytes.count
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }

    mutating func fraction(_ value: some BinaryFloatingPoint & CustomStringConvertible) throws {
        guard value.isFinite else {
            throw EncodingError.invalidValue(
                value, EncodingError.Context(codingPath: [], debugDescription: "\(value)"))
        }
        var text = value.description[...]
        if text.hasSuffix(".0") { text = text.dropLast(2) }
        bytes.append(contentsOf: text.utf8)
    }
}

// MARK: Where values say what they are made of

/// The place of one value.
private struct Place: Encoder, SingleValueEncodingContainer {
    let text: Text
    /// Of the containers around it.
    let depth: Int

    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    /// A value that asks twice goes on with the container that it has.
    private func open(_ begin: UInt8, _ end: UInt8) -> Int {
        guard text.output.depth == depth else {
            text.output.close(to: depth + 1)
            return depth + 1
        }
        return text.output.open(begin, end)
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        KeyedEncodingContainer(
            Members(text: text, depth: open(UInt8(ascii: "{"), UInt8(ascii: "}"))))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        Elements(text: text, depth: open(UInt8(ascii: "["), UInt8(ascii: "]")))
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    func encodeNil() { text.output.literal("null") }
    func encode(_ value: Bool) { text.output.flag(value) }
    func encode(_ value: String) { text.output.string(value) }
    func encode(_ value: Double) throws { try text.output.fraction(value) }
    func encode(_ value: Float) throws { try text.output.fraction(value) }
    func encode(_ value: Int) { text.output.integer(Int64(value)) }
    func encode(_ value: Int8) { text.output.integer(Int64(value)) }
    func encode(_ value: Int16) { text.output.integer(Int64(value)) }
    func encode(_ value: Int32) { text.output.integer(Int64(value)) }
    func encode(_ value: Int64) { text.output.integer(value) }
    func encode(_ value: UInt) { text.output.integer(UInt64(value)) }
    func encode(_ value: UInt8) { text.output.integer(UInt64(value)) }
    func encode(_ value: UInt16) { text.output.integer(UInt64(value)) }
    func encode(_ value: UInt32) { text.output.integer(UInt64(value)) }
    func encode(_ value: UInt64) { text.output.integer(value) }
    func encode(_ value: some Encodable) throws { try text.value(value) }
}

/// Members of an object.
private struct Members<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let text: Text
    let depth: Int

    var codingPath: [any CodingKey] { [] }

    func encodeNil(forKey key: Key) { place(key.stringValue).encodeNil() }
    func encode(_ value: Bool, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: String, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: Double, forKey key: Key) throws {
        try place(key.stringValue).encode(value)
    }
    func encode(_ value: Float, forKey key: Key) throws {
        try place(key.stringValue).encode(value)
    }
    func encode(_ value: Int, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: Int8, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: Int16, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: Int32, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: Int64, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: UInt, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: UInt8, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: UInt16, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: UInt32, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: UInt64, forKey key: Key) { place(key.stringValue).encode(value) }
    func encode(_ value: some Encodable, forKey key: Key) throws {
        try place(key.stringValue).encode(value)
    }

    private func place(_ key: String) -> Place {
        text.output.name(key, at: depth)
        return Place(text: text, depth: depth)
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> { place(key.stringValue).container(keyedBy: type) }
    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        place(key.stringValue).unkeyedContainer()
    }
    func superEncoder() -> any Encoder { place("super") }
    func superEncoder(forKey key: Key) -> any Encoder { place(key.stringValue) }
}

/// Elements of an array.
private struct Elements: UnkeyedEncodingContainer {
    let text: Text
    let depth: Int
    private(set) var count = 0

    init(text: Text, depth: Int) {
        self.text = text
        self.depth = depth
    }

    var codingPath: [any CodingKey] { [] }

    mutating func encodeNil() { place().encodeNil() }
    mutating func encode(_ value: Bool) { place().encode(value) }
    mutating func encode(_ value: String) { place().encode(value) }
    mutating func encode(_ value: Double) throws { try place().encode(value) }
    mutating func encode(_ value: Float) throws { try place().encode(value) }
    mutating func encode(_ value: Int) { place().encode(value) }
    mutating func encode(_ value: Int8) { place().encode(value) }
    mutating func encode(_ value: Int16) { place().encode(value) }
    mutating func encode(_ value: Int32) { place().encode(value) }
    mutating func encode(_ value: Int64) { place().encode(value) }
    mutating func encode(_ value: UInt) { place().encode(value) }
    mutating func encode(_ value: UInt8) { place().encode(value) }
    mutating func encode(_ value: UInt16) { place().encode(value) }
    mutating func encode(_ value: UInt32) { place().encode(value) }
    mutating func encode(_ value: UInt64) { place().encode(value) }
    mutating func encode(_ value: some Encodable) throws { try place().encode(value) }

    private mutating func place() -> Place {
        text.output.next(at: depth)
        count += 1
        return Place(text: text, depth: depth)
    }

    mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type
    ) -> KeyedEncodingContainer<Nested> { place().container(keyedBy: type) }
    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        place().unkeyedContainer()
    }
    mutating func superEncoder() -> any Encoder { place() }
}
