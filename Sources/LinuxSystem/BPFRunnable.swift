// bpf(2): programs that run when they are told to, and what they share with us.
internal import CLinux
internal import Glibc
internal import SystemPackage

/// A program that runs in the calling thread when it is told to: a raw tracepoint's, attached to none.
public struct BPFRunnable: ~Copyable {
    private let owned: OwnedDescriptor

    /// Loads a program (BPF_PROG_LOAD, BPF_PROG_TYPE_RAW_TRACEPOINT). Needs CAP_BPF and CAP_PERFMON.
    ///
    /// - Parameter callback: the instruction at which the program's callback begins (BPF_PSEUDO_FUNC);
    ///   nil where it has none.
    public init(
        name: String, _ instructions: [BPFInstruction], callback: Int? = nil
    ) throws(BPFError) {
        owned = try unsafe loadProgram(name, instructions) { code, log in
            unsafe sluice_bpf_load_runnable(
                name, code.baseAddress, code.count, callback ?? 0, log.baseAddress, log.count)
        }
    }

    /// Runs it once and gives what it returned (BPF_PROG_TEST_RUN). It runs under the kernel's RCU
    /// read lock; no lock is waited for. Needs no capability.
    public borrowing func run() throws(BPFError) -> UInt32 {
        var returned: UInt32 = 0
        let result = unsafe sluice_bpf_run(owned.number, &returned)
        guard result == 0 else {
            throw BPFError(
                operation: "run BPF program", code: Errno(rawValue: -result), verifierSentence: nil)
        }
        return returned
    }
}

/// One value that a program writes and we read without a system call: an array map of one entry, in
/// our memory by mmap(2), read-only.
@safe
public struct BPFSharedArray: ~Copyable {
    private let owned: OwnedDescriptor
    private let memory: UnsafeRawBufferPointer
    /// 64-bit words of the value.
    public let wordCount: Int

    /// A new array of `wordCount` words, all zero. `name`: at most 15 characters.
    public init(name: String, wordCount: Int) throws(BPFError) {
        do throws(Errno) {
            let descriptor = try OwnedDescriptor(
                unsafe sluice_bpf_create_shared_array(name, UInt32(clamping: wordCount * 8)))
            unsafe memory = try Self.map(descriptor.number, byteCount: wordCount * 8)
            owned = descriptor
        } catch {
            throw BPFError(operation: "create BPF map \(name)", code: error, verifierSentence: nil)
        }
        self.wordCount = wordCount
    }

    private static func map(
        _ descriptor: Int32, byteCount: Int
    ) throws(Errno) -> UnsafeRawBufferPointer {
        // The kernel maps whole pages.
        let size = (byteCount + 4_095) / 4_096 * 4_096
        let address = unsafe mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0)
        guard unsafe address != MAP_FAILED else { throw Errno(rawValue: errno) }
        return unsafe UnsafeRawBufferPointer(start: address, count: size)
    }

    deinit {
        _ = unsafe munmap(UnsafeMutableRawPointer(mutating: memory.baseAddress), memory.count)
    }

    /// For a program's 64-bit load; the program keeps the map alive.
    public var descriptor: Int32 { owned.number }

    /// Reads the value where it lies. What a program writes meanwhile may be seen or not.
    public borrowing func withWords<Failure: Error>(
        _ body: (borrowing Span<UInt64>) throws(Failure) -> Void
    ) throws(Failure) {
        let words = unsafe memory.bindMemory(to: UInt64.self)
        try body(unsafe UnsafeBufferPointer(rebasing: words[..<wordCount]).span)
    }
}

/// A value for each processor, for programs alone.
public struct BPFPerCPUArray: ~Copyable {
    private let owned: OwnedDescriptor

    /// A new array of one value of `wordCount` 64-bit words, all zero (BPF_MAP_TYPE_PERCPU_ARRAY).
    public init(name: String, wordCount: Int) throws(BPFError) {
        do throws(Errno) {
            owned = try OwnedDescriptor(
                unsafe sluice_bpf_create_per_cpu_array(name, UInt32(clamping: wordCount * 8)))
        } catch {
            throw BPFError(operation: "create BPF map \(name)", code: error, verifierSentence: nil)
        }
    }

    /// For a program's 64-bit load; the program keeps the map alive.
    public var descriptor: Int32 { owned.number }
}
