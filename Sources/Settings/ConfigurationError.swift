// What is wrong with a configuration file: every mistake with its place and its cure.

package import TOML

/// One mistake in a configuration file.
package struct ConfigurationProblem: Hashable, Sendable, CustomStringConvertible {
    /// The file, as the operator named it.
    package var file: String
    /// Where; nil where the file could not be read at all.
    package var position: Position?
    /// What is wrong, with the key's full path.
    package var sentence: String
    /// What to write instead.
    package var cure: String?

    /// A mistake.
    package init(file: String, position: Position?, sentence: String, cure: String?) {
        self.file = file
        self.position = position
        self.sentence = sentence
        self.cure = cure
    }

    /// `FILE:LINE:COLUMN: error: what is wrong; the cure`, as compilers print it: one line, in which
    /// what the file holds of control characters is escaped.
    package var description: String {
        let place = position.map { ":\($0.line):\($0.column)" } ?? ""
        return Self.harmless(
            "\(file)\(place): error: \(sentence)" + (cure.map { "; \($0)" } ?? ""))
    }

    /// Letters of every script stay; what could break a line, move a terminal's cursor or turn the
    /// direction of writing stands as `\u{NN}`.
    private static func harmless(_ text: String) -> String {
        var harmless = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate,
                .unassigned:
                harmless += "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars
            default: harmless.append(scalar)
            }
        }
        return String(harmless)
    }
}

/// Everything that is wrong with a configuration file, in the order of its lines.
package struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One or more.
    package var problems: [ConfigurationProblem]

    /// These mistakes, one or more.
    package init(problems: [ConfigurationProblem]) { self.problems = problems }

    /// A syntax error stands alone, as nothing behind it can be read.
    init(_ error: SyntaxError, file: String) {
        problems = [
            ConfigurationProblem(
                file: file, position: error.position, sentence: error.sentence, cure: error.hint)
        ]
    }

    /// One line for each mistake.
    package var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}

/// Collects the mistakes while a file is read.
final class ProblemList {
    let file: String
    private(set) var problems: [ConfigurationProblem] = []
    /// Where each key that the file holds has its value, by full path.
    private(set) var places: [String: Position] = [:]
    /// What holds of each key that has one value, by full path and as it would be written, in the order
    /// in which they are read.
    private(set) var values: [(path: String, text: String)] = []
    /// Every key that may be written, by full path.
    private(set) var knownKeys: [String] = []

    init(file: String) { self.file = file }

    func report(_ sentence: String, cure: String?, at position: Position) {
        problems.append(
            ConfigurationProblem(file: file, position: position, sentence: sentence, cure: cure))
    }

    /// A contradiction between these keys, reported at the first of them that the file holds. The
    /// defaults contradict nothing, so that one of them is there.
    func contradiction(_ keys: [String], _ sentence: String, cure: String) {
        let position = keys.lazy.compactMap { self.places[$0] }.first ?? .start
        report("\(keys[0]): \(sentence)", cure: cure, at: position)
    }

    func note(_ path: String, at position: Position) { places[path] = position }

    func note(_ path: String, holds text: String) { values.append((path, text)) }

    func note(knownKey path: String) { knownKeys.append(path) }

    /// nil where nothing is wrong.
    var error: ConfigurationError? {
        guard !problems.isEmpty else { return nil }
        let sorted = problems.enumerated().sorted { left, right in
            let places = (left.element.position ?? .start, right.element.position ?? .start)
            return places.0 == places.1 ? left.offset < right.offset : places.0 < places.1
        }
        return ConfigurationError(problems: sorted.map(\.element))
    }
}
