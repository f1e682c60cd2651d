// A folder whose files others write while we run: what is in it, and when to look again.
internal import CLinux
internal import Glibc
public import SystemPackage

/// A file of a folder, as far as it shows whether it is still the same.
public struct FolderEntry: Hashable, Sendable {
    /// Its name in the folder.
    public var name: String
    private var inode: UInt64
    /// Its length in bytes, at that moment.
    public private(set) var size: Int64
    private var changedAt: [Int64]

    /// When it was last written to, in seconds since 1970.
    public var writtenAt: Double { Double(changedAt[0]) + Double(changedAt[1]) / 1e9 }

    /// The regular files of a folder whose names end in `suffix` and do not begin with a dot, links
    /// followed, by name: opendir(3), fstatat(2).
    ///
    /// - Parameter most: what goes beyond is refused.
    /// - Throws: errno; ENOENT where the folder is not there, EMFILE where it has more than `most`.
    public static func list(
        _ path: String, suffix: String, most: Int
    ) throws(Errno) -> [FolderEntry] {
        try gather(path, kind: S_IFREG, most: most) { name, status in
            guard name.hasSuffix(suffix) else { return nil }
            let (written, changed) = (status.st_mtim, status.st_ctim)
            return FolderEntry(
                name: name, inode: UInt64(status.st_ino), size: Int64(status.st_size),
                changedAt: [
                    Int64(written.tv_sec), Int64(written.tv_nsec), Int64(changed.tv_sec),
                    Int64(changed.tv_nsec),
                ])
        }.sorted { $0.name < $1.name }
    }

    /// The folders in a folder whose names do not begin with a dot, links followed, by name.
    ///
    /// - Parameter most: what goes beyond is refused.
    /// - Throws: errno; ENOTDIR where it is none, EMFILE where it has more than `most`.
    public static func folders(_ path: String, most: Int) throws(Errno) -> [String] {
        try gather(path, kind: S_IFDIR, most: most) { name, _ in name }.sorted()
    }

    /// Makes a folder for this user alone, where it is not there; the one above must be: mkdir(2).
    ///
    /// - Throws: errno of mkdir(2).
    public static func makeFolder(_ path: String) throws(Errno) {
        guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else {
            throw Errno(rawValue: errno)
        }
    }

    /// What `body` makes of each thing of this kind (S_IFREG, S_IFDIR) in a folder; nil leaves it out.
    private static func gather<Value>(
        _ path: String, kind: mode_t, most: Int, _ body: (String, stat) -> Value?
    ) throws(Errno) -> [Value] {
        guard let folder = unsafe opendir(path) else { throw Errno(rawValue: errno) }
        defer { _ = unsafe closedir(folder) }
        var values: [Value] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(folder) else {
                guard errno == 0 else { throw Errno(rawValue: errno) }
                return values
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name.0) {
                unsafe String(cString: $0)
            }
            var status = stat()
            // One that is gone by now is not in the folder.
            guard !name.hasPrefix("."), unsafe fstatat(dirfd(folder), name, &status, 0) == 0,
                status.st_mode & S_IFMT == kind, let value = body(name, status)
            else { continue }
            guard values.count < most else { throw .tooManyOpenFiles }
            values.append(value)
        }
    }
}

/// An inotify(7) watch on a folder: a file in it was written and closed, renamed, removed, or may be
/// read by others now.
public final class FolderWatch: Sendable {
    private let owned: OwnedDescriptor
    private let poller: Poller

    /// Watches the folder from now on.
    ///
    /// - Throws: errno of inotify_init1(2) or inotify_add_watch(2); ENOENT where it is not there.
    public init(path: String) throws(Errno) {
        owned = try OwnedDescriptor(sluice_watch_create())
        poller = try Poller()
        _ = try unsafe checked(sluice_watch_add(owned.number, path))
        try poller.add(owned.number, tag: 0)
    }

    /// Waits until something in the folder changed, or the time is over.
    ///
    /// - Returns: false where the folder itself is gone, and another watch is needed.
    public func wait(milliseconds: Int32) -> Bool {
        try? poller.wait(timeoutMilliseconds: milliseconds) { _ in }
        return sluice_watch_drain(owned.number) == 0
    }
}
