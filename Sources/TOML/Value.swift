// A TOML document as a tree whose every key and value knows its place.
// Invariants: the entries of a table stand in the order of the file; keys of a table are unique.

/// A place in a file.
public struct Position: Hashable, Comparable, Sendable {
    /// From 1.
    public var line: Int
    /// From 1, in code points.
    public var column: Int

    /// The start of the file.
    public static let start = Position(line: 1, column: 1)

    /// This line and column.
    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    /// The earlier place comes first.
    public static func < (left: Self, right: Self) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// A value with its place.
public struct Value: Hashable, Sendable {
    /// What a value may be.
    public enum Content: Hashable, Sendable {
        /// `[section]`, `{ inline = "table" }`, or the parent of a dotted key.
        case table([Entry])
        /// `[1, 2]`
        case array([Value])
        /// `"text"`
        case string(String)
        /// `42`
        case integer(Int64)
        /// `1.5`, `inf`, `nan`
        case float(Double)
        /// `true`
        case boolean(Bool)
        /// A date, a time, or both, whose parts are not kept.
        case moment
    }

    /// What it is.
    public var content: Content
    /// Where it begins.
    public var position: Position

    /// A value at a place.
    public init(_ content: Content, at position: Position) {
        self.content = content
        self.position = position
    }

    /// What it is, in words: `a table`, `text`, `a whole number` …
    public var kind: String {
        switch content {
        case .table: "a table"
        case .array: "a list"
        case .string: "text"
        case .integer: "a whole number"
        case .float: "a number with a fraction"
        case .boolean: "true or false"
        case .moment: "a date or a time"
        }
    }
}

/// A key of a table with its value.
public struct Entry: Hashable, Sendable {
    /// The key, unquoted.
    public var key: String
    /// Where the key begins.
    public var position: Position
    /// Its value.
    public var value: Value

    /// A key at a place, with its value.
    public init(key: String, at position: Position, value: Value) {
        self.key = key
        self.position = position
        self.value = value
    }
}
