// A file of the user's, or standard input, read to its end.
internal import Glibc
public import SystemPackage

/// What a user names as input.
public enum WholeInput {
    /// The content of a file, links followed, or of standard input where `path` is nil.
    ///
    /// - Parameter limit: the most bytes that are read.
    /// - Throws: errno of open(2) or read(2); EFBIG where there are more than `limit`.
    public static func read(path: String?, limit: Int) throws(Errno) -> [UInt8] {
        guard let path else { return try content(of: STDIN_FILENO, limit: limit) }
        let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw Errno(rawValue: errno) }
        defer { close(number) }
        return try content(of: number, limit: limit)
    }

    /// All that is left to read of a descriptor, which stays open.
    static func content(of number: Int32, limit: Int) throws(Errno) -> [UInt8] {
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe Glibc.read(number, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Errno(rawValue: errno) }
            guard count > 0 else { return content }
            content += chunk[..<count]
            guard content.count <= limit else { throw .fileTooLarge }
        }
    }
}
