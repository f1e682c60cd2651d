// Guards as filters: before every limit, at one preference, each with a handle of its own.
//
//   pref 8,9 of a management leg whose connections are followed                 (GuardTracking)
//   pref 10  cls_bpf handle 7a10 + n: the frames refused for reason n, one filter for each reason
//              gact drop (enforce) or continue (monitor), with our cookie: it counts; of forged
//              Ethernet sources a number of act_bpf in its place (GuardSources)
//         or cls_bpf handle 7a2f: one eBPF program, direct action, with a counter for each reason
//   pref 11  …                                                          the limits (WantedTree)
//
// Invariants: guards come first, so that a redirect never skips them; what they let pass goes on to
// the limits and to everybody else's filters; a guard is changed in place, without a gap.
import Mitigation
import Netlink

/// Guards, and what they come to in a kernel, without the programs: of those it knows whether they
/// stand. A thousand ports have a thousand of these.
struct CompiledGuards: Hashable, Sendable {
    let guards: Guards
    let enforcer: GuardEnforcer
    fileprivate(set) var filters: [WantedGuard] = []
    /// In their place where connections can be followed; nil: they are not.
    fileprivate(set) var tracking: [WantedGuard]?

    /// Nothing is forbidden.
    static let none = CompiledGuards(guards: Guards(), enforcer: .actGact)

    /// What they come to at a hook; connections need one with both directions.
    func filters(at hook: Site.Hook) -> [WantedGuard] {
        hook == .clsact ? tracking ?? filters : filters
    }

    /// Whether connections would be followed at another hook.
    func isWeaker(at hook: Site.Hook) -> Bool { tracking != nil && hook == .ingress }
}

/// The programs of one port's guards, which are large and wanted only where a filter is put.
struct GuardCode: Sendable {
    private(set) var compiled: CompiledGuards
    /// By what they are known by; empty where one program decides about all reasons.
    private var programs: [ProgramDigest: [ClassicInstruction]] = [:]
    /// What one program decides.
    let flow: GuardFlow
    let policy: GuardPolicy

    /// Of guards that forbid nothing.
    static let none = GuardCode(
        Guards(), enforcer: .actGact,
        parts: KernelParts(hasActPolice: false, hasBPF: false, hasNetem: false, hasIFB: false))

    /// For a kernel with these parts.
    init(_ guards: Guards, enforcer: GuardEnforcer, parts: KernelParts) {
        compiled = CompiledGuards(guards: guards, enforcer: enforcer)
        policy = GuardPolicy(guards)
        guard !guards.isEmpty else {
            flow = GuardFlow()
            return
        }
        flow = GuardFlow(GuardProgram(policy))
        switch enforcer {
        case .actGact:
            let countsSources = parts.hasActBPF
            compiled.filters = rules(flow, countsSources: countsSources)
            if parts.followsConnections, policy.networks != nil {
                compiled.tracking = tracking(policy, countsSources: countsSources)
            }
        case .bpf:
            compiled.filters = [
                WantedGuard(
                    handle: Ownership.guardProgramHandle, match: .program, mode: guards.mode,
                    label: "guard-\(guards.mode.rawValue)-\(flow.digest)")
            ]
        }
    }

    /// The program of a filter that was made here; of any other an empty one, which the kernel refuses.
    func program(_ digest: ProgramDigest) -> [ClassicInstruction] { programs[digest] ?? [] }

    /// Keeps a program.
    mutating func keep(_ program: [ClassicInstruction]) -> ProgramDigest {
        let digest = ProgramDigest(program)
        programs[digest] = program
        return digest
    }

    /// A filter for each reason.
    mutating func rules(_ flow: GuardFlow, countsSources: Bool) -> [WantedGuard] {
        flow.reasons.map { reason in
            WantedGuard(
                handle: Ownership.guardHandle(of: reason),
                match: .rule(
                    keep(flow.classicProgram(for: reason)),
                    countsSources: countsSources && reason == .sourceMAC),
                mode: compiled.guards.mode)
        }
    }
}

/// What a program of classic BPF is known by.
struct ProgramDigest: Hashable, Sendable {
    private let hash: UInt64

    /// Another program has, but for a chance of 2^-64, another one.
    init(_ program: [ClassicInstruction]) {
        var hash = FowlerNollVo()
        for instruction in program {
            hash.add(Int(instruction.code))
            hash.add(Int(instruction.jt) << 8 | Int(instruction.jf))
            hash.add(Int(instruction.k))
            // Else a number's highest bits would tell of its lowest alone.
            hash.fold()
        }
        self.hash = hash.value
    }
}

