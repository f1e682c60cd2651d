// bpf(2): maps and scheduler classifiers made of instructions built here, without a compiler.
// Programs that run when told to stand in BPFRunnable.swift.
internal import CLinux
internal import Glibc
public import SystemPackage

/// One eBPF instruction (`struct bpf_insn` of <linux/bpf.h>).
public struct BPFInstruction: Hashable, Sendable {
    /// Operation, class and size.
    public var code: UInt8
    /// The register that is written, 0 to 10.
    public var destination: UInt8
    /// The register that is read, 0 to 10; a pseudo kind for 64-bit loads.
    public var source: UInt8
    /// Jump distance or memory offset.
    public var offset: Int16
    /// The constant operand.
    public var immediate: Int32

    /// One instruction.
    public init(
        code: UInt8, destination: UInt8 = 0, source: UInt8 = 0, offset: Int16 = 0,
        immediate: Int32 = 0
    ) {
        self.code = code
        self.destination = destination
        self.source = source
        self.offset = offset
        self.immediate = immediate
    }
}

/// Offsets of the fields of `struct __sk_buff` that a classifier may read.
public enum SocketBufferField {
    /// The frame's length in bytes, 32 bits.
    public static var length: Int16 { Int16(sluice_skb_offset_length()) }
    /// Where the frame's bytes begin and end, as far as they lie in one piece, 32 bits each.
    public static var data: Int16 { Int16(sluice_skb_offset_data()) }
    /// See `data`.
    public static var dataEnd: Int16 { Int16(sluice_skb_offset_data_end()) }
    /// The size of a segment of a GSO frame in bytes, 0 for others, 32 bits (5.7 on).
    public static var gsoSize: Int16 { Int16(sluice_skb_offset_gso_size()) }
    /// The interface whose hook it is at, 32 bits.
    public static var interface: Int16 { Int16(sluice_skb_offset_ifindex()) }
}

/// Why bpf(2) refused.
public struct BPFError: Error, Sendable, CustomStringConvertible {
    /// What was tried.
    public var operation: String
    /// The kernel's answer.
    public var code: Errno
    /// The verifier's last words, where it spoke.
    public var verifierSentence: String?

    /// Whether a map has no room for one more value.
    public var isFull: Bool { code == .argListTooLong }

    /// `load program: Permission denied (last line of the verifier)`
    public var description: String {
        let sentence = verifierSentence.map { " (\($0))" } ?? ""
        return "\(operation): \(code.description)\(sentence)"
    }
}

/// An array map of one value, shared with programs.
public struct BPFArray: ~Copyable {
    private let map: BPFMap
    /// Bytes of the value.
    public var valueSize: Int { map.valueSize }

    /// A new array of one value, all zero (BPF_MAP_CREATE). `name`: at most 15 characters.
    public init(name: String, valueSize: Int) throws(BPFError) {
        map = try BPFMap(name, valueSize: valueSize) {
            unsafe sluice_bpf_create_array(name, UInt32(valueSize), 1)
        }
    }

    /// The array named `name` among those that the loaded program `programID` uses; ENOENT where
    /// there is none, or its values have another size.
    public init(name: String, ofProgram programID: UInt32, valueSize: Int) throws(BPFError) {
        map = try BPFMap(name, ofProgram: programID, valueSize: valueSize)
    }

    /// For a program's 64-bit load; the program keeps the map alive.
    public var descriptor: Int32 { map.descriptor }

    /// The value as native 64-bit words (BPF_MAP_LOOKUP_ELEM).
    public func read() throws(BPFError) -> [UInt64] { try map.read(0) }

    /// Writes the whole value from native 64-bit words (BPF_MAP_UPDATE_ELEM).
    /// Precondition: `words` has the value's size.
    public func write(_ words: [UInt64]) throws(BPFError) { try map.write(words, at: 0) }
}

/// A hash map: values by a 32-bit key, shared with programs.
public struct BPFTable: ~Copyable {
    private let map: BPFMap

    /// A new table without values (BPF_MAP_CREATE). `name`: at most 15 characters.
    public init(name: String, valueSize: Int, capacity: Int) throws(BPFError) {
        map = try BPFMap(name, valueSize: valueSize) {
            unsafe sluice_bpf_create_hash(name, UInt32(valueSize), UInt32(capacity))
        }
    }

    /// The table named `name` among those that the loaded program `programID` uses; ENOENT where
    /// there is none, or its values have another size.
    public init(name: String, ofProgram programID: UInt32, valueSize: Int) throws(BPFError) {
        map = try BPFMap(name, ofProgram: programID, valueSize: valueSize)
    }

    /// For a program's 64-bit load; the program keeps the map alive.
    public var descriptor: Int32 { map.descriptor }

    /// A value as native 64-bit words (BPF_MAP_LOOKUP_ELEM); ENOENT where there is none.
    public func read(_ key: UInt32) throws(BPFError) -> [UInt64] { try map.read(key) }

    /// Puts a value in the place of the one that is there, at once (BPF_MAP_UPDATE_ELEM); E2BIG where
    /// the table is full. Precondition: `words` has the value's size.
    public func write(_ words: [UInt64], at key: UInt32) throws(BPFError) {
        try map.write(words, at: key)
    }

    /// Takes a value out, where there is one (BPF_MAP_DELETE_ELEM).
    public func remove(_ key: UInt32) { map.remove(key) }
}

/// The owner of a map's descriptor. Not private, since unoptimised code that holds a table, as the
/// tests are compiled, names its type.
struct BPFMap: ~Copyable {
    private let owned: OwnedDescriptor
    /// Bytes of one value.
    let valueSize: Int

