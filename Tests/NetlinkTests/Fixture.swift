// A captured message: hexadecimal with a comment for each field.

@testable import Netlink

/// The bytes of a whole netlink message.
struct Fixture {
    let bytes: [UInt8]

    /// Reads lines of hexadecimal digits; what follows a `#` is a comment.
    init(_ text: String) {
        var bytes: [UInt8] = []
        for line in text.split(separator: "\n") {
            var digits = line.prefix { $0 != "#" }.filter { $0 != " " }[...]
            while let byte = UInt8(digits.prefix(2), radix: 16) {
                bytes.append(byte)
                digits = digits.dropFirst(2)
            }
            precondition(digits.isEmpty, "not hexadecimal: \(line)")
        }
        self.bytes = bytes
    }

    /// What follows the 16 bytes of `struct nlmsghdr`.
    var payload: [UInt8] { Array(bytes.dropFirst(16)) }
}

/// Decodes the payload of a fixture with one of the module's decoders.
func decode<Record>(_ bytes: [UInt8], _ body: (RawSpan) -> Record) -> Record {
    unsafe body(bytes.span.bytes)
}

/// A message taken apart: its type and flags, the family's header, and the attributes by path, as in
/// `2/1/1/2/10`.
struct Anatomy: Equatable {
    var type: UInt16
    var flags: UInt16
    var header: [UInt8]
    var attributes: [String: [UInt8]] = [:]
    var order: [String] = []

    /// Takes a message about traffic control apart. `nested` are the paths that hold attributes;
    /// NLA_F_NESTED is part of the name, since tc sets it in one place and not in others.
    init(_ bytes: [UInt8], nested: Set<String>, structures: [String: Int] = [:]) {
        func number(_ offset: Int) -> Int { Int(bytes[offset]) | Int(bytes[offset + 1]) << 8 }
        type = UInt16(number(4))
        // NLM_F_REQUEST and NLM_F_ACK are set when a message is sent.
        flags = UInt16(number(6)) & ~0x5
        header = Array(bytes[16..<36])
        var attributes: [String: [UInt8]] = [:]
        var order: [String] = []
        func walk(_ start: Int, _ end: Int, _ path: String) {
            var position = start
            while position + 4 <= end {
                let length = number(position)
                precondition(length >= 4 && position + length <= end, "broken at \(path)")
                let name = path + String(number(position + 2), radix: 16)
                order.append(name)
                var inner = position + 4
                if let structure = structures[name] {
                    attributes[name] = Array(bytes[inner..<(inner + structure)])
                    inner += structure
                }
                if nested.contains(name) {
                    walk(inner, position + length, name + "/")
                } else {
                    attributes[name] = Array(bytes[inner..<(position + length)])
                }
                position += (length + 3) & ~3
            }
        }
        walk(36, bytes.count, "")
        self.attributes = attributes
        self.order = order
    }
}
