// A request under construction: libnl's struct nl_msg, filled by nlmsg_append and nla_put.
// Invariant: a part that does not fit marks the message, and a marked message is never sent.
internal import CNetlink

/// The owner of one `struct nl_msg`.
@safe
struct Message: ~Copyable {
    private let pointer: OpaquePointer
    /// Something did not fit.
    private(set) var isOverfull = false

    /// Takes a message that libnl-route built.
    init(adopting pointer: OpaquePointer) { unsafe self.pointer = pointer }

    /// A message of this RTM_* type and these NLM_F_* flags with room for `byteCount` bytes. libnl's
    /// own default, one page, is too small for policers.
    init(type: Int, flags: Int32, byteCount: Int = 8192) throws(NetlinkError) {
        guard let pointer = unsafe nlmsg_alloc_size(byteCount) else {
            throw NetlinkError(operation: "make a netlink message", code: ENOMEM)
        }
        guard
            unsafe nlmsg_put(
                pointer, UInt32(NL_AUTO_PORT), UInt32(NL_AUTO_SEQ), Int32(type), 0, flags) != nil
        else {
            unsafe nlmsg_free(pointer)
            throw NetlinkError(operation: "make a netlink message", code: ENOMEM)
        }
        unsafe self.pointer = pointer
    }

    deinit { unsafe nlmsg_free(pointer) }

    /// Appends the family's header (`struct tcmsg`, `struct ifinfomsg`). Calls nlmsg_append.
    mutating func append<Header: BitwiseCopyable>(_ header: Header) {
        var header = header
        let result = unsafe withUnsafeMutableBytes(of: &header) { bytes in
            unsafe nlmsg_append(pointer, bytes.baseAddress, bytes.count, Int32(NLMSG_ALIGNTO))
        }
        if result < 0 { isOverfull = true }
    }

    /// Appends raw bytes, padded to four: what follows a structure inside an attribute.
    mutating func append(bytes: [UInt8]) {
        var bytes = bytes
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe nlmsg_append(pointer, buffer.baseAddress, buffer.count, Int32(NLMSG_ALIGNTO))
        }
        if result < 0 { isOverfull = true }
    }

    /// Puts an attribute with a plain C value. Calls nla_put.
    mutating func put<Value: BitwiseCopyable>(_ attribute: Int, _ value: Value) {
        let result = unsafe withUnsafeBytes(of: value) { bytes in
            unsafe nla_put(pointer, Int32(attribute), Int32(bytes.count), bytes.baseAddress)
        }
        if result < 0 { isOverfull = true }
    }

    /// Puts an attribute with these bytes.
    mutating func put(_ attribute: Int, bytes: [UInt8]) {
        // An attribute's length has 16 bits, and nla_put does not look.
        guard bytes.count <= Int(UInt16.max) - MemoryLayout<nlattr>.size else {
            isOverfull = true
            return
        }
        let result = unsafe bytes.withUnsafeBytes { buffer in
            unsafe nla_put(
                pointer, Int32(attribute), Int32(clamping: buffer.count), buffer.baseAddress)
        }
        if result < 0 { isOverfull = true }
    }

    /// Puts an attribute with a text and its NUL.
    mutating func put(_ attribute: Int, string: String) {
        put(attribute, bytes: Array(string.utf8) + [0])
    }

    /// Puts an attribute with a table of numbers.
    mutating func put(_ attribute: Int, table: [UInt32]) {
        let result = unsafe table.withUnsafeBytes { buffer in
            unsafe nla_put(
                pointer, Int32(attribute), Int32(clamping: buffer.count), buffer.baseAddress)
        }
        if result < 0 { isOverfull = true }
    }

    /// Puts attributes inside an attribute. tc sets no NLA_F_NESTED here, and nla_nest_start does:
    /// so the attribute is opened by a plain nla_put of nothing. Calls nla_nest_end_keep_empty.
    mutating func nest(_ attribute: Int, _ body: (inout Message) -> Void) {
        let start = unsafe nlmsg_tail(nlmsg_hdr(pointer))
        guard unsafe nla_put(pointer, Int32(attribute), 0, nil) >= 0, let start = unsafe start
        else {
            isOverfull = true
            return
        }
        body(&self)
        let nest = unsafe start.assumingMemoryBound(to: nlattr.self)
        if unsafe nla_nest_end_keep_empty(pointer, nest) < 0 { isOverfull = true }
    }

    /// The whole message, header included.
    var bytes: [UInt8] {
        let header = unsafe nlmsg_hdr(pointer)
        guard let header = unsafe header else { return [] }
        let count = Int(unsafe header.pointee.nlmsg_len)
        return unsafe [UInt8](UnsafeRawBufferPointer(start: header, count: count))
    }

    /// Has the kernel answer with the object as the change leaves it (NLM_F_ECHO).
    mutating func askForEcho() {
        let header = unsafe nlmsg_hdr(pointer)
        guard let header = unsafe header else { return }
        unsafe header.pointee.nlmsg_flags |= UInt16(NLM_F_ECHO)
    }

    /// Gives the message a new sequence number at the next `send`.
    func renew() {
        let header = unsafe nlmsg_hdr(pointer)
        guard let header = unsafe header else { return }
        unsafe header.pointee.nlmsg_seq = 0
    }

    /// Lends libnl's pointer, for the socket that sends it.
    func withPointer<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        unsafe body(pointer)
    }
}
