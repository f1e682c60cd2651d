// Numbers as people read them.

extension Int {
    /// With a blank between thousands: `20 000`.
    public var grouped: String {
        let digits = Array(String(magnitude))
        var text = self < 0 ? "-" : ""
        for (position, digit) in digits.enumerated() {
            if position > 0, (digits.count - position) % 3 == 0 { text += " " }
            text.append(digit)
        }
        return text
    }
}

extension Double {
    /// With this many digits after the point.
    public func fixed(_ digits: Int) -> String {
        guard isFinite else { return "?" }
        let scale = (0..<digits).reduce(1) { scale, _ in scale * 10 }
        let value = Int((magnitude * Double(scale)).rounded())
        let sign = self < 0 && value > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(value)" }
        let fraction = String(value % scale)
        let zeros = String(repeating: "0", count: digits - fraction.count)
        return "\(sign)\(value / scale).\(zeros)\(fraction)"
    }

    /// Bits in a second with a unit: `40.0 Mbit/s`.
    public var bitRate: String {
        self >= 1e6 ? "\((self / 1e6).fixed(1)) Mbit/s" : "\((self / 1e3).fixed(1)) kbit/s"
    }

    /// Packets in a second: `20 000 pps`.
    public var packetRate: String { "\(Int(rounded()).grouped) pps" }

    /// The decimal logarithm, by repeated square roots: exact enough for a picture.
    public var decimalLogarithm: Double {
        var value = self
        var result = 0.0
        while value >= 10 {
            value /= 10
            result += 1
        }
        while value < 1 {
            value *= 10
            result -= 1
        }
        var share = 0.5
        for _ in 0..<24 {
            value *= value
            if value >= 10 {
                value /= 10
                result += share
            }
            share /= 2
        }
        return result
    }
}

extension String {
    /// Padded on the left to this many characters.
    public func right(_ width: Int) -> String {
        String(repeating: " ", count: Swift.max(0, width - count)) + self
    }

    /// Padded on the right, or cut, to this many characters.
    public func left(_ width: Int) -> String {
        let text = String(prefix(width))
        return text + String(repeating: " ", count: width - text.count)
    }
}
