// Reading RTM_NEWQDISC and RTM_NEWTCLASS, and the options of the kinds that are ours.
internal import CNetlink

/// What qdiscs, classes and filters have in common: `struct tcmsg`, TCA_KIND, TCA_OPTIONS, TCA_CHAIN
/// and TCA_STATS2.
struct TrafficObject {
    var header: tcmsg
    var kind = ""
    var options: [UInt8] = []
    var chain: UInt32 = 0
    var hasMore = false
    var statistics = Statistics()

    /// Nil where the payload is too short, or names no kind.
    init?(payload: RawSpan) {
        guard let header = payload.load(tcmsg.self) else { return nil }
        self.header = header
        var object = self
        payload.forEachAttribute(from: aligned(MemoryLayout<tcmsg>.size)) { type, value in
            switch type {
            case TCA_KIND: object.kind = value.text
            case TCA_OPTIONS: object.options = value.copied
            case TCA_CHAIN: object.chain = value.load(UInt32.self) ?? 0
            case TCA_STATS2: object.statistics = Statistics(nested: value)
            case TCA_STATS, TCA_XSTATS, TCA_PAD, TCA_HW_OFFLOAD: break
            default: object.hasMore = true
            }
        }
        guard !object.kind.isEmpty else { return nil }
        self = object
    }
}

extension Statistics {
    /// Reads TCA_STATS2 or TCA_ACT_STATS: what is missing is 0.
    init(nested: RawSpan) {
        var statistics = Statistics()
        var packets64: UInt64?
        nested.forEachAttribute { type, value in
            switch type {
            case TCA_STATS_BASIC:
                statistics.bytes = value.load(UInt64.self) ?? 0
                statistics.packets = UInt64(value.load(UInt32.self, at: 8) ?? 0)
            case TCA_STATS_PKT64: packets64 = value.load(UInt64.self)
            case TCA_STATS_QUEUE:
                guard let queue = value.load(gnet_stats_queue.self) else { return }
                statistics.queueLength = queue.qlen
                statistics.backlogBytes = queue.backlog
                statistics.drops = queue.drops
                statistics.overlimits = queue.overlimits
            default: break
            }
        }
        statistics.packets = packets64 ?? statistics.packets
        self = statistics
    }
}

extension QdiscRecord {
    /// Reads an RTM_NEWQDISC payload.
    init?(payload: RawSpan) {
        guard let object = TrafficObject(payload: payload) else { return nil }
        self.init(
            index: object.header.tcm_ifindex, handle: Handle(rawValue: object.header.tcm_handle),
            parent: Handle(rawValue: object.header.tcm_parent), kind: object.kind,
            options: object.options, hasMore: object.hasMore, statistics: object.statistics)
    }

    /// What a plain tbf holds; nil for another kind, and for one with a peak rate. The burst is
    /// exact up to 15,625,000 bytes a second, beyond that as near as ticks of 64 ns keep it.
    public var tokenBucket: TokenBucket? {
        guard kind == "tbf" else { return nil }
        let span = unsafe options.span.bytes
        var parameters: tc_tbf_qopt?
        var rate64: UInt64?
        span.forEachAttribute { type, value in
            switch type {
            case TCA_TBF_PARMS: parameters = value.load(tc_tbf_qopt.self)
            case TCA_TBF_RATE64: rate64 = value.load(UInt64.self)
            default: break
            }
        }
        guard let parameters, parameters.peakrate.rate == 0 else { return nil }
        let rate = rate64 ?? UInt64(parameters.rate.rate)
        // The kernel rounds the ticks of TCA_TBF_BURST down.
        let burst = SchedulerClock.standard.amount(
            ticks: UInt64(parameters.buffer), perSecond: rate, roundingUp: true)
        return TokenBucket(
            bytesPerSecond: rate, burstBytes: UInt32(clamping: burst),
            limitBytes: parameters.limit, minimumPacketBytes: parameters.rate.mpu)
    }

