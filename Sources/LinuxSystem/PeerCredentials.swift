// Who is at the other end of a Unix socket, as the kernel saw it at connect(2).
// Invariant: what the kernel does not say is an error, never an empty set of rights taken for root.

internal import CLinux
public import SystemPackage

/// Who is at the other end of a Unix socket.
public struct PeerCredentials: Hashable, Sendable {
    /// The process that connected; it may be gone.
    public var pid: Int32
    /// Its effective user.
    public var user: UInt32
    /// Its effective group.
    public var group: UInt32
    /// Its supplementary groups.
    public var groups: [UInt32]

    /// These credentials.
    public init(pid: Int32, user: UInt32, group: UInt32, groups: [UInt32]) {
        self.pid = pid
        self.user = user
        self.group = group
        self.groups = groups
    }

    /// The most supplementary groups that are read; Linux allows 65,536.
    private static let mostGroups = 65_536

    /// Who connected to this socket: getsockopt(2) with SO_PEERCRED and SO_PEERGROUPS.
    ///
    /// - Parameter socket: a connected Unix stream socket; stays the caller's.
    /// - Throws: ENOTCONN where nobody is at the other end, or what getsockopt(2) says.
    public init(ofPeerAt socket: FileDescriptor) throws(Errno) {
        var pid: Int32 = 0
        var user: UInt32 = 0
        var group: UInt32 = 0
        try checked(unsafe sluice_peer_credentials(socket.rawValue, &pid, &user, &group))
        self.init(pid: pid, user: user, group: group, groups: [])
        var capacity = 32
        while true {
            var buffer = [UInt32](repeating: 0, count: capacity)
            let count = unsafe sluice_peer_groups(socket.rawValue, &buffer, capacity)
            if count == -Errno.outOfRange.rawValue, capacity < Self.mostGroups {
                capacity *= 8
                continue
            }
            try checked(count)
            groups = Array(buffer.prefix(Int(count)))
            return
        }
    }

    /// Whether this is the effective group or one of the supplementary ones.
    public func isMember(of group: UInt32) -> Bool {
        self.group == group || groups.contains(group)
    }

    /// The number of the group of this name: getgrnam_r(3).
    ///
    /// - Throws: ENOENT where there is no such group, or what the name service says.
    public static func group(named name: String) throws(Errno) -> UInt32 {
        var group: UInt32 = 0
        try checked(unsafe sluice_group_id(name, &group))
        return group
    }
}
