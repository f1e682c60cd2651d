// Reads the keys of one table of a configuration file, one typed value after the other.
// Invariants: a value that is wrong is reported and its default stays; a key that nobody asked for
// is unknown; every value of the file is either used or reported.

import TOML

/// One table of the file, or of what the file leaves out.
final class TableReader {
    /// Its full path and a dot; empty for the root.
    private let prefix: String
    private let problems: ProblemList
    private var entries: [Entry]
    private var knownKeys: [String] = []
    private var children: [TableReader] = []

    init(path: String, entries: [Entry], problems: ProblemList) {
        prefix = path.isEmpty ? "" : path + "."
        self.entries = entries
        self.problems = problems
    }

    /// The full path of one of its keys.
    func path(_ key: String) -> String { prefix + key }

    /// The value of a key; nil where the file has none.
    func take(_ key: String) -> Value? {
        knownKeys.append(key)
        problems.note(knownKey: path(key))
        guard let index = entries.firstIndex(where: { $0.key == key }) else { return nil }
        let entry = entries.remove(at: index)
        problems.note(path(key), at: entry.value.position)
        return entry.value
    }

    /// Says what holds of a key, the file's value or the default, as it would be written.
    func note(_ key: String, _ text: String) { problems.note(path(key), holds: text) }

    /// The same of a text.
    func note(_ key: String, quoting text: String) { note(key, "\"\(text)\"") }

    /// The same of a list of texts.
    func note(_ key: String, quoting texts: [String]) {
        note(key, "[\(texts.map { "\"\($0)\"" }.joined(separator: ", "))]")
    }

    /// Whether the file has text under a key; the key stays to be taken.
    func isText(_ key: String) -> Bool {
        guard case .string? = entries.first(where: { $0.key == key })?.value.content else {
            return false
        }
        return true
    }

    /// The table of a key; an empty one where the file has none.
    func table(_ key: String) -> TableReader {
        var below: [Entry] = []
        if let value = take(key) {
            if case .table(let found) = value.content {
                below = found
            } else {
                report(
                    key, "is \(value.kind)", cure: "write a section, [\(path(key))]",
                    at: value.position)
            }
        }
        let child = TableReader(path: path(key), entries: below, problems: problems)
        children.append(child)
        return child
    }

    /// Every table that the file has here, with its key, for keys that are names of the operator's.
    func allTables() -> [(key: String, position: Position, table: TableReader)] {
        let keys = entries.map { ($0.key, $0.position) }
        return keys.map { ($0, $1, table($0)) }
    }

    func report(_ key: String, _ sentence: String, cure: String?, at position: Position) {
        problems.report("\(path(key)): \(sentence)", cure: cure, at: position)
    }

    /// Reports every key that nobody asked for, here and below.
    func finish() {
        for entry in entries {
            let meant = suggestion(for: entry.key, among: knownKeys)
            problems.report(
                "unknown key \(path(entry.key))",
                cure: meant.map { "did you mean \"\($0)\"?" }
                    ?? "known here: \(knownKeys.joined(separator: ", "))",
                at: entry.position)
        }
        for child in children { child.finish() }
    }
}

// MARK: - Typed values

extension TableReader {
    /// A quantity with a unit, in the smallest unit of its kind.
    private func quantity(
        _ key: String, _ kind: QuantityKind, in range: ClosedRange<UInt64>,
        orWord word: String? = nil
    ) -> Quantity? {
        guard let value = take(key) else { return nil }
        let cure = word.map { "\(kind.cure), or \"\($0)\"" } ?? kind.cure
        guard case .string(let text) = value.content else {
            var sentence = "is \(value.kind)"
            if case .integer(let bare) = value.content { sentence = "\(bare) has no unit" }
            report(key, sentence, cure: cure, at: value.position)
            return nil
        }
        if let word, text == word { return .word }
        do throws(QuantityMistake) {
            let amount = try kind.value(of: text)
            if range.contains(amount) { return .amount(amount) }
            let bounds = "\(kind.text(range.lowerBound)) to \(kind.text(range.upperBound))"
            report(key, "\"\(text)\" is out of range", cure: "write \(bounds)", at: value.position)
        } catch {
            report(key, "\"\(text)\" \(error.predicate)", cure: cure, at: value.position)
        }
        return nil
    }

    private enum Quantity {
        case amount(UInt64)
        case word
    }

    func duration(_ key: String, into target: inout Duration, in range: ClosedRange<Duration>) {
        defer { note(key, quoting: QuantityKind.duration.text(target.nanosecondCount)) }
        let range = range.lowerBound.nanosecondCount...range.upperBound.nanosecondCount
        if case .amount(let value)? = quantity(key, .duration, in: range) {
            target = .nanoseconds(Int64(clamping: value))
        }
    }

    /// A time, or `never`.
    func duration(_ key: String, into target: inout Duration?, in range: ClosedRange<Duration>) {
        defer {
            note(
                key,
                quoting: target.map { QuantityKind.duration.text($0.nanosecondCount) } ?? "never")
        }
        let range = range.lowerBound.nanosecondCount...range.upperBound.nanosecondCount
        switch quantity(key, .duration, in: range, orWord: "never") {
        case .amount(let value): target = .nanoseconds(Int64(clamping: value))
        case .word: target = nil
        case nil: break
        }
    }

    /// A share of the whole, from 0 to 1.
    func share(_ key: String, into target: inout Double, in percent: ClosedRange<UInt64>) {
        defer {
            note(key, quoting: QuantityKind.share.text(UInt64((target * 100_000).rounded())))
        }
        let range = percent.lowerBound * 1000...percent.upperBound * 1000
        if case .amount(let value)? = quantity(key, .share, in: range) {
            target = Double(value) / 100_000
        }
    }

