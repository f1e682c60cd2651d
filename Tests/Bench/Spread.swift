// What many values of one figure say: the middle one, and where the middle half lies.
import Lab

/// The median and the quartiles of some values.
struct Spread: Hashable, Sendable {
    var median: Double
    var lower: Double
    var upper: Double
    var largest: Double
    private let sorted: [Double]

    /// Of at least one value.
    init?(_ values: [Double]) {
        sorted = values.sorted()
        guard let last = sorted.last else { return nil }
        largest = last
        median = Self.quantile(0.5, of: sorted)
        lower = Self.quantile(0.25, of: sorted)
        upper = Self.quantile(0.75, of: sorted)
    }

    /// All of it, so many times.
    func times(_ factor: Double) -> Spread { Spread(sorted.map { $0 * factor }) ?? self }

    /// The value below which this share of the values lies: 0.99 is the 99th percentile.
    func quantile(_ share: Double) -> Double { Self.quantile(share, of: sorted) }

    private static func quantile(_ share: Double, of sorted: [Double]) -> Double {
        let place = share * Double(sorted.count - 1)
        let below = Int(place)
        let above = min(below + 1, sorted.count - 1)
        return sorted[below] + (sorted[above] - sorted[below]) * (place - Double(below))
    }

    /// A ratio with its quartiles, where they differ: `1.07 (1.05 to 1.09)`.
    var ratio: String {
        lower == upper ? median.ratio : "\(median.ratio) (\(lower.ratio) to \(upper.ratio))"
    }
}

extension Double {
    /// With two or three digits that mean something.
    var ratio: String {
        switch magnitude {
        case 100...: Int(rounded()).grouped
        case 10...: fixed(1)
        case 0.1...: fixed(2)
        default: fixed(3)
        }
    }
}
