// The running program itself: its surroundings, its terminal, the signals that end it.

internal import CLab
internal import Glibc

/// The running program.
public enum Program {
    /// Whether it runs as root.
    public static var isRoot: Bool { geteuid() == 0 }

    /// Whether it runs in the virtual kernel (Tests/fullkernel/run).
    public static var isInVirtualKernel: Bool { environment("SLUICE_KERNEL") == "uml" }

    /// A variable of its environment.
    public static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// The path of its own file.
    public static var path: String {
        var path = [CChar](repeating: 0, count: 4096)
        let count = unsafe readlink("/proc/self/exe", &path, path.count)
        return String(
            decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Whether standard output is a terminal.
    public static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Writes text to standard output, whole, at once.
    public static func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count)
            }
            guard count > 0 || errno == EINTR else { return }
            rest = rest.dropFirst(max(0, count))
        }
    }

    /// From now on SIGINT, SIGTERM and SIGHUP do not end the program, but show in `caughtSignal`.
    ///
    /// - Throws: `LabError` with sigaction's errno.
    public static func catchSignals() throws(LabError) {
        try checked(clab_catch_signals(), "catch signals")
    }

    /// The first such signal's number; nil before.
    public static var caughtSignal: Int32? {
        let number = clab_caught_signal()
        return number == 0 ? nil : number
    }

    /// Whether what is written can be drawn over: standard output is a terminal, or SLUICE_DRAWS
    /// says that it ends on one.
    public static var isDrawing: Bool { environment("SLUICE_DRAWS") == "1" || isTerminal }

    /// Ends the program with this status.
    public static func exit(_ status: Int32) -> Never { Glibc.exit(status) }

    /// Replaces the program by another one (execv), with more variables in its environment.
    ///
    /// - Throws: `LabError` with execv's errno; returns in no other way.
    public static func become(
        _ path: String, _ arguments: [String], variables: [String: String]
    ) throws(LabError) -> Never {
        for (name, value) in variables { unsafe setenv(name, value, 1) }
        // The runtime's threads block signals, and a new program would inherit that.
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe pthread_sigmask(SIG_SETMASK, &none, nil)
        _ = unsafe withStrings([path] + arguments) { unsafe execv(path, $0) }
        throw LabError("start \(path)", errno: errno)
    }
}
