// What the daemon counts of itself, and what a scraper is told of it.
// Invariants: to count is to add to an integer that is there already: nothing is allocated, and
// nothing waits; no count ever falls.
package import Mitigation

/// How often something took how long, in fixed steps.
package struct DurationHistogram: Sendable {
    /// The upper bounds of the steps, in seconds; one more step has none.
    package static let boundsSeconds: [Double] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
    ]
    private static let boundsNanoseconds = boundsSeconds.map { UInt64($0 * 1e9) }

    private var counts = InlineArray<14, UInt64>(repeating: 0)
    private var nanoseconds: UInt64 = 0

    /// Nothing yet.
    package init() {}

    /// It took this long once more.
    package mutating func add(nanoseconds duration: UInt64) {
        var step = 0
        while step < Self.boundsNanoseconds.count, duration > Self.boundsNanoseconds[step] {
            step += 1
        }
        counts[step] += 1
        nanoseconds &+= duration
    }

    /// All that was added so far.
    package var reading: Reading {
        Reading(
            counts: counts.indices.map { counts[$0] },
            sumSeconds: Double(nanoseconds) / 1e9)
    }

    /// What a histogram held at a moment.
    package struct Reading: Hashable, Sendable {
        /// How often, for each step; empty where nothing was counted.
        package var counts: [UInt64] = []
        /// How long in all.
        package var sumSeconds = 0.0
    }
}

/// What the turn counts, where it happens.
package struct TurnCounts: Hashable, Sendable {
    /// Counters that could not be read, interrupted dumps among them.
    package var failedPolls: UInt64 = 0
    /// Polls that were read beside turns which waited for the kernel.
    package var standbyPolls: UInt64 = 0
    /// Interfaces that could not be listed.
    package var failedLists: UInt64 = 0
    /// Looks at what stands in the kernel at start, or for repair, that failed.
    package var failedLooks: UInt64 = 0
    /// Limits and links that the kernel refused to change, or did not plainly change.
    package var failedChanges: UInt64 = 0
    /// Guards that could not be set.
    package var failedGuards: UInt64 = 0
    /// Limits that somebody took out and that were put back.
    package var repairs: UInt64 = 0
    /// Redirects to nowhere that were taken out.
    package var redirectsTakenOut: UInt64 = 0
    /// Times that a port was left to somebody who keeps taking its limits out.
    package var contests: UInt64 = 0
    /// Journals in memory that could not be written.
    package var failedJournals: UInt64 = 0
    /// Transitions that were told, by the rung that they led to, those of observe mode among them.
    package private(set) var moves: [Rung: UInt64] = Dictionary(
        uniqueKeysWithValues: Rung.allCases.map { ($0, 0) })

    /// Nothing yet.
    package init() {}

    /// What the engine told.
    mutating func note(_ event: Event) {
        guard case .moved(_, let rung) = event.kind else { return }
        moves[rung, default: 0] += 1
    }
}

/// One copy of the journal.
package struct JournalHealth: Hashable, Sendable {
    /// Times that it could not be written.
    package var failures: UInt64 = 0
    /// Whether the last time was one of them.
    package var isBroken = false

    /// Nothing failed.
    package init() {}

    init(failures: UInt64, isBroken: Bool) {
        self.failures = failures
        self.isBroken = isBroken
    }
}

/// What a scraper is told of the daemon beside its status.
package struct SelfHealth: Hashable, Sendable {
    /// How late polls began.
    package var lateness = DurationHistogram.Reading()
    /// How long turns took, from their poll to their last change.
    package var turnTime = DurationHistogram.Reading()
    /// How long it was from decisions to the kernel's word on all that they asked for.
    package var changeTime = DurationHistogram.Reading()
    /// What the turn counted.
    package var counts = TurnCounts()
    /// Indexes of ports that are on a rung in observe mode only: nothing of ours limits them.
    package var observed: Set<Int32> = []
    /// How far the breaker is from standing.
    package var breaker: BreakerRoom?
    /// Ports that are left to somebody who keeps taking their limits out.
    package var contestedPorts = 0
    /// The journal in memory.
    package var journal = JournalHealth()
    /// Its copy on disk.
    package var durableJournal = JournalHealth()
    /// Lines that the limit of one a second kept out of the log.
    package var suppressedLines: UInt64 = 0
    /// Lines that were lost, since nobody took them.
    package var lostLines: UInt64 = 0
    /// Requests and connections that were refused, by reason.
    package var refusals: [ControlRefusal: UInt64] = [:]
    /// What became of the packet samples of trips.
    package var evidence = EvidenceCounts()

    /// A daemon that has just started.
    package init() {}
}