/// FNV-1a, a number at a time.
struct FowlerNollVo {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ number: Int) {
        value = (value ^ UInt64(bitPattern: Int64(number))) &* 0x0000_0100_0000_01b3
    }

    mutating func fold() { value ^= value >> 32 }
}

/// A guard's filter.
struct WantedGuard: Hashable, Sendable {
    enum Match: Hashable, Sendable {
        case rule(ProgramDigest, countsSources: Bool)
        /// One program for all reasons.
        case program
        /// Remembers the connections that these frames open.
        case remember(ProgramDigest)
        /// Looks up the connections of these frames.
        case lookUp(ProgramDigest)
        /// Of what was looked up, what is no answer.
        case unanswering
    }

    var parent = Handle.clsactIngress
    var preference = Ownership.guardPreference
    var handle: UInt32
    var match: Match
    var mode: Guards.Mode
    /// Of one program for all reasons, which cannot be read back as such: what its name says of it.
    var label = ""

    var verdict: Verdict { mode == .enforce ? .drop : .unspec }

    var isProgram: Bool { match == .program }

    /// Of a rule: what becomes of the frames that it matches.
    func actions(countsSources: Bool, cookie: [UInt8]) -> [TCAction] {
        guard countsSources else { return [.generic(verdict, cookie: cookie)] }
        return (0..<GuardSources.actions).map {
            .classicBPF(GuardSources.program(ofAction: $0, mode), verdict, cookie: cookie)
        }
    }

    /// Whether `filter` is in its place.
    func stands(at filter: FilterRecord) -> Bool {
        filter.handle == handle && filter.preference == preference && filter.parent == parent
    }

    /// Whether `filter` is what was asked for.
    func isHeld(by filter: FilterRecord) -> Bool {
        guard stands(at: filter) else { return false }
        switch match {
        case .rule(let digest, let countsSources):
            guard filter.classicBPF.map(ProgramDigest.init) == digest else { return false }
            let asked = actions(countsSources: countsSources, cookie: [])
            return filter.actions.elementsEqual(asked) { held, asked in
                held.kind == asked.kind && held.verdict == verdict
                    && held.classicBPF == asked.program
            }
        case .program: return filter.bpfName?.hasSuffix("/\(label)") == true
        case .remember, .lookUp, .unanswering: return follows(filter)
        }
    }
}

extension WantedGuard.Match {
    /// Of one that has no reason of its own.
    var title: String {
        switch self {
        case .rule, .program, .unanswering: "program"
        case .remember: "connections remembered"
        case .lookUp: "connections looked up"
        }
    }
}

extension TCAction {
    /// Of an action that is one.
    fileprivate var program: [ClassicInstruction]? {
        if case .classicBPF(let program, _, _) = self { program } else { nil }
    }
}

extension GuardFlow {
    /// Of what it decides, in hexadecimal: another program has, but for a chance of 2^-64, another one.
    var digest: String {
        var hash = FowlerNollVo()
        for step in steps {
            if let (code, operand) = step.instruction.classic {
                hash.add(Int(code))
                hash.add(Int(operand))
            }
            if case .branch(let condition, _) = step.instruction {
                hash.add(Int(condition.code.code) << 1 | (condition.code.isTakenIfTrue ? 1 : 0))
                hash.add(Int(condition.code.operand))
            }
            switch step.target {
            case .step(let index): hash.add(index)
            case .refuse(let reason): hash.add(-2 - reason.number)
            case .pass: hash.add(-1)
            case nil: break
            }
        }
        return String(hash.value, radix: 16)
    }
}

extension Ownership {
    /// The fixed preference of all guards: before every limit.
    static let guardPreference: UInt16 = 10
    private static let firstGuardHandle: UInt32 = 0x7a10
    /// The handle of a program that decides about all reasons.
    static let guardProgramHandle: UInt32 = 0x7a2f

    static func guardHandle(of reason: GuardReason) -> UInt32 {
        firstGuardHandle + UInt32(reason.number)
    }

    /// The reason of a guard's filter; nil where it is a program, or only looks up.
    static func guardReason(of handle: UInt32) -> GuardReason? {
        handle == unansweringHandle
            ? .connection : GuardReason.allCases.first { guardHandle(of: $0) == handle }
    }

    /// A guard of ours, by handle, preference, and cookie or name.
    static func isGuard(_ filter: FilterRecord) -> Bool {
        (firstGuardHandle...guardProgramHandle).contains(filter.handle) && filter.chain == 0
            && guardPreferences.contains(filter.preference)
            && (filter.kind == "bpf" || filter.kind == "flower") && tag(of: filter) != nil
    }
}
