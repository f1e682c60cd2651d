// Netlink: every decoder, the walk of a reply, and the walk of a monitor's datagram.
import CNetlink
import Mitigation

@testable import Netlink
@testable import TrafficControl

extension FuzzTarget {
    /// The first byte chooses: a payload for every decoder, a reply's datagram, or a monitor's.
    static let netlink = FuzzTarget(
        name: "netlink",
        seeds: {
            let datagrams =
                [NetlinkSeeds.datagram + NetlinkSeeds.done, NetlinkSeeds.datagram]
                + NetlinkSeeds.statistics
            return NetlinkSeeds.payloads.map { [0] + $0 }
                + datagrams.flatMap { [[1] + $0, [2] + $0] }
        },
        read: { bytes in
            var input = FuzzInput(bytes)
            switch input.byte() % 3 {
            case 0: return try decode(input.remainder, readPayload) > 0
            case 1: return try decode(input.remainder, readReply)
            default: return try decode(input.remainder, readEvents)
            }
        })
}

/// The span of an array's bytes.
private func decode<Result>(
    _ bytes: [UInt8], _ body: (RawSpan) throws -> Result
) rethrows -> Result {
    unsafe try body(bytes.span.bytes)
}

/// Every decoder; gives how many took the payload for theirs.
private func readPayload(_ span: RawSpan) throws -> Int {
    var count = 0
    if let record = QdiscRecord(payload: span) {
        count += 1
        try promisePrintable(record.kind, "a kind")
        for kind in [
            "tbf", "netem", "htb", "pfifo", "sfq", "codel", "fq_codel", record.kind,
        ] {
            var record = record
            record.kind = kind
            if let replica = Replica(record) {
                try promisePrintable(replica.description, "a qdisc's description")
            }
            _ = (record.tokenBucket, record.netem, record.htbDefault)
            _ = (record.packetQueueLimit, record.holds(.htb(defaultClass: 1)))
        }
    }
    if var record = ClassRecord(payload: span) {
        count += record.htb == nil ? 1 : 2
        record.kind = "htb"
        try promise(Replica(record) != nil, "a class of an htb has no replica")
    }
    if let record = FilterRecord(payload: span) {
        count += 1 + record.actions.count
        _ = (Ownership.isOurs(record), Ownership.isOurHead(record), Replica(record))
        if let name = record.bpfName { try promisePrintable(name, "a program's name") }
    }
    if let chain = IngressChain(payload: span) { count += 1 + chain.devices.count }
    if let link = Link(payload: span) {
        count += 1
        try promise(link.name.count < 16 || !link.name.contains(0), "a name holds a NUL")
        try promisePrintable(PortName(bytes: link.name).description, "a name")
        _ = IFBRole.owner(of: link)
    }
    if decodeStatistics(span) != nil { count += 1 }
    count += decodeDefaultRoute(span).count
    for type in [RTM_NEWLINK, RTM_DELLINK, RTM_DELQDISC, RTM_NEWTFILTER] {
        if LinkMonitor.Event(type: type, payload: span) != nil { count += 1 }
    }
    for flags in [UInt16(NLM_F_ACK_TLVS), UInt16(NLM_F_ACK_TLVS | NLM_F_CAPPED)] {
        let acks = [
            Acknowledgement(errorPayload: span, flags: flags),
            Acknowledgement(donePayload: span, flags: flags),
        ]
        for case let ack? in acks {
            try promise(ack.code >= 0, "a negative errno")
            guard let sentence = ack.sentence else { continue }
            count += 1
            try promisePrintable(sentence, "the kernel's sentence")
        }
    }
    return count
}

/// A reply to request 7 of port 99.
private func readReply(_ span: RawSpan) throws -> Bool {
    let buffer = ReceiveBuffer(byteCount: 64)
    var end = ReplyEnd()
    var handed = 0
    var samples: [LinkSample] = []
    let isOver = buffer.take(span, sequence: 7, port: 99, into: &end) { type, payload in
        handed += 1
        if Int(type) == RTM_NEWSTATS, let sample = decodeStatistics(payload) {
            samples.append(sample)
        }
    }
    try promiseSameSamples(span, buffer, samples, end)
    try promise(handed <= span.byteCount / 16, "more messages than headers")
    try promise(isOver || !end.isOutOfStep, "out of step and not over")
    if let error = end.error("read") { try promisePrintable(error.description, "an error") }
    return handed > 0
}

