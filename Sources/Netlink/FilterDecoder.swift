// Reading RTM_NEWTFILTER and the actions in it.
internal import CNetlink

extension FilterRecord {
    /// Reads an RTM_NEWTFILTER payload.
    init?(payload: RawSpan) {
        guard let object = TrafficObject(payload: payload) else { return nil }
        let info = object.header.tcm_info
        self.init(
            index: object.header.tcm_ifindex,
            parent: Handle(rawValue: object.header.tcm_parent),
            preference: UInt16(truncatingIfNeeded: info >> 16),
            proto: UInt16(truncatingIfNeeded: info).byteSwappedFromNetwork,
            handle: object.header.tcm_handle, chain: object.chain, kind: object.kind,
            options: object.options)
        readOptions()
    }

    /// Reads what we know of the options.
    private mutating func readOptions() {
        guard let attributes = FilterAttributes.of[kind] else { return }
        var record = self
        unsafe options.span.bytes.forEachAttribute { type, value in
            if type == attributes.actions {
                value.forEachAttribute { _, value in
                    if let action = ActionRecord(payload: value) { record.actions.append(action) }
                }
            }
            if type == attributes.flags {
                let flags = value.load(UInt32.self) ?? 0
                record.isInHardware = flags & UInt32(TCA_CLS_FLAGS_IN_HW) != 0
            }
            if type == attributes.police {
                var action = ActionRecord(kind: "police")
                action.readPolice(value)
                record.actions.append(action)
            }
            if record.kind == "flower" { record.readConnection(type, value) }
            guard record.kind == "bpf" else { return }
            switch type {
            case TCA_BPF_CLASSID:
                record.classID = value.load(UInt32.self).map(Handle.init(rawValue:))
            case TCA_BPF_OPS: record.classicBPF = ClassicInstruction.decode(value)
            case TCA_BPF_NAME: record.bpfName = value.text
            case TCA_BPF_FLAGS:
                let flags = value.load(UInt32.self) ?? 0
                record.isDirectAction = flags & UInt32(TCA_BPF_FLAG_ACT_DIRECT) != 0
            case TCA_BPF_ID: record.bpfProgramID = value.load(UInt32.self)
            default: break
            }
        }
        self = record
    }
}

extension FilterRecord {
    /// What is asked comes before what of it counts; the kernel tells both or none.
    fileprivate mutating func readConnection(_ type: Int, _ value: RawSpan) {
        guard let flags = value.load(UInt16.self).map(Int.init) else { return }
        let isTracked = flags & TCA_FLOWER_KEY_CT_FLAGS_TRACKED != 0
        let isReply = flags & TCA_FLOWER_KEY_CT_FLAGS_REPLY != 0
        switch type {
        case TCA_FLOWER_KEY_CT_STATE:
            connection = ConnectionMatch(isTracked: isTracked, isReply: isReply)
        case TCA_FLOWER_KEY_CT_STATE_MASK:
            if !isTracked { connection?.isTracked = nil }
            if !isReply { connection?.isReply = nil }
        default: break
        }
    }
}

/// Where each kind of filter keeps what all kinds have.
struct FilterAttributes {
    /// Its actions.
    var actions: Int
    /// A policer that was asked for in the old way (`tc filter … police …` without `action`, as
    /// libvirt does): its options, without a kind.
    var police: Int?
    /// TCA_CLS_FLAGS_*.
    var flags: Int?
    /// How often it matched.
    var counters: Int?

    /// Of each kind that is known.
    static let of: [String: FilterAttributes] = [
        "basic": FilterAttributes(
            actions: TCA_BASIC_ACT, police: TCA_BASIC_POLICE, counters: TCA_BASIC_PCNT),
        "bpf": FilterAttributes(
            actions: TCA_BPF_ACT, police: TCA_BPF_POLICE, flags: TCA_BPF_FLAGS_GEN),
        "flower": FilterAttributes(actions: TCA_FLOWER_ACT, flags: TCA_FLOWER_FLAGS),
        "fw": FilterAttributes(actions: TCA_FW_ACT, police: TCA_FW_POLICE),
        "matchall": FilterAttributes(
            actions: TCA_MATCHALL_ACT, flags: TCA_MATCHALL_FLAGS, counters: TCA_MATCHALL_PCNT),
        "u32": FilterAttributes(
            actions: TCA_U32_ACT, police: TCA_U32_POLICE, flags: TCA_U32_FLAGS,
            counters: TCA_U32_PCNT),
    ]
}

extension UInt16 {
    /// Network order to the host's.
    fileprivate var byteSwappedFromNetwork: UInt16 { UInt16(bigEndian: self) }
}

