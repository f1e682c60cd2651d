// Guards as rules: one program for each reason for which a frame can be refused.
import Netlink

/// The frames that are refused for one reason, as a program that matches exactly those. Rules are
/// disjoint, so that the order in which they stand decides nothing.
struct GuardRule: Hashable, Sendable {
    var reason: GuardReason
    /// Classic BPF: -1 for a frame that is refused, 0 for all others.
    var program: [ClassicInstruction]
}

extension Guards {
    /// The rules, in the order of `GuardReason`; none where nothing is forbidden.
    var rules: [GuardRule] {
        guard !isEmpty else { return [] }
        let flow = GuardFlow(GuardProgram(self))
        return flow.reasons.map { GuardRule(reason: $0, program: flow.classicProgram(for: $0)) }
    }
}
