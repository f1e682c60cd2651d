// What can go wrong in the laboratory: an operation, the errno behind it, and a sentence.

internal import Glibc

/// A laboratory operation that failed.
public struct LabError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried, with its object: `open tap vm-1-00aa`.
    public var operation: String
    /// The C call's errno; 0 where no C call failed.
    public var errno: Int32
    /// What else is known, such as a tool's standard error.
    public var detail: String

    /// A failure that no errno describes.
    public init(_ operation: String, detail: String = "") {
        self.operation = operation
        errno = 0
        self.detail = detail
    }

    init(_ operation: String, errno: Int32) {
        self.operation = operation
        self.errno = errno
        detail = unsafe String(cString: strerror(errno))
    }

    /// `operation: detail`
    public var description: String { detail.isEmpty ? operation : "\(operation): \(detail)" }
}

/// The result of a C call, which says by -1 that errno has the reason.
///
/// - Throws: `LabError` with that errno.
@discardableResult
func checked(
    _ result: Int32, _ operation: @autoclosure () -> String
) throws(LabError) -> Int32 {
    guard result < 0 else { return result }
    throw LabError(operation(), errno: errno)
}
