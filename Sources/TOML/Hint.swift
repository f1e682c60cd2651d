// Cures for the mistakes that people make: what toml++ says of them does not help.

/// The cure for a syntax error, by the value on its line; nil where nothing is known.
func hint(for error: SyntaxError, in bytes: [UInt8]) -> String? {
    if error.sentence.contains("cannot redefine") {
        return "it stands there twice: take one of them out"
    }
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    guard error.position.line <= lines.count else { return nil }
    let line = String(decoding: lines[error.position.line - 1].prefix(1024), as: UTF8.self)
    guard let equals = line.firstIndex(of: "=") else { return nil }
    let value = line[line.index(after: equals)...].drop { $0 == " " || $0 == "\t" }
    let word = String(value.prefix { !" \t#,\r".contains($0) })
    guard let first = word.first, first != "\"", first != "'", first != "[", first != "{" else {
        return nil
    }
    if isHardwareAddress(word) {
        return "a hardware address is text: write \"\(word)\""
    }
    if first.isNumber, word.contains(where: \.isLetter) || word.hasSuffix("%") {
        return "a value with a unit is text: write \"\(word)\""
    }
    if first.isLetter || first == "/" || first == "-" {
        return "text stands in quotes: write \"\(word)\""
    }
    return nil
}

private func isHardwareAddress(_ word: String) -> Bool {
    let parts = word.split(separator: ":", omittingEmptySubsequences: false)
    return parts.count == 6 && parts.allSatisfy { $0.count == 2 && $0.allSatisfy(\.isHexDigit) }
}