    /// The map that `create` gives.
    init(_ name: String, valueSize: Int, _ create: () -> Int32) throws(BPFError) {
        do throws(Errno) {
            owned = try OwnedDescriptor(create())
        } catch {
            throw BPFError(operation: "create BPF map \(name)", code: error, verifierSentence: nil)
        }
        self.valueSize = valueSize
    }

    /// The map of this name among those of a loaded program.
    init(_ name: String, ofProgram programID: UInt32, valueSize: Int) throws(BPFError) {
        do throws(Errno) {
            let program = try OwnedDescriptor(sluice_bpf_program_by_id(programID))
            var identifiers = [UInt32](repeating: 0, count: 8)
            let capacity = UInt32(identifiers.count)
            let count = try unsafe checked(
                identifiers.withUnsafeMutableBufferPointer { buffer in
                    unsafe sluice_bpf_program_maps(program.number, buffer.baseAddress, capacity)
                })
            owned = try Self.find(name, valueSize, among: identifiers.prefix(Int(count)))
        } catch {
            throw BPFError(
                operation: "find BPF map \(name) of program \(programID)", code: error,
                verifierSentence: nil)
        }
        self.valueSize = valueSize
    }

    private static func find(
        _ name: String, _ valueSize: Int, among identifiers: ArraySlice<UInt32>
    ) throws(Errno) -> OwnedDescriptor {
        for identifier in identifiers {
            let map = try OwnedDescriptor(sluice_bpf_map_by_id(identifier))
            var bytes = [UInt8](repeating: 0, count: 16)
            var size: UInt32 = 0
            let result = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe sluice_bpf_map_name(
                    map.number, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), &size)
            }
            // The kernel writes as many bytes as its value has, whatever room there is.
            if result == 0, Int(size) == valueSize,
                bytes.prefix(while: { $0 != 0 }).elementsEqual(name.utf8)
            {
                return map
            }
        }
        throw Errno.noSuchFileOrDirectory
    }

    var descriptor: Int32 { owned.number }

    func read(_ key: UInt32) throws(BPFError) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: (valueSize + 7) / 8)
        let result = unsafe words.withUnsafeMutableBytes { buffer in
            unsafe sluice_bpf_read(owned.number, key, buffer.baseAddress)
        }
        guard result == 0 else {
            throw BPFError(
                operation: "read BPF map", code: Errno(rawValue: -result), verifierSentence: nil)
        }
        return words
    }

    func write(_ words: [UInt64], at key: UInt32) throws(BPFError) {
        precondition(words.count * 8 == valueSize)
        func put() -> Int32 {
            unsafe words.withUnsafeBytes { buffer in
                unsafe sluice_bpf_write(owned.number, key, buffer.baseAddress)
            }
        }
        var result = put()
        // The kernel keeps one free value at hand, and may need a moment for the next (bpf_mem_alloc).
        for _ in 0..<20 where result == -ENOMEM {
            usleep(1_000)
            result = put()
        }
        guard result == 0 else {
            throw BPFError(
                operation: "write BPF map", code: Errno(rawValue: -result), verifierSentence: nil)
        }
    }

    func remove(_ key: UInt32) { _ = sluice_bpf_remove(owned.number, key) }
}

/// A loaded scheduler classifier; the filter that names it keeps it alive in the kernel.
public struct BPFClassifier: ~Copyable {
    private let owned: OwnedDescriptor

    /// Loads a program (BPF_PROG_LOAD, BPF_PROG_TYPE_SCHED_CLS). Needs CAP_BPF and CAP_NET_ADMIN.
    public init(name: String, _ instructions: [BPFInstruction]) throws(BPFError) {
        owned = try unsafe loadProgram(name, instructions) { code, log in
            unsafe sluice_bpf_load_classifier(
                name, code.baseAddress, code.count, log.baseAddress, log.count)
        }
    }

    /// For a filter's TCA_BPF_FD.
    public var descriptor: Int32 { owned.number }

    /// Its id, by which filters tell it (TCA_BPF_ID); BPF_OBJ_GET_INFO_BY_FD.
    public func identifier() throws(BPFError) -> UInt32 {
        var identifier: UInt32 = 0
        let result = unsafe sluice_bpf_program_id(owned.number, &identifier)
        guard result == 0 else {
            throw BPFError(
                operation: "get the id of a BPF program", code: Errno(rawValue: -result),
                verifierSentence: nil)
        }
        return identifier
    }
}

/// Loads a program by `load`, which gets the instructions and room for the verifier's words, and gives
/// a descriptor or a negative errno.
func loadProgram(
    _ name: String, _ instructions: [BPFInstruction],
    _ load: (
        UnsafeBufferPointer<sluice_bpf_instruction>, UnsafeMutableBufferPointer<CChar>
    ) -> Int32
) throws(BPFError) -> OwnedDescriptor {
    let raw = instructions.map { instruction in
        sluice_bpf_instruction(
            code: instruction.code,
            registers: instruction.destination | instruction.source << 4,
            offset: instruction.offset, immediate: instruction.immediate)
    }
    var log = [CChar](repeating: 0, count: 65_536)
    let result = unsafe raw.withUnsafeBufferPointer { code in
        unsafe log.withUnsafeMutableBufferPointer { words in unsafe load(code, words) }
    }
    do throws(Errno) {
        return try OwnedDescriptor(result)
    } catch {
        let bytes = log.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        let last = lines.last { !$0.hasPrefix("processed ") }
        throw BPFError(
            operation: "load BPF program \(name)", code: error,
            verifierSentence: last.map(String.init))
    }
}
