// What is said of a port's memory on its way to another host. The memory itself is the daemon's: its
// JSON passes through the client unread.

/// What became of a port's memory that came from another host: the answer to `POST /v1/import`.
public struct ImportReply: Codable, Hashable, Sendable {
    /// The port's name, escaped.
    public var port: String
    /// The rung that is remembered; `normal` where strikes alone are.
    public var rung: String
    /// The port is not here yet: what is remembered waits for it.
    public var waits: Bool

    /// What became of it.
    public init(port: String, rung: String, waits: Bool) {
        self.port = port
        self.rung = rung
        self.waits = waits
    }
}
