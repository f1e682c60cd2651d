// A management leg's connections, where the kernel can follow them (act_ct, flower) and the port's
// hook has both directions (clsact):
//
//   egress   pref 8  cls_bpf: IPv4 from the management network to the router   ct commit, continue
//   ingress  pref 8  cls_bpf: IPv4 that the rules at pref 10 let pass          ct, continue
//            pref 9  flower: looked up, and no answer                          gact drop or continue
//            pref 10 the rules, which hold beside it                           (GuardFilters)
//
// Invariants: only what the network opened is remembered, so that the router can neither open a
// connection nor pretend to be in one; what is looked up is what passes the rules, so that the
// reasons stay disjoint and fragments never come to the look-up (which would put them together).
//
// It is the host's own table (zone 0): not every kernel has others (CONFIG_NF_CONNTRACK_ZONES). Where
// it is full, nothing new gets in. A look-up sees the packet behind one tag, which the kernel has
// taken out of the frame; behind two it cannot, so that these are refused. It also takes a frame's
// padding off (tcf_ct_skb_network_trim).
import Netlink

extension WantedGuard {
    /// What a flower filter of ours matches: what was looked up, and is not from the side that was
    /// called; invalid ones too.
    static let unanswering = ConnectionMatch(isTracked: true, isReply: false)

    /// Whether `filter`, which stands in the place, follows connections as this asks.
    func follows(_ filter: FilterRecord) -> Bool {
        guard filter.actions.count == 1 else { return false }
        let action = filter.actions[0]
        switch match {
        case .remember(let digest), .lookUp(let digest):
            return filter.classicBPF.map(ProgramDigest.init) == digest && action.kind == "ct"
                && action.commits == (parent == .clsactEgress) && action.verdict == .unspec
        case .unanswering:
            return filter.connection == Self.unanswering && action.kind == "gact"
                && action.verdict == verdict
        case .rule, .program: return false
        }
    }
}

extension GuardCode {
    /// Of a management leg, in the order in which they are put: first of all connections are
    /// remembered.
    mutating func tracking(_ policy: GuardPolicy, countsSources: Bool) -> [WantedGuard] {
        let mode = compiled.guards.mode
        var policy = policy
        policy.mostTags = 0
        let program = GuardProgram(policy)
        let flow = GuardFlow(program)
        let passing = GuardFlow(
            [
                .load(.half, at: 12), .branch(.notEqual(EtherType.version4), .refuse(.other)),
            ] + program.instructions)
        var remember = WantedGuard(
            handle: Ownership.rememberHandle,
            match: .remember(keep(Self.opening(policy).classicProgramOfPassing())), mode: mode)
        remember.parent = .clsactEgress
        remember.preference = Ownership.lookUpPreference
        var lookUp = WantedGuard(
            handle: Ownership.lookUpHandle,
            match: .lookUp(keep(passing.classicProgramOfPassing())), mode: mode)
        lookUp.preference = Ownership.lookUpPreference
        var refuse = WantedGuard(
            handle: Ownership.unansweringHandle, match: .unanswering, mode: mode)
        refuse.preference = Ownership.unansweringPreference
        return [remember] + rules(flow, countsSources: countsSources) + [lookUp, refuse]
    }

    /// What the management network sends to the router.
    private static func opening(_ policy: GuardPolicy) -> GuardFlow {
        let known = GuardLabel.local(0)
        var steps: [GuardInstruction] = [
            .load(.half, at: 12), .branch(.notEqual(EtherType.version4), .refuse(.other)),
        ]
        func match(_ prefix: AddressPrefix4, at offset: UInt32, _ label: GuardLabel) {
            steps += [
                .load(.word, at: offset), .and(prefix.mask),
                .branch(.equal(prefix.address), label),
            ]
        }
        for network in policy.networks ?? [] { match(network, at: 26, known) }
        steps += [.jump(.refuse(.other)), .mark(known)]
        for own in policy.prefixes4 { match(own.prefix, at: 30, .pass) }
        steps.append(.jump(.refuse(.other)))
        return GuardFlow(steps)
    }
}

extension Ownership {
    /// Look-ups come first, then what they found, then the rules.
    static let lookUpPreference: UInt16 = 8
    static let unansweringPreference: UInt16 = 9
    static let guardPreferences = lookUpPreference...guardPreference
    static let rememberHandle: UInt32 = 0x7a28
    static let lookUpHandle: UInt32 = 0x7a29
    static let unansweringHandle: UInt32 = 0x7a2a
}
