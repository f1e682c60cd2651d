// The process's place in the system: clock, scheduling, memory, kernel release.
internal import CLinux
public import SystemPackage

/// CLOCK_MONOTONIC.
public enum MonotonicClock {
    /// Nanoseconds since the clock's origin.
    public static var nanoseconds: UInt64 { sluice_monotonic_ns() }
}

/// How the calling thread and its memory are treated.
public enum Scheduling {
    /// The calling thread at SCHED_FIFO `priority`; threads and children made later do not inherit
    /// it (sched_setscheduler(2) with SCHED_RESET_ON_FORK). Needs CAP_SYS_NICE, where it is not at
    /// SCHED_FIFO already (systemd's CPUSchedulingPolicy=).
    public static func becomeRealTime(priority: Int32) throws(Errno) {
        _ = try checked(sluice_schedule_fifo(priority))
    }

    /// What is touched stays in memory (mlockall(2), MCL_ONFAULT). Bounded by RLIMIT_MEMLOCK
    /// without CAP_IPC_LOCK.
    public static func lockMemory() throws(Errno) { _ = try checked(sluice_lock_memory()) }

    /// What is freed in pieces of 64 KiB and more goes back to the kernel at once (mallopt(3)). Else it stays
    /// for the next ones: the answers of a large host, and tables that outgrew their places.
    public static func returnLargeMemory() { sluice_return_large_memory() }

    /// Pages of programs and libraries that were needed until now count as memory again when they are
    /// needed once more (madvise(2), MADV_DONTNEED): their content is in the file. From Linux 6.7 on
    /// each then counts alone; before, with up to fifteen around it, which the kernel maps along.
    public static func forgetReadPages() { sluice_forget_read_pages() }
}

/// What the process may do beyond its user's rights.
public enum Capabilities {
    /// The capabilities of this process are no longer those of the programs that it starts: the
    /// ambient set is emptied (prctl(2), PR_CAP_AMBIENT_CLEAR_ALL), which execve(2) would else hand
    /// on. A program of root's has none then where the securebit SECBIT_NOROOT is set (systemd's
    /// `SecureBits=noroot`). Call before any thread is made: each has a set of its own.
    public static func clearAmbient() throws(Errno) {
        _ = try checked(sluice_clear_ambient_capabilities())
    }
}

/// Facts of the running kernel.
public enum RunningKernel {
    /// As `uname -r` prints it; empty where uname(2) fails.
    public static var release: String {
        var bytes = [UInt8](repeating: 0, count: 65)
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe sluice_kernel_release(
                buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count)
        }
        guard result == 0 else { return "" }
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}

/// The environment that C libraries obey.
public enum Environment {
    /// All variables; a later one of the same name wins. Names and values that are not UTF-8 are
    /// mended. Call before any thread is made.
    public static var all: [String: String] {
        var variables: [String: String] = [:]
        var index: Int32 = 0
        while let entry = unsafe sluice_environment(index) {
            let text = unsafe String(cString: entry)
            if let equals = text.firstIndex(of: "=") {
                variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            index += 1
        }
        return variables
    }

    /// Forgets these variables (unsetenv(3)). Call before any thread is made.
    public static func forget(_ names: [String]) {
        for name in names { unsafe sluice_forget_environment(name) }
    }
}

/// This process, and its standard error.
public enum ProcessIdentity {
    /// getpid(2)
    public static var current: Int32 { sluice_process_id() }
}

/// Standard error, without a buffer.
public enum StandardError {
    /// Writes the text whole; what cannot be written is lost.
    public static func write(_ text: String) {
        let descriptor = FileDescriptor.standardError
        _ = try? descriptor.writeAll(text.utf8)
    }
}
