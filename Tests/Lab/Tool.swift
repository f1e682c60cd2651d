// Programs of the test host, run to their end; and whole files.

internal import CLab
internal import Glibc

/// The programs that a test host has: ip, tc and the like.
public enum Tool {
    /// Runs a program of /usr/sbin, /sbin, /usr/bin or /bin in the caller's namespaces.
    ///
    /// - Returns: its standard output.
    /// - Throws: `LabError` with its standard error where it fails or takes over 20 s.
    @discardableResult
    public static func run(_ name: String, _ arguments: String...) throws(LabError) -> String {
        try run(name, arguments)
    }

    /// Runs a program, by its path or by its name in /usr/sbin, /sbin, /usr/bin or /bin, in the
    /// caller's namespaces.
    ///
    /// - Returns: its standard output.
    /// - Throws: `LabError` with its standard error where it fails or takes over 20 s.
    @discardableResult
    public static func run(_ name: String, _ arguments: [String]) throws(LabError) -> String {
        let line = ([name] + arguments).joined(" ")
        let end = try finish(name, arguments)
        guard end.status == .exited(0) else { throw LabError(line, detail: end.errors) }
        return end.output
    }

    /// Runs a program as `run` does.
    ///
    /// - Returns: how it ended, and its standard output and error.
    /// - Throws: `LabError` where it cannot be started or takes longer than `limit`.
    public static func status(
        _ name: String, _ arguments: [String], within limit: Duration = .seconds(20)
    ) throws(LabError) -> (ExitStatus, String) {
        let end = try finish(name, arguments, within: limit)
        return (end.status, end.output + end.errors)
    }

    private static func finish(
        _ name: String, _ arguments: [String], within limit: Duration = .seconds(20)
    ) throws(LabError) -> (status: ExitStatus, output: String, errors: String) {
        let line = ([name] + arguments).joined(" ")
        let folders = name.contains("/") ? [""] : ["/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"]
        let paths = folders.map { $0 + name }
        guard let path = paths.first(where: { unsafe access($0, X_OK) == 0 }) else {
            throw LabError(line, detail: "not installed")
        }
        let output = try Descriptor(unsafe clab_memory_file("output"), "memory file")
        let errors = try Descriptor(unsafe clab_memory_file("errors"), "memory file")
        let child = try ChildProcess(
            path, arguments, environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"],
            output: output.number, errors: errors.number)
        guard let status = child.wait(within: limit) else {
            throw LabError(line, detail: "took over \(limit)")
        }
        return (status, contents(of: output.number), contents(of: errors.number))
    }
}
