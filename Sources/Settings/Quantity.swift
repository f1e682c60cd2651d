// Numbers with their units: `10kpps`, `16mbit`, `200ms`, `20%`.
// Invariant: a quantity is a whole number of its smallest unit (a packet, a bit, a nanosecond, a
// thousandth of a percent), or it is refused; nothing is rounded silently.

/// A kind of quantity, and the units it may be written in.
package struct QuantityKind {
    /// In a sentence: "is no ___".
    let noun: String
    /// In a sentence: "is no unit of ___".
    let plural: String
    /// Units by name, each in terms of the smallest.
    let units: [(name: String, factor: UInt64)]
    /// What a right value looks like.
    let example: String

    /// Packets in a second.
    package static let packetRate = QuantityKind(
        noun: "packet rate", plural: "packet rates",
        units: [("pps", 1), ("kpps", 1000), ("mpps", 1_000_000)],
        example: "10kpps")
    /// Bits in a second.
    package static let bitRate = QuantityKind(
        noun: "bit rate", plural: "bit rates",
        units: [("bit", 1), ("kbit", 1000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)],
        example: "16mbit")
    static let duration = QuantityKind(
        noun: "time", plural: "time",
        units: [
            ("ms", 1_000_000), ("s", 1_000_000_000), ("min", 60_000_000_000),
            ("h", 3_600_000_000_000),
        ], example: "200ms")
    static let size = QuantityKind(
        noun: "size", plural: "size",
        units: [("kb", 1_000), ("mb", 1_000_000), ("gb", 1_000_000_000)], example: "256mb")
    static let share = QuantityKind(
        noun: "share", plural: "shares", units: [("%", 1000)], example: "20%")

    /// The cure for any mistake.
    var cure: String {
        "write a number with \(listed(units.map(\.name))), as in \"\(example)\""
    }

    /// The value of this text in the smallest unit.
    ///
    /// - Throws: what is wrong with it, as the end of a sentence that begins with the text.
    func value(of text: String) throws(QuantityMistake) -> UInt64 {
        let bytes = Array(text.utf8)
        let number = bytes.prefix { $0 == UInt8(ascii: ".") || isDigit($0) }
        var unit = bytes.dropFirst(number.count)
        if unit.first == UInt8(ascii: " ") { unit = unit.dropFirst() }
        let name = String(decoding: unit, as: UTF8.self)
        guard let first = number.first, isDigit(first) else {
            throw QuantityMistake("is no \(noun)")
        }
        guard !name.isEmpty else { throw QuantityMistake("has no unit") }
        guard let factor = units.first(where: { $0.name == name.lowercased() })?.factor else {
            throw QuantityMistake("has the unit \"\(name)\", which is no unit of \(plural)")
        }
        return try Self.product(number, factor)
    }

    private func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func product(
        _ number: ArraySlice<UInt8>, _ factor: UInt64
    ) throws(QuantityMistake) -> UInt64 {
        let halves = number.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard halves.count <= 2, halves.allSatisfy({ !$0.isEmpty }) else {
            throw QuantityMistake("is no number")
        }
        var total: UInt64 = 0
        for digit in halves[0] {
            let ten = total.multipliedReportingOverflow(by: 10)
            let sum = ten.partialValue.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
            guard !ten.overflow, !sum.overflow else { throw QuantityMistake("is too large") }
            total = sum.partialValue
        }
        let whole = total.multipliedReportingOverflow(by: factor)
        guard !whole.overflow else { throw QuantityMistake("is too large") }
        total = whole.partialValue
        var place = factor
        for digit in halves.count == 2 ? halves[1] : [] {
            let value = UInt64(digit - UInt8(ascii: "0"))
            if place % 10 == 0 {
                place /= 10
            } else if value != 0 {
                throw QuantityMistake("is finer than can be kept")
            }
            let sum = total.addingReportingOverflow(place * value)
            guard !sum.overflow else { throw QuantityMistake("is too large") }
            total = sum.partialValue
        }
        return total
    }

    /// This many of the smallest unit in the largest unit that leaves a whole number.
    package func text(_ value: UInt64) -> String {
        let unit = units.last { value % $0.factor == 0 && value >= $0.factor } ?? units[0]
        let (whole, rest) = value.quotientAndRemainder(dividingBy: unit.factor)
        guard rest != 0 else { return "\(whole)\(unit.name)" }
        var digits = String(unit.factor + rest).dropFirst()
        while digits.last == "0" { digits.removeLast() }
        return "\(whole).\(digits)\(unit.name)"
    }
}

/// What is wrong with a quantity: the end of a sentence that begins with its text.
struct QuantityMistake: Error, Hashable {
    let predicate: String

    init(_ predicate: String) { self.predicate = predicate }
}

/// `a, b or c`
func listed(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " or " + last
}
