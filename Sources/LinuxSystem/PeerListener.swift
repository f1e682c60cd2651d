// A Unix socket that listens under a name which never had wider rights than it keeps.
// Invariants: the name appears at once with its mode and group (bound under another name, then
// renamed); a socket that somebody serves is never replaced; only our own file is removed.

internal import CLinux
internal import Glibc
public import SystemPackage

/// A Unix socket that listens under a name, for whoever accepts on it.
public struct PeerListener: ~Copyable, Sendable {
    /// Why a socket could not be bound.
    public enum BindError: Error, Hashable, Sendable, CustomStringConvertible {
        /// Somebody answers under this name.
        case served
        /// The name is taken by something that is no socket.
        case notSocket
        /// The kernel refused this step.
        case refused(step: String, Errno)

        /// One sentence, without the path.
        public var description: String {
            switch self {
            case .served: "another daemon serves it"
            case .notSocket: "there is a file of this name that is no socket"
            case .refused(let step, let errno): "\(step): \(errno)"
            }
        }
    }

    /// Connections that may wait to be accepted.
    private static let backlog: Int32 = 128

    private let path: String
    private var descriptor: FileDescriptor?
    private let device: UInt64
    private let inode: UInt64

    /// Binds a socket to a path: socket(2), fchmod(2), bind(2) to a temporary name beside it,
    /// chown(2), chmod(2), listen(2), rename(2). A stale socket of this name is replaced.
    ///
    /// - Parameters:
    ///   - path: absolute, at most 96 bytes.
    ///   - mode: the file's permissions; connecting needs write permission.
    ///   - group: the file's group; nil leaves the daemon's.
    public static func bind(
        path: String, mode: UInt16 = 0o660, group: UInt32? = nil
    ) throws(BindError) -> PeerListener {
        try refuseIfTaken(path)
        let temporary = "\(path).\(getpid())"
        _ = unsafe unlink(temporary)
        let descriptor: Int32
        do throws(Errno) {
            descriptor = try checked(unsafe sluice_peer_bind(temporary, mode_t(mode)))
        } catch {
            throw .refused(step: "bind", error)
        }
        func giveUp(_ step: String) -> BindError {
            let code = errno
            close(descriptor)
            _ = unsafe unlink(temporary)
            return .refused(step: step, Errno(rawValue: code))
        }
        // The group first: chown(2) may clear permission bits, and the umask took some at bind(2).
        if let group, unsafe lchown(temporary, uid_t.max, group) < 0 { throw giveUp("chown") }
        if unsafe chmod(temporary, mode_t(mode)) < 0 { throw giveUp("chmod") }
        var status = stat()
        if unsafe lstat(temporary, &status) < 0 { throw giveUp("stat") }
        // Before it has its name, so that whoever finds the name can connect.
        if Glibc.listen(descriptor, backlog) < 0 { throw giveUp("listen") }
        if unsafe rename(temporary, path) < 0 { throw giveUp("rename") }
        return PeerListener(
            path: path, descriptor: FileDescriptor(rawValue: descriptor),
            device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    private init(path: String, descriptor: FileDescriptor, device: UInt64, inode: UInt64) {
        self.path = path
        self.descriptor = descriptor
        self.device = device
        self.inode = inode
    }

    /// Whether somebody serves a socket of this name, as far as can be seen.
    public static func isServed(_ path: String) -> Bool {
        do throws(BindError) {
            try refuseIfTaken(path)
            return false
        } catch {
            return error == .served
        }
    }

    /// Probes what stands under the name: a served socket answers, a stale one refuses.
    private static func refuseIfTaken(_ path: String) throws(BindError) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw .notSocket }
        do throws(Errno) {
            _ = try PeerSocket.connect(path: path, timeout: .milliseconds(500))
        } catch .connectionRefused, .noSuchFileOrDirectory {
            return
        } catch {
            // A full backlog, or no permission to ask: somebody may be there.
            throw .served
        }
        throw .served
    }

    /// Hands the socket to whoever serves it; this value still removes the name. Only once.
    ///
    /// - Returns: a bound, non-blocking socket, now the caller's to close; nil the second time.
    public mutating func takeDescriptor() -> FileDescriptor? {
        defer { descriptor = nil }
        return descriptor
    }

    deinit {
        if let descriptor { _ = close(descriptor.rawValue) }
        // Another daemon's socket may stand there by now.
        var status = stat()
        guard unsafe lstat(path, &status) == 0, UInt64(status.st_dev) == device,
            UInt64(status.st_ino) == inode
        else { return }
        _ = unsafe unlink(path)
    }
}
