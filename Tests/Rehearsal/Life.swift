// One life of the daemon, from its start to its end or its death: the real turn over the real kernel
// and the real files. Only the loads and the time are played, so that a ladder takes milliseconds.
// Invariant: what the turn leaves to tell is told, and answered, as the service does it.
import CRehearsal
import ControlAPI
import Daemon
import Lab
import LinkCounters
import Mitigation
import Netlink
import Recording
import Settings
import TrafficControl

/// What the VM's port sees.
enum Load {
    /// Nothing.
    case none
    /// A flood from the VM.
    case flood
    /// A flood to the VM.
    case attack
}

/// The rungs of both directions.
struct Rungs: Hashable {
    var from: Rung
    var to: Rung

    init(_ from: Rung, to: Rung = .normal) {
        self.from = from
        self.to = to
    }

    /// The port's rung.
    var highest: Rung { max(from, to) }
}

/// The kernel's links, with played counters on one of them.
struct PlayedHost: Daemon.Host, ~Copyable {
    static let packetsPerSecond: UInt64 = 20_000

    private var kernel: KernelHost
    private let port: Int32
    private var played = LinkStatistics()
    var load = Load.none

    init(_ kernel: consuming KernelHost, port: Int32) {
        self.kernel = kernel
        self.port = port
    }

    mutating func takeChanges(_ body: (HostChange) -> Void) throws(NetlinkError) {
        try kernel.takeChanges(body)
    }

    mutating func listAgain() { kernel.listAgain() }

    var counterSource: CounterSource { kernel.counterSource }

    mutating func takeStandbyPolls() -> [StandbyPoll] { kernel.takeStandbyPolls() }

    mutating func counters(of index: Int32) throws(NetlinkError) -> LinkStatistics? {
        try kernel.counters(of: index)
    }

    mutating func poll(
        isWanted: (Int32) -> Bool, _ body: (Span<LinkSample>, _ isLate: Bool) -> Void
    ) throws(NetlinkError) {
        let packets = Self.packetsPerSecond / Life.pollsPerSecond
        switch load {
        case .none: break
        case .flood:
            played.rxPackets += packets
            played.rxBytes += packets * 250
        case .attack:
            played.txPackets += packets
            played.txBytes += packets * 250
        }
        let (port, played) = (port, played)
        try kernel.poll(isWanted: isWanted) { samples, isLate in
            for place in samples.indices {
                var sample = samples[place]
                if sample.index == port { sample = LinkSample(index: port, statistics: played) }
                body(CollectionOfOne(sample).span, isLate)
            }
        }
    }

    mutating func defaultRouteInterfaces() throws(NetlinkError) -> Set<Int32> {
        try kernel.defaultRouteInterfaces()
    }
}

/// The journal's files; the durable copy is written before the turn goes on, so that each step of it
/// comes at the same place in every run.
struct FlushedJournal: JournalStore, ~Copyable {
    private var files: FileJournal

    init(_ files: consuming FileJournal) { self.files = files }

    mutating func write(_ state: JournalState, now: Instant) throws(JournalError) {
        try files.write(state, now: now)
        files.flush()
    }
}

/// A running daemon.
struct Life: ~Copyable {
    static let pollsPerSecond: UInt64 = 10
    static let poll = Duration.milliseconds(100)

    private var turn: Turn<PlayedHost, KernelTrafficControl, FlushedJournal>
    private var now: Instant

    /// Starts: reads the journal, looks at the kernel, goes on.
    init(port: TestPort, policy: Policy, journal: JournalSettings) throws {
        now = Instant(nanoseconds: rehearsal_clock()).advanced(by: Self.poll)
        let findings = FileJournal.read(journal, now: now, forgiveness: policy.forgiveness)
        guard findings.problems.isEmpty else {
            throw LabError("read the journal", detail: findings.problems.joined(separator: "; "))
        }
        let files = FileJournal(journal) { error in
            if let error { Program.write("\(error)\n") }
        }
        turn = Turn(
            machine: PlayedHost(try KernelHost.open(), port: port.index),
            control: try KernelTrafficControl.open(TrafficControlSettings()),
            journal: FlushedJournal(files), policy: policy, names: .default,
            remembered: findings.state, now: now)
        turn.start(now: now)
        tell()
    }

    /// Turns once under this load.
    mutating func play(_ load: Load) {
        now = now.advanced(by: Self.poll)
        rehearsal_set_clock(now.nanoseconds)
        turn.machine.load = load
        let now = now
        turn.run(now: now) { now }
        tell()
    }

    /// Turns under this load until `rungs` are reached and confirmed.
    ///
    /// - Throws: where they are not reached in twenty seconds of played time.
    mutating func play(_ load: Load, until rungs: Rungs?) throws {
        for _ in 0..<200 {
            play(load)
            if isSettled(on: rungs) { return }
        }
        throw LabError("reach \(rungs.map { "\($0)" } ?? "the end")", detail: described)
    }

    /// An operator's word, as it comes over the socket.
    mutating func release() {
        _ = turn.release(ReleaseRequest(all: true), now: now)
        tell()
    }

    /// Ends as on SIGTERM: everything stays in place.
    mutating func stop() { turn.writeLast(now: now) }

    /// The port is there on these rungs, confirmed; nil: it is not watched.
    func isSettled(on rungs: Rungs?) -> Bool {
        guard let view else { return rungs == nil }
        return rungs == Rungs(view.fromRung, to: view.toRung) && view.pending == nil
            && view.problem == nil
    }

    /// How it is, for an error.
    var described: String {
        view.map { "on \($0.fromRung) and \($0.toRung), \($0.problem ?? "no problem")" }
            ?? "not watched"
    }

    /// The only port that there is.
    private var view: PortView? {
        for slot in turn.engine.slots { return turn.engine.view(slot) }
        return nil
    }

    /// As the service does after each turn. The page that outlives us stands for syslog.
    private mutating func tell() {
        let output = turn.output
        guard !output.isEmpty else { return }
        for line in output.untold { tell(line.text) }
        for event in output.events { tell(AlertLine(event).text) }
        turn.wasTold(now: now)
    }

    private func tell(_ line: String) {
        var fields: [Substring: Substring] = [:]
        for field in line.split(separator: " ") {
            let parts = field.split(separator: "=", maxSplits: 1)
            if parts.count == 2, fields[parts[0]] == nil { fields[parts[0]] = parts[1] }
        }
        guard fields["event"] == "move", let sequence = fields["seq"].flatMap({ UInt64($0) }),
            let rung = fields["to"].flatMap({ Rung(String($0)) })
        else { return }
        rehearsal_tell(sequence, Int32(rung.rawValue))
    }
}
