// A program that runs beside the test, to be ended in its middle.
// Invariant: it has ended when its owner is gone.

internal import CLab
internal import Glibc

/// A program under way, in the caller's namespaces.
public final class RunningTool: Sendable {
    private let child: ChildProcess
    private let output: Descriptor

    /// Starts a program by its path.
    ///
    /// - Throws: `LabError` with execve's errno.
    public init(_ path: String, _ arguments: [String]) throws(LabError) {
        output = try Descriptor(unsafe clab_memory_file("output"), "memory file")
        child = try ChildProcess(
            path, arguments, environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"],
            output: output.number, errors: output.number)
    }

    /// Its process id.
    public var pid: Int32 { child.pid }

    /// Sends it a signal.
    public func signal(_ number: Int32) { child.signal(number) }

    /// Waits for its end; nil where it still runs when the time is up.
    public func wait(within limit: Duration) -> ExitStatus? { child.wait(within: limit) }

    /// What it wrote so far.
    public var written: String { contents(of: output.number) }
}
