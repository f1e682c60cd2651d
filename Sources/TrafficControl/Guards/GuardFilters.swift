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

/// Guards, and what they come to in a kernel. Made once for each change, since it takes a while.
struct CompiledGuards: Hashable, Sendable {
    let guards: Guards
    private let filters: [WantedGuard]
    /// In their place where connections can be followed; nil: they are not.
    private let tracking: [WantedGuard]?

    /// What they come to at a hook; connections need one with both directions.
    func filters(at hook: Site.Hook) -> [WantedGuard] {
        hook == .clsact ? tracking ?? filters : filters
    }

    /// Whether connections would be followed at another hook.
    func isWeaker(at hook: Site.Hook) -> Bool { tracking != nil && hook == .ingress }

    /// For a kernel with these parts.
    init(_ guards: Guards, enforcer: GuardEnforcer, parts: KernelParts) {
        self.guards = guards
        guard !guards.isEmpty else {
            filters = []
            tracking = nil
            return
        }
        let policy = GuardPolicy(guards)
        let flow = GuardFlow(GuardProgram(policy))
        switch enforcer {
        case .actGact:
            let countsSources = parts.hasActBPF
            filters = WantedGuard.rules(flow, guards.mode, countsSources: countsSources)
            tracking =
                parts.followsConnections && policy.networks != nil
                ? WantedGuard.tracking(policy, guards.mode, countsSources: countsSources) : nil
        case .bpf:
            tracking = nil
            filters = [
                WantedGuard(
                    handle: Ownership.guardProgramHandle, match: .program(flow, policy),
                    mode: guards.mode)
            ]
        }
    }

    static func == (one: CompiledGuards, other: CompiledGuards) -> Bool {
        one.guards == other.guards && one.filters.map(\.handle) == other.filters.map(\.handle)
            && one.tracking?.map(\.handle) == other.tracking?.map(\.handle)
    }

    func hash(into hasher: inout Hasher) { hasher.combine(guards) }
}

/// A guard's filter.
struct WantedGuard: Hashable, Sendable {
    enum Match: Hashable, Sendable {
        case rule(GuardRule, countsSources: Bool)
        case program(GuardFlow, GuardPolicy)
        /// Remembers the connections that these frames open.
        case remember([ClassicInstruction])
        /// Looks up the connections of these frames.
        case lookUp([ClassicInstruction])
        /// Of what was looked up, what is no answer.
        case unanswering
    }

    var parent = Handle.clsactIngress
    var preference = Ownership.guardPreference
    var handle: UInt32
    var match: Match
    var mode: Guards.Mode
    /// Of a program, which cannot be read back as such: what its name says of it.
    private(set) var label = ""

    init(handle: UInt32, match: Match, mode: Guards.Mode) {
        self.handle = handle
        self.match = match
        self.mode = mode
        if case .program(let flow, _) = match { label = "guard-\(mode.rawValue)-\(flow.digest)" }
    }

    var verdict: Verdict { mode == .enforce ? .drop : .unspec }

    /// A filter for each reason.
    static func rules(
        _ flow: GuardFlow, _ mode: Guards.Mode, countsSources: Bool
    ) -> [WantedGuard] {
        flow.reasons.map { reason in
            let rule = GuardRule(reason: reason, program: flow.classicProgram(for: reason))
            return WantedGuard(
                handle: Ownership.guardHandle(of: reason),
                match: .rule(rule, countsSources: countsSources && reason == .sourceMAC),
                mode: mode)
        }
    }

    var isProgram: Bool {
        if case .program = match { true } else { false }
    }

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
        case .rule(let rule, let countsSources):
            guard filter.classicBPF == rule.program else { return false }
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
    /// FNV-1a, a number at a time, over what it decides, in hexadecimal: another program has, but for a chance of 2^-64,
    /// another one.
    var digest: String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func add(_ number: Int) {
            hash = (hash ^ UInt64(bitPattern: Int64(number))) &* 0x0000_0100_0000_01b3
        }
        for step in steps {
            if let (code, operand) = step.instruction.classic {
                add(Int(code))
                add(Int(operand))
            }
            if case .branch(let condition, _) = step.instruction {
                add(Int(condition.code.code) << 1 | (condition.code.isTakenIfTrue ? 1 : 0))
                add(Int(condition.code.operand))
            }
            switch step.target {
            case .step(let index): add(index)
            case .refuse(let reason): add(-2 - reason.number)
            case .pass: add(-1)
            case nil: break
            }
        }
        return String(hash, radix: 16)
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
