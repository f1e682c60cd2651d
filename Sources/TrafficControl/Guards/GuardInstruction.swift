// One instruction of a guard's program: the accumulator, the index and the 16 words of memory that
// classic BPF has, with places to jump to in place of distances.
// Reference: Documentation/networking/filter.rst of the kernel; <linux/bpf_common.h> for the codes.

/// A place in a guard's program.
enum GuardLabel: Hashable, Sendable {
    /// The frame goes on.
    case pass
    case refuse(GuardReason)
    case local(Int)
}

/// A word of the program's memory.
enum GuardSlot: UInt32, CaseIterable, Sendable {
    /// Where the network packet ends in the frame, as the packet itself says.
    case end
    /// Where the network header begins.
    case network
    /// The protocol that follows a header.
    case next
    /// 1 where the IPv6 source is ::.
    case unspecified
    /// 1 behind a fragment header.
    case fragment
    /// The bit of the Ethernet source among the port's addresses.
    case owner
    case cursor
    case firstWord
    case lastWord
}

/// One instruction.
enum GuardInstruction: Hashable, Sendable {
    enum Width: Sendable {
        case byte, half, word
    }

    /// accumulator = the frame's bytes at `offset`, network order.
    case load(Width, at: UInt32)
    /// accumulator = the frame's bytes at index + `offset`, network order.
    case loadIndexed(Width, at: UInt32)
    /// accumulator = the frame's length in bytes.
    case loadLength
    case loadConstant(UInt32)
    case setIndex(UInt32)
    case store(GuardSlot)
    case storeIndex(GuardSlot)
    case recall(GuardSlot)
    case recallIndex(GuardSlot)
    /// index = accumulator
    case toIndex
    /// accumulator = index
    case fromIndex
    case add(UInt32)
    case addIndex
    case subtractIndex
    case and(UInt32)
    case shiftLeft(UInt32)
    case shiftRight(UInt32)
    case multiply(UInt32)
    case exclusiveOrIndex
    /// Jumps if the condition holds for the accumulator, else goes on.
    case branch(GuardCondition, GuardLabel)
    case jump(GuardLabel)
    /// A place to jump to; no instruction of its own.
    case mark(GuardLabel)
}

/// What a branch asks of the accumulator; all numbers are unsigned.
enum GuardCondition: Hashable, Sendable {
    case equal(UInt32)
    case notEqual(UInt32)
    case anySet(UInt32)
    case less(UInt32)
    case lessThanIndex
    case notEqualToIndex

    /// The code of the jump, its operand, and whether it is taken where the code's own condition
    /// holds (BPF_JMP | JEQ, JSET, JGE).
    var code: (code: UInt16, operand: UInt32, isTakenIfTrue: Bool) {
        switch self {
        case .equal(let value): (0x15, value, true)
        case .notEqual(let value): (0x15, value, false)
        case .anySet(let mask): (0x45, mask, true)
        case .less(let value): (0x35, value, false)
        case .lessThanIndex: (0x3d, 0, false)
        case .notEqualToIndex: (0x1d, 0, false)
        }
    }
}

extension GuardInstruction {
    /// The code and the operand in classic BPF; nil for jumps and marks.
    var classic: (code: UInt16, operand: UInt32)? {
        switch self {
        case .load(.word, let offset): (0x20, offset)  // ld [k]
        case .load(.half, let offset): (0x28, offset)
        case .load(.byte, let offset): (0x30, offset)
        case .loadIndexed(.word, let offset): (0x40, offset)  // ld [x + k]
        case .loadIndexed(.half, let offset): (0x48, offset)
        case .loadIndexed(.byte, let offset): (0x50, offset)
        case .loadLength: (0x80, 0)  // ld #len
        case .loadConstant(let value): (0x00, value)  // ld #k
        case .setIndex(let value): (0x01, value)  // ldx #k
        case .store(let slot): (0x02, slot.rawValue)  // st M[k]
        case .storeIndex(let slot): (0x03, slot.rawValue)  // stx M[k]
        case .recall(let slot): (0x60, slot.rawValue)  // ld M[k]
        case .recallIndex(let slot): (0x61, slot.rawValue)  // ldx M[k]
        case .toIndex: (0x07, 0)  // tax
        case .fromIndex: (0x87, 0)  // txa
        case .add(let value): (0x04, value)
        case .addIndex: (0x0c, 0)
        case .subtractIndex: (0x1c, 0)
        case .and(let mask): (0x54, mask)
        case .shiftLeft(let count): (0x64, count)
        case .shiftRight(let count): (0x74, count)
        case .multiply(let value): (0x24, value)
        case .exclusiveOrIndex: (0xac, 0)  // xor x
        case .branch, .jump, .mark: nil
        }
    }
}
