// From a flood's first packet to its police tree in the kernel, with the real daemon at ten polls a
// second, on a quiet host and on one whose processors are all busy.
//
// The daemon has the scheduling that its unit gives it (SCHED_FIFO 1); so have the floods and who waits
// for the tree, so that a flood has its rate and a tree is seen when it is there. Each flood is on a port
// of its own and begins at another moment between two polls.
import ControlAPI
import Doctor
import Lab
import Netlink

struct ReactionSection {
    var setting: Setting

    /// Packets a second at which a port trips.
    fileprivate static let mark = 1_000
    /// Times the mark; a little more than that, since the rule is "at least".
    private static let factors = [2, 5, 20]
    fileprivate static let excess = 1.02
    /// Floods at a time.
    fileprivate static let atOnce = 4
    private var floods: Int { setting.isQuick ? 20 : 200 }

    private struct Findings: Sendable {
        var factor: Int
        var isBusy: Bool
        /// Seconds.
        var reaction: Spread
        var change: Change
    }

    /// From decisions to the kernel's acknowledgement, by the daemon's own metrics, in seconds.
    fileprivate struct Change: Sendable {
        var mean: Double
        /// What nearly all stayed below, by the histogram's steps.
        var most: Double

        init(_ metrics: Metrics) throws {
            let name = "sluice_change_seconds"
            guard let sum = metrics[name + "_sum"], let count = metrics[name + "_count"], count > 0,
                let most = metrics.bound(name, share: 0.99)
            else { throw LabError("the metrics tell of no change") }
            mean = sum / count
            self.most = most
        }
    }

    func run() async throws -> Part {
        var all: [Findings] = []
        for isBusy in [false, true] {
            for factor in Self.factors {
                all.append(
                    try await Namespace.run {
                        let (seconds, change) = try Race(floods).run(
                            factor: factor, isBusy: isBusy)
                        guard let reaction = Spread(seconds) else { throw LabError("no flood") }
                        return Findings(
                            factor: factor, isBusy: isBusy, reaction: reaction, change: change)
                    })
            }
        }
        return try part(all)
    }

    private func part(_ all: [Findings]) throws -> Part {
        var table = Table(
            "flood", "host", "median, s", "p99, s", "longest, s", "in polls, median",
            "decision to acknowledgement, mean, ms", "99 in 100, ms")
        for found in all {
            let reaction = found.reaction
            table.add(
                "\(found.factor) x the mark", found.isBusy ? "busy" : "quiet",
                reaction.median.fixed(3), reaction.quantile(0.99).fixed(3),
                reaction.largest.fixed(3), (reaction.median / 0.1).fixed(1),
                (found.change.mean * 1_000).fixed(2), "below \((found.change.most * 1_000).ratio)")
        }
        return Part(
            name: "reaction",
            markdown: """
                ## Reaction

                On \(try Machine.sentence()). From a flood's first packet to the last object of its
                police tree in the kernel (its notification, looked for every 0.2 ms), \(floods) floods
                for each line, up to \(Self.atOnce) at a time, each on a port of its own, of the mark
                times the factor and 2%. The rules ask for 1 s over the mark, or 200 ms over five times
                the mark, of counters read ten times a second. Busy: on each processor a program that
                spins and a tap that floods as fast as it can. A decision's way to the kernel's
                acknowledgement is the daemon's own measure (`sluice_change_seconds`): the journal's
                writing, and all ports that tripped in the same poll, included.

                \(table.markdown)
                """,
            headlines: Self.factors.compactMap { factor in
                let those = all.filter { $0.factor == factor }
                guard let quiet = those.first, let busy = those.last else { return nil }
                return [
                    "first packet to police tree, p99, \(factor) x the mark",
                    "\(quiet.reaction.quantile(0.99).fixed(2)) s; "
                        + "\(busy.reaction.quantile(0.99).fixed(2)) s with all processors busy",
                    factor < 5 ? "1 s, which the rule asks for" : "0.2 s, which the rule asks for",
                ]
            })
    }
}

/// Floods against the daemon, in the calling thread's namespace.
private struct Race: ~Copyable {
    let floods: Int
    let folder: ScratchFolder

    init(_ floods: Int) throws {
        self.floods = floods
        folder = try ScratchFolder()
    }

