// What wakes the daemon's thread: the poll timer, the links, mail of the other threads, signals.
internal import LinuxSystem
internal import SystemPackage

/// The descriptors that the daemon's thread waits for, in one epoll.
struct EventSources: ~Copyable {
    /// What has input; the more urgent has the higher number. What mail asks for is carried out by
    /// what the links are now.
    enum Source: UInt64 { case timer, mail, links, signals }

    let timer: IntervalTimer
    let signals: SignalPipe
    let wakeUp: WakeUp
    private let poller: Poller

    /// Opens them all; `links` stays the caller's.
    init(links: Int32) throws(Errno) {
        let poller = try Poller()
        let timer = try IntervalTimer()
        let signals = try SignalPipe()
        let wakeUp = try WakeUp()
        try poller.add(timer.descriptor, tag: Source.timer.rawValue)
        try poller.add(links, tag: Source.links.rawValue)
        try poller.add(wakeUp.descriptor, tag: Source.mail.rawValue)
        try poller.add(signals.descriptor, tag: Source.signals.rawValue)
        self.poller = poller
        self.timer = timer
        self.signals = signals
        self.wakeUp = wakeUp
    }

    /// Waits until something has input; gives it, the most urgent first.
    func wait() throws(Errno) -> [Source] {
        var ready: [Source] = []
        try poller.wait { tag in Source(rawValue: tag).map { ready.append($0) } }
        return ready.sorted { $0.rawValue > $1.rawValue }
    }
}
