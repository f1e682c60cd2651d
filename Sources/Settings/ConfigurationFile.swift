// Loads the configuration from its file.

import TOML

extension Configuration {
    /// Where the daemon looks where nothing else is said.
    package static let defaultPath = "/etc/sluice/sluiced.toml"

    /// Reads and checks a configuration file, at most 1 MiB: open(2), read(2).
    ///
    /// - Throws: `ConfigurationError`; a file that cannot be read is one mistake without a place.
    package static func load(path: String) throws(ConfigurationError) -> Configuration {
        try ConfigurationSource.load(path: path).configuration
    }
}

/// A configuration, and the text that it was read from.
package struct ConfigurationSource: Sendable {
    /// What the text says.
    package var configuration: Configuration
    /// TOML.
    package var text: [UInt8]

    /// As `Configuration.load`.
    package static func load(path: String) throws(ConfigurationError) -> ConfigurationSource {
        let text = try readConfiguration(
            path, cure: "name another file with --config, or make it readable")
        return ConfigurationSource(
            configuration: try Configuration(parsing: text, file: path), text: text)
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
