// Configuration: a file's text, from TOML to the rules.
import Mitigation
import TOML

@testable import Daemon
@testable import Settings

extension FuzzTarget {
    /// Any bytes give a configuration, or mistakes that are each told in a line.
    static let configuration = FuzzTarget(
        name: "configuration",
        seeds: {
            try ConfigurationSeeds.files.map(contents(ofPackageFile:))
        },
        read: { bytes in
            switch Self.read(bytes) {
            case .success(let read):
                try promise(try Self.read(bytes).get() == read, "the same text is read in two ways")
                try promise(read.policy.pollInterval > .zero, "a poll that never ends")
                try promise(!read.control.socket.utf8.contains(0), "a path with a NUL")
                return true
            case .failure(let error):
                try promise(!error.problems.isEmpty, "refused for nothing")
                for problem in error.problems { try check(problem) }
                // A file that is TOML and wrong was read to its end.
                return error.problems.count > 1
            }
        })

    private static func read(_ bytes: [UInt8]) -> Result<Configuration, ConfigurationError> {
        Result { () throws(ConfigurationError) in
            try Configuration(parsing: bytes, file: "sluiced.toml")
        }
    }

    static func check(_ problem: ConfigurationProblem) throws(BrokenPromise) {
        let text = problem.description
        try promise(
            text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control },
            "a mistake is not one printable line: \(Array(text.utf8))")
        if let position = problem.position {
            try promise(position.line >= 1 && position.column >= 1, "a place before the file")
        }
    }
}

private enum ConfigurationSeeds {
    /// The documented file, and the broken ones of the tests.
    static var files: [String] {
        let broken = [
            "01-unknown-keys", "02-hardware-address", "03-unit-without-quotes", "04-wrong-units",
            "05-wrong-types", "06-contradictory-times", "07-marks-that-hold-forever", "08-names",
            "09-hook", "10-words-and-ranges", "11-ladder-and-control", "12-duplicate-key",
        ]
        return ["Configs/sluiced.toml"]
            + broken.map { "Tests/DaemonTests/ConfigurationFixtures/\($0).toml" }
    }
}
