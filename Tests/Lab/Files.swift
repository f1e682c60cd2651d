// Whole files, and a folder that goes with its owner.

internal import CLab
internal import Glibc

/// A folder for one test's files, removed with all that is in it when its owner is gone.
public struct ScratchFolder: ~Copyable {
    /// Its absolute path, short enough for a socket in it.
    public let path: String

    /// Makes a new folder under /tmp (mkdtemp).
    ///
    /// - Throws: `LabError` where /tmp cannot be written.
    public init() throws(LabError) {
        var template = Array("/tmp/sluice.XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else {
            throw LabError("make a folder under /tmp", errno: errno)
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = try? Tool.run("rm", "-rf", path) }

    /// The path of a name in this folder.
    public func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file in this folder.
    ///
    /// - Returns: its path.
    /// - Throws: `LabError` with open's or write's errno.
    @discardableResult
    public func write(_ text: String, to name: String) throws(LabError) -> String {
        try writeFile(text, to: file(name))
        return file(name)
    }
}

/// Writes a file whole, of /proc and /sys too; makes it where there is none.
///
/// - Throws: `LabError` with the errno of open or write.
public func writeFile(_ text: String, to path: String) throws(LabError) {
    let file = try Descriptor(unsafe creat(path, 0o644), "write \(path)")
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = unsafe rest.withUnsafeBytes {
            unsafe write(file.number, $0.baseAddress, $0.count)
        }
        guard count > 0 else { throw LabError("write \(path)", errno: errno) }
        rest = rest.dropFirst(count)
    }
}

/// Reads a file whole, of /proc and /sys too; what is not UTF-8 is repaired.
///
/// - Throws: `LabError` with open's errno.
public func readFile(_ path: String) throws(LabError) -> String {
    let file = try Descriptor(unsafe clab_open_read(path), "read \(path)")
    return contents(of: file.number)
}

/// All of an open file, from its start.
func contents(of descriptor: Int32) -> String {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = unsafe pread(descriptor, &chunk, chunk.count, bytes.count)
        guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
        bytes += chunk[..<count]
    }
}

/// What a process takes of memory, by a line of its /proc/PID/status, in kilobytes: `VmRSS`, `RssAnon`.
///
/// - Parameter process: its number, or `self`.
/// - Throws: `LabError` where it is not there, or has no such line.
public func kilobytes(_ key: String, ofProcess process: String) throws(LabError) -> Int {
    let path = "/proc/\(process)/status"
    let line = try readFile(path).split(separator: "\n").first { $0.hasPrefix("\(key):") } ?? ""
    guard let number = Int(line.dropFirst(key.count + 1).filter(\.isNumber)) else {
        throw LabError("read \(key) of \(path)")
    }
    return number
}
