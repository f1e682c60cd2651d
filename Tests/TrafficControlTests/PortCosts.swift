// What frames cost through a port, kind against kind.
//
// What else the machine does slows some floods by half and comes and goes within seconds. So every
// round has a short flood of each kind, in an order of its own, kinds are compared within a round
// only, and of the rounds' ratios the middle half is averaged.
import Lab

/// What is put on a port whose cost is taken.
enum PortKind: CaseIterable {
    case bare
    /// Two eBPF filters that do nothing: what the kernel takes for them itself.
    case idle
    case policed, guarded, both

    var isPoliced: Bool { self == .policed || self == .both }
    var isGuarded: Bool { self == .guarded || self == .both }
}

struct PortCosts: CustomStringConvertible {
    /// A frame's cost in nanoseconds: of each round, of each kind.
    private var rounds: [[PortKind: Double]] = []

    /// The order of a round: kinds come at each place equally often, and in both directions.
    static func order(_ kinds: [PortKind], round: Int) -> [PortKind] {
        let turned = kinds.indices.map { kinds[($0 + round) % kinds.count] }
        return round / kinds.count % 2 == 0 ? turned : turned.reversed()
    }

    /// A round's costs.
    mutating func add(_ costs: [PortKind: Double]) { rounds.append(costs) }

    private func ratios(_ kind: PortKind, to other: PortKind) -> [Double] {
        rounds.compactMap { round in
            round[kind].flatMap { cost in round[other].map { $0 / cost } }
        }
    }

    /// Frames a second through a port of a kind.
    func rate(_ kind: PortKind) -> Double {
        1e9 / Self.middle(rounds.compactMap { $0[kind] })
    }

    /// Frames through a port of a kind for one through another: 0.9 is 10% less.
    func ratio(_ kind: PortKind, to other: PortKind) -> Double {
        Self.middle(ratios(kind, to: other))
    }

    /// Half the width in which 99.9% of such measurements lie, as the rounds scatter.
    func doubt(_ kind: PortKind, to other: PortKind) -> Double {
        let sorted = ratios(kind, to: other).sorted()
        guard !sorted.isEmpty else { return .infinity }
        let quarter = sorted.count / 4
        // Quartiles are 1.35 deviations apart; the middle half's average scatters as 1.1 of one.
        let deviation = (sorted[sorted.count - 1 - quarter] - sorted[quarter]) / 1.35
        return 3.3 * 1.1 * deviation / Double(sorted.count).squareRoot()
    }

    /// `pps: bare 1, ...; of 1000: policed / bare 1 +- 1, ...`
    var description: String {
        let kinds = PortKind.allCases.filter { kind in rounds.contains { $0[kind] != nil } }
        let rates = kinds.map { "\($0) \(Int(rate($0)))" }
        let pairs =
            kinds.filter { $0 != .bare }.map { ($0, PortKind.bare) } + [(.both, .policed)]
            + (kinds.contains(.idle) ? [(.both, .idle)] : [])
        let ratios = pairs.map { kind, other in
            let ratio = Int((ratio(kind, to: other) * 1_000).rounded())
            let doubt = Int((doubt(kind, to: other) * 1_000).rounded(.up))
            return "\(kind) / \(other) \(ratio) +- \(doubt)"
        }
        return "pps: \(rates.joined(separator: ", ")); of 1000: \(ratios.joined(separator: ", "))"
    }

    /// The average of the middle half.
    private static func middle(_ values: [Double]) -> Double {
        let kept = values.sorted()[(values.count / 4)..<(values.count - values.count / 4)]
        return kept.reduce(0, +) / Double(kept.count)
    }
}
