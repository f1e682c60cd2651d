// The end of an answer, and everything that can be wrong with one.
import CNetlink
import Glibc
import Testing

@testable import Netlink

/// A message of these parts for sequence 7 and port 99.
private func message(
    _ type: Int32, flags: UInt16 = 0, sequence: UInt32 = 7, port: UInt32 = 99, _ payload: [UInt8]
) -> [UInt8] {
    func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        (0..<(Number.bitWidth / 8)).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }
    let whole =
        bytes(UInt32(16 + payload.count)) + bytes(UInt16(type)) + bytes(flags) + bytes(sequence)
        + bytes(port) + payload
    return whole + Array(repeating: 0, count: (4 - whole.count % 4) % 4)
}

/// What a datagram makes of an answer: the end, whether it is over, and the types that were handed
/// out.
private func taken(_ datagram: [UInt8]) -> (end: ReplyEnd, isOver: Bool, types: [UInt16]) {
    let buffer = ReceiveBuffer(byteCount: 4096)
    var end = ReplyEnd()
    var types: [UInt16] = []
    let isOver = decode(datagram) { span in
        buffer.take(span, sequence: 7, port: 99, into: &end) { type, _ in types.append(type) }
    }
    return (end, isOver, types)
}

@Suite struct ReplyTests {
    static let done = message(NLMSG_DONE, flags: 2, [0, 0, 0, 0])

    @Test("a dump to its end: every message is handed out, and nothing is wrong")
    func wholeDump() {
        let (end, isOver, types) = taken(message(16, [1]) + message(17, []) + Self.done)
        #expect(isOver && types == [16, 17])
        #expect(end.error("list") == nil)
    }

    @Test("an end that carries an error is an error: libnl 3.7 calls it success with no objects")
    func errorAtTheEnd() {
        let (end, isOver, _) = taken(
            message(16, [1]) + message(NLMSG_DONE, [0xf3, 0xff, 0xff, 0xff]))
        #expect(isOver)
        #expect(end.error("list")?.code == EACCES)
    }

    @Test("NLM_F_DUMP_INTR on any message marks the dump, typed")
    func interrupted() {
        let flag = UInt16(NLM_F_DUMP_INTR)
        for datagram in [
            message(16, flags: flag, [1]) + Self.done,
            message(NLMSG_DONE, flags: flag, [0, 0, 0, 0]),
        ] {
            let (end, isOver, _) = taken(datagram)
            #expect(isOver)
            let error = end.error("list")
            #expect(error?.code == EINTR && error?.isInterruptedDump == true)
            #expect(error?.description == "list: Interrupted system call (dump interrupted)")
        }
    }

    @Test("late answers and those of others are passed over, an end of theirs too")
    func foreignSequence() {
        let (end, isOver, types) = taken(
            message(NLMSG_DONE, sequence: 6, [0, 0, 0, 0])
                + message(NLMSG_DONE, port: 98, [0, 0, 0, 0])
                + message(16, sequence: 8, [1]))
        #expect(!isOver && types.isEmpty)
        #expect(end.error("list") == nil)
    }

    @Test("a broken header ends the answer as EBADMSG, and the socket is not used again")
    func malformed() {
        for length in [UInt8(0), 15, 200] {
            var datagram = message(16, [1, 2, 3, 4])
            datagram[0] = length
            let (end, isOver, types) = taken(datagram)
            #expect(isOver && types.isEmpty && end.isOutOfStep)
            #expect(end.error("list")?.code == EBADMSG)
        }
        #expect(taken(message(NLMSG_ERROR, [1, 2])).end.error("x")?.code == EBADMSG)
    }

    @Test("the kernel's sentence and offset, capped and whole, and what is not text is escaped")
    func extendedAck() {
        // -ENOENT, the request's header; then NLMSGERR_ATTR_MSG "no \"x\"\n" and NLMSGERR_ATTR_OFFS.
        let request = [24, 0, 0, 0] + [UInt8](repeating: 0, count: 12)
        let tlvs: [UInt8] =
            [12, 0, 1, 0] + Array("no \"x\"\n".utf8) + [0] + [8, 0, 2, 0, 36, 0, 0, 0]
        let error = [0xfe, 0xff, 0xff, 0xff] + request
        let flags = UInt16(NLM_F_ACK_TLVS)
        let capped = taken(message(NLMSG_ERROR, flags: flags | UInt16(NLM_F_CAPPED), error + tlvs))
        let expected = NetlinkError(
            operation: "add", code: ENOENT, kernelSentence: "no \\x22x\\x22\\x0a", offset: 36)
        #expect(capped.end.error("add") == expected)
        #expect(
            expected.description == "add: No such file or directory (no \\x22x\\x22\\x0a)")
        // Not capped: the request's 8 bytes of body stand before the TLVs.
        let whole = taken(
            message(NLMSG_ERROR, flags: flags, error + [UInt8](repeating: 9, count: 8) + tlvs))
        #expect(whole.end.error("add") == expected)
        // Without the flag nothing is read, whatever stands there.
        let silent = taken(message(NLMSG_ERROR, error + tlvs))
        #expect(silent.end.error("add") == NetlinkError(operation: "add", code: ENOENT))
    }

    @Test("errno has a text on any thread, and an unknown one its number")
    func errnoTexts() {
        #expect(NetlinkError(operation: "x", code: EEXIST).description == "x: File exists")
        #expect(NetlinkError(operation: "x", code: 4095).description == "x: errno 4095")
    }

    @Test("a datagram that no kernel sent is dropped, and waiting for an answer ends in time")
    func foreignSender() throws {
        var pair: [Int32] = [0, 0]
        let type = Int32(SOCK_DGRAM.rawValue)
        try #require(unsafe socketpair(AF_UNIX, type, 0, &pair) == 0)
        defer { for descriptor in pair { close(descriptor) } }
        let forged = message(NLMSG_DONE, [0, 0, 0, 0])
        #expect(unsafe send(pair[0], forged, forged.count, 0) == forged.count)
        let buffer = ReceiveBuffer(byteCount: 4096)
        let end = buffer.receiveReply(
            descriptor: pair[1], sequence: 7, port: 99, timeoutMilliseconds: 20
        ) { _, _ in }
        #expect(end.error("list")?.code == ETIMEDOUT && end.isOutOfStep)
    }
}
