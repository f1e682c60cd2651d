// Files that are whole or not there: written under another name, then renamed over the old one.
// Invariants: a reader, and whoever starts after a crash, sees the old content or the new, never a
// part; what fails leaves the old content in place; a link, a pipe or another's file where ours should
// be is neither followed nor waited for.
internal import Glibc
public import SystemPackage

/// A small file that is replaced as a whole.
public struct AtomicFile: Sendable {
    /// Where it stands; `<path>.new` is used while it is written.
    public let path: String

    /// The file at `path`.
    public init(path: String) { self.path = path }

    /// Its content; nil where there is no such file.
    ///
    /// - Parameter limit: the most bytes that are read.
    /// - Throws: errno of open(2) or read(2); EFBIG where it is longer than `limit`.
    public func read(limit: Int) throws(Errno) -> [UInt8]? {
        do throws(Errno) {
            let file = try Self.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            return try WholeInput.content(of: file.number, limit: limit)
        } catch {
            guard error == .noSuchFileOrDirectory else { throw error }
            return nil
        }
    }

    /// Replaces its content. `isDurable`: it also survives a loss of power, once this returns (fsync(2)
    /// of the file and its folder, which waits for the disk). `mode`: its permissions, whatever the umask.
    ///
    /// - Throws: errno of open(2), fchmod(2), write(2), fsync(2) or rename(2).
    public func replace(
        _ content: [UInt8], isDurable: Bool, mode: UInt32 = 0o600
    ) throws(Errno) {
        let temporary = path + ".new"
        // What a crash, or somebody else, left there.
        _ = unsafe unlink(temporary)
        do throws(Errno) {
            let file = try Self.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
            guard fchmod(file.number, mode) == 0 else { throw Errno(rawValue: errno) }
            try Self.write(content, to: file.number)
            if isDurable { try Self.synchronize(file.number) }
            guard unsafe rename(temporary, path) == 0 else { throw Errno(rawValue: errno) }
        } catch {
            _ = unsafe unlink(temporary)
            throw error
        }
        guard isDurable else { return }
        let folder = FilePath(path).removingLastComponent().string
        let opened = try Self.open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY)
        try Self.synchronize(opened.number)
    }

    /// Makes its folder, for this user alone, where it is not there; the folder above must be.
    ///
    /// - Throws: errno of mkdir(2).
    public func makeFolder() throws(Errno) {
        try FolderEntry.makeFolder(FilePath(path).removingLastComponent().string)
    }

    /// Gives it another name beside the old one, replacing what has that name: what is broken is kept
    /// for whoever looks into it.
    ///
    /// - Throws: errno of rename(2).
    public func setAside(as suffix: String) throws(Errno) {
        guard unsafe rename(path, path + suffix) == 0 else { throw Errno(rawValue: errno) }
    }

    /// Deletes it; nothing where it is not there.
    ///
    /// - Throws: errno of unlink(2).
    public func remove() throws(Errno) {
        guard unsafe unlink(path) == 0 || errno == ENOENT else { throw Errno(rawValue: errno) }
    }

    private static func open(_ path: String, _ flags: Int32) throws(Errno) -> OwnedDescriptor {
        while true {
            let number = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o600)
            if number >= 0 { return try OwnedDescriptor(number) }
            guard errno == EINTR else { throw Errno(rawValue: errno) }
        }
    }

    private static func write(_ content: [UInt8], to number: Int32) throws(Errno) {
        var written = 0
        while written < content.count {
            let count = unsafe content.withUnsafeBytes {
                unsafe Glibc.write(
                    number, $0.baseAddress?.advanced(by: written), $0.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Errno(rawValue: count == 0 ? EIO : errno) }
            written += count
        }
    }

    private static func synchronize(_ number: Int32) throws(Errno) {
        guard fsync(number) == 0 else { throw Errno(rawValue: errno) }
    }
}

extension RunningKernel {
    /// Which start of this machine it is: another one after each (/proc/sys/kernel/random/boot_id);
    /// empty where the kernel does not say.
    public static var boot: String {
        let file = AtomicFile(path: "/proc/sys/kernel/random/boot_id")
        let bytes = (try? file.read(limit: 4_096)) ?? []
        return String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
    }
}

/// CLOCK_REALTIME: for what is kept over a restart of the machine, never for a decision.
public enum WallClock {
    /// Seconds since 1970.
    public static var seconds: Int64 { Int64(time(nil)) }

    /// Nanoseconds since 1970.
    public static var nanoseconds: UInt64 {
        var moment = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &moment)
        return UInt64(max(0, moment.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, moment.tv_nsec))
    }

    /// Seconds since 1970 with their fraction.
    public static var exactSeconds: Double { Double(nanoseconds) / 1e9 }

    /// A moment in UTC as a part of a file's name, by which names sort: `20261126T085012.345Z`.
    public static func stamp(nanoseconds: UInt64) -> String {
        var seconds = time_t(clamping: nanoseconds / 1_000_000_000)
        var parts = unsafe tm()
        unsafe gmtime_r(&seconds, &parts)
        func digits(_ value: Int32, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        let date = unsafe digits(parts.tm_year + 1_900, 4) + digits(parts.tm_mon + 1, 2)
        let day = unsafe digits(parts.tm_mday, 2) + "T" + digits(parts.tm_hour, 2)
        let time = unsafe digits(parts.tm_min, 2) + digits(parts.tm_sec, 2)
        let fraction = digits(Int32(nanoseconds % 1_000_000_000 / 1_000_000), 3)
        return "\(date)\(day)\(time).\(fraction)Z"
    }
}
