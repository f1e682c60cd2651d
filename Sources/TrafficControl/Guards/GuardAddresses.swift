// The addresses that a port may send from, as an operator writes them: Ethernet addresses, and
// prefixes of IPv4 and IPv6.
// Invariant: a prefix has no bit set behind its length, so that equal prefixes compare as equal.

/// An Ethernet address: `52:54:00:12:34:56`.
public struct HardwareAddress: Hashable, Sendable {
    /// The six bytes in the low end of a number, the first one highest.
    public var number: UInt64

    /// The address with these 48 bits.
    public init(_ number: UInt64) { self.number = number & 0xffff_ffff_ffff }

    /// Whether it names a group or everybody: no machine may send from such a one.
    public var isGroup: Bool { number >> 40 & 1 == 1 }

    /// The link-local IPv6 address made of it (EUI-64; RFC 4291, appendix A).
    public var linkLocal: AddressPrefix6 {
        let upper = (number >> 24 ^ 0x02_0000) & 0xff_ffff
        return AddressPrefix6(
            0xfe80_0000_0000_0000, upper << 40 | 0xff_fe00_0000 | number & 0xff_ffff, length: 128)
    }

    var bytes: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: number >> (40 - 8 * $0)) } }
}

extension HardwareAddress: LosslessStringConvertible {
    /// Six bytes in hexadecimal, between colons or hyphens. Nil for anything else.
    public init?(_ text: String) {
        let separator: Character = text.contains("-") ? "-" : ":"
        let parts = text.split(separator: separator, omittingEmptySubsequences: false)
        guard parts.count == 6, parts.allSatisfy({ (1...2).contains($0.utf8.count) }) else {
            return nil
        }
        var number: UInt64 = 0
        for part in parts {
            guard let byte = UInt8(hexadecimal: part) else { return nil }
            number = number << 8 | UInt64(byte)
        }
        self.init(number)
    }

    /// `52:54:00:12:34:56`
    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}

/// An IPv4 prefix: `10.0.0.0/24`; without a length one address.
public struct AddressPrefix4: Hashable, Sendable {
    /// The four bytes as a number, the first one highest.
    public let address: UInt32
    /// How many bits of it count, 0 to 32.
    public let length: UInt8

    /// The first `length` bits of `address`.
    /// Precondition: `length` is at most 32.
    public init(_ address: UInt32, length: UInt8 = 32) {
        precondition(length <= 32, "an IPv4 prefix has at most 32 bits")
        self.length = length
        self.address = address & Self.mask(length)
    }

    var mask: UInt32 { Self.mask(length) }

    private static func mask(_ length: UInt8) -> UInt32 {
        length == 0 ? 0 : UInt32.max << (32 - UInt32(length))
    }
}

extension AddressPrefix4: LosslessStringConvertible {
    /// Four numbers and, perhaps, a length. Nil for anything else, and for bits behind the length.
    public init?(_ text: String) {
        guard let (head, length) = splitPrefix(text, most: 32), let number = Self.address(head)
        else { return nil }
        self.init(number, length: length)
        guard address == number else { return nil }
    }

    fileprivate static func address(_ text: Substring) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var number: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(decimal: part) else { return nil }
            number = number << 8 | UInt32(byte)
        }
        return number
    }

    /// `10.0.0.0/24`, and `10.0.0.5` where all bits count.
    public var description: String {
        let parts = [24, 16, 8, 0].map { String(address >> UInt32($0) & 0xff) }
        return parts.joined(separator: ".") + (length == 32 ? "" : "/\(length)")
    }
}

/// An IPv6 prefix: `2001:db8::/64`; without a length one address.
public struct AddressPrefix6: Hashable, Sendable {
    /// The first eight bytes as a number.
    public let high: UInt64
    /// The last eight bytes as a number.
    public let low: UInt64
    /// How many bits of it count, 0 to 128.
    public let length: UInt8

    /// The first `length` bits of an address.
    /// Precondition: `length` is at most 128.
    public init(_ high: UInt64, _ low: UInt64, length: UInt8 = 128) {
        precondition(length <= 128, "an IPv6 prefix has at most 128 bits")
        self.length = length
        self.high = high & Self.mask(Int(length))
        self.low = low & Self.mask(Int(length) - 64)
    }

    /// The prefix as 32-bit words with the bits of each that count; the empty ones left out.
    var words: [(value: UInt32, mask: UInt32)] {
        (0..<4).compactMap { index in
            let half = index < 2 ? high : low
            let mask = Self.mask(Int(length) - index / 2 * 64)
            let shift = UInt64(index % 2 == 0 ? 32 : 0)
            let word = UInt32(truncatingIfNeeded: mask >> shift)
            return word == 0 ? nil : (UInt32(truncatingIfNeeded: half >> shift), word)
        }
    }

    private static func mask(_ length: Int) -> UInt64 {
        length <= 0 ? 0 : length >= 64 ? .max : UInt64.max << UInt64(64 - length)
    }
}

