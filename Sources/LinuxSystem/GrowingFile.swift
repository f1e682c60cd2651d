// A file that only grows, in whole pieces.
// Invariants: it is new: what stands under its name is neither followed nor written to; a piece that
// cannot be written to its end is taken back, so that the file ends with a whole one.
internal import Glibc
public import SystemPackage

/// A file that pieces are added to.
public struct GrowingFile: ~Copyable, Sendable {
    /// Where it was made.
    public let path: String
    private let owned: OwnedDescriptor
    private var length = 0

    /// A new file, for this user alone: open(2) with O_EXCL.
    ///
    /// - Throws: errno of open(2); EEXIST where the name is taken.
    public init(path: String) throws(Errno) {
        let number = unsafe open(
            path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw Errno(rawValue: errno) }
        owned = try OwnedDescriptor(number)
        self.path = path
    }

    /// A new file in a folder, named by this moment (`WallClock.stamp`), or by the next free
    /// millisecond.
    ///
    /// - Throws: errno of open(2).
    public static func stamped(in folder: String, suffix: String) throws(Errno) -> GrowingFile {
        var moment = WallClock.nanoseconds
        for _ in 0..<100 {
            do throws(Errno) {
                let stamp = WallClock.stamp(nanoseconds: moment)
                return try GrowingFile(path: "\(folder)/\(stamp)\(suffix)")
            } catch .fileExists {
                moment += 1_000_000
            }
        }
        throw .fileExists
    }

    /// Adds a piece; waits for the disk, where that is slow.
    ///
    /// - Throws: errno of write(2): nothing was added.
    public mutating func add(_ piece: [UInt8]) throws(Errno) {
        var written = 0
        while written < piece.count {
            let count = unsafe piece.withUnsafeBytes {
                unsafe Glibc.write(
                    owned.number, $0.baseAddress?.advanced(by: written), $0.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let error = Errno(rawValue: count == 0 ? EIO : errno)
                _ = ftruncate(owned.number, off_t(length))
                _ = lseek(owned.number, off_t(length), SEEK_SET)
                throw error
            }
            written += count
        }
        length += written
    }
}
