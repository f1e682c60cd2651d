// Receiving the answers to requests: the one place where sender, sequence, port, length, an
// interrupted dump and the end of it are checked.
// Invariants: one kept page-aligned buffer and one receive size for a socket's life, since the
// kernel sizes a dump's datagrams by the largest size it ever saw and cuts off silently what a
// smaller read leaves; nothing is allocated while all is well, and no clock is read for an answer that
// is there at once, whole.
internal import CNetlink

/// The kept buffer of a socket.
@safe
struct ReceiveBuffer: ~Copyable {
    /// Where datagrams are received, each in a place of its own.
    private let storage: UnsafeMutableRawBufferPointer
    /// What each place holds.
    private let received: UnsafeMutableBufferPointer<sluice_datagram>
    private let byteCount: Int

    /// A buffer of places of `byteCount` bytes, whole pages, for so many `datagrams` at once (1 to 8).
    init(byteCount: Int, datagrams: Int = 1) {
        self.byteCount = byteCount
        unsafe storage = .allocate(byteCount: byteCount * datagrams, alignment: 4096)
        unsafe received = .allocate(capacity: datagrams)
        unsafe received.initialize(repeating: sluice_datagram())
    }

    deinit {
        unsafe storage.deallocate()
        unsafe received.deallocate()
    }

    /// What waited at a socket.
    enum Arrival {
        /// So many datagrams, at places from 0.
        case datagrams(Int)
        /// Nothing.
        case none
        /// errno of recvmmsg(2).
        case failed(Int32)
    }

    /// A datagram from the kernel; those of other senders are dropped.
    enum Datagram {
        /// Its length.
        case whole(Int)
        /// It was longer than its place, and is lost.
        case truncated
        /// Not from the kernel.
        case foreign
    }

    /// Takes what waits, without waiting.
    func receive(_ descriptor: Int32) -> Arrival {
        let count = unsafe sluice_netlink_receive(
            descriptor, storage.baseAddress, byteCount, received.baseAddress,
            Int32(received.count))
        if count == -EAGAIN { return .none }
        return count < 0 ? .failed(-count) : .datagrams(Int(count))
    }

    /// What was received at a place.
    func datagram(at place: Int) -> Datagram {
        let datagram = unsafe received[place]
        guard datagram.sender == 0 else { return .foreign }
        return datagram.is_cut ? .truncated : .whole(datagram.length)
    }

    /// The first `length` bytes of a place.
    func withDatagram<Result>(
        at place: Int, _ length: Int, _ body: (RawSpan) -> Result
    ) -> Result {
        let start = place * byteCount
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: storage[start..<start + length])
        return unsafe body(bytes.bytes)
    }
}

/// How the answer to a request ended.
struct ReplyEnd {
    /// What the kernel said, or what we found wrong.
    var acknowledgement: Acknowledgement?
    /// errno where the kernel said nothing; 0 where all is well.
    var code: Int32 = 0
    /// A message of the dump had NLM_F_DUMP_INTR.
    var isInterrupted = false
    /// The rest of the answer may still come: the socket cannot be used again.
    var isOutOfStep = false

    /// The error to throw, nil where there is none.
    func error(_ operation: @autoclosure () -> String) -> NetlinkError? {
        if code != 0 { return NetlinkError(operation: operation(), code: code) }
        if let acknowledgement, acknowledgement.code != 0 {
            return acknowledgement.error(operation())
        }
        guard isInterrupted else { return nil }
        return NetlinkError(
            operation: operation(), code: EINTR, kernelSentence: "dump interrupted")
    }
}

extension ReceiveBuffer {
    /// Receives until the acknowledgement, or the end of a dump, of the request `sequence` of
    /// `port`; `body` gets the type and the payload of each message before it. Waits at most
    /// `timeoutMilliseconds`. `takingHead` may take messages at the head of a datagram by itself, whole
    /// ones, and tells how many bytes they are.
    func receiveReply(
        descriptor: Int32, sequence: UInt32, port: UInt32, timeoutMilliseconds: Int32,
        takingHead: (RawSpan) -> Int = { _ in 0 }, _ body: (UInt16, RawSpan) -> Void
    ) -> ReplyEnd {
        receiveReplies(
            descriptor: descriptor, sequence: sequence, count: 1, port: port,
            timeoutMilliseconds: timeoutMilliseconds, takingHead: takingHead, body
        ) { _ in }
    }

