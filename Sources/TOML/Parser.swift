// Reads a TOML document by toml++ (`toml::parse`), behind the C functions of CTOML.
// Invariants: any bytes give a tree or an error, never a trap; the file is bounded in size, dotted
// keys and nested values in depth.

internal import CTOML

/// Why a text is no TOML document.
public struct SyntaxError: Error, Hashable, Sendable {
    /// Where.
    public var position: Position
    /// What is wrong, as toml++ says it.
    public var sentence: String
    /// The cure, where the line shows a common mistake.
    public var hint: String?

    /// A mistake at a place.
    public init(at position: Position, sentence: String, hint: String? = nil) {
        self.position = position
        self.sentence = sentence
        self.hint = hint
    }
}

/// The largest document that is read, in bytes: 1 MiB.
public let largestDocument = 1 << 20

/// Reads a TOML 1.0 document.
///
/// - Parameter bytes: the whole document, UTF-8, at most `largestDocument`.
/// - Returns: the entries of its root table.
/// - Throws: the first `SyntaxError`. A duplicate key is one.
public func parse(_ bytes: [UInt8]) throws(SyntaxError) -> [Entry] {
    guard bytes.count <= largestDocument else {
        throw SyntaxError(at: .start, sentence: "the file has more than \(largestDocument) bytes")
    }
    guard let document = Document(bytes) else {
        throw SyntaxError(at: .start, sentence: "there is no memory to read it")
    }
    if var error = document.error {
        error.hint = hint(for: error, in: bytes)
        throw error
    }
    var reader = TreeReader(document: document)
    guard case .table(let entries)? = reader.next()?.value.content else { return [] }
    return entries
}

/// The C side's document: `sluice_toml_parse`, freed by `sluice_toml_free`.
@safe private struct Document: ~Copyable {
    private let handle: OpaquePointer
    let count: Int

    init?(_ bytes: [UInt8]) {
        let parsed = unsafe bytes.withUnsafeBytes { buffer in
            unsafe sluice_toml_parse(
                buffer.assumingMemoryBound(to: CChar.self).baseAddress, buffer.count)
        }
        guard let parsed = unsafe parsed else { return nil }
        unsafe handle = parsed
        unsafe count = sluice_toml_count(parsed)
    }

    deinit { unsafe sluice_toml_free(handle) }

    /// The first syntax error.
    var error: SyntaxError? {
        var line: UInt32 = 0
        var column: UInt32 = 0
        guard let text = unsafe sluice_toml_error(handle, &line, &column) else { return nil }
        return SyntaxError(
            at: Position(line: max(1, Int(line)), column: max(1, Int(column))),
            sentence: unsafe String(cString: text))
    }

    /// The node at an index below `count`, without its children, and how many those are.
    func entry(at index: Int) -> (Entry, children: Int) {
        precondition(index < count)
        let node = unsafe sluice_toml_at(handle, index).pointee
        let key = unsafe text(node.key, node.key_length)
        let content: Value.Content =
            switch unsafe node.kind {
            case SLUICE_TOML_TABLE: .table([])
            case SLUICE_TOML_ARRAY: .array([])
            case SLUICE_TOML_STRING: .string(unsafe text(node.text, node.text_length))
            case SLUICE_TOML_INTEGER: .integer(unsafe node.integer)
            case SLUICE_TOML_FLOAT: .float(unsafe node.number)
            case SLUICE_TOML_BOOLEAN: .boolean(unsafe node.boolean)
            default: .moment
            }
        let place = unsafe Position(line: Int(node.line), column: Int(node.column))
        let keyPlace = unsafe Position(line: Int(node.key_line), column: Int(node.key_column))
        return (
            Entry(key: key, at: keyPlace, value: Value(content, at: place)),
            unsafe Int(node.children)
        )
    }

    private func text(_ bytes: UnsafePointer<CChar>?, _ length: Int) -> String {
        guard let bytes = unsafe bytes else { return "" }
        let buffer = unsafe UnsafeRawBufferPointer(start: bytes, count: length)
        return unsafe String(decoding: buffer, as: UTF8.self)
    }
}

/// Builds the tree from the nodes in preorder.
private struct TreeReader: ~Copyable {
    let document: Document
    var index = 0

    /// The next node with all that is below it; nil at the end. Recursive as deep as the document.
    mutating func next() -> Entry? {
        guard index < document.count else { return nil }
        var (entry, children) = document.entry(at: index)
        index += 1
        var below: [Entry] = []
        below.reserveCapacity(children)
        for _ in 0..<children {
            guard let child = next() else { break }
            below.append(child)
        }
        switch entry.value.content {
        case .table:
            // toml++ keeps tables sorted by key.
            entry.value.content = .table(below.sorted { $0.position < $1.position })
        case .array:
            entry.value.content = .array(below.map(\.value))
        default: break
        }
        return entry
    }
}
