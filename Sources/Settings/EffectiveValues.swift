// What holds of each key, and who says so: the line of the file, or nobody.
// Invariant: the values come from the one reader of the configuration, so that none is told that does
// not hold.

package import Mitigation
internal import TOML

/// What holds of one key.
package struct EffectiveValue: Hashable, Sendable {
    /// The key's full path: `class.vm.from.packets`.
    package var key: String
    /// As it would be written: `"30kpps"`.
    package var value: String
    /// The line of the file that says so; nil: nothing does, and it is built in.
    package var line: Int?
}

/// A configuration with what holds of each of its keys.
package struct ExplainedConfiguration: Sendable {
    /// The file.
    package let file: String
    /// What it says.
    package let configuration: Configuration
    /// Every key that has one value, in the order of Configs/sluiced.toml.
    package let values: [EffectiveValue]

    /// Reads and checks a file.
    ///
    /// - Throws: `ConfigurationError` with every mistake.
    package init(path: String) throws(ConfigurationError) {
        let text = try readConfiguration(path, cure: "name another file with --config")
        try self.init(parsing: text, file: path)
    }

    /// Of this text.
    package init(parsing bytes: [UInt8], file: String) throws(ConfigurationError) {
        self.file = file
        let entries: [Entry]
        do throws(SyntaxError) {
            entries = try TOML.parse(bytes)
        } catch {
            throw ConfigurationError(error, file: file)
        }
        let problems = ProblemList(file: file)
        configuration = ConfigurationReader(entries: entries, problems: problems).read()
        if let error = problems.error { throw error }
        values = problems.values.map { path, text in
            EffectiveValue(key: path, value: text, line: problems.places[path]?.line)
        }
    }

    /// What holds for one port: the rules for all, its class's, and where it has a section of its own,
    /// what stands there in the class's place. nil where no class claims the name.
    package func values(for port: PortName) -> [EffectiveValue]? {
        guard let match = configuration.names.match(port) else { return nil }
        let own = "port.\(port)."
        let ofClass = "class.\(match.portClass.rawValue)."
        let said = Dictionary(
            values.filter { $0.key.hasPrefix(own) && $0.line != nil }
                .map { ($0.key.dropFirst(own.count), $0) }
        ) { first, _ in first }
        let others = [
            "class.", "port.", "guard.", "guards.", "control.", "syslog.", "journal.", "recording.",
            "tc.", "poll.", "evidence.",
        ]
        let isModeSaid = values.contains { $0.key == ofClass + "mode" }
        return values.compactMap { value in
            if value.key.hasPrefix(ofClass) {
                return said[value.key.dropFirst(ofClass.count)] ?? value
            }
            if value.key == "mode", isModeSaid { return nil }
            return others.contains { value.key.hasPrefix($0) } ? nil : value
        }
    }
}
