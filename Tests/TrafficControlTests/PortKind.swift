// What is put on a port whose cost is taken, and how the figures are told.
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

extension PairedCosts<PortKind> {
    /// `pps: bare 1, ...; of 1000: policed / bare 1 +- 1, ...`
    var figures: String {
        let kinds = PortKind.allCases.filter { has($0) }
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
}
