// Reads the counters while a turn waits for the kernel.
//
// Every request over netlink may wait for RTNL behind another process, for seconds: nothing can be
// changed by anybody meanwhile, but what VMs send can be seen (DeviceFile). It is read beside the turn
// once it is a poll late, and after that as often as the turn would; the turn takes it, poll by poll,
// before it goes on (Turn.catchUp).
//
// Invariants: while turns are in time it reads nothing; the turn never waits for it.
internal import Dispatch
internal import Glibc
package import LinkCounters
internal import LinuxSystem
package import Mitigation
internal import Synchronization

/// Counters that were read beside a turn.
package struct StandbyPoll: Sendable {
    /// When.
    package var at: Instant
    /// Of each interface.
    package var interfaces: [NamedCounters]
}

/// The one who reads them.
final class Lookout: Sendable {
    /// When the turn began that runs now, in nanoseconds; 0: none does.
    private let busySince = Atomic<UInt64>(0)
    private let interval = Atomic<UInt64>(100_000_000)
    private let polls = Handover<[StandbyPoll]>()

    /// Longer than any rule looks back; what is older goes.
    private static let mostKept = 64
    /// Many interfaces take as long to read.
    private static let leastInterval: UInt64 = 20_000_000

    /// Begins to watch, from a thread of its own; false where there is nothing that could be read.
    func start() -> Bool {
        guard DeviceFile.read() != nil else { return false }
        DispatchQueue(label: "lookout").async { [self] in
            // Not at the turn's priority: the unit forbids it to every thread but the one that systemd
            // started, and that one sleeps now.
            watch()
        }
        return true
    }

    /// The time between two polls, in nanoseconds.
    func setInterval(_ interval: UInt64) {
        self.interval.store(max(interval, Self.leastInterval), ordering: .relaxed)
    }

    /// A turn begins, in the thread that calls.
    func turnBegins(at now: UInt64) { busySince.store(now, ordering: .relaxed) }

    /// It is over.
    func turnEnds() { busySince.store(0, ordering: .relaxed) }

    /// What was read since the last call, oldest first; never waits.
    func take() -> [StandbyPoll] { polls.take() ?? [] }

    private func watch() -> Never {
        var lastAt: UInt64 = 0
        while true {
            let now = MonotonicClock.nanoseconds
            let begin = busySince.load(ordering: .relaxed)
            let interval = interval.load(ordering: .relaxed)
            let due = max(begin, lastAt) + interval
            guard begin != 0, now >= due else {
                let rest = begin == 0 ? interval / 2 : min(due - now, interval / 2)
                usleep(UInt32(clamping: rest / 1_000 + 1))
                continue
            }
            lastAt = now
            look(now)
        }
    }

    private func look(_ begin: UInt64) {
        guard let interfaces = DeviceFile.read() else { return }
        // Some were read right at the beginning, others just now.
        let middle = begin + (MonotonicClock.nanoseconds - begin) / 2
        let poll = StandbyPoll(at: Instant(nanoseconds: middle), interfaces: interfaces)
        polls.put { kept in (kept ?? []).suffix(Self.mostKept - 1) + [poll] }
    }
}
