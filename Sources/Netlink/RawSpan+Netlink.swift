// Reading what the kernel sent: messages and attributes in a span of bytes.
// Invariants: every load is unaligned and inside the span; no input traps; what does not fit ends
// the walk; types are read without their flag bits.
internal import CNetlink

extension RawSpan {
    /// A value of a plain C type at `offset`; nil where it does not fit.
    func load<Value: BitwiseCopyable>(_ type: Value.Type, at offset: Int = 0) -> Value? {
        guard offset >= 0, offset <= byteCount, byteCount - offset >= MemoryLayout<Value>.size
        else { return nil }
        return unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: type)
    }

    /// All bytes.
    var copied: [UInt8] {
        unsafe withUnsafeBytes { bytes in unsafe [UInt8](bytes) }
    }

    /// The bytes before the first NUL; all where there is none.
    var textBytes: [UInt8] {
        let bytes = copied
        return bytes.firstIndex(of: 0).map { Array(bytes[..<$0]) } ?? bytes
    }

    /// A short name of the kernel's, such as a kind.
    var text: String { printable(textBytes) }

    /// Walks the attributes from `offset` to the end: `body` gets the type without NLA_F_NESTED and
    /// NLA_F_NET_BYTEORDER, and the payload.
    func forEachAttribute(from offset: Int = 0, _ body: (Int, RawSpan) -> Void) {
        var position = offset
        while let header = load(nlattr.self, at: position) {
            let length = Int(header.nla_len)
            guard length >= MemoryLayout<nlattr>.size, length <= byteCount - position else {
                return
            }
            let start = position + MemoryLayout<nlattr>.size
            body(Int(header.nla_type & 0x3fff), extracting(start..<(position + length)))
            position += aligned(length)
        }
    }

    /// Walks the messages of a datagram until `body` gives false. Gives false where a header does
    /// not fit.
    func forEachMessage(_ body: (nlmsghdr, RawSpan) -> Bool) -> Bool {
        var position = 0
        while position < byteCount {
            guard let header = load(nlmsghdr.self, at: position) else { return false }
            let length = Int(header.nlmsg_len)
            guard length >= MemoryLayout<nlmsghdr>.size, length <= byteCount - position
            else { return false }
            let start = position + MemoryLayout<nlmsghdr>.size
            guard body(header, extracting(start..<(position + length))) else { return true }
            position += aligned(length)
        }
        return true
    }
}

/// Netlink's alignment: the next multiple of four (NLMSG_ALIGN, NLA_ALIGN).
func aligned(_ length: Int) -> Int { (length + 3) & ~3 }
