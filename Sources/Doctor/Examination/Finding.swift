// What the doctor says: findings, the gravest of which is the result.

/// How a finding is to be taken.
package enum FindingState: String, Codable, Hashable, Sendable, CaseIterable {
    /// As it should be.
    case ok
    /// Worth knowing, also what could not be looked at.
    case note
    /// Something is not covered, or may become a problem.
    case warning
    /// Sluice does not do what it is there for.
    case problem
}

/// What a finding is about.
package enum FindingGroup: String, Codable, Hashable, Sendable, CaseIterable {
    /// What the kernel has.
    case kernel
    /// Who owns which qdiscs.
    case ports
    /// What sends past the daemon.
    case uncovered
    /// How the daemon is.
    case daemon
    /// Its socket, its journal, its recording, its log.
    case files
    /// Its configuration.
    case configuration
}

/// One finding.
package struct Finding: Codable, Hashable, Sendable {
    /// How it is to be taken.
    package var state: FindingState
    /// What it is about.
    package var group: FindingGroup
    /// The thing: `act_police`, `vm-1-00aa`, `journal`.
    package var what: String
    /// What was found.
    package var fact: String
    /// What to do about it; nil where nothing is to be done.
    package var cure: String?

    /// A finding.
    package init(
        _ state: FindingState, _ group: FindingGroup, _ what: String, _ fact: String,
        cure: String? = nil
    ) {
        self.state = state
        self.group = group
        self.what = what
        self.fact = fact
        self.cure = cure
    }
}

/// All findings, by group.
package struct Examination: Codable, Hashable, Sendable {
    /// The findings, those of a group together, in the order of `FindingGroup`.
    package var findings: [Finding]

    /// What these facts mean.
    package init(_ facts: HostFacts) {
        findings =
            facts.kernelFindings + facts.portFindings + facts.uncoveredFindings
            + facts.daemonFindings + facts.fileFindings + facts.configurationFindings
    }

    /// Whether anything is a problem.
    package var hasProblem: Bool { count(of: .problem) > 0 }

    /// How many findings are in this state.
    package func count(of state: FindingState) -> Int {
        findings.count { $0.state == state }
    }
}
