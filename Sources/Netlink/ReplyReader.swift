// Receiving the answer to one request: the one place where sender, sequence, port, length, an
// interrupted dump and the end of it are checked.
// Invariants: one kept page-aligned buffer and one receive size for a socket's life, since the
// kernel sizes a dump's datagrams by the largest size it ever saw and cuts off silently what a
// smaller read leaves; nothing is allocated while all is well.
internal import CNetlink

/// The kept buffer of a socket.
@safe
struct ReceiveBuffer: ~Copyable {
    /// Where datagrams are received.
    private let storage: UnsafeMutableRawBufferPointer

    /// A buffer of `byteCount` bytes that starts a page.
    init(byteCount: Int) {
        unsafe storage = .allocate(byteCount: byteCount, alignment: 4096)
    }

    deinit { unsafe storage.deallocate() }

    /// A datagram from the kernel; those of other senders are dropped.
    enum Datagram {
        /// Its length.
        case received(Int)
        /// It was longer than the buffer, and is lost.
        case truncated
        /// Not from the kernel.
        case foreign
        /// None there.
        case none
        /// errno of recvmsg(2).
        case failed(Int32)
    }

    /// Takes one datagram, without waiting.
    func receive(_ descriptor: Int32) -> Datagram {
        var sender: UInt32 = 0
        var flags: Int32 = 0
        let length = unsafe sluice_netlink_receive(
            descriptor, storage.baseAddress, storage.count, &sender, &flags)
        if length == -Int(EAGAIN) { return .none }
        guard length >= 0 else { return .failed(Int32(clamping: -length)) }
        guard sender == 0 else { return .foreign }
        return flags == 0 ? .received(length) : .truncated
    }

    /// The first `length` bytes.
    func withDatagram<Result>(_ length: Int, _ body: (RawSpan) -> Result) -> Result {
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: storage[..<length])
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
        var end = ReplyEnd()
        var isOver = false
        let deadline = sluice_monotonic_milliseconds() + Int64(timeoutMilliseconds)
        while !isOver {
            switch receive(descriptor) {
            case .received(let length):
                withDatagram(length) { datagram in
                    let rest = datagram.extracting(droppingFirst: takingHead(datagram))
                    isOver = take(rest, sequence: sequence, port: port, into: &end, body)
                }
            case .foreign: break
            case .truncated: end.code = EMSGSIZE
            case .none:
                let left = deadline - sluice_monotonic_milliseconds()
                let ready = left > 0 ? sluice_netlink_wait(descriptor, Int32(clamping: left)) : 0
                if ready == 0 { return ReplyEnd(code: ETIMEDOUT, isOutOfStep: true) }
                if ready < 0 { return ReplyEnd(code: -ready, isOutOfStep: true) }
                continue
            case .failed(let code): return ReplyEnd(code: code, isOutOfStep: true)
            }
            if !isOver, sluice_monotonic_milliseconds() > deadline {
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