/// What is taken at a datagram's head at once, and then the rest, is what is read piece by piece.
private func promiseSameSamples(
    _ span: RawSpan, _ buffer: borrowing ReceiveBuffer, _ wanted: [LinkSample],
    _ wantedEnd: ReplyEnd
) throws {
    var batch = [LinkSample](repeating: LinkSample(index: 0, statistics: nil), count: 3)
    let (count, length) = StatisticsLayout.take(span, sequence: 7, port: 99, into: &batch)
    var samples = Array(batch[..<count])
    var end = ReplyEnd()
    _ = buffer.take(
        span.extracting(droppingFirst: length), sequence: 7, port: 99, into: &end
    ) { type, payload in
        guard Int(type) == RTM_NEWSTATS, let sample = decodeStatistics(payload) else { return }
        samples.append(sample)
    }
    try promise(samples == wanted, "a quick look at counters says another thing")
    try promise(
        end.code == wantedEnd.code && end.isInterrupted == wantedEnd.isInterrupted
            && end.isOutOfStep == wantedEnd.isOutOfStep, "a quick look ends in another way")
}

private func readEvents(_ span: RawSpan) throws -> Bool {
    var count = 0
    _ = span.forEachMessage { header, payload in
        if LinkMonitor.Event(type: Int(header.nlmsg_type), payload: payload) != nil { count += 1 }
        return true
    }
    try promise(count <= span.byteCount / 16, "more events than headers")
    return count > 0
}

/// What Linux lists and what we send, as captured; an extended ack, a link, and counters.
private enum NetlinkSeeds {
    static let payloads: [[UInt8]] =
        captured.map { Array($0.dropFirst(16)) } + [
            // NLMSG_ERROR: -ENOENT, a header of 16 bytes, a sentence, an offset.
            [0xfe, 0xff, 0xff, 0xff, 16, 0, 0, 0, 36, 0, 5, 6, 1, 0, 0, 0, 9, 0, 0, 0]
                + [9, 0, 1, 0] + Array("lost\0".utf8) + [0, 0, 0] + [8, 0, 2, 0, 36, 0, 0, 0],
            // RTM_NEWLINK: struct ifinfomsg, IFLA_IFNAME "tap0", IFLA_MASTER, IFLA_LINKINFO.
            [0, 0, 1, 0, 3, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0]
                + [9, 0, 3, 0] + Array("tap0\0".utf8) + [0, 0, 0] + [8, 0, 10, 0, 5, 0, 0, 0]
                + [12, 0, 18, 0, 8, 0, 1, 0] + Array("tun\0".utf8),
            // RTM_NEWSTATS: struct if_stats_msg, IFLA_STATS_LINK_64 of 200 bytes.
            counters,
        ]

    private static let counters: [UInt8] =
        [0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 204, 0, 1, 0] + (0..<200).map { UInt8($0) }

    /// Datagrams of a dump of counters: whole, interrupted in its midst (NLM_F_DUMP_INTR), with a message
    /// of another request, and with an attribute for alignment before the counters (IFLA_STATS_UNSPEC).
    static let statistics: [[UInt8]] = {
        let one = message(type: 92, counters)
        let padded = message(type: 92, counters[..<12] + [4, 0, 0, 0] + counters[12...])
        var (interrupted, foreign) = (one, one)
        interrupted[6] |= 16
        foreign[8] = 8
        return [
            one + one + one + one + one + done, one + one + interrupted + one + done,
            one + foreign + one + done, one + padded + one + done,
        ]
    }()

    private static let captured: [[UInt8]] = [
        Fixture.tbfReply.bytes, Fixture.netemReply.bytes, Fixture.htbReply.bytes,
        Fixture.htbClassReply.bytes, Fixture.policeReply.bytes, Fixture.redirectReply.bytes,
        Fixture.extendedBPF.bytes, Fixture.oldPoliceReply.bytes, Fixture.netdevChain.bytes,
    ]

    /// All of them as messages of one datagram, RTM_NEWLINK and RTM_NEWQDISC in turn.
    static let datagram = payloads.enumerated().flatMap { number, payload in
        message(type: number.isMultiple(of: 2) ? 36 : 16, payload)
    }

    /// NLMSG_DONE.
    static let done = message(type: 3, [0, 0, 0, 0])

    private static func message(type: UInt8, _ payload: some Collection<UInt8>) -> [UInt8] {
        let length = UInt32(16 + payload.count)
        return (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
            + [type, 0, 2, 0, 7, 0, 0, 0, 99, 0, 0, 0] + payload
            + Array(repeating: 0, count: aligned(payload.count) - payload.count)
    }
}
