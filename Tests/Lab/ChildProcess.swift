// A child process in the caller's namespaces.
// Invariants: it is dead and reaped by the time its owner is gone; it dies with the thread that
// started it.

internal import CLab
internal import Glibc
internal import Synchronization

/// How a child ended.
public enum ExitStatus: Hashable, Sendable {
    /// By itself, with this status.
    case exited(Int32)
    /// By this signal.
    case signalled(Int32)
}

/// A child process.
final class ChildProcess: Sendable {
    let pid: pid_t
    private let ended: Descriptor
    private let status = Mutex<ExitStatus?>(nil)

    /// Starts a program by its path (execve), with /dev/null as its standard input.
    ///
    /// - Throws: `LabError` with execve's errno.
    init(
        _ path: String, _ arguments: [String], environment: [String], output: Int32, errors: Int32
    ) throws(LabError) {
        let null = try Descriptor(clab_open_null(), "open /dev/null")
        let pid = unsafe withStrings([path] + arguments) { argv in
            unsafe withStrings(environment) { envp in
                unsafe clab_spawn(path, argv, envp, null.number, output, errors)
            }
        }
        self.pid = try checked(pid, "start \(path)")
        ended = try Descriptor(clab_pidfd_open(pid), "pidfd of \(path)")
    }

    deinit {
        signal(SIGKILL)
        _ = wait(within: .seconds(10))
    }

    /// kill(2), while the child is not reaped.
    func signal(_ number: Int32) {
        status.withLock { if $0 == nil { _ = kill(pid, number) } }
    }

    /// Readable when the child has ended.
    var descriptor: Int32 { ended.number }

    /// Waits for its end and reaps it.
    ///
    /// - Returns: nil where it still runs when the time is up.
    func wait(within limit: Duration) -> ExitStatus? {
        var polled = pollfd(fd: ended.number, events: Int16(POLLIN), revents: 0)
        let deadline = Moment.now + limit
        repeat {
            let left = max(0, (deadline - .now).nanoseconds / 1_000_000)
            guard unsafe poll(&polled, 1, Int32(left)) > 0 else { continue }
            return status.withLock { status in
                if let known = status { return known }
                var raw: Int32 = 0
                guard unsafe waitpid(pid, &raw, 0) == pid else { return nil }
                // WIFEXITED, WEXITSTATUS and WTERMSIG, which are function-like macros.
                status = raw & 0x7f == 0 ? .exited(raw >> 8 & 0xff) : .signalled(raw & 0x7f)
                return status
            }
        } while Moment.now < deadline
        return nil
    }
}

/// Calls `body` with a nil-terminated array of C strings.
func withStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers = unsafe strings.map { unsafe strdup($0) }
    unsafe pointers.append(nil)
    defer { unsafe pointers.forEach { unsafe free($0) } }
    return unsafe pointers.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else {
            preconditionFailure("an array with a nil in it")
        }
        return unsafe body(base)
    }
}