extension ClassicInstruction {
    /// Reads a TCA_BPF_OPS payload; nil where it is no whole number of instructions.
    static func decode(_ payload: RawSpan) -> [ClassicInstruction]? {
        let size = MemoryLayout<sock_filter>.size
        guard payload.byteCount % size == 0 else { return nil }
        var program: [ClassicInstruction] = []
        var position = 0
        while let filter = payload.load(sock_filter.self, at: position) {
            program.append(
                ClassicInstruction(code: filter.code, jt: filter.jt, jf: filter.jf, k: filter.k))
            position += size
        }
        return program
    }
}

extension ActionRecord {
    /// Reads one entry of a filter's list of actions. Nil where it names no kind.
    init?(payload: RawSpan) {
        var action = ActionRecord(kind: "")
        payload.forEachAttribute { type, value in
            switch type {
            case TCA_ACT_KIND: action.kind = value.text
            case TCA_ACT_COOKIE: action.cookie = value.copied
            case TCA_ACT_STATS: action.statistics = Statistics(nested: value)
            default: break
            }
        }
        // The options come in any order, and mean what the kind says.
        payload.forEachAttribute { type, value in
            if type == TCA_ACT_OPTIONS { action.readOptions(value) }
        }
        guard !action.kind.isEmpty else { return nil }
        self = action
    }

    private mutating func readOptions(_ options: RawSpan) {
        switch kind {
        case "police": readPolice(options)
        case "mirred": readMirred(options)
        case "gact": readGeneric(options)
        case "bpf": readClassicBPF(options)
        case "ct": readConnection(options)
        default: break
        }
    }

    private mutating func readGeneric(_ options: RawSpan) {
        var action = self
        options.forEachAttribute { type, value in
            if type == TCA_GACT_PARMS { action.readGeneral(value) }
        }
        self = action
    }

    /// `tc_gen`, which is all that tc_gact, tc_ct and tc_act_bpf hold (<linux/pkt_cls.h>).
    private mutating func readGeneral(_ value: RawSpan) {
        guard let parameters = value.load(tc_gact.self) else { return }
        index = parameters.index
        verdictCode = parameters.action
    }

    private mutating func readConnection(_ options: RawSpan) {
        var action = self
        options.forEachAttribute { type, value in
            switch type {
            case TCA_CT_PARMS: action.readGeneral(value)
            case TCA_CT_ACTION:
                let flags = value.load(UInt16.self).map(Int32.init) ?? 0
                action.commits = flags & TCA_CT_ACT_COMMIT != 0
            default: break
            }
        }
        self = action
    }

    private mutating func readClassicBPF(_ options: RawSpan) {
        var action = self
        options.forEachAttribute { type, value in
            switch type {
            case TCA_ACT_BPF_PARMS: action.readGeneral(value)
            case TCA_ACT_BPF_OPS: action.classicBPF = ClassicInstruction.decode(value)
            default: break
            }
        }
        self = action
    }

    private mutating func readMirred(_ options: RawSpan) {
        var action = self
        options.forEachAttribute { type, value in
            guard type == TCA_MIRRED_PARMS, let parameters = value.load(tc_mirred.self)
            else { return }
            action.index = parameters.index
            action.verdictCode = parameters.action
            guard parameters.eaction == TCA_EGRESS_REDIR else { return }
            action.redirectTarget = Int32(bitPattern: parameters.ifindex)
        }
        self = action
    }

    fileprivate mutating func readPolice(_ options: RawSpan) {
        var parameters: tc_police?
        var police = PoliceRecord()
        var rate64: UInt64?
        var burstTicks: UInt64 = 0
        options.forEachAttribute { type, value in
            switch type {
            case TCA_POLICE_TBF: parameters = value.load(tc_police.self)
            case TCA_POLICE_RESULT: police.conformCode = value.load(Int32.self) ?? 0
            case TCA_POLICE_RATE64: rate64 = value.load(UInt64.self)
            case TCA_POLICE_PKTRATE64: police.packetsPerSecond = value.load(UInt64.self)
            case TCA_POLICE_PKTBURST64: burstTicks = value.load(UInt64.self) ?? 0
            default: break
            }
        }
        guard let parameters else { return }
        index = parameters.index
        verdictCode = parameters.action
        let clock = SchedulerClock.standard
        let rate = rate64 ?? UInt64(parameters.rate.rate)
        police.bytesPerSecond = rate > 0 ? rate : nil
        police.burstBytes = UInt32(
            clamping: clock.amount(ticks: UInt64(parameters.burst), perSecond: rate))
        police.mtu = parameters.mtu
        police.overhead = parameters.rate.overhead
        police.exceedCode = parameters.action
        if police.packetsPerSecond == 0 { police.packetsPerSecond = nil }
        police.packetBurst = clock.amount(
            ticks: burstTicks, perSecond: police.packetsPerSecond ?? 0)
        self.police = police
    }
}
