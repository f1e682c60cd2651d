// A qdisc, class or filter of another owner, as the request that makes it again.
//
// Invariants: what a listing says of an object is turned into its replica, the replica is sent, and
// the next listing gives an equal replica; counters are no part of it. Of what a listing does not say
// in full there is no replica: an action (its number is shared by all interfaces), a size table, a
// shared block, the table of a random delay.
internal import CNetlink

/// What makes an object of another owner again. Its options are opaque bytes, as the kernel listed
/// them but for what a request has to say otherwise.
public struct Replica: Hashable, Sendable, CustomStringConvertible {
    /// What it is an object of.
    public enum Sort: String, Hashable, Codable, Sendable {
        /// A queueing discipline.
        case qdisc
        /// A class of one.
        case trafficClass = "class"
        /// A filter on one.
        case filter
    }

    /// Whether it is a qdisc, a class or a filter.
    public var sort: Sort
    /// A qdisc's handle, a class's id, a filter's handle inside its preference.
    public var handle: Handle
    /// Where it hangs.
    public var parent: Handle
    /// A filter's preference and protocol (tcm_info); 0 for all else.
    public var info: UInt32
    /// A filter's chain; 0 for all else.
    public var chain: UInt32
    /// `htb`, `sfq`, `u32`.
    public var kind: String
    /// The payload of TCA_OPTIONS; empty where there is none.
    public var options: [UInt8]

    /// A replica of these properties.
    public init(
        _ sort: Sort, kind: String, handle: Handle, parent: Handle, info: UInt32 = 0,
        chain: UInt32 = 0, options: [UInt8]
    ) {
        self.sort = sort
        self.kind = kind
        self.handle = handle
        self.parent = parent
        self.info = info
        self.chain = chain
        self.options = options
    }

    /// As tc names it: `qdisc htb 1:`, `class htb 1:1`, `filter fw pref 1 of 1:`.
    public var description: String {
        let kind = printable(kind.utf8)
        return sort == .filter
            ? "filter \(kind) pref \(info >> 16) of \(parent)"
            : "\(sort.rawValue) \(kind) \(handle)"
    }

    /// Whether its qdisc's place is the root of the interface.
    public var isRoot: Bool { sort == .qdisc && parent == .root }
}

extension RouteSocket {
    /// Makes an object of another owner again; never replaces one, but for a root: that takes the
    /// place of the root that is there, in one request, so that the interface never is without.
    /// `tc qdisc replace dev D root …`, `tc qdisc add …`, `tc class add …`, `tc filter add …`
    /// - Throws: EINVAL for a handle of 0; what the kernel says.
    public mutating func put(
        _ replica: Replica, on index: Int32
    ) throws(NetlinkError) {
        let operation = "put \(replica) on interface \(index)"
        guard replica.handle != .unspecified else {
            throw NetlinkError(operation: operation, code: EINVAL)
        }
        let type =
            switch replica.sort {
            case .qdisc: RTM_NEWQDISC
            case .trafficClass: RTM_NEWTCLASS
            case .filter: RTM_NEWTFILTER
            }
        var message = try Message(
            type: type, flags: NLM_F_CREATE | (replica.isRoot ? NLM_F_REPLACE : NLM_F_EXCL),
            byteCount: 4096 + replica.options.count)
        message.append(
            tcmsg(
                index: index, handle: replica.handle, parent: replica.parent, info: replica.info))
        message.put(TCA_KIND, string: replica.kind)
        if replica.chain != 0 { message.put(TCA_CHAIN, replica.chain) }
        if !replica.options.isEmpty { message.put(TCA_OPTIONS, bytes: replica.options) }
        try transact(message, operation)
    }
}

// MARK: From a listing

extension Replica {
    /// The kinds whose listing says all of them (net/sched/sch_*.c, `dump` against `change`). Red and
    /// its like keep tables that are not listed.
    private static let qdiscKinds: Set<String> = [
        "bfifo", "cake", "codel", "drr", "fq", "fq_codel", "hfsc", "hhf", "htb", "netem", "pfifo",
        "pfifo_head_drop", "pie", "prio", "sfb", "sfq", "tbf",
    ]

    /// The kinds with classes that are made one by one; other kinds bring theirs.
    public static let classfulKinds: Set<String> = ["drr", "hfsc", "htb"]

    /// Nil where the listing does not say all of it.
    public init?(_ record: QdiscRecord) {
        guard Self.qdiscKinds.contains(record.kind), !record.hasMore,
            // A random delay may have a table (TCA_NETEM_DELAY_DIST).
            record.kind != "netem" || record.netem != nil
        else { return nil }
        self.init(
            .qdisc, kind: record.kind, handle: record.handle, parent: record.parent,
            options: Self.request(record.kind, record.options))
    }

    /// Nil where the listing does not say all of it.
    public init?(_ record: ClassRecord) {
        guard Self.classfulKinds.contains(record.kind) else { return nil }
        self.init(
            .trafficClass, kind: record.kind, handle: record.classID, parent: record.parent,
            options: Self.request(classOf: record.kind, record.options))
    }

