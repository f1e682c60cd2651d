// Who has which guards: by the file of its own that an orchestrator drops in, else by the
// configuration's section with exactly its name, else by the first section whose pattern matches it.
// Invariant: one of them holds as a whole; they are never mixed.
package import Mitigation
package import TrafficControl

/// The guards of all ports.
package struct GuardBook: Hashable, Sendable {
    /// A section of the configuration for several ports.
    package struct Pattern: Hashable, Sendable {
        package var names: NamePattern
        package var guards: Guards
    }

    /// By `[guard."NAME"]`.
    package var named: [PortName: Guards] = [:]
    /// By `[guard."PATTERN"]`, in the order of the file.
    package var patterns: [Pattern] = []
    /// By a file of its own. An empty one says that the port has none.
    package var files: [PortName: Guards] = [:]

    /// What the name of a port's own file ends with.
    package static let fileSuffix = ".toml"

    /// No port has any.
    package init() {}

    /// What a port may not send, and who says so.
    package struct Entry: Hashable, Sendable {
        package var guards: Guards
        /// Its section or file: `guard."vm-<num>-<netid>"`, or `vm-1-00df.toml`.
        package var origin: String

        /// `enforce` or `monitor`.
        package var mode: String { guards.mode.rawValue }
    }

    /// The guards of the port with this name; nil where nobody says any.
    package func entry(for name: PortName) -> Entry? {
        if let guards = files[name] {
            return Entry(guards: guards, origin: "\(name)\(Self.fileSuffix)")
        }
        if let guards = named[name] { return Entry(guards: guards, origin: "guard.\"\(name)\"") }
        guard let pattern = patterns.first(where: { $0.names.match(name.bytes) != nil }) else {
            return nil
        }
        return Entry(
            guards: pattern.guards, origin: "guard.\"\(pattern.names.description)\"")
    }
}
