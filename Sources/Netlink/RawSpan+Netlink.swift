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
    var text: String {
        unsafe withUnsafeBytes { bytes in unsafe printable(bytes.prefix { $0 != 0 }) }
    }

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

    /// The same attributes after `change`, which gets the type and the payload and gives false for one
    /// that is to be left out.
    func rewritingAttributes(_ change: (Int, inout [UInt8]) -> Bool) -> [UInt8] {
        var attributes: [UInt8] = []
        var position = 0
        while let header = load(nlattr.self, at: position) {
            let length = Int(header.nla_len)
            guard length >= MemoryLayout<nlattr>.size, length <= byteCount - position else { break }
            let start = position + MemoryLayout<nlattr>.size
            var value = extracting(start..<(position + length)).copied
            if change(Int(header.nla_type & 0x3fff), &value) {
                attributes += attributeBytes(Int(header.nla_type), value)
            }
            position += aligned(length)
        }
        return attributes
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

/// The bytes of a plain C value.
func rawBytes<Value: BitwiseCopyable>(of value: Value) -> [UInt8] {
    unsafe withUnsafeBytes(of: value) { bytes in unsafe [UInt8](bytes) }
}

/// An attribute as it stands in a message, padded.
func attributeBytes(_ type: Int, _ value: [UInt8]) -> [UInt8] {
    let length = MemoryLayout<nlattr>.size + value.count
    let header = nlattr(nla_len: UInt16(clamping: length), nla_type: UInt16(clamping: type))
    return rawBytes(of: header) + value + [UInt8](repeating: 0, count: aligned(length) - length)
}
