// What was on a port before anything of ours: kept in the journal, since the kernel cannot say it.

/// A port without anything of ours.
public struct PortOrigin: Hashable, Codable, Sendable {
    /// It had an `ingress` or `clsact` qdisc of somebody else's. Where it had none, an empty one that
    /// is found after a crash is ours: it bears no mark that could say so.
    public var hadHook: Bool
    /// The root qdisc of somebody else's that ours may take the place of; nil where it may not.
    public var root: RootSnapshot?

    /// A port that had this.
    public init(hadHook: Bool, root: RootSnapshot? = nil) {
        self.hadHook = hadHook
        self.root = root
    }
}
