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

    /// The regular files of a folder whose names end in `suffix` and do not begin with a dot, links
    /// followed, by name: opendir(3), fstatat(2).
    ///
    /// - Parameter most: what goes beyond is refused.
    /// - Throws: errno; ENOENT where the folder is not there, EMFILE where it has more than `most`.
    public static func list(
        _ path: String, suffix: String, most: Int
    ) throws(Errno) -> [FolderEntry] {
        guard let folder = unsafe opendir(path) else { throw Errno(rawValue: errno) }
        defer { _ = unsafe closedir(folder) }
        var entries: [FolderEntry] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(folder) else {
                guard errno == 0 else { throw Errno(rawValue: errno) }
                return entries.sorted { $0.name < $1.name }
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name.0) {
                unsafe String(cString: $0)
            }
            guard !name.hasPrefix("."), name.hasSuffix(suffix) else { continue }
            var status = stat()
            // One that is gone by now is no file of the folder.
            guard unsafe fstatat(dirfd(folder), name, &status, 0) == 0,
                status.st_mode & S_IFMT == S_IFREG
            else { continue }
            guard entries.count < most else { throw .tooManyOpenFiles }
            let (written, changed) = (status.st_mtim, status.st_ctim)
            entries.append(
                FolderEntry(
                    name: name, inode: UInt64(status.st_ino), size: Int64(status.st_size),
                    changedAt: [
                        Int64(written.tv_sec), Int64(written.tv_nsec), Int64(changed.tv_sec),
                        Int64(changed.tv_nsec),
                    ]))
        }
    }
}

extension FolderEntry {
    /// The folders in a folder whose names do not begin with a dot, links followed, by name.
    ///
    /// - Parameter most: what goes beyond is refused.
    /// - Throws: errno; ENOTDIR where it is none, EMFILE where it has more than `most`.
    public static func folders(_ path: String, most: Int) throws(Errno) -> [String] {
        guard let folder = unsafe opendir(path) else { throw Errno(rawValue: errno) }
        defer { _ = unsafe closedir(folder) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(folder) else {
                guard errno == 0 else { throw Errno(rawValue: errno) }
                return names.sorted()
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name.0) {
                unsafe String(cString: $0)
            }
            var status = stat()
            guard !name.hasPrefix("."), unsafe fstatat(dirfd(folder), name, &status, 0) == 0,
                status.st_mode & S_IFMT == S_IFDIR
            else { continue }
            guard names.count < most else { throw .tooManyOpenFiles }
            names.append(name)
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
