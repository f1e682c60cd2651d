// How often the socket said no, and why: counted on its thread, read on the turn's without waiting.

import Synchronization

/// Why the socket said no.
package enum ControlRefusal: String, CaseIterable, Hashable, Sendable {
    /// Too many connections at once.
    case connections
    /// The peer may not do that.
    case rights
    /// Too many requests wait for the turn.
    case busy
    /// The client, or the turn, took too long.
    case late
    /// What came is no request, or too large.
    case malformed

    /// What an answer of this HTTP status is; nil where it refuses nothing.
    init?(status: Int) {
        switch status {
        case 403: self = .rights
        case 503: self = .busy
        case 408, 504: self = .late
        case 400, 413, 431: self = .malformed
        default: return nil
        }
    }
}

/// Counts refusals. Any thread may read.
final class ControlRefusals: Sendable {
    private let connections = Atomic<UInt64>(0)
    private let rights = Atomic<UInt64>(0)
    private let busy = Atomic<UInt64>(0)
    private let late = Atomic<UInt64>(0)
    private let malformed = Atomic<UInt64>(0)

    /// One more.
    func add(_ refusal: ControlRefusal) {
        switch refusal {
        case .connections: connections.add(1, ordering: .relaxed)
        case .rights: rights.add(1, ordering: .relaxed)
        case .busy: busy.add(1, ordering: .relaxed)
        case .late: late.add(1, ordering: .relaxed)
        case .malformed: malformed.add(1, ordering: .relaxed)
        }
    }

    /// All so far.
    var counts: [ControlRefusal: UInt64] {
        [
            .connections: connections.load(ordering: .relaxed),
            .rights: rights.load(ordering: .relaxed),
            .busy: busy.load(ordering: .relaxed),
            .late: late.load(ordering: .relaxed),
            .malformed: malformed.load(ordering: .relaxed),
        ]
    }
}
