// Being somebody else: a thread under another user and other groups, as the kernel sees it.

internal import CLab

/// A user and its groups.
public struct Identity: Hashable, Sendable {
    /// The user's number.
    public var user: UInt32
    /// The number of its group.
    public var group: UInt32
    /// Its supplementary groups.
    public var groups: [UInt32]

    /// This user and its groups.
    public init(user: UInt32, group: UInt32, groups: [UInt32] = []) {
        self.user = user
        self.group = group
        self.groups = groups
    }

    /// Somebody whom no file and no socket knows.
    public static let stranger = Identity(user: 64_000, group: 64_000)

    /// Runs `body` on a fresh thread that is this user and no other, and waits for it.
    ///
    /// - Throws: what `body` throws; EPERM where the process may not become others.
    public func perform<Value: Sendable>(
        _ body: @escaping @Sendable () throws(LabError) -> Value
    ) throws(LabError) -> Value {
        try onFreshThread("identity") { () throws(LabError) in
            try become()
            return try body()
        }
    }

    /// The calling thread is this user from now on; there is no way back.
    func become() throws(LabError) {
        try checked(
            unsafe clab_become(user, group, groups, groups.count), "become user \(user)")
    }
}

/// One answer of the control socket.
public struct ControlAnswer: Hashable, Sendable {
    /// The HTTP status; 0 where the connection was closed without an answer.
    public var status: Int
    /// The body.
    public var body: String
}

extension Identity {
    /// One request of a control socket, as this user.
    ///
    /// - Throws: `LabError` with connect's errno: EACCES where it may not even connect.
    public func ask(
        _ socket: String, _ method: String, _ target: String, body: String = ""
    ) throws(LabError) -> ControlAnswer {
        try perform { () throws(LabError) in
            try ControlClient(path: socket).ask(method, target, body: body)
        }
    }
}
