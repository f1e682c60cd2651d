// What is fuzzed: readers of bytes that a stranger had a hand in, each with the promises that what
// comes of any bytes is held against. The pure lane runs each on seeded mutations for a moment,
// `make fuzz` under libFuzzer for as long as it is told.
//
// Invariant: no target touches the kernel, and none keeps anything from one input to the next.

import TOML

/// A reader of bytes that a stranger had a hand in. A new one is a function, its seeds, and a line
/// in `all`.
package struct FuzzTarget: Sendable {
    /// What it is called on the command line and in reports.
    package let name: String
    /// Inputs to begin from: what is read every day.
    package let seeds: @Sendable () throws -> [[UInt8]]
    /// Mutations of the pure lane.
    package var rounds = 20_000
    /// Reads one input; true where it was taken for what it should be, and not refused at once.
    ///
    /// - Throws: `BrokenPromise`.
    package let read: @Sendable ([UInt8]) throws -> Bool

    /// Every target.
    package static let all: [FuzzTarget] = [
        netlink, configuration, guards, control, names, journal, recording, rates, evidence,
    ]
}

/// What a reader did and should not have done.
package struct BrokenPromise: Error, CustomStringConvertible {
    /// One sentence.
    package let description: String
}

/// Throws `sentence` where `holds` does not.
func promise(_ holds: Bool, _ sentence: @autoclosure () -> String) throws(BrokenPromise) {
    guard holds else { throw BrokenPromise(description: sentence()) }
}

/// Throws where a text could break a line, move a cursor, or be taken for another one.
func promisePrintable(_ text: String, _ what: String) throws(BrokenPromise) {
    try promise(
        text.utf8.allSatisfy { (0x20..<0x7f).contains($0) }, "\(what) is not printable: \(text)")
}

/// The bytes of a file of this package.
func contents(ofPackageFile path: String) throws -> [UInt8] {
    let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
    return try contents(ofFile: parts.dropLast(3).joined(separator: "/") + "/" + path)
}

/// Bytes that are taken apart from the front; nothing is left of it at the end.
struct FuzzInput {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    /// The next byte; 0 where none is left.
    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    /// The next four bytes as a number.
    mutating func number() -> UInt32 { (0..<4).reduce(0) { sum, _ in sum << 8 | UInt32(byte()) } }

    /// A length in one byte, then as many bytes as are there of it.
    mutating func bytes(most: Int = 255) -> [UInt8] {
        let count = min(Int(byte()), most, rest.count)
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    /// All that is left.
    var remainder: [UInt8] { Array(rest) }

    /// The first byte says whether the rest is a file, or edits of one of `count` that are whole.
    mutating func file(
        orOneOf count: Int, edited: (Int, [UInt8]) throws -> [UInt8]
    ) rethrows -> [UInt8] {
        let mode = byte()
        return mode.isMultiple(of: 2) ? remainder : try edited(Int(mode / 2) % count, remainder)
    }
}
