// The head of an eBPF program: reads straight from the frame's memory what decides about nearly
// every frame, and leaves all else to the program behind it.
//
// Each load of that program is a call into the kernel, which costs several nanoseconds, more where
// returns are made safe (SRSO); but it also reads frames whose headers do not lie in one piece.
// Invariant of every head: what it decides, the program behind it would decide alike.
import LinuxSystem

/// Registers by their use in a head.
enum DirectRegister {
    static let data: UInt8 = 2
    static let value: UInt8 = 4
    static let other: UInt8 = 5
    static let context: UInt8 = 6
}

/// A head under construction; r6 is the context.
protocol DirectReads: BPFAssembly {
    /// The jumps to the program behind it.
    var slowJumps: [Int] { get set }
}

extension DirectReads {
    /// The frame's memory, before any room is asked for.
    mutating func emitData() {
        emit(
            0x61, DirectRegister.data, DirectRegister.context, offset: SocketBufferField.data)
    }

    /// Goes on where the frame's first `count` bytes lie in one piece.
    mutating func emitRoom(_ count: Int32) {
        emit(0xbf, DirectRegister.value, DirectRegister.data)
        emit(0x07, DirectRegister.value, immediate: count)
        emit(
            0x61, DirectRegister.other, DirectRegister.context, offset: SocketBufferField.dataEnd)
        slowJumps.append(instructions.count)
        emit(0x2d, DirectRegister.value, DirectRegister.other)
    }

    /// Loads from an offset that is even and, of words, two behind a multiple of four
    /// (NET_IP_ALIGN): else the verifiers of kernels without unaligned access refuse it.
    mutating func emitLoad(_ width: GuardInstruction.Width, _ offset: Int16) {
        let code: UInt8 =
            switch width {
            case .byte: 0x71
            case .half: 0x69
            case .word: 0x61
            }
        emit(code, DirectRegister.value, DirectRegister.data, offset: offset)
    }

    /// A jump that looks at what was loaded; where it leads is set later.
    mutating func jump(_ code: UInt8, source: UInt8 = 0, immediate: Int32 = 0) -> Int {
        emit(code, code == 0x05 ? 0 : DirectRegister.value, source, immediate: immediate)
        return instructions.count - 1
    }

    mutating func slow(_ code: UInt8, source: UInt8 = 0, immediate: Int32 = 0) {
        slowJumps.append(jump(code, source: source, immediate: immediate))
    }

    mutating func land(_ jump: Int) {
        instructions[jump].offset = Int16(instructions.count - jump - 1)
    }

    /// A number as it is loaded from a frame in network order.
    static func half(_ value: UInt16) -> Int32 { Int32(value.bigEndian) }
    static func word(_ value: UInt32) -> Int32 { Int32(bitPattern: value.bigEndian) }
}
