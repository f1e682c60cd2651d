// What the kernel says beside an errno: NLMSG_ERROR and the end of a dump, with their TLVs.
internal import CNetlink

/// The kernel's answer to a request.
struct Acknowledgement: Equatable {
    /// errno, positive; 0: done.
    var code: Int32
    /// NLMSGERR_ATTR_MSG.
    var sentence: String?
    /// NLMSGERR_ATTR_OFFS.
    var offset: Int?

    /// Reads the payload of NLMSG_ERROR: the error, the request's header, and after it (or after
    /// the whole request, where the kernel did not cap it) the TLVs.
    init?(errorPayload payload: RawSpan, flags: UInt16) {
        guard let error = payload.load(nlmsgerr.self) else { return nil }
        self.init(error: error.error)
        guard flags & UInt16(NLM_F_ACK_TLVS) != 0 else { return }
        let isCapped = flags & UInt16(NLM_F_CAPPED) != 0
        let request =
            isCapped || error.error == 0
            ? MemoryLayout<nlmsghdr>.size : aligned(Int(error.msg.nlmsg_len))
        readTLVs(payload, from: MemoryLayout<Int32>.size + request)
    }

    /// Reads the payload of NLMSG_DONE: an error (or none), then the TLVs. An end without a number
    /// is a good one.
    init(donePayload payload: RawSpan, flags: UInt16) {
        self.init(error: payload.load(Int32.self) ?? 0)
        guard flags & UInt16(NLM_F_ACK_TLVS) != 0 else { return }
        readTLVs(payload, from: MemoryLayout<Int32>.size)
    }

    /// The kernel gives errno negative; what is not negative is no error.
    private init(error: Int32) { code = error < 0 ? -max(error, -Int32.max) : 0 }

    /// Walks the TLVs with libmnl, which checks each length against what is left.
    private mutating func readTLVs(_ payload: RawSpan, from start: Int) {
        guard start <= payload.byteCount else { return }
        let block = payload.extracting(start..<payload.byteCount)
        var sentence: String?
        var offset: Int?
        unsafe block.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            var attribute = unsafe Optional(
                UnsafePointer(base.assumingMemoryBound(to: nlattr.self)))
            while let current = unsafe attribute {
                let left = unsafe base + bytes.count - UnsafeRawPointer(current)
                guard unsafe mnl_attr_ok(current, Int32(clamping: left)) else { return }
                let length = Int(unsafe mnl_attr_get_payload_len(current))
                let content = unsafe UnsafeRawBufferPointer(
                    start: mnl_attr_get_payload(current), count: length)
                switch Int(unsafe mnl_attr_get_type(current)) {
                case Int(NLMSGERR_ATTR_MSG.rawValue):
                    sentence = unsafe printable(content.prefix { $0 != 0 })
                case Int(NLMSGERR_ATTR_OFFS.rawValue) where length >= 4:
                    offset = Int(unsafe content.loadUnaligned(as: UInt32.self))
                default: break
                }
                unsafe attribute = UnsafePointer(mnl_attr_next(current))
            }
        }
        self.sentence = sentence
        self.offset = offset
    }

    /// As an error of `operation`.
    func error(_ operation: String) -> NetlinkError {
        NetlinkError(
            operation: operation, code: code, kernelSentence: sentence, offset: offset)
    }
}
