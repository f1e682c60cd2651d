// The requests for filters and their actions, byte for byte as tc sends them.
// Invariants: pure; an action never names an index, since a replacement that names an existing one
// returns success and changes nothing; the preference is never 0, which stands for a whole chain.
internal import CNetlink

extension Message {
    /// A request to put a filter: RTM_NEWTFILTER, CREATE without EXCL, so that ours is replaced in
    /// place, without an instant in which neither holds.
    static func filter(
        _ filter: Filter, index: Int32, clock: SchedulerClock
    ) throws(NetlinkError) -> Message {
        var byteCount = 4096 + filter.actions.count * 2048
        if case .classicBPF(let program) = filter.match { byteCount += program.count * 8 }
        for case .classicBPF(let program, _, _) in filter.actions { byteCount += program.count * 8 }
        var message = try Message(
            type: RTM_NEWTFILTER, flags: NLM_F_CREATE, byteCount: byteCount)
        message.append(
            tcmsg(
                index: index, handle: Handle(rawValue: filter.handle), parent: filter.parent,
                info: filterInfo(preference: filter.preference, proto: filter.proto)))
        if case .connection(let match) = filter.match {
            message.put(TCA_KIND, string: "flower")
            message.nest(TCA_OPTIONS) { options in
                options.put(match)
                options.put(filter.actions, as: TCA_FLOWER_ACT, clock: clock)
                options.put(TCA_FLOWER_FLAGS, UInt32(0))
            }
            return message
        }
        message.put(TCA_KIND, string: "bpf")
        message.nest(TCA_OPTIONS) { options in
            if let classID = filter.classID { options.put(TCA_BPF_CLASSID, classID.rawValue) }
            options.put(filter.actions, as: TCA_BPF_ACT, clock: clock)
            options.put(filter.match)
        }
        return message
    }

    /// A request to delete one filter.
    static func deleteFilter(
        index: Int32, parent: Handle, preference: UInt16, proto: UInt16, handle: UInt32,
        kind: String
    ) throws(NetlinkError) -> Message {
        var message = try Message(type: RTM_DELTFILTER, flags: 0)
        message.append(
            tcmsg(
                index: index, handle: Handle(rawValue: handle), parent: parent,
                info: filterInfo(preference: preference, proto: proto)))
        message.put(TCA_KIND, string: kind)
        return message
    }

    private mutating func put(_ actions: [TCAction], as type: Int, clock: SchedulerClock) {
        guard !actions.isEmpty else { return }
        nest(type) { list in
            for (order, action) in actions.enumerated() {
                list.nest(order + 1) { $0.put(action, clock: clock) }
            }
        }
    }

    private mutating func put(_ match: ConnectionMatch) {
        put(TCA_FLOWER_KEY_CT_STATE, UInt16(match.flags { $0 ?? false }))
        put(TCA_FLOWER_KEY_CT_STATE_MASK, UInt16(match.flags { $0 != nil }))
    }

    private mutating func put(_ match: Match) {
        switch match {
        case .classicBPF(let program):
            put(TCA_BPF_OPS_LEN, UInt16(clamping: program.count))
            put(TCA_BPF_OPS, bytes: Self.bytes(of: program))
        case .extendedBPF(let descriptor, let name):
            put(TCA_BPF_FD, descriptor)
            put(TCA_BPF_NAME, string: name)
            put(TCA_BPF_FLAGS, UInt32(TCA_BPF_FLAG_ACT_DIRECT))
        case .connection: break
        }
    }

