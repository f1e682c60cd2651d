// Addresses as they stand in frames, and as operators write them.

/// An IPv4 or IPv6 address.
public enum FrameAddress: Hashable, Sendable {
    /// Four bytes as a number, the first one highest.
    case version4(UInt32)
    /// Sixteen bytes as two numbers.
    case version6(UInt64, UInt64)

    /// Whether it is 0.0.0.0 or ::, from which a machine asks for an address.
    public var isUnspecified: Bool {
        self == .version4(0) || self == .version6(0, 0)
    }

    /// With its port: `198.51.100.7:53`, `[2001:db8::7]:53`.
    func text(port: UInt16) -> String {
        switch self {
        case .version4: "\(self):\(port)"
        case .version6: "[\(self)]:\(port)"
        }
    }
}

extension FrameAddress: CustomStringConvertible {
    /// `198.51.100.7`; `2001:db8::7` (RFC 5952).
    public var description: String {
        switch self {
        case .version4(let number):
            return [24, 16, 8, 0].map { String(number >> UInt32($0) & 0xff) }.joined(separator: ".")
        case .version6(let high, let low):
            let groups = [high, low].flatMap { half in
                [48, 32, 16, 0].map { UInt16(truncatingIfNeeded: half >> UInt64($0)) }
            }
            return Self.text(groups)
        }
    }

    /// The longest run of zeros, two groups at least, stands as `::`.
    private static func text(_ groups: [UInt16]) -> String {
        var longest = 0..<0
        var start = 0
        while start < groups.count {
            let end = groups[start...].firstIndex { $0 != 0 } ?? groups.count
            if end - start > max(longest.count, 1) { longest = start..<end }
            start = max(end, start + 1)
        }
        func joined(_ part: ArraySlice<UInt16>) -> String {
            part.map { String($0, radix: 16) }.joined(separator: ":")
        }
        guard !longest.isEmpty else { return joined(groups[...]) }
        return joined(groups[..<longest.lowerBound]) + "::" + joined(groups[longest.upperBound...])
    }
}

/// An Ethernet address.
public struct FrameMAC: Hashable, Sendable, CustomStringConvertible {
    /// Six bytes in the low end of a number, the first one highest.
    public var number: UInt64

    /// The address with these 48 bits.
    public init(_ number: UInt64) { self.number = number & 0xffff_ffff_ffff }

    /// The address of an interface; nil where it has none of six bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 6 else { return nil }
        self.init(bytes.reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// `52:54:00:12:34:56`
    public var description: String {
        stride(from: UInt64(40), through: 0, by: -8).map { shift in
            let byte = number >> shift & 0xff
            return (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined(separator: ":")
    }
}

/// Addresses that begin alike.
public struct FramePrefix: Hashable, Sendable {
    /// One of them.
    public var address: FrameAddress
    /// How many bits count.
    public var length: UInt8

    /// Those whose first `length` bits are those of `address`.
    public init(_ address: FrameAddress, length: UInt8) {
        self.address = address
        self.length = length
    }

    /// Whether an address is one of them; none is one of the other family.
    public func contains(_ other: FrameAddress) -> Bool {
        switch (address, other) {
        case (.version4(let own), .version4(let number)):
            return (own ^ number) & (UInt32.max << (32 - UInt32(min(length, 32)))) == 0
        case (.version6(let high, let low), .version6(let otherHigh, let otherLow)):
            let bits = UInt64(min(length, 128))
            let masks = (UInt64.max << (64 - min(bits, 64)), UInt64.max << (128 - max(bits, 64)))
            return (high ^ otherHigh) & masks.0 == 0 && (low ^ otherLow) & masks.1 == 0
        default: return false
        }
    }
}
