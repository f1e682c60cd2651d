// Loads the configuration from its file.

import TOML

extension Configuration {
    /// Where the daemon looks where nothing else is said.
    package static let defaultPath = "/etc/sluice/sluiced.toml"

    /// Reads and checks a configuration file, at most 1 MiB: open(2), read(2).
    ///
    /// - Throws: `ConfigurationError`; a file that cannot be read is one mistake without a place.
    package static func load(path: String) throws(ConfigurationError) -> Configuration {
        let bytes = try readConfiguration(
            path, cure: "name another file with --config, or make it readable")
        return try Configuration(parsing: bytes, file: path)
    }
}

/// The bytes of a file that an operator wrote, at most 1 MiB; one that cannot be read is a mistake
/// without a place.
package func readConfiguration(_ path: String, cure: String) throws(ConfigurationError) -> [UInt8] {
    do throws(FileError) {
        return try contents(ofFile: path)
    } catch {
        throw ConfigurationError(problems: [
            ConfigurationProblem(
                file: path, position: nil, sentence: "cannot be read: \(error)", cure: cure)
        ])
    }
}
