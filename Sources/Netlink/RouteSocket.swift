// Programming the kernel: one request, or one batch of them, at a time over one libnl socket, each
// answer checked.
// Invariants: an answer is waited for no longer than the time-out; a socket whose answer did not
// end is replaced before the next request; an interrupted dump is repeated twice at most.
internal import CNetlink

/// A socket of NETLINK_ROUTE, in the network namespace of the thread that opened it. Synchronous:
/// a call returns with the kernel's answer, or after the time-out; but while the kernel waits for
/// RTNL inside sendmsg(2), nothing can end the call.
public struct RouteSocket: ~Copyable {
    private var socket: NLSocket
    /// Room for what a batch is answered with at once: of each request the object and the
    /// acknowledgement.
    private let buffer = ReceiveBuffer(byteCount: 65_536, datagrams: 8)
    private var isOutOfStep = false
    /// The scheduler's clock, for bursts.
    let clock: SchedulerClock
    /// How long an answer is waited for.
    public var timeoutMilliseconds: Int32 = 5_000

    /// How often the kernel is asked for what it is too busy for.
    static let mostAttempts = 3

    private init(socket: consuming NLSocket) {
        self.socket = socket
        clock = SchedulerClock.current()
    }

    /// Opens a socket (nl_socket_alloc, nl_connect) with NETLINK_EXT_ACK and NETLINK_CAP_ACK.
    /// - Throws: errno of socket(2), bind(2) or setsockopt(2).
    public static func open() throws(NetlinkError) -> RouteSocket {
        RouteSocket(socket: try NLSocket.connect())
    }

    /// Sends a request that is told nothing of, and takes its acknowledgement. EBUSY is tried three times,
    /// a millisecond apart.
    mutating func transact(
        _ message: borrowing Message, _ operation: @escaping @autoclosure () -> String
    ) throws(NetlinkError) {
        var batch = emptyBatch
        try batch.append(message, asks: false, operation)
        try run(batch)[0].confirm()
    }

    /// Sends a dump request and decodes its answer. A dump that was interrupted is repeated twice,
    /// then thrown as EINTR.
    mutating func dump<Record>(
        _ message: borrowing Message, _ operation: @autoclosure () -> String,
        _ decode: (UInt16, RawSpan) -> Record?
    ) throws(NetlinkError) -> [Record] {
        var attempt = 1
        while true {
            var records: [Record] = []
            let end = try exchange(message, operation()) { type, payload in
                if let record = decode(type, payload) { records.append(record) }
            }
            guard let error = end.error(operation()) else { return records }
            guard error.isInterruptedDump, end.isInterrupted, attempt < 3 else { throw error }
            attempt += 1
        }
    }

    private mutating func exchange(
        _ message: borrowing Message, _ operation: @autoclosure () -> String,
        _ body: (UInt16, RawSpan) -> Void
    ) throws(NetlinkError) -> ReplyEnd {
        try renewIfOutOfStep()
        let sequence = try socket.send(message, operation: operation())
        return receive(sequence, count: 1, body) { _ in }
    }

    /// Sends a batch; `body` gets what is told of the one request after the other, `ended` how each but
    /// the last ended.
    mutating func exchangeAll(
        _ batch: borrowing RequestBatch, _ body: (UInt16, RawSpan) -> Void,
        ended: (ReplyEnd) -> Void
    ) throws(NetlinkError) -> ReplyEnd {
        try renewIfOutOfStep()
        let sequence = try socket.send(batch)
        return receive(sequence, count: batch.count, body, ended: ended)
    }

    private mutating func renewIfOutOfStep() throws(NetlinkError) {
        guard isOutOfStep else { return }
        socket = try NLSocket.connect()
        isOutOfStep = false
    }

    private mutating func receive(
        _ sequence: UInt32, count: Int, _ body: (UInt16, RawSpan) -> Void,
        ended: (ReplyEnd) -> Void
    ) -> ReplyEnd {
        let end = buffer.receiveReplies(
            descriptor: socket.descriptor, sequence: sequence, count: count, port: socket.port,
            timeoutMilliseconds: timeoutMilliseconds, body, ended: ended)
        isOutOfStep = end.isOutOfStep
        return end
    }
}
