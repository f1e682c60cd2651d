// A guard's program with its jumps resolved, and its emission as classic BPF, one for each reason.
//
// A reason's program holds only what can lead to that reason; all other ways end in "no match". A
// conditional jump reaches 255 instructions in classic BPF: a longer one goes by way of a plain
// jump, which has 32 bits.
import Netlink

/// The instructions that a frame can come to, in order; all jumps lead forward.
struct GuardFlow: Hashable, Sendable {
    /// Where a jump leads.
    enum Target: Hashable, Sendable {
        case step(Int)
        case pass
        case refuse(GuardReason)
    }

    struct Step: Hashable, Sendable {
        var instruction: GuardInstruction
        /// Of a jump or a branch.
        var target: Target?

        /// Whether the next step can follow.
        var fallsThrough: Bool {
            if case .jump = instruction { false } else { true }
        }
    }

    private(set) var steps: [Step] = []
    /// For each step, the reasons that it can lead to: bit n for the reason of that number.
    private(set) var leads: [UInt32] = []

    /// Of nothing: every frame passes.
    init() {}

    init(_ program: GuardProgram) { self.init(program.instructions) }

    init(_ instructions: [GuardInstruction]) {
        steps = Self.resolve(instructions)
        removeUnreachable()
        leads = [UInt32](repeating: 0, count: steps.count)
        for index in steps.indices.reversed() {
            var mask: UInt32 = 0
            switch steps[index].target {
            case .refuse(let reason): mask = reason.bit
            case .step(let target): mask = leads[target]
            case .pass, nil: break
            }
            if steps[index].fallsThrough, index + 1 < steps.count { mask |= leads[index + 1] }
            leads[index] = mask
        }
    }

    /// The reasons that it has, in their order.
    var reasons: [GuardReason] {
        GuardReason.allCases.filter { (leads.first ?? 0) & $0.bit != 0 }
    }

    private static func resolve(_ instructions: [GuardInstruction]) -> [Step] {
        var places: [GuardLabel: Int] = [:]
        var count = 0
        for instruction in instructions {
            if case .mark(let label) = instruction { places[label] = count } else { count += 1 }
        }
        func target(_ label: GuardLabel) -> Target {
            switch label {
            case .pass: .pass
            case .refuse(let reason): .refuse(reason)
            case .local: .step(places[label] ?? count)
            }
        }
        return instructions.compactMap { instruction in
            switch instruction {
            case .mark: nil
            case .jump(let label), .branch(_, let label):
                Step(instruction: instruction, target: target(label))
            default: Step(instruction: instruction)
            }
        }
    }

    private mutating func removeUnreachable() {
        var isReached = [Bool](repeating: false, count: steps.count)
        if !isReached.isEmpty { isReached[0] = true }
        for (index, step) in steps.enumerated() where isReached[index] {
            if case .step(let target)? = step.target {
                precondition(target > index && target < steps.count, "a jump that leads nowhere")
                isReached[target] = true
            }
            guard step.fallsThrough else { continue }
            precondition(index + 1 < steps.count, "a program without an end")
            isReached[index + 1] = true
        }
        var places: [Int] = []
        var count = 0
        for isKept in isReached {
            places.append(count)
            if isKept { count += 1 }
        }
        steps = zip(steps, isReached).compactMap { step, isKept in
            guard isKept else { return nil }
            var step = step
            if case .step(let target)? = step.target { step.target = .step(places[target]) }
            return step
        }
    }
}

extension GuardReason {
    var bit: UInt32 { 1 << UInt32(number) }
}

extension GuardFlow {
    /// The program that matches (-1) exactly the frames that are refused for `reason`.
    func classicProgram(for reason: GuardReason) -> [ClassicInstruction] {
        var items: [ClassicItem] = []
        var places: [Int: Int] = [:]
        for index in steps.indices where leads[index] & reason.bit != 0 {
            places[index] = items.count
            items.append(
                item(steps[index]) { target in
                    switch target {
                    case .step(let index) where leads[index] & reason.bit != 0: .step(index)
                    case .refuse(reason): .accept
                    case .step, .refuse, .pass: .reject
                    }
                })
            let isLast = index + 1 == steps.count || leads[index + 1] & reason.bit == 0
            if steps[index].fallsThrough, isLast { items.append(.code(ClassicCode.result(0))) }
        }
        let accept = items.count
        items.append(.code(ClassicCode.result(.max)))
        items.append(.code(ClassicCode.result(0)))
        return ClassicItem.assemble(items) { place in
            switch place {
            case .step(let index): places[index] ?? accept + 1
            case .accept: accept
            case .reject: accept + 1
            }
        }
    }

    /// The program that matches (-1) exactly the frames that pass.
    func classicProgramOfPassing() -> [ClassicInstruction] {
        var items = steps.map { step in
            item(step) { target in
                switch target {
                case .step(let index): .step(index)
                case .pass: .accept
                case .refuse: .reject
                }
            }
        }
        let accept = items.count
        items += [.code(ClassicCode.result(.max)), .code(ClassicCode.result(0))]
        return ClassicItem.assemble(items) { place in
            switch place {
            case .step(let index): index
            case .accept: accept
            case .reject: accept + 1
            }
        }
    }

    private func item(
        _ step: Step, _ leading: (Target) -> ClassicItem.Place
    ) -> ClassicItem {
        let place = step.target.map(leading) ?? .reject
        switch step.instruction {
        case .jump: return .jump(place)
        case .branch(let condition, _): return .branch(condition, place)
        default:
            let (code, operand) = step.instruction.classic ?? (0x06, 0)
            return .code(ClassicInstruction(code: code, k: operand))
        }
    }
}

/// A piece of a classic program that becomes one instruction or, for a far branch, two.
private enum ClassicItem {
    enum Place {
        case step(Int)
        case accept
        case reject
    }

    case code(ClassicInstruction)
    case jump(Place)
    case branch(GuardCondition, Place)

    static func assemble(
        _ items: [ClassicItem], _ index: (Place) -> Int
    ) -> [ClassicInstruction] {
        var isFar = [Bool](repeating: false, count: items.count)
        var positions: [Int] = []
        // Each round only lengthens, so that it ends.
        while true {
            positions = []
            var position = 0
            for far in isFar {
                positions.append(position)
                position += far ? 2 : 1
            }
            let found = items.indices.filter { number in
                guard case .branch(_, let place) = items[number], !isFar[number] else {
                    return false
                }
                return positions[index(place)] - positions[number] - 1 > Int(UInt8.max)
            }
            if found.isEmpty { break }
            for number in found { isFar[number] = true }
        }
        var program: [ClassicInstruction] = []
        for (number, item) in items.enumerated() {
            switch item {
            case .code(let instruction): program.append(instruction)
            case .jump(let place):
                let distance = positions[index(place)] - program.count - 1
                program.append(ClassicInstruction(code: 0x05, k: UInt32(distance)))
            case .branch(let condition, let place):
                let (code, operand, isTakenIfTrue) = condition.code
                // A far branch steps over its plain jump where it is not taken.
                let distance = positions[index(place)] - program.count - 1
                let near = isFar[number] ? 0 : UInt8(distance)
                let over: UInt8 = isFar[number] ? 1 : 0
                program.append(
                    ClassicInstruction(
                        code: code, jt: isTakenIfTrue ? near : over,
                        jf: isTakenIfTrue ? over : near, k: operand))
                guard isFar[number] else { continue }
                program.append(ClassicInstruction(code: 0x05, k: UInt32(distance - 1)))
            }
        }
        return program
    }
}