extension AddressPrefix6: LosslessStringConvertible {
    /// RFC 4291's three ways to write an address and, perhaps, a length. Nil for anything else, and
    /// for bits behind the length.
    public init?(_ text: String) {
        guard let (head, length) = splitPrefix(text, most: 128),
            let groups = Self.groups(head)
        else { return nil }
        let halves = [groups.prefix(4), groups.suffix(4)].map { half in
            half.reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
        }
        self.init(halves[0], halves[1], length: length)
        guard high == halves[0], low == halves[1] else { return nil }
    }

    /// The eight groups of an address.
    private static func groups(_ text: Substring) -> [UInt16]? {
        guard let gap = text.firstRange(of: "::") else {
            let groups = plainGroups(text)
            return groups?.count == 8 ? groups : nil
        }
        let left = text[..<gap.lowerBound]
        let right = text[gap.upperBound...]
        guard !right.contains("::"), !left.contains("."), !right.hasPrefix(":"),
            let head = left.isEmpty ? [] : plainGroups(left),
            let tail = right.isEmpty ? [] : plainGroups(right), head.count + tail.count < 8
        else { return nil }
        return head + [UInt16](repeating: 0, count: 8 - head.count - tail.count) + tail
    }

    /// Groups between colons; the last two may be written as an IPv4 address.
    private static func plainGroups(_ text: Substring) -> [UInt16]? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        var groups: [UInt16] = []
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1, part.contains(".") {
                guard let number = AddressPrefix4.address(part) else { return nil }
                groups += [UInt16(number >> 16), UInt16(truncatingIfNeeded: number)]
            } else {
                guard let group = UInt16(hexadecimal: part) else { return nil }
                groups.append(group)
            }
        }
        return groups
    }

    /// `2001:db8:0:0:0:0:0:0/64`: all eight groups, and no length where all bits count.
    public var description: String {
        let groups = [high, low].flatMap { half in
            [48, 32, 16, 0].map { String(half >> UInt64($0) & 0xffff, radix: 16) }
        }
        return groups.joined(separator: ":") + (length == 128 ? "" : "/\(length)")
    }
}

/// A prefix of either family.
public enum AddressPrefix: Hashable, Sendable {
    /// IPv4.
    case version4(AddressPrefix4)
    /// IPv6.
    case version6(AddressPrefix6)
}

extension AddressPrefix: LosslessStringConvertible {
    /// What either family's prefix takes. Nil for anything else.
    public init?(_ text: String) {
        if let prefix = AddressPrefix4(text) {
            self = .version4(prefix)
        } else if let prefix = AddressPrefix6(text) {
            self = .version6(prefix)
        } else {
            return nil
        }
    }

    /// As the family writes it.
    public var description: String {
        switch self {
        case .version4(let prefix): prefix.description
        case .version6(let prefix): prefix.description
        }
    }
}

/// The part before a slash, and the length behind it; `most` where there is none.
private func splitPrefix(_ text: String, most: UInt8) -> (Substring, UInt8)? {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2 else { return parts.count == 1 ? (parts[0], most) : nil }
    guard let length = UInt8(decimal: parts[1]), length <= most else { return nil }
    return (parts[0], length)
}

extension FixedWidthInteger {
    /// Digits only, without a sign and without a leading zero.
    fileprivate init?(decimal text: Substring) {
        guard text.utf8.allSatisfy({ (48...57).contains($0) }), text.count == 1 || text.first != "0"
        else { return nil }
        self.init(text, radix: 10)
    }

    /// One to four digits, without a sign.
    fileprivate init?(hexadecimal text: Substring) {
        guard (1...4).contains(text.utf8.count), text.allSatisfy(\.isHexDigit) else { return nil }
        self.init(text, radix: 16)
    }
}

// As text in files: what an operator reads and writes.
extension HardwareAddress: Codable {
    /// Reads what `description` gives.
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder) }
    /// Writes `description`.
    public func encode(to encoder: any Encoder) throws { try encodeText(self, encoder) }
}

extension AddressPrefix4: Codable {
    /// Reads what `description` gives.
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder) }
    /// Writes `description`.
    public func encode(to encoder: any Encoder) throws { try encodeText(self, encoder) }
}

extension AddressPrefix6: Codable {
    /// Reads what `description` gives.
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder) }
    /// Writes `description`.
    public func encode(to encoder: any Encoder) throws { try encodeText(self, encoder) }
}

extension AddressPrefix: Codable {
    /// Reads what `description` gives.
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder) }
    /// Writes `description`.
    public func encode(to encoder: any Encoder) throws { try encodeText(self, encoder) }
}

private func decodeText<Value: LosslessStringConvertible>(
    _ decoder: any Decoder
) throws -> Value {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let value = Value(text) else {
        throw DecodingError.dataCorruptedError(in: container, debugDescription: "\(text)")
    }
    return value
}

private func encodeText(_ value: some LosslessStringConvertible, _ encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(value.description)
}