    private static func bytes(of program: [ClassicInstruction]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(program.count * 8)
        for instruction in program {
            let filter = sock_filter(
                code: instruction.code, jt: instruction.jt, jf: instruction.jf, k: instruction.k)
            unsafe withUnsafeBytes(of: filter) { unsafe bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    private mutating func put(_ action: TCAction, clock: SchedulerClock) {
        put(TCA_ACT_KIND, string: action.kind)
        nest(TCA_ACT_OPTIONS | Int(NLA_F_NESTED)) { options in
            switch action {
            case .policePackets(let perSecond, let burst, let conform, let exceed, _):
                var parameters = tc_police()
                parameters.action = exceed.rawValue
                options.put(TCA_POLICE_TBF, parameters)
                options.put(TCA_POLICE_RESULT, conform.rawValue)
                options.put(TCA_POLICE_PKTRATE64, perSecond)
                // In ticks, not in packets.
                options.put(
                    TCA_POLICE_PKTBURST64, clock.ticks(amount: burst, perSecond: perSecond))
            case .policeBytes(
                let perSecond, let burst, let mtu, let overhead, let conform, let exceed, _):
                options.putBytePolicer(
                    perSecond: perSecond, burstBytes: burst, mtu: mtu, overhead: overhead,
                    exceed: exceed, clock: clock)
                options.put(TCA_POLICE_RESULT, conform.rawValue)
            case .redirect(let target, _):
                var parameters = tc_mirred()
                parameters.action = TC_ACT_STOLEN
                parameters.eaction = TCA_EGRESS_REDIR
                parameters.ifindex = UInt32(bitPattern: target)
                options.put(TCA_MIRRED_PARMS, parameters)
            case .connection(let commits, let verdict, _):
                var parameters = tc_ct()
                parameters.action = verdict.rawValue
                options.put(TCA_CT_ACTION, UInt16(commits ? TCA_CT_ACT_COMMIT : 0))
                options.put(TCA_CT_PARMS, parameters)
            case .classicBPF(let program, let verdict, _):
                var parameters = tc_act_bpf()
                parameters.action = verdict.rawValue
                options.put(TCA_ACT_BPF_OPS_LEN, UInt16(clamping: program.count))
                options.put(TCA_ACT_BPF_OPS, bytes: Self.bytes(of: program))
                options.put(TCA_ACT_BPF_PARMS, parameters)
            case .generic(let verdict, _):
                var parameters = tc_gact()
                parameters.action = verdict.rawValue
                options.put(TCA_GACT_PARMS, parameters)
            }
        }
        if !action.cookie.isEmpty { put(TCA_ACT_COOKIE, bytes: action.cookie) }
    }

    /// act_police refuses a rate without a table of 256 cells (ENOMEM), and reads nothing of it but
    /// its length since 3.12. Ours holds exact ticks, tc's are rounded down to microseconds.
    private mutating func putBytePolicer(
        perSecond: UInt64, burstBytes: UInt32, mtu: UInt32, overhead: UInt16, exceed: Verdict,
        clock: SchedulerClock
    ) {
        // The table's cells are large enough that the last one holds the longest packet.
        var cellLog: UInt8 = 0
        while (mtu == 0 ? 2047 : mtu) >> UInt32(cellLog) > 255 { cellLog += 1 }
        var parameters = tc_police()
        parameters.action = exceed.rawValue
        parameters.burst = UInt32(
            clamping: clock.ticks(amount: UInt64(burstBytes), perSecond: perSecond))
        parameters.mtu = mtu
        parameters.rate = tc_ratespec(
            bytesPerSecond: perSecond, cellLog: cellLog, overhead: overhead)
        put(TCA_POLICE_TBF, parameters)
        let table = (1...256).map { cell in
            UInt32(clamping: clock.ticks(amount: UInt64(cell) << cellLog, perSecond: perSecond))
        }
        put(TCA_POLICE_RATE, table: table)
        if needs64Bits(perSecond) { put(TCA_POLICE_RATE64, perSecond) }
    }
}

extension TCAction {
    /// The kernel's name of the kind.
    public var kind: String {
        switch self {
        case .policePackets, .policeBytes: "police"
        case .redirect: "mirred"
        case .connection: "ct"
        case .classicBPF: "bpf"
        case .generic: "gact"
        }
    }

    /// The cookie it carries.
    public var cookie: [UInt8] {
        switch self {
        case .policePackets(_, _, _, _, let cookie), .policeBytes(_, _, _, _, _, _, let cookie),
            .redirect(_, let cookie), .connection(_, _, let cookie), .classicBPF(_, _, let cookie),
            .generic(_, let cookie):
            cookie
        }
    }
}

extension ConnectionMatch {
    /// The flags (TCA_FLOWER_KEY_CT_FLAGS_*) for which `isSet` holds.
    func flags(_ isSet: (Bool?) -> Bool) -> Int {
        (isSet(isTracked) ? TCA_FLOWER_KEY_CT_FLAGS_TRACKED : 0)
            | (isSet(isReply) ? TCA_FLOWER_KEY_CT_FLAGS_REPLY : 0)
    }
}

/// tcm_info of a filter: the preference, and the protocol in network order.
func filterInfo(preference: UInt16, proto: UInt16) -> UInt32 {
    UInt32(preference) << 16 | UInt32(proto.bigEndian)
}
