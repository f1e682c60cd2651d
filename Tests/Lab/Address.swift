// The addresses of a laboratory, as bytes in network order.

/// An Ethernet address.
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
    /// The six bytes in the low end of a number, the first one highest.
    public var number: UInt64

    /// The address with these 48 bits.
    public init(_ number: UInt64) { self.number = number & 0xffff_ffff_ffff }

    /// ff:ff:ff:ff:ff:ff
    public static var broadcast: MACAddress { MACAddress(0xffff_ffff_ffff) }

    /// The six bytes, as sent.
    public var bytes: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: number >> (40 - 8 * $0)) } }

    /// `52:54:00:00:00:01`
    public var description: String { bytes.map { hexadecimal(UInt64($0), digits: 2) }.joined(":") }
}

/// An IPv4 address.
public struct IPv4Address: Hashable, Sendable, CustomStringConvertible {
    /// The four bytes as a number, the first one highest.
    public var number: UInt32

    /// a.b.c.d
    public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
        number = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
    }

    /// The four bytes, as sent.
    public var bytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }

    /// `10.0.0.1`
    public var description: String { bytes.map { String($0) }.joined(".") }
}

/// An IPv6 address.
public struct IPv6Address: Hashable, Sendable, CustomStringConvertible {
    /// The first eight bytes as a number.
    public var high: UInt64
    /// The last eight bytes as a number.
    public var low: UInt64

    /// The address with these halves.
    public init(_ high: UInt64, _ low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The sixteen bytes, as sent.
    public var bytes: [UInt8] {
        [high, low].flatMap { half in
            (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * $0)) }
        }
    }

    /// All eight groups: `fd00:0:0:0:0:0:0:1`
    public var description: String {
        [high, low].flatMap { half in
            (0..<4).map { String(half >> (48 - 16 * $0) & 0xffff, radix: 16) }
        }.joined(":")
    }
}

/// A number in hexadecimal with at least this many digits.
func hexadecimal(_ number: UInt64, digits: Int) -> String {
    let text = String(number, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}

extension Array where Element == String {
    func joined(_ separator: String) -> String { joined(separator: separator) }
}
