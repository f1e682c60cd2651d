// Guards as one eBPF program, direct action: what is refused is counted by its reason, and dropped
// or not; all else goes on to the next filter (TC_ACT_UNSPEC).
// Codes: <linux/bpf.h>, <linux/bpf_common.h>. LD_ABS and LD_IND need the context in r6, give r0,
// and lose r1 to r5. Jumps compare 32 bits (BPF_JMP32, 5.1 on), as classic BPF does.
import LinuxSystem

/// The counters' map: for each reason, by its number, packets and bytes; then a byte for each bucket
/// of forged Ethernet sources.
enum GuardCounterLayout {
    static let name = "sluice_guards"
    static let wordsPerReason = 2
    static let sourcesOffset = GuardReason.allCases.count * wordsPerReason * 8
    static let valueSize = sourcesOffset + GuardSources.words
}

/// Registers by their use.
private enum Register {
    static let accumulator: UInt8 = 0
    static let scratch: UInt8 = 1
    static let context: UInt8 = 6
    static let index: UInt8 = 7
    static let counter: UInt8 = 8
    static let frame: UInt8 = 10
}

struct GuardBytecode: BPFAssembly {
    var instructions: [BPFInstruction] = []
    private var stepPlaces: [Int] = []
    private var passPlace = 0
    private var refusePlaces: [GuardReason: Int] = [:]
    private var countPlace = 0
    private var jumps: [(at: Int, to: GuardFlow.Target)] = []

    /// With the descriptor of the counters' map.
    init(_ flow: GuardFlow, policy: GuardPolicy, mode: Guards.Mode, counters: Int32) {
        emit(0xbf, Register.context, Register.scratch)
        let head = GuardFastPath(policy)
        let begin = instructions.count
        instructions += head.instructions
        for at in head.slowJumps {
            instructions[begin + at].offset = Int16(head.instructions.count - at - 1)
        }
        jumps += head.passJumps.map { (begin + $0, .pass) }
        // The index is set on every path that uses it; the verifier wants to see it.
        emit(0xb7, Register.index, immediate: 0)
        for step in flow.steps {
            stepPlaces.append(instructions.count)
            emit(step)
        }
        passPlace = instructions.count
        emit(0xb4, Register.accumulator, immediate: -1)  // TC_ACT_UNSPEC
        emit(0x95)
        let reasons = flow.reasons
        var toCount: [Int] = []
        for reason in reasons {
            refusePlaces[reason] = instructions.count
            if reason == .sourceMAC { emitSource(counters) }
            let offset = reason.number * GuardCounterLayout.wordsPerReason * 8
            emitMapValue(Register.counter, map: counters, offset: offset)
            toCount.append(instructions.count)
            emit(0x05)
        }
        countPlace = instructions.count
        if !reasons.isEmpty { emitCount(mode) }
        for at in toCount { instructions[at].offset = Int16(countPlace - at - 1) }
        for jump in jumps { instructions[jump.at].offset = Int16(place(jump.to) - jump.at - 1) }
    }

    /// Loads it into the kernel.
    func load() throws(BPFError) -> BPFClassifier {
        try BPFClassifier(name: Ownership.programName, instructions)
    }

    private func place(_ target: GuardFlow.Target) -> Int {
        switch target {
        case .step(let index): stepPlaces[index]
        case .pass: passPlace
        case .refuse(let reason): refusePlaces[reason] ?? passPlace
        }
    }

    /// Marks the bucket of the frame's Ethernet source.
    private mutating func emitSource(_ counters: Int32) {
        for instruction in GuardSources.bucket(of: GuardSources.words) {
            emit(GuardFlow.Step(instruction: instruction))
        }
        emitMapValue(Register.counter, map: counters, offset: GuardCounterLayout.sourcesOffset)
        emit(0x0f, Register.counter, Register.accumulator)
        emit(0x72, Register.counter, immediate: 1)  // a byte
    }

