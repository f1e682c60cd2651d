// What others have at a port's hook and ingress, and what it means for ours.
//
// Invariant: a redirect ends classification, so that it skips every filter behind it and nftables'
// ingress; it is only made where nothing of others is skipped that could matter. What is skipped
// may be a policer that lets through no less than our own limit: it would never act.
import Mitigation
import Netlink

/// A filter of another owner at one of a port's hooks.
struct ForeignFilter: Hashable, Sendable {
    /// What becomes of a frame that it matches.
    enum Outcome: Hashable, Sendable {
        /// Later filters see it too.
        case goesOn
        /// It is dropped.
        case drops
        /// It passes, or goes elsewhere, and no later filter sees it.
        case ends
        /// A program decides (direct action): only the counters show what comes after it.
        case unknown
    }

    var direction: Mitigation.Direction
    var preference: UInt16
    var kind: String
    var outcome: Outcome
    /// Its policers, where it does nothing but police; else nil.
    var policers: [PoliceRecord]?

    /// Nil for what is no filter that frames come to: heads, hash tables, other chains.
    init?(_ record: FilterRecord, direction: Mitigation.Direction) {
        let isTable = record.kind == "u32" && record.handle & 0xfff == 0
        guard record.handle != 0, !isTable, record.chain == 0 else { return nil }
        self.direction = direction
        preference = record.preference
        kind = record.kind
        outcome = record.isDirectAction ? .unknown : Outcome(record.actions.last)
        let policers = record.actions.compactMap { $0.isPlainPolicer ? $0.police : nil }
        self.policers =
            policers.isEmpty || policers.count < record.actions.count ? nil : policers
    }

    /// Whether frames come to it before our general filter, or may.
    var isBeforeOurs: Bool { preference <= FrameLane.general.preference }

    /// Whether it sees only what a filter of ours has let go on.
    var isBehindOurs: Bool { preference >= FrameLane.management.preference }

    /// Whether it does nothing to what keeps within `cap`.
    func isIdle(within cap: Cap) -> Bool {
        policers?.allSatisfy { police in
            police.bytesPerSecond.map { $0 >= cap.bits.bytesPerSecond } ?? true
                && police.packetsPerSecond.map { $0 >= cap.packets.perSecond } ?? true
        } ?? false
    }

    /// For a sentence: `filter pref 49152 (u32)`.
    var told: String { "filter pref \(preference) (\(kind))" }
}

extension ForeignFilter.Outcome {
    /// By the last action; a match without any passes, and ends classification (tcf_exts_exec).
    fileprivate init(_ last: ActionRecord?) {
        guard let last else {
            self = .ends
            return
        }
        switch last.police?.conformCode ?? last.verdictCode {
        case Verdict.unspec.rawValue: self = .goesOn
        case Verdict.drop.rawValue: self = .drops
        default: self = .ends
        }
    }
}

extension ActionRecord {
    /// A policer that only lets pass or drops.
    fileprivate var isPlainPolicer: Bool {
        guard let police else { return false }
        let verdicts = Verdict.allCases.map(\.rawValue)
        return verdicts.contains(police.conformCode) && verdicts.contains(police.exceedCode)
    }
}

extension ObservedTree {
    /// What of others a redirect in this direction would skip, a phrase each; empty where nothing
    /// of it could matter to what keeps within `cap`.
    func skipped(byRedirect direction: Mitigation.Direction, within cap: Cap) -> [String] {
        let filters = foreign.filter {
            $0.direction == direction && $0.isBehindOurs && !$0.isIdle(within: cap)
        }
        // nftables' egress comes before traffic control's.
        let chains = direction == .from ? self.chains : []
        return filters.map(\.told)
            + chains.map { "nftables chain \($0.family) \($0.table) \($0.name)" }
    }

    /// The directions in which a redirect would skip something.
    func guarded(_ limits: Limits) -> Set<Mitigation.Direction> {
        var guarded: Set<Mitigation.Direction> = []
        for direction in Mitigation.Direction.allCases {
            guard let limit = limits[direction],
                !skipped(byRedirect: direction, within: limit.cap).isEmpty
            else { continue }
            guarded.insert(direction)
        }
        return guarded
    }

    /// What makes ours ineffective on a port or what ours makes ineffective, a sentence each.
    func advisories(
        _ limits: Limits, site: Site, policer: Policer, port: ControlledPort
    ) -> [String] {
        var sentences: [String] = []
        for direction in Mitigation.Direction.allCases {
            guard let limit = limits[direction] else { continue }
            let what = direction == .from ? "what \(port.name) sends" : "what \(port.name) is sent"
            for filter in foreign
            where filter.direction == direction && filter.isBeforeOurs && filter.outcome == .ends {
                sentences.append(
                    "\(filter.told) of another owner stands before ours, and what it takes of "
                        + "\(what) passes our limit")
            }
            let isRedirected = policer == .ifb || limit.delay != nil
            let skipped = skipped(byRedirect: direction, within: limit.cap)
            guard isRedirected, !skipped.isEmpty else { continue }
            let others = skipped.joined(separator: ", ")
            sentences.append(
                policer == .ifb
                    ? "our redirect of \(what) skips another owner's \(others): this kernel has no "
                        + "policer to hold the limit without it"
                    : "\(what) is policed and not delayed: a redirect would skip another owner's "
                        + others)
        }
        if hasForgottenRoot(site.root) {
            sentences.append(
                "the root that another owner had on \(port.name) is not remembered: the kernel's "
                    + "default is left there when our limit goes")
        }
        if limits.to != nil, site.hook == .ingress, !site.root.isOurs {
            let root = self.port.foreignRoot.map { "\($0.kind) \($0.handle)" } ?? "qdisc"
            sentences.append(
                "what \(port.name) is sent is not limited: its root \(root) is another owner's, "
                    + "and its hook an ingress (\(site.root.objection))")
        }
        return sentences
    }
}

extension Limits {
    /// The limit of a direction.
    subscript(direction: Mitigation.Direction) -> Limit? { direction == .from ? from : to }
}