    /// Nil where the listing does not say all of it.
    public init?(_ record: FilterRecord) {
        // The index of a shared block's filters is none.
        guard let attributes = FilterAttributes.of[record.kind], record.actions.isEmpty,
            record.index > 0
        else { return nil }
        let options = unsafe record.options.span.bytes.rewritingAttributes { type, value in
            // How often it matched; and whether hardware has it, which is told and not asked for.
            if type == attributes.counters { return false }
            if type == attributes.flags, let flags = unsafe value.span.bytes.load(UInt32.self) {
                let asked = flags & UInt32(TCA_CLS_FLAGS_SKIP_HW | TCA_CLS_FLAGS_SKIP_SW)
                value = rawBytes(of: asked)
            }
            return true
        }
        self.init(
            .filter, kind: record.kind, handle: Handle(rawValue: record.handle),
            parent: record.parent,
            info: filterInfo(preference: record.preference, proto: record.proto),
            chain: record.chain, options: options)
    }

    /// What has to be asked for so that this is listed.
    private static func request(_ kind: String, _ listed: [UInt8]) -> [UInt8] {
        let span = unsafe listed.span.bytes
        switch kind {
        case "htb":
            return span.rewritingAttributes { type, value in
                guard type == TCA_HTB_INIT,
                    var parameters = unsafe value.span.bytes.load(tc_htb_glob.self)
                else { return true }
                // Listed with the minor number of the version; direct_pkts is a counter.
                parameters.version = UInt32(TC_HTB_PROTOVER)
                parameters.direct_pkts = 0
                value = rawBytes(of: parameters)
                return true
            }
        case "sfq":
            guard var parameters = span.load(tc_sfq_qopt_v1.self) else { return listed }
            // Flows are cut to a limit that is asked for: this one was not.
            if parameters.v0.flows > parameters.v0.limit { parameters.v0.limit = 0 }
            parameters.stats = tc_sfqred_stats()
            return rawBytes(of: parameters)
        case "codel":
            return codel(span, [TCA_CODEL_TARGET, TCA_CODEL_INTERVAL, TCA_CODEL_CE_THRESHOLD])
        case "fq_codel":
            return codel(
                span,
                [TCA_FQ_CODEL_TARGET, TCA_FQ_CODEL_INTERVAL, TCA_FQ_CODEL_CE_THRESHOLD])
        case "tbf": return tokenBucket(span)
        default: return listed
        }
    }

    /// What has to be asked for so that this class is listed.
    private static func request(classOf kind: String, _ listed: [UInt8]) -> [UInt8] {
        guard kind == "htb" else { return listed }
        return unsafe listed.span.bytes.rewritingAttributes { type, value in
            guard type == TCA_HTB_PARMS,
                var parameters = unsafe value.span.bytes.load(tc_htb_opt.self)
            else { return true }
            // Follows from the classes below it.
            parameters.level = 0
            value = rawBytes(of: parameters)
            return true
        }
    }

    /// Codel keeps a time in units of 1,024 ns, rounded down, and lists it in microseconds, rounded
    /// down again: 5,000 are listed as 4,999, and come from 5,000 only.
    private static func codel(_ span: RawSpan, _ times: [Int]) -> [UInt8] {
        span.rewritingAttributes { type, value in
            if times.contains(type), let time = unsafe value.span.bytes.load(UInt32.self) {
                value = rawBytes(of: time % 128 == 0 ? time : time &+ 1)
            }
            return true
        }
    }

    /// A tbf lists its bursts as time. The longest frame that it passes is reckoned from that, rounded
    /// down, where it is not told in bytes: one byte less can be one too few.
    private static func tokenBucket(_ span: RawSpan) -> [UInt8] {
        var parameters = tc_tbf_qopt()
        var rates: [Int: UInt64] = [:]
        span.forEachAttribute { type, value in
            switch type {
            case TCA_TBF_PARMS: parameters = value.load(tc_tbf_qopt.self) ?? parameters
            case TCA_TBF_RATE64, TCA_TBF_PRATE64: rates[type] = value.load(UInt64.self)
            default: break
            }
        }
        var options = span.copied
        let buckets = [
            (parameters.rate, rates[TCA_TBF_RATE64], parameters.buffer, TCA_TBF_BURST),
            (parameters.peakrate, rates[TCA_TBF_PRATE64], parameters.mtu, TCA_TBF_PBURST),
        ]
        for (rate, rate64, ticks, attribute) in buckets where rate.overhead == 0 {
            let perSecond = rate64 ?? UInt64(rate.rate)
            guard let burst = bytes(ticks: ticks, perSecond: perSecond) else { continue }
            options += attributeBytes(attribute, rawBytes(of: burst))
        }
        return options
    }

    /// The most bytes for which the kernel lists these ticks of 64 ns, by its own arithmetic
    /// (psched_ratecfg_precompute, psched_l2t_ns); nil where no number of bytes gives them.
    private static func bytes(ticks: UInt32, perSecond: UInt64) -> UInt32? {
        guard perSecond > 0 else { return nil }
        var factor: UInt64 = 1_000_000_000
        var shift = 6
        while factor / perSecond < 1 << 31, factor < 1 << 63 {
            factor <<= 1
            shift += 1
        }
        let perByte = UInt128(factor / perSecond)
        guard perByte > 0 else { return nil }
        let bytes = (((UInt128(ticks) + 1) << shift) - 1) / perByte
        return (bytes * perByte) >> shift == ticks ? UInt32(exactly: bytes) : nil
    }
}