    /// Receives the answers to `count` requests that were sent together, numbered from `sequence` on;
    /// the kernel gives them in their order (netlink_rcv_skb). `ended` gets how each but the last ended;
    /// the last is given, or the one at which the rest was given up.
    func receiveReplies(
        descriptor: Int32, sequence: UInt32, count requests: Int, port: UInt32,
        timeoutMilliseconds: Int32, takingHead: (RawSpan) -> Int = { _ in 0 },
        _ body: (UInt16, RawSpan) -> Void, ended: (ReplyEnd) -> Void
    ) -> ReplyEnd {
        var end = ReplyEnd()
        var place = 0
        var isOver = false
        var deadline: Int64?
        /// Of the time that there is, which begins with the first call.
        func millisecondsLeft() -> Int64 {
            let now = sluice_monotonic_milliseconds()
            let last = deadline ?? now + Int64(timeoutMilliseconds)
            deadline = last
            return last - now
        }
        /// Takes one datagram, which is over at the end of an answer.
        func take(_ datagram: RawSpan) {
            let rest = datagram.extracting(droppingFirst: takingHead(datagram))
            let number = sequence &+ UInt32(place)
            guard self.take(rest, sequence: number, port: port, into: &end, body) else { return }
            isOver = place + 1 == requests || end.isOutOfStep
            guard !isOver else { return }
            ended(end)
            end = ReplyEnd()
            place += 1
        }
        while !isOver {
            switch receive(descriptor) {
            case .datagrams(let count):
                for datagram in 0..<count where !isOver {
                    switch self.datagram(at: datagram) {
                    case .whole(let length): withDatagram(at: datagram, length) { take($0) }
                    case .foreign: break
                    case .truncated: end.code = EMSGSIZE
                    }
                }
            case .none:
                let left = millisecondsLeft()
                let ready = left > 0 ? sluice_netlink_wait(descriptor, Int32(clamping: left)) : 0
                if ready == 0 { return ReplyEnd(code: ETIMEDOUT, isOutOfStep: true) }
                if ready < 0 { return ReplyEnd(code: -ready, isOutOfStep: true) }
                continue
            case .failed(let code): return ReplyEnd(code: code, isOutOfStep: true)
            }
            if !isOver, millisecondsLeft() < 0 {
                return ReplyEnd(code: ETIMEDOUT, isOutOfStep: true)
            }
        }
        return end
    }

    /// Walks one datagram; gives true where the answer is over.
    func take(
        _ datagram: RawSpan, sequence: UInt32, port: UInt32, into end: inout ReplyEnd,
        _ body: (UInt16, RawSpan) -> Void
    ) -> Bool {
        var isOver = false
        let isWhole = datagram.forEachMessage { header, payload in
            // Late answers to a request that timed out, and anything for another socket.
            guard header.nlmsg_seq == sequence, header.nlmsg_pid == port else { return true }
            if header.nlmsg_flags & UInt16(NLM_F_DUMP_INTR) != 0 { end.isInterrupted = true }
            switch Int32(header.nlmsg_type) {
            case NLMSG_NOOP: return true
            case NLMSG_ERROR:
                end.acknowledgement = Acknowledgement(
                    errorPayload: payload, flags: header.nlmsg_flags)
                if end.acknowledgement == nil { end.code = EBADMSG }
                isOver = true
            case NLMSG_DONE:
                end.acknowledgement = Acknowledgement(
                    donePayload: payload, flags: header.nlmsg_flags)
                isOver = true
            case NLMSG_OVERRUN: end.code = ENOBUFS
            default: body(header.nlmsg_type, payload)
            }
            return !isOver
        }
        guard isWhole else {
            end.code = EBADMSG
            end.isOutOfStep = true
            return true
        }
        return isOver
    }
}
