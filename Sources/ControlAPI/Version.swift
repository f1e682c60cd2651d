// What daemon and client must agree on before they speak, and the answers that name no port.

/// The product.
public enum Product {
    /// Of the daemon and the client, which are always built together.
    public static let version = "0.1.0"
    /// Where the daemon listens and the client connects where nothing else is said.
    public static let defaultSocket = "/run/sluice/sluiced.sock"
}

/// Which daemon answers: the answer to `GET /v1/version`.
public struct VersionReply: Codable, Hashable, Sendable {
    /// The daemon's version.
    public var version: String

    /// This version.
    public init(version: String) { self.version = version }
}

/// Whether the turn turns: the answer to `GET /v1/health` where it does.
public struct HealthReply: Codable, Hashable, Sendable {
    /// Always `true`; a daemon that is not healthy answers with a `Problem` and 503 or 504.
    public var healthy: Bool

    /// A healthy daemon.
    public init(healthy: Bool = true) { self.healthy = healthy }
}
