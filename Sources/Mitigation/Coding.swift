// How values are written down: plain numbers in the unit that the type names, rungs by their name,
// interface names as they are printed. Invariant: what is read back is equal to what was written.

extension Rung: Codable {
    /// The rung of this name; nil where there is none.
    public init?(_ name: String) {
        guard let rung = Rung.allCases.first(where: { $0.description == name }) else { return nil }
        self = rung
    }

    /// By name.
    /// - Throws: `DecodingError` where there is no such rung.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let name = try container.decode(String.self)
        guard let rung = Rung(name) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "there is no rung \(name)")
        }
        self = rung
    }

    /// By name.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension PacketRate: Codable {
    /// Packets a second.
    public init(from decoder: any Decoder) throws {
        self.init(perSecond: try decoder.singleValueContainer().decode(UInt64.self))
    }

    /// Packets a second.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(perSecond)
    }
}

extension BitRate: Codable {
    /// Bits a second.
    public init(from decoder: any Decoder) throws {
        self.init(bitsPerSecond: try decoder.singleValueContainer().decode(UInt64.self))
    }

    /// Bits a second.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(bitsPerSecond)
    }
}

extension Instant: Codable {
    /// Nanoseconds since the clock's origin.
    public init(from decoder: any Decoder) throws {
        self.init(nanoseconds: try decoder.singleValueContainer().decode(UInt64.self))
    }

    /// Nanoseconds since the clock's origin.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(nanoseconds)
    }
}

extension Limit {
    private enum CodingKeys: String, CodingKey { case cap, delay }

    /// The delay in nanoseconds, absent for a policer.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            cap: try container.decode(Cap.self, forKey: .cap),
            delay: try container.decodeIfPresent(Int64.self, forKey: .delay)
                .map { .nanoseconds($0) })
    }

    /// The delay in nanoseconds, absent for a policer.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(cap, forKey: .cap)
        try container.encodeIfPresent(
            delay.map { Int64(clamping: $0.wholeNanoseconds) }, forKey: .delay)
    }
}

extension PortName: Codable {
    /// The name that is printed like this (`description`); nil where none is: a broken `\xNN`, or
    /// more bytes than an interface's name has.
    public init?(escaped text: String) {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.dropFirst().prefix(2)
            // A sign is no digit, though UInt8 would read one.
            guard rest.first == UInt8(ascii: "x"), digits.count == 2,
                digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(3)
        }
        guard (1...15).contains(bytes.count) else { return nil }
        self.init(bytes: bytes)
    }

    /// As it is printed.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let name = PortName(escaped: text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "no interface has the name \(text)")
        }
        self = name
    }

    /// As it is printed.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
