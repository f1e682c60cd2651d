// Writing eBPF: what our programs have in common. Codes: <linux/bpf.h>, <linux/bpf_common.h>.

/// A program, or a part of one, under construction.
public protocol BPFAssembly {
    /// What is written so far.
    var instructions: [BPFInstruction] { get set }
}

extension BPFAssembly {
    /// Appends one instruction.
    public mutating func emit(
        _ code: UInt8, _ destination: UInt8 = 0, _ source: UInt8 = 0, offset: Int16 = 0,
        immediate: Int32 = 0
    ) {
        instructions.append(
            BPFInstruction(
                code: code, destination: destination, source: source, offset: offset,
                immediate: immediate))
    }

    /// destination = 64 bits; with a `kind` (BPF_PSEUDO_*), what the kernel puts in their place.
    public mutating func emitWide(_ destination: UInt8, kind: UInt8 = 0, _ value: UInt64) {
        emit(0x18, destination, kind, immediate: Int32(truncatingIfNeeded: value))
        emit(0, immediate: Int32(truncatingIfNeeded: value >> 32))
    }

    /// destination = the map, for a call (BPF_PSEUDO_MAP_FD).
    public mutating func emitMap(_ destination: UInt8, _ map: Int32) {
        emitWide(destination, kind: 1, UInt64(UInt32(bitPattern: map)))
    }

    /// destination = the address of the map's value plus `offset` (BPF_PSEUDO_MAP_VALUE, 5.2 on).
    public mutating func emitMapValue(_ destination: UInt8, map: Int32, offset: Int) {
        emit(0x18, destination, 2, immediate: map)
        emit(0, immediate: Int32(offset))
    }
}
