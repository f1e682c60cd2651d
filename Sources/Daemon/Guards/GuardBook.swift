// Who has which guards: by the file of its own that an orchestrator drops in, else by the
// configuration's section with exactly its name, else by the first section whose pattern matches it.
// Invariant: one of them holds as a whole; they are never mixed.
internal import Mitigation
internal import TrafficControl

/// The guards of all ports.
package struct GuardBook: Hashable, Sendable {
    /// A section of the configuration for several ports.
    struct Pattern: Hashable, Sendable {
        var names: NamePattern
        var guards: Guards
    }

    /// By `[guard."NAME"]`.
    var named: [PortName: Guards] = [:]
    /// By `[guard."PATTERN"]`, in the order of the file.
    var patterns: [Pattern] = []
    /// By a file of its own. An empty one says that the port has none.
    var files: [PortName: Guards] = [:]

    /// No port has any.
    package init() {}

    /// What a port may not send, and who says so.
    struct Entry: Hashable, Sendable {
        var guards: Guards
        /// `guard."vm-<num>-<netid>"`, or `vm-1-00df.toml`.
        var origin: String
    }

    /// The guards of the port with this name; nil where nobody says any.
    func entry(for name: PortName) -> Entry? {
        if let guards = files[name] {
            return Entry(guards: guards, origin: "\(name)\(GuardFolder.suffix)")
        }
        if let guards = named[name] { return Entry(guards: guards, origin: "guard.\"\(name)\"") }
        guard let pattern = patterns.first(where: { $0.names.match(name.bytes) != nil }) else {
            return nil
        }
        return Entry(
            guards: pattern.guards, origin: "guard.\"\(pattern.names.description)\"")
    }
}
