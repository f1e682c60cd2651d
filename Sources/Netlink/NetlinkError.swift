// What went wrong between us and the kernel: what was asked, errno, and the kernel's own sentence.
// Invariant: every text is printable ASCII, whatever the kernel or an interface name held.
internal import CNetlink

/// A netlink request that was refused, or whose answer did not come or cannot be trusted.
public struct NetlinkError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was asked, in tc's words: `add tbf qdisc 7a01: on interface 12`.
    public var operation: String
    /// errno, positive. ETIMEDOUT: no answer in time, what was asked may or may not be done.
    /// EINTR: an interrupted dump. EBADMSG: an answer that is not well-formed. EMSGSIZE: longer
    /// than the buffer.
    public var code: Int32
    /// The kernel's sentence (NLMSGERR_ATTR_MSG of the extended ack), where it gave one.
    public var kernelSentence: String?
    /// The byte of the request that the kernel objects to (NLMSGERR_ATTR_OFFS), counted from the
    /// message's first.
    public var offset: Int?

    /// An error of these parts.
    public init(
        operation: String, code: Int32, kernelSentence: String? = nil, offset: Int? = nil
    ) {
        self.operation = operation
        self.code = code
        self.kernelSentence = kernelSentence
        self.offset = offset
    }

    /// Whether a dump ended with NLM_F_DUMP_INTR: what came is right for each object, but some may
    /// be missing.
    public var isInterruptedDump: Bool { code == EINTR }

    /// Whether the interface is gone (ENODEV).
    public var isNoInterface: Bool { code == ENODEV }

    /// Whether an answer was longer than the buffer (EMSGSIZE). The kernel also says so of a list of
    /// filters that begins with one that it cannot list: an fw without a handle.
    public var isTooLong: Bool { code == EMSGSIZE }

    /// Whether this is the kernel's plain no, after which nothing was done; false where it is not
    /// known what was done (ETIMEDOUT, EINTR, EBADMSG, EMSGSIZE, ENOBUFS).
    public var isAnswer: Bool {
        ![ETIMEDOUT, EINTR, EBADMSG, EMSGSIZE, ENOBUFS].contains(code)
    }

    /// `operation: errno's text (the kernel's sentence)`
    public var description: String {
        let text = errorText(code)
        guard let kernelSentence else { return "\(operation): \(text)" }
        return "\(operation): \(text) (\(kernelSentence))"
    }
}

/// errno's text in English; its number where it has none. Calls strerrordesc_np(3).
func errorText(_ code: Int32) -> String {
    guard let text = unsafe sluice_error_text(code) else { return "errno \(code)" }
    return unsafe String(cString: text)
}

/// Bytes of the kernel or of a name as printable ASCII; any other byte, `\` and `"` stand as
/// `\xNN`. Blanks stay.
func printable(_ bytes: some Collection<UInt8>) -> String {
    func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte < 0x7f && byte != UInt8(ascii: "\\") && byte != UInt8(ascii: "\"")
    }
    // As nearly all are.
    if bytes.allSatisfy(isPlain) { return String(decoding: bytes, as: UTF8.self) }
    var text = ""
    for byte in bytes {
        if isPlain(byte) {
            text.unicodeScalars.append(Unicode.Scalar(byte))
        } else {
            let hex = String(byte, radix: 16)
            text += hex.count == 1 ? "\\x0\(hex)" : "\\x\(hex)"
        }
    }
    return text
}