    /// A number of bytes.
    func size(_ key: String, into target: inout UInt64, in range: ClosedRange<UInt64>) {
        if case .amount(let value)? = quantity(key, .size, in: range) { target = value }
        note(key, quoting: QuantityKind.size.text(target))
    }

    /// A rate of this kind.
    func rate(_ key: String, _ kind: QuantityKind, into target: inout UInt64) {
        if case .amount(let value)? = quantity(key, kind, in: Self.rates(kind)) { target = value }
        note(key, quoting: kind.text(target))
    }

    /// A rate of this kind, or `off`.
    func rate(_ key: String, _ kind: QuantityKind, into target: inout UInt64?) {
        defer { note(key, quoting: target.map(kind.text) ?? "off") }
        switch quantity(key, kind, in: Self.rates(kind), orWord: "off") {
        case .amount(let value): target = value
        case .word: target = nil
        case nil: break
        }
    }

    /// One packet to a thousand million; a kilobit, which holds one small packet, to 10 Tbit.
    private static func rates(_ kind: QuantityKind) -> ClosedRange<UInt64> {
        kind.noun == QuantityKind.bitRate.noun ? 1000...10_000_000_000_000 : 1...1_000_000_000
    }

    func integer<Number: FixedWidthInteger>(
        _ key: String, into target: inout Number, in range: ClosedRange<Number>
    ) {
        defer { note(key, "\(target)") }
        guard let value = take(key) else { return }
        let bounds = "write a bare number from \(range.lowerBound) to \(range.upperBound)"
        guard case .integer(let number) = value.content else {
            return report(key, "is \(value.kind)", cure: bounds, at: value.position)
        }
        guard let fitting = Number(exactly: number), range.contains(fitting) else {
            return report(key, "\(number) is out of range", cure: bounds, at: value.position)
        }
        target = fitting
    }

    /// A factor; a whole number is one too.
    func factor(_ key: String, into target: inout Double, in range: ClosedRange<Double>) {
        defer { note(key, "\(target)") }
        guard let value = take(key) else { return }
        let bounds = "write a bare number from \(range.lowerBound) to \(range.upperBound)"
        let number: Double
        switch value.content {
        case .float(let given): number = given
        case .integer(let given): number = Double(given)
        default: return report(key, "is \(value.kind)", cure: bounds, at: value.position)
        }
        guard range.contains(number) else {
            return report(key, "\(number) is out of range", cure: bounds, at: value.position)
        }
        target = number
    }

    func boolean(_ key: String, into target: inout Bool) {
        defer { note(key, "\(target)") }
        guard let value = take(key) else { return }
        guard case .boolean(let given) = value.content else {
            let cure = "write true or false, without quotes"
            return report(key, "is \(value.kind)", cure: cure, at: value.position)
        }
        target = given
    }

    func text(_ key: String) -> (text: String, position: Position)? {
        guard let value = take(key) else { return nil }
        guard case .string(let text) = value.content else {
            report(key, "is \(value.kind)", cure: "write text in quotes", at: value.position)
            return nil
        }
        return (text, value.position)
    }

    /// One of these words.
    func word<Word: Equatable>(
        _ key: String, into target: inout Word, of words: [(String, Word)]
    ) {
        defer {
            if let word = words.first(where: { $0.1 == target }) { note(key, quoting: word.0) }
        }
        guard let (text, position) = text(key) else { return }
        if let word = word(key, text, at: position, of: words) { target = word }
    }

    /// The word that a text is; another one is reported.
    func word<Word>(
        _ key: String, _ text: String, at position: Position, of words: [(String, Word)]
    ) -> Word? {
        if let word = words.first(where: { $0.0 == text }) { return word.1 }
        let names = words.map(\.0)
        let meant = suggestion(for: text, among: names).map { "did you mean \"\($0)\"?" }
        report(
            key, "\"\(text)\" is none of \(names.joined(separator: ", "))",
            cure: meant ?? "write one of them", at: position)
        return nil
    }

    /// One of an enumeration's words.
    func word<Word: RawRepresentable<String> & CaseIterable & Equatable>(
        _ key: String, into target: inout Word
    ) {
        word(key, into: &target, of: Word.allCases.map { ($0.rawValue, $0) })
    }

    /// A list of texts; what else stands in it is reported.
    func texts(_ key: String, example: String) -> [(text: String, position: Position)]? {
        guard let value = take(key) else { return nil }
        let cure = "write a list of texts, as in \(example)"
        guard case .array(let values) = value.content else {
            report(key, "is \(value.kind)", cure: cure, at: value.position)
            return nil
        }
        var found: [(String, Position)] = []
        for value in values {
            guard case .string(let text) = value.content else {
                report(key, "holds \(value.kind)", cure: cure, at: value.position)
                return nil
            }
            found.append((text, value.position))
        }
        return found
    }

    /// A list of whole numbers; what else stands in it is reported.
    func integers(_ key: String, example: String) -> [(number: Int64, position: Position)]? {
        guard let value = take(key) else { return nil }
        let cure = "write a list of bare numbers, as in \(example)"
        guard case .array(let values) = value.content else {
            report(key, "is \(value.kind)", cure: cure, at: value.position)
            return nil
        }
        var found: [(Int64, Position)] = []
        for value in values {
            guard case .integer(let number) = value.content else {
                report(key, "holds \(value.kind)", cure: cure, at: value.position)
                return nil
            }
            found.append((number, value.position))
        }
        return found
    }
}

extension Duration {
    /// Whole nanoseconds of a duration that is not negative.
    fileprivate var nanosecondCount: UInt64 {
        UInt64(components.seconds) * 1_000_000_000 + UInt64(components.attoseconds / 1_000_000_000)
    }
}