    /// What a plain netem holds; nil for another kind, and for one that also loses, doubles,
    /// reorders, corrupts or jitters, or has a rate of its own.
    public var netem: Netem? {
        guard kind == "netem" else { return nil }
        let span = unsafe options.span.bytes
        guard let parameters = span.load(tc_netem_qopt.self), parameters.loss == 0,
            parameters.gap == 0, parameters.duplicate == 0, parameters.jitter == 0
        else { return nil }
        var delay = SchedulerClock.standard.nanoseconds(ticks: UInt64(parameters.latency))
        var isPlain = true
        span.forEachAttribute(from: aligned(MemoryLayout<tc_netem_qopt>.size)) { type, value in
            switch type {
            case TCA_NETEM_LATENCY64:
                delay = UInt64(clamping: value.load(Int64.self) ?? 0)
            case TCA_NETEM_JITTER64:
                if value.load(UInt64.self) ?? 0 != 0 { isPlain = false }
            case TCA_NETEM_REORDER, TCA_NETEM_CORRUPT, TCA_NETEM_RATE:
                // Each starts with its probability or rate: zeros are as good as none.
                if value.load(UInt32.self) ?? 0 != 0 { isPlain = false }
            case TCA_NETEM_LOSS, TCA_NETEM_SLOT: isPlain = false
            default: break
            }
        }
        return isPlain
            ? Netem(delayNanoseconds: delay, limitPackets: parameters.limit) : nil
    }

    /// The length of a pfifo in packets; nil for another kind.
    public var packetQueueLimit: UInt32? {
        guard kind == "pfifo" else { return nil }
        return unsafe options.span.bytes.load(tc_fifo_qopt.self)?.limit
    }

    /// The minor of an htb's default class; nil for another kind.
    public var htbDefault: UInt32? { htbParameters?.defcls }

    /// The divisor by which an htb makes a quantum of a rate (`r2q`); nil for another kind.
    public var htbRateToQuantum: UInt32? { htbParameters?.rate2quantum }

    private var htbParameters: tc_htb_glob? {
        guard kind == "htb" else { return nil }
        var parameters: tc_htb_glob?
        unsafe options.span.bytes.forEachAttribute { type, value in
            if type == TCA_HTB_INIT { parameters = value.load(tc_htb_glob.self) }
        }
        return parameters
    }
}

extension ClassRecord {
    /// Reads an RTM_NEWTCLASS payload.
    init?(payload: RawSpan) {
        guard let object = TrafficObject(payload: payload) else { return nil }
        self.init(
            index: object.header.tcm_ifindex, classID: Handle(rawValue: object.header.tcm_handle),
            parent: Handle(rawValue: object.header.tcm_parent), kind: object.kind,
            options: object.options, statistics: object.statistics)
    }

    /// What a class of an htb holds; nil for another kind.
    public var htb: HTBClass? {
        guard kind == "htb" else { return nil }
        var parameters: tc_htb_opt?
        var rate64: UInt64?
        var ceil64: UInt64?
        unsafe options.span.bytes.forEachAttribute { type, value in
            switch type {
            case TCA_HTB_PARMS: parameters = value.load(tc_htb_opt.self)
            case TCA_HTB_RATE64: rate64 = value.load(UInt64.self)
            case TCA_HTB_CEIL64: ceil64 = value.load(UInt64.self)
            default: break
            }
        }
        guard let parameters else { return nil }
        let rate = rate64 ?? UInt64(parameters.rate.rate)
        let ceil = ceil64 ?? UInt64(parameters.ceil.rate)
        let clock = SchedulerClock.standard
        return HTBClass(
            bytesPerSecond: rate, ceilBytesPerSecond: ceil,
            burstBytes: UInt32(
                clamping: clock.amount(ticks: UInt64(parameters.buffer), perSecond: rate)),
            ceilBurstBytes: UInt32(
                clamping: clock.amount(ticks: UInt64(parameters.cbuffer), perSecond: ceil)),
            minimumPacketBytes: parameters.rate.mpu)
    }
}
