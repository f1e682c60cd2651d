// Broken configuration files: each names file, line, column, key, what is wrong and the cure.

import TOML
import Testing

@testable import Daemon
@testable import Settings

@Suite struct ConfigurationErrorTests {
    static let fixtures = [
        "01-unknown-keys", "02-hardware-address", "03-unit-without-quotes", "04-wrong-units",
        "05-wrong-types", "06-contradictory-times", "07-marks-that-hold-forever", "08-names",
        "09-hook", "10-words-and-ranges", "11-ladder-and-control", "12-duplicate-key", "13-journal",
        "14-guards",
    ]

    /// The folder of this file's fixtures.
    static var folder: String {
        let here = #filePath
        return here[..<(here.lastIndex(of: "/") ?? here.startIndex)] + "/ConfigurationFixtures"
    }

    /// Guards against: a mistake that is missed, told without its place or cure, or hidden behind
    /// another one of the same file. The sentences that are expected stand at each file's end.
    @Test(arguments: fixtures) func fixture(_ name: String) throws {
        let path = "\(Self.folder)/\(name).toml"
        let text = String(decoding: try contents(ofFile: path), as: UTF8.self)
        let expected = text.split(separator: "\n").compactMap { line in
            line.hasPrefix("# ") && line.contains(": error: ")
                ? "/etc/sluice/sluiced.toml:" + line.dropFirst(2) : nil
        }
        let error = try #require(throws: ConfigurationError.self) {
            _ = try Configuration(parsing: Array(text.utf8), file: "/etc/sluice/sluiced.toml")
        }
        #expect(error.problems.map(\.description) == expected)
        #expect(!expected.isEmpty)
    }
}
