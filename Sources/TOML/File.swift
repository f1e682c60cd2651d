// Reads a whole file into memory, within a bound.

internal import Glibc

/// Why a file cannot be read.
public struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One sentence: the kernel's, or that it is no regular file.
    public var description: String

    private init(_ description: String) { self.description = description }

    static var last: FileError { FileError(unsafe String(cString: strerror(errno))) }

    static let notRegular = FileError("it is no regular file")
}

/// The bytes of a regular file: open(2), read(2). Never waits for a pipe's writer.
///
/// - Returns: the whole file, or its first `largestDocument` + 1 bytes, which `parse` refuses.
/// - Throws: `FileError` where it cannot be opened or read, or is no regular file.
public func contents(ofFile path: String) throws(FileError) -> [UInt8] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .last }
    defer { _ = close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw .last }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegular }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while bytes.count <= largestDocument {
        let count = unsafe chunk.withUnsafeMutableBytes { buffer in
            unsafe read(descriptor, buffer.baseAddress, buffer.count)
        }
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw .last }
        guard count > 0 else { return bytes }
        bytes += chunk.prefix(count)
    }
    return Array(bytes.prefix(largestDocument + 1))
}
