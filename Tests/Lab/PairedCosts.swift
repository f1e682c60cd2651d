// What something costs in several ways, way against way: frames through a port, looks, requests.
//
// What else the machine does slows some measurements by half and comes and goes within seconds. So every
// round has a short measurement of each kind, in an order of its own, kinds are compared within a round
// only, and of the rounds' ratios the middle half is averaged.

/// Costs by kind, in rounds.
public struct PairedCosts<Kind: Hashable> {
    /// The cost of one in nanoseconds: of each round, of each kind.
    private var rounds: [[Kind: Double]] = []

    /// No round yet.
    public init() {}

    /// A round's costs.
    public mutating func add(_ costs: [Kind: Double]) { rounds.append(costs) }

    /// Whether any round has this kind.
    public func has(_ kind: Kind) -> Bool { rounds.contains { $0[kind] != nil } }

    /// The costs of a kind in nanoseconds, of each round that has it.
    public func costs(_ kind: Kind) -> [Double] { rounds.compactMap { $0[kind] } }

    /// Of each round with both: the second kind's cost in the first one's.
    public func ratios(_ kind: Kind, to other: Kind) -> [Double] {
        rounds.compactMap { round in
            round[kind].flatMap { cost in round[other].map { $0 / cost } }
        }
    }

    /// How many of a kind in a second.
    public func rate(_ kind: Kind) -> Double { 1e9 / Self.middle(costs(kind)) }

    /// How many of a kind for one of another: 0.9 is 10% less.
    public func ratio(_ kind: Kind, to other: Kind) -> Double {
        Self.middle(ratios(kind, to: other))
    }

    /// Half the width in which 99.9% of such measurements lie, as the rounds scatter.
    public func doubt(_ kind: Kind, to other: Kind) -> Double {
        let sorted = ratios(kind, to: other).sorted()
        guard !sorted.isEmpty else { return .infinity }
        let quarter = sorted.count / 4
        // Quartiles are 1.35 deviations apart; the middle half's average scatters as 1.1 of one.
        let deviation = (sorted[sorted.count - 1 - quarter] - sorted[quarter]) / 1.35
        return 3.3 * 1.1 * deviation / Double(sorted.count).squareRoot()
    }

    /// The average of the middle half.
    private static func middle(_ values: [Double]) -> Double {
        let kept = values.sorted()[(values.count / 4)..<(values.count - values.count / 4)]
        return kept.reduce(0, +) / Double(kept.count)
    }
}

/// The order of a round: each kind comes at each place equally often, and in both directions.
public func turns<Kind>(_ kinds: [Kind], round: Int) -> [Kind] {
    guard !kinds.isEmpty else { return [] }
    let turned = kinds.indices.map { kinds[($0 + round) % kinds.count] }
    return round / kinds.count % 2 == 0 ? turned : turned.reversed()
}
