// A classifier as classic BPF: one program for each lane, which matches that lane's frames only.
// Reference: Documentation/networking/filter.rst of the kernel; <linux/bpf_common.h> for the codes.
import Mitigation
import Netlink

extension FrameClassifier {
    /// The program of one lane's filter: -1 (match) for its frames, 0 (no match) for all others.
    func classicProgram(for lane: FrameLane) -> [ClassicInstruction] {
        var places: [Label: Int] = [:]
        var length = 0
        for instruction in instructions {
            if case .mark(let label) = instruction { places[label] = length } else { length += 1 }
        }
        for (index, each) in FrameLane.allCases.enumerated() {
            places[.lane(each)] = length + index
        }

        var program: [ClassicInstruction] = []
        program.reserveCapacity(length + FrameLane.allCases.count)
        for instruction in instructions {
            if let code = instruction.classic(at: program.count, places: places) {
                program.append(code)
            }
        }
        for each in FrameLane.allCases {
            program.append(ClassicCode.result(each == lane ? .max : 0))
        }
        return program
    }
}

/// The lanes' programs of each kind of frames, made once.
final class ClassicPrograms {
    private var made: [FrameKind: [[ClassicInstruction]]] = [:]

    func program(_ kind: FrameKind, for lane: FrameLane) -> [ClassicInstruction] {
        if let programs = made[kind] { return programs[lane.rawValue] }
        let classifier = FrameClassifier(kind)
        let programs = FrameLane.allCases.map { classifier.classicProgram(for: $0) }
        made[kind] = programs
        return programs[lane.rawValue]
    }
}

enum ClassicCode {
    /// `ret #value`
    static func result(_ value: UInt32) -> ClassicInstruction {
        ClassicInstruction(code: 0x06, jt: 0, jf: 0, k: value)
    }

    /// Matches every frame.
    static let everything: [ClassicInstruction] = [result(.max)]
}

extension ClassifierInstruction {
    /// Nil for a mark. Jumps are at most 255 forward: a classifier has about 110 instructions.
    fileprivate func classic(at index: Int, places: [Label: Int]) -> ClassicInstruction? {
        func distance(_ label: Label) -> UInt8 {
            let place = places[label] ?? index
            precondition(place > index && place - index - 1 <= UInt8.max, "jump out of reach")
            return UInt8(place - index - 1)
        }
        func make(_ code: UInt16, _ k: UInt32 = 0, then jt: UInt8 = 0, or jf: UInt8 = 0)
            -> ClassicInstruction
        {
            ClassicInstruction(code: code, jt: jt, jf: jf, k: k)
        }
        switch self {
        case .load(.byte, let offset): return make(0x30, offset)  // ldb [k]
        case .load(.half, let offset): return make(0x28, offset)  // ldh [k]
        case .loadIndexed(.byte, let offset): return make(0x50, offset)  // ldb [x + k]
        case .loadIndexed(.half, let offset): return make(0x48, offset)  // ldh [x + k]
        case .loadLength: return make(0x80)  // ld #len
        case .loadHeaderLength(let offset): return make(0xb1, offset)  // ldx 4*([k]&0xf)
        case .subtractIndex: return make(0x1c)  // sub x
        case .ifEqual(let value, let label): return make(0x15, value, then: distance(label))
        case .ifAnySet(let mask, let label): return make(0x45, mask, then: distance(label))
        case .ifLess(let value, let label): return make(0x35, value, or: distance(label))  // jge
        case .jump(let label): return make(0x05, UInt32(distance(label)))
        case .mark: return nil
        }
    }
}