    /// One packet, and its bytes, to the counters at r8.
    private mutating func emitCount(_ mode: Guards.Mode) {
        emit(0xb7, Register.scratch, immediate: 1)
        emit(0xdb, Register.counter, Register.scratch, offset: 0)  // atomic add
        emit(0x61, Register.scratch, Register.context, offset: SocketBufferField.length)
        emit(0xdb, Register.counter, Register.scratch, offset: 8)
        // TC_ACT_SHOT, TC_ACT_UNSPEC
        emit(0xb4, Register.accumulator, immediate: mode == .enforce ? 2 : -1)
        emit(0x95)
    }

    private mutating func emit(_ step: GuardFlow.Step) {
        let a = Register.accumulator
        let x = Register.index
        switch step.instruction {
        case .load, .loadIndexed: emitLoad(step.instruction)
        case .loadLength: emit(0x61, a, Register.context, offset: SocketBufferField.length)
        case .loadConstant(let value): emit(0xb4, a, immediate: Int32(bitPattern: value))
        case .setIndex(let value): emit(0xb4, x, immediate: Int32(bitPattern: value))
        case .store(let slot): emit(0x7b, Register.frame, a, offset: slot.offset)
        case .storeIndex(let slot): emit(0x7b, Register.frame, x, offset: slot.offset)
        case .recall(let slot): emit(0x79, a, Register.frame, offset: slot.offset)
        case .recallIndex(let slot): emit(0x79, x, Register.frame, offset: slot.offset)
        case .toIndex: emit(0xbc, x, a)
        case .fromIndex: emit(0xbc, a, x)
        case .add(let value): emit(0x04, a, immediate: Int32(bitPattern: value))
        case .addIndex: emit(0x0c, a, x)
        case .subtractIndex: emit(0x1c, a, x)
        case .and(let mask): emit(0x54, a, immediate: Int32(bitPattern: mask))
        case .shiftLeft(let count): emit(0x64, a, immediate: Int32(bitPattern: count))
        case .shiftRight(let count): emit(0x74, a, immediate: Int32(bitPattern: count))
        case .multiply(let value): emit(0x24, a, immediate: Int32(bitPattern: value))
        case .exclusiveOrIndex: emit(0xac, a, x)
        case .branch(let condition, _): emitBranch(condition, to: step.target)
        case .jump:
            jumps.append((instructions.count, step.target ?? .pass))
            emit(0x05)
        case .mark: break
        }
    }

    private mutating func emitLoad(_ instruction: GuardInstruction) {
        switch instruction {
        case .load(let width, let offset):
            emit(0x20 | width.code, immediate: Int32(bitPattern: offset))
        case .loadIndexed(let width, let offset):
            emit(0x40 | width.code, 0, Register.index, immediate: Int32(bitPattern: offset))
        default: break
        }
    }

    private mutating func emitBranch(_ condition: GuardCondition, to target: GuardFlow.Target?) {
        let a = Register.accumulator
        jumps.append((instructions.count, target ?? .pass))
        switch condition {
        case .equal(let value): emit(0x16, a, immediate: Int32(bitPattern: value))
        case .notEqual(let value): emit(0x56, a, immediate: Int32(bitPattern: value))
        case .anySet(let mask): emit(0x46, a, immediate: Int32(bitPattern: mask))
        case .less(let value): emit(0xa6, a, immediate: Int32(bitPattern: value))
        case .lessThanIndex: emit(0xae, a, Register.index)
        case .notEqualToIndex: emit(0x5e, a, Register.index)
        }
    }
}

extension GuardSlot {
    /// Below the frame pointer, 64 bits each: without CAP_PERFMON verifiers before 6.7 refuse to
    /// write a part of what was written as a known number ("corrupt spilled pointer").
    fileprivate var offset: Int16 { -8 * (Int16(rawValue) + 1) }
}

extension GuardInstruction.Width {
    /// BPF_B, BPF_H, BPF_W
    fileprivate var code: UInt8 {
        switch self {
        case .byte: 0x10
        case .half: 0x08
        case .word: 0x00
        }
    }
}
