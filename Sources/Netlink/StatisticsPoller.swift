// Looking at every interface's counters, ten times a second: one RTM_GETSTATS dump by libmnl.
// Invariants: one request; one kept buffer and one receive size; nothing is allocated
// while all is well; a socket whose answer did not end is replaced before the next poll.
internal import CNetlink

/// The owner of one `struct mnl_socket`.
@safe
struct MNLSocket: ~Copyable {
    private let pointer: OpaquePointer

    /// A bound socket of NETLINK_ROUTE, or of another `bus`. Calls mnl_socket_open2 and
    /// mnl_socket_bind; `groups` is a mask of RTMGRP_*.
    init(
        _ bus: Int32 = NETLINK_ROUTE, groups: UInt32, operation: String
    ) throws(NetlinkError) {
        guard let pointer = unsafe mnl_socket_open2(bus, Int32(SOCK_CLOEXEC.rawValue))
        else { throw NetlinkError(operation: operation, code: currentError()) }
        guard unsafe mnl_socket_bind(pointer, groups, MNL_SOCKET_AUTOPID) == 0 else {
            let code = currentError()
            _ = unsafe mnl_socket_close(pointer)
            throw NetlinkError(operation: operation, code: code)
        }
        unsafe self.pointer = pointer
    }

    deinit { _ = unsafe mnl_socket_close(pointer) }

    /// The socket's descriptor.
    var descriptor: Int32 { unsafe mnl_socket_get_fd(pointer) }

    /// The socket's netlink port id.
    var port: UInt32 { unsafe mnl_socket_get_portid(pointer) }

    /// Sends a datagram to the kernel: 0 or errno. Calls mnl_socket_sendto.
    func send(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        let sent = unsafe mnl_socket_sendto(pointer, bytes.baseAddress, bytes.count)
        return sent < 0 ? currentError() : 0
    }
}

/// A request for counters, of all interfaces or of one: the message as libmnl lays it out.
private struct StatisticsRequest: BitwiseCopyable {
    var header = nlmsghdr()
    var body = if_stats_msg()

    init() {
        header.nlmsg_len = UInt32(MemoryLayout<StatisticsRequest>.size)
        header.nlmsg_type = UInt16(RTM_GETSTATS)
        // IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64)
        body.filter_mask = 1 << UInt32(IFLA_STATS_LINK_64 - 1)
    }
}

/// Reads the counters of every interface of the network namespace it was opened in.
public struct StatisticsPoller: ~Copyable {
    private var socket: MNLSocket
    private let buffer = ReceiveBuffer(byteCount: receiveSize)
    /// What a datagram held.
    private var batch = [LinkSample](
        repeating: LinkSample(index: 0, statistics: nil),
        count: receiveSize / StatisticsLayout.leastMessage)
    private static let receiveSize = 32_768
    private var request = StatisticsRequest()
    private var isOutOfStep = false
    /// How long an answer is waited for.
    public var timeoutMilliseconds: Int32 = 2_000

    private init(socket: consuming MNLSocket) { self.socket = socket }

    /// Opens the socket, in the network namespace of this thread.
    public static func open() throws(NetlinkError) -> StatisticsPoller {
        StatisticsPoller(socket: try connect())
    }

    private static func connect() throws(NetlinkError) -> MNLSocket {
        let operation = "open a statistics socket"
        let socket = try MNLSocket(groups: 0, operation: operation)
        let result = sluice_netlink_extended_ack(socket.descriptor)
        guard result == 0 else { throw NetlinkError(operation: operation, code: -result) }
        return socket
    }

    /// Calls `body` with some interfaces at a time, until it has had all. RTM_GETSTATS dump with
    /// IFLA_STATS_LINK_64; the kernel waits for RTNL in it, which nothing can end.
    /// - Throws: EINTR where interfaces came or went meanwhile: every sample that `body` got is
    ///   right, some interfaces may be missing. After any other error too, the samples so far
    ///   stand; the next poll starts anew.
    public mutating func poll(batches body: (Span<LinkSample>) -> Void) throws(NetlinkError) {
        try ask(index: 0, flags: NLM_F_DUMP, body)
    }