    /// The reaction to each flood, in seconds, and what of it was the change.
    func run(factor: Int, isBusy: Bool) throws -> ([Double], ReactionSection.Change) {
        let thread = try String(readFile("/proc/thread-self/stat").prefix { $0 != " " })
        try Tool.run("chrt", "--other", "-p", "0", thread)
        for scope in ["all", "default"] {
            try writeFile("1", to: "/proc/sys/net/ipv6/conf/\(scope)/disable_ipv6")
        }
        // One more, from which the size of a tree is learnt.
        let stations = try (1...floods + 1).map { number in
            try Station(
                name: Ports.name(number), endpoint: Endpoint(number: UInt16(number)),
                inside: .nobody)
        }
        let socket = folder.file("control")
        let config = try folder.write(Self.configuration(socket, folder.path), to: "sluiced.toml")
        let daemon = try DaemonProcess(in: folder, config: config, socket: socket)
        try Tool.run("chrt", "--reset-on-fork", "--fifo", "-p", "1", "\(daemon.pid)")
        try wait(for: "the ports", within: .seconds(20)) {
            try daemon.status().ports.count == stations.count
        }
        let noise = isBusy ? try Noise() : nil
        // Real-time only as long as floods are begun, which inherit it; nothing else may.
        try Tool.run("chrt", "--fifo", "-p", "1", thread)
        defer { _ = try? Tool.run("chrt", "--other", "-p", "0", thread) }
        var watch = try Watch(
            rate: Int(Double(factor * ReactionSection.mark) * ReactionSection.excess))
        try watch.learn(stations[floods])
        for (number, station) in stations.prefix(floods).enumerated() {
            try watch.waitUntil { $0.running < ReactionSection.atOnce }
            // The golden ratio's multiples fill the time between two polls evenly.
            let phase = (Double(number) * 0.618_034).truncatingRemainder(dividingBy: 1)
            try watch.look(for: .microseconds(Int64(phase * 100_000)))
            try watch.start(station)
        }
        try watch.waitUntil { $0.running == 0 }
        noise?.stop()
        let change = try ReactionSection.Change(Metrics(daemon.request("GET", "/v1/metrics")))
        try daemon.stop()
        for station in stations { station.close() }
        return (watch.seconds, change)
    }

    private static func configuration(_ socket: String, _ folder: String) -> String {
        """
        [poll]
        grace = "0s"
        [target]
        packets = "400pps"
        [breaker]
        share = "100%"
        minimum = 10000
        [cloudspace]
        companions = false
        [class.vm]
        from = { packets = "\(ReactionSection.mark)pps", bits = "1gbit" }
        [guards]
        directory = "\(folder)/guards.d"
        [journal]
        runtime = "\(folder)/run"
        directory = "\(folder)/state"
        [recording]
        directory = "\(folder)/record"
        [control]
        socket = "\(socket)"

        """
    }
}

/// The floods under way, and what the kernel tells of their ports.
private struct Watch: ~Copyable {
    private var monitor: LinkMonitor
    private let rate: Int
    private var underWay: [Int32: FloodRun] = [:]
    private var told: [Int32: Int] = [:]
    /// So many notifications are a whole tree.
    private var whole = Int.max
    private(set) var seconds: [Double] = []

    var running: Int { underWay.count }

    init(rate: Int) throws {
        monitor = try LinkMonitor.open()
        self.rate = rate
    }

    /// Floods one port, and counts what is told until half a second after the first word.
    mutating func learn(_ station: Station) throws {
        try start(station)
        try waitUntil { $0.told[station.index] != nil }
        try look(for: .milliseconds(500))
        whole = told[station.index] ?? 0
        underWay.removeValue(forKey: station.index)?.stop()
    }

    mutating func start(_ station: Station) throws {
        // 60-byte frames to nobody: they are counted, and the host's stack drops them.
        underWay[station.index] = try station.flood(
            Flood(
                to: Endpoint(number: 0xfffe), packetsPerSecond: rate, frameBytes: 60,
                duration: .seconds(10)))
    }

    mutating func waitUntil(_ condition: (borrowing Watch) -> Bool) throws {
        let deadline = Moment.now + .seconds(15)
        while !condition(self) {
            guard Moment.now < deadline else { throw LabError("a flood was not policed") }
            try look(for: .microseconds(200))
        }
    }

    /// Takes what is told for so long.
    mutating func look(for duration: Duration) throws {
        let end = Moment.now + duration
        repeat {
            measure(for: .microseconds(200))
            var indexes: [Int32] = []
            try monitor.drain { if case .tc(let index) = $0 { indexes.append(index) } }
            let now = Moment.now
            for index in indexes { note(index, at: now) }
        } while Moment.now < end
    }

    private mutating func note(_ index: Int32, at now: Moment) {
        told[index, default: 0] += 1
        guard told[index] == whole, let flood = underWay.removeValue(forKey: index) else { return }
        flood.stop()
        if let first = flood.firstPacket { seconds.append((now - first).inSeconds) }
    }
}

/// Work for every processor, none of it real-time, for two minutes at most.
private final class Noise {
    private var spinners: [RunningTool] = []
    private var stations: [Station] = []

    init() throws {
        let processors = try readFile("/proc/cpuinfo").split(separator: "\n")
            .count { $0.hasPrefix("processor") }
        for number in 0..<processors {
            spinners.append(
                try RunningTool(
                    "/usr/bin/chrt",
                    ["--other", "0", "timeout", "120", "sh", "-c", "while :; do :; done"]))
            let station = try Station(
                name: "noise\(number)", endpoint: Endpoint(number: UInt16(0xf000 + number)),
                inside: .nobody)
            _ = try station.flood(
                Flood(
                    to: Endpoint(number: 0xfffe), packetsPerSecond: 10_000_000, frameBytes: 60,
                    duration: .seconds(120)))
            stations.append(station)
        }
    }

    func stop() {
        for station in stations { station.close() }
        // timeout(1) passes the signal on.
        for spinner in spinners {
            spinner.signal(15)
            _ = spinner.wait(within: .seconds(5))
        }
    }
}
