// Reads the counters while a turn waits for the kernel.
//
// Every request over netlink may wait for RTNL behind another process, for seconds: nothing can be
// changed by anybody meanwhile, but what VMs send can be seen (DeviceFile). It is read beside the turn
// once that is a poll late, and after that as often as the turn would; the turn takes it, poll by poll,
// before it goes on (Turn.catchUp).
//
// Invariants: while turns are in time it neither reads nor wakes; the turn never waits for it.
internal import Dispatch
internal import Glibc
package import LinkCounters
internal import LinuxSystem
package import Mitigation
internal import SystemPackage

/// Counters that were read beside a turn.
package struct StandbyPoll: Sendable {
    /// When.
    package var at: Instant
    /// Of each interface.
    package var interfaces: [NamedCounters]
}

/// The one who reads them.
final class Lookout: Sendable {
    /// Fires when a poll is late by a poll's time, and as often as polls from then on.
    private let timer: IntervalTimer
    private let poller: Poller
    private let polls = Handover<[StandbyPoll]>()

    /// Longer than any rule looks back; what is older goes.
    private static let mostKept = 64
    /// Many interfaces take as long to read.
    private static let leastInterval: UInt64 = 20_000_000

    private init() throws(Errno) {
        timer = try IntervalTimer()
        poller = try Poller()
        try poller.add(timer.descriptor, tag: 0)
    }

    /// Begins to watch, from a thread of its own; nil where there is nothing that could be read.
    static func start() -> Lookout? {
        guard DeviceFile.read() != nil, let lookout = try? Lookout() else { return nil }
        DispatchQueue(label: "lookout").async {
            // Not at the turn's priority: the unit forbids it to every thread but the one that systemd
            // started, and that one sleeps now.
            lookout.watch()
        }
        return lookout
    }

    /// Polls have come until now; the next one is due at this moment of the monotonic clock, in
    /// nanoseconds, and others at this interval.
    func expectPoll(at due: UInt64, interval: UInt64) {
        let interval = max(interval, Self.leastInterval)
        try? timer.start(firstNanoseconds: due + interval, intervalNanoseconds: interval)
    }

    /// What was read since the last call, oldest first; never waits.
    func take() -> [StandbyPoll] { polls.take() ?? [] }

    private func watch() -> Never {
        while true {
            try? poller.wait { _ in }
            // The poll may have come in between.
            if timer.takeExpirations() > 0 { look(MonotonicClock.nanoseconds) }
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