    /// The same, one by one.
    public mutating func poll(_ body: (Int32, LinkStatistics) -> Void) throws(NetlinkError) {
        try poll(batches: { samples in
            for place in samples.indices { body(samples[place].index, samples[place].statistics) }
        })
    }

    /// The counters of one interface; nil where there is none. RTM_GETSTATS with its index; the
    /// kernel waits for RTNL in it.
    public mutating func poll(index: Int32) throws(NetlinkError) -> LinkStatistics? {
        guard index > 0 else { return nil }
        var found: LinkStatistics?
        do throws(NetlinkError) {
            try ask(index: index, flags: NLM_F_ACK) { samples in
                for place in samples.indices where samples[place].index == index {
                    found = samples[place].statistics
                }
            }
        } catch  where error.isNoInterface {}
        return found
    }

    private mutating func ask(
        index: Int32, flags: Int32, _ body: (Span<LinkSample>) -> Void
    ) throws(NetlinkError) {
        if isOutOfStep {
            socket = try Self.connect()
            isOutOfStep = false
        }
        request.header.nlmsg_seq &+= 1
        request.header.nlmsg_flags = UInt16(NLM_F_REQUEST | flags)
        request.body.ifindex = UInt32(bitPattern: index)
        let sendError = unsafe withUnsafeBytes(of: request) { unsafe socket.send($0) }
        guard sendError == 0 else {
            throw NetlinkError(operation: "poll statistics", code: sendError)
        }
        // Apart from the poller, so that it is known to be nobody else's once, not for each sample.
        var batch: [LinkSample] = []
        swap(&batch, &self.batch)
        defer { swap(&batch, &self.batch) }
        let (sequence, port) = (request.header.nlmsg_seq, socket.port)
        let end = buffer.receiveReply(
            descriptor: socket.descriptor, sequence: sequence, port: port,
            timeoutMilliseconds: timeoutMilliseconds
        ) { datagram in
            let (count, length) = StatisticsLayout.take(
                datagram, sequence: sequence, port: port, into: &batch)
            if count > 0 { body(batch.span.extracting(0..<count)) }
            return length
        } _: { type, payload in
            guard Int(type) == RTM_NEWSTATS, let sample = decodeStatistics(payload) else { return }
            body(CollectionOfOne(sample).span)
        }
        isOutOfStep = end.isOutOfStep
        if let error = end.error("poll statistics") { throw error }
    }
}

/// How a dump's messages are laid out: the counters' attribute follows the header of the message and
/// of the answer at once. Whatever looks otherwise is read attribute by attribute.
enum StatisticsLayout {
    private static let attributeOffset =
        MemoryLayout<nlmsghdr>.size + MemoryLayout<if_stats_msg>.size
    private static let countersOffset = attributeOffset + MemoryLayout<nlattr>.size
    /// With the four counters that are read, packets and bytes received and sent.
    static let leastMessage = countersOffset + 4 * MemoryLayout<UInt64>.size

    /// Takes the messages at the head of a datagram that look so, and tells how many they are and how
    /// many bytes they take.
    static func take(
        _ datagram: RawSpan, sequence: UInt32, port: UInt32, into samples: inout [LinkSample]
    ) -> (count: Int, length: Int) {
        var (count, position) = (0, 0)
        var samples = samples.mutableSpan
        while count < samples.count, let header = datagram.load(nlmsghdr.self, at: position) {
            let length = Int(header.nlmsg_len)
            // All that is read below lies within the least message.
            guard length >= leastMessage, length <= datagram.byteCount - position, length & 3 == 0,
                Int32(header.nlmsg_type) == RTM_NEWSTATS, header.nlmsg_flags == UInt16(NLM_F_MULTI),
                header.nlmsg_seq == sequence, header.nlmsg_pid == port,
                let attribute = datagram.load(nlattr.self, at: position + attributeOffset),
                Int(attribute.nla_len) == length - attributeOffset,
                attribute.nla_type == UInt16(IFLA_STATS_LINK_64),
                let body = datagram.load(
                    if_stats_msg.self, at: position + MemoryLayout<nlmsghdr>.size),
                let statistics = LinkStatistics(stats64: datagram, at: position + countersOffset)
            else { break }
            samples[count] = LinkSample(
                index: Int32(truncatingIfNeeded: body.ifindex), statistics: statistics)
            count += 1
            position += length
        }
        return (count, position)
    }
}
