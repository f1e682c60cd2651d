// libnl's socket: the owner of one struct nl_sock that is connected to NETLINK_ROUTE.
// libnl sends; receiving is ours (ReplyReader), since libnl 3.7 takes an error at the end of a dump
// for success, repeats an interrupted dump without bound, has no time-out and trusts any sender.
internal import CNetlink

/// The owner of one `struct nl_sock`.
@safe
struct NLSocket: ~Copyable {
    private let pointer: OpaquePointer

    private init(_ pointer: OpaquePointer) { unsafe self.pointer = pointer }

    deinit { unsafe nl_socket_free(pointer) }

    /// A connected socket with extended acks. Its callbacks are libnl's silent ones whatever NLCB
    /// in the environment says.
    static func connect() throws(NetlinkError) -> NLSocket {
        let operation = "open a route socket"
        guard let callbacks = unsafe nl_cb_alloc(NL_CB_CUSTOM) else {
            throw NetlinkError(operation: operation, code: ENOMEM)
        }
        defer { unsafe nl_cb_put(callbacks) }
        guard let pointer = unsafe nl_socket_alloc_cb(callbacks) else {
            throw NetlinkError(operation: operation, code: ENOMEM)
        }
        let socket = unsafe NLSocket(pointer)
        if unsafe nl_connect(pointer, NETLINK_ROUTE) < 0 {
            throw NetlinkError(operation: operation, code: currentError())
        }
        let descriptor = socket.descriptor
        let results = [
            sluice_netlink_extended_ack(descriptor),
            sluice_netlink_receive_buffer(descriptor, 1 << 20),
        ]
        for result in results where result < 0 {
            throw NetlinkError(operation: operation, code: -result)
        }
        return socket
    }

    /// The socket's descriptor.
    var descriptor: Int32 { unsafe nl_socket_get_fd(pointer) }

    /// The socket's netlink port id.
    var port: UInt32 { unsafe nl_socket_get_local_port(pointer) }

    /// Completes the message (sequence, port, NLM_F_REQUEST, NLM_F_ACK) and sends it. Gives its
    /// sequence number. Calls nl_send_auto. The kernel carries the request out inside this call, and
    /// may wait there for RTNL behind another process.
    func send(
        _ message: borrowing Message, operation: @autoclosure () -> String
    ) throws(NetlinkError) -> UInt32 {
        guard !message.isOverfull else {
            throw NetlinkError(operation: operation(), code: EMSGSIZE)
        }
        message.renew()
        var sequence: UInt32 = 0
        var code: Int32 = 0
        unsafe message.withPointer { pointer in
            if unsafe nl_send_auto(self.pointer, pointer) < 0 {
                code = currentError()
                return
            }
            guard let header = unsafe nlmsg_hdr(pointer) else { return }
            sequence = unsafe header.pointee.nlmsg_seq
        }
        guard code == 0 else { throw NetlinkError(operation: operation(), code: code) }
        return sequence
    }

    /// Sends a batch in one datagram, and gives the sequence number of its first request; the others
    /// follow. Calls nl_sendto. The kernel carries all of them out inside this call.
    func send(_ batch: borrowing RequestBatch) throws(NetlinkError) -> UInt32 {
        var first: UInt32 = 0
        for place in 0..<batch.count {
            let number = unsafe nl_socket_use_seq(pointer)
            if place == 0 { first = number }
        }
        var datagram = batch.datagram(sequence: first, port: port)
        let code = unsafe datagram.withUnsafeMutableBytes { bytes in
            unsafe nl_sendto(pointer, bytes.baseAddress, bytes.count) < 0 ? currentError() : 0
        }
        guard code == 0 else { throw NetlinkError(operation: batch.operation(0), code: code) }
        return first
    }
}

/// errno of the call just made, EIO where it set none. libnl's own codes are lossy: EINVAL, EFAULT
/// and ENOPROTOOPT are one of them.
func currentError() -> Int32 {
    let code = sluice_errno()
    return code == 0 ? EIO : code
}
