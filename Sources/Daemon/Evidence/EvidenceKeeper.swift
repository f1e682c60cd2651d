// The samples of trips, beside the turn: what a port sent while it tripped, on disk and in a few words.
//
//   turn --take--> lane (one of four) --sample, keep, sum up--> tidings --> turn, log
//   socket --> mailbox --> turn --answer--> readers' thread --reply--> socket
//
// Invariants: the turn hands over and goes on: it waits for no lock, and for no disk; no more than
// `lanes` samples are taken at once, and what comes beyond is counted, not queued; whatever goes wrong
// is told and counted, and nothing else comes of it.
internal import ControlAPI
internal import Dispatch
internal import Evidence
internal import LinuxSystem
internal import Mitigation
internal import Settings
internal import Synchronization
internal import SystemPackage

/// What became of the samples.
package struct EvidenceCounts: Hashable, Sendable {
    /// Taken and kept.
    package var kept: UInt64 = 0
    /// Taken, and the disk would not have them.
    package var unkept: UInt64 = 0
    /// Not taken: the interface was gone, or the kernel refused.
    package var failed: UInt64 = 0
    /// Not taken, since enough others were.
    package var skipped: UInt64 = 0

    /// None.
    package init() {}
}

/// What is asked for of the samples.
package enum EvidenceRequest: Hashable, Sendable {
    /// Which there are: `GET /v1/evidence`.
    case list
    /// What one holds, by its incident: `GET /v1/evidence/NUMBER`.
    case report(UInt32)
    /// Its packets: `GET /v1/evidence/NUMBER.pcap`.
    case packets(UInt32)
}

/// Takes samples, keeps them, and reads them out.
final class EvidenceKeeper: Sendable {
    typealias Sampler = @Sendable (EvidenceTrip) throws(EvidenceFailure) -> PacketSample

    /// As many samples are taken at once.
    static let lanes = 4
    /// As many requests wait for the disk.
    static let mostReaders = 8
    /// Of as many incidents it is remembered that they have a sample.
    private static let remembered = 64

    private let settings: EvidenceSettings
    private let store: EvidenceStore
    private let sample: Sampler
    private let tell: @Sendable (AlertLine) -> Void
    /// Threads that wait for packets and for the disk.
    private let lanes: [Lane]
    private let readers = DispatchQueue(label: "evidence-readers")
    private let waitingReaders = Atomic<Int>(0)
    /// Held while a sample is written.
    private let writing = Mutex(())
    private let kept = Atomic<UInt64>(0)
    private let unkept = Atomic<UInt64>(0)
    private let failed = Atomic<UInt64>(0)
    private let skipped = Atomic<UInt64>(0)
    /// Owned by the turn's thread.
    private let recent = Mutex<[UInt32]>([])

    private final class Lane: Sendable {
        let queue: DispatchQueue
        let isBusy = Atomic<Bool>(false)

        init(_ number: Int) { queue = DispatchQueue(label: "evidence-\(number)") }

        /// Whether it was free and is the caller's now.
        func take() -> Bool {
            isBusy.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing)
                .exchanged
        }
    }

    /// - Parameters:
    ///   - sample: looks at a port for a moment; on a thread that may wait.
    ///   - tell: gets what became of a sample, on another thread.
    init(
        _ settings: EvidenceSettings, sample: @escaping Sampler = PacketSampler.sample,
        tell: @escaping @Sendable (AlertLine) -> Void
    ) {
        self.settings = settings
        self.sample = sample
        self.tell = tell
        store = EvidenceStore(settings: settings)
        lanes = (0..<Self.lanes).map { Lane($0) }
    }

    // MARK: The turn's side

    /// Begins to sample a trip, where a thread is free; once for each incident. Never waits.
    ///
    /// - Returns: what is to be told where none is free.
    func take(_ trip: EvidenceTrip) -> AlertLine? {
        guard settings.isEnabled, isNew(trip.incident) else { return nil }
        guard let lane = lanes.first(where: { $0.take() }) else {
            skipped.add(1, ordering: .relaxed)
            return AlertLine(trip, "evidence-skipped", "\(Self.lanes) samples are being taken")
        }
        lane.queue.async { [self] in
            run(trip)
            lane.isBusy.store(false, ordering: .releasing)
        }
        return nil
    }

    /// What became of all samples so far. Never waits.
    var counts: EvidenceCounts {
        var counts = EvidenceCounts()
        counts.kept = kept.load(ordering: .relaxed)
        counts.unkept = unkept.load(ordering: .relaxed)
        counts.failed = failed.load(ordering: .relaxed)
        counts.skipped = skipped.load(ordering: .relaxed)
        return counts
    }

    /// Answers on another thread, or at once where too many wait for the disk.
    func answer(_ request: EvidenceRequest, _ reply: @escaping Mailbox.Reply) {
        guard waitingReaders.add(1, ordering: .relaxed).newValue <= Self.mostReaders else {
            waitingReaders.subtract(1, ordering: .relaxed)
            return reply(
                .problem(
                    503, Problem(error: "too many wait for the disk", cure: "ask again in a second")
                ))
        }
        readers.async { [self] in
            reply(read(request))
            waitingReaders.subtract(1, ordering: .relaxed)
        }
    }

    private func isNew(_ incident: UInt32) -> Bool {
        recent.withLock { recent in
            guard !recent.contains(incident) else { return false }
            if recent.count == Self.remembered { recent.removeFirst() }
            recent.append(incident)
            return true
        }
    }

    // MARK: Their own threads

    private func run(_ trip: EvidenceTrip) {
        let began = WallClock.exactSeconds
        let taken: PacketSample
        do throws(EvidenceFailure) {
            taken = try sample(trip)
        } catch {
            failed.add(1, ordering: .relaxed)
            return tell(AlertLine(trip, "evidence-failed", error.description))
        }
        let report = EvidenceReport(
            incident: trip.incident, port: "\(trip.name)", direction: trip.direction.rawValue,
            mode: trip.mode.rawValue, takenAt: began, unseen: taken.unseen,
            cutShort: taken.cutShort,
            summary: SampleSummary(taken.packets, sources: trip.sources))
        do throws(Errno) {
            let bytes = CaptureFile.bytes(of: taken.packets)
            try keep(report, bytes)
            kept.add(1, ordering: .relaxed)
            tell(AlertLine(report, file: store.path(of: trip.incident), problem: nil))
        } catch {
            unkept.add(1, ordering: .relaxed)
            tell(AlertLine(report, file: nil, problem: "\(settings.directory): \(error)"))
        }
    }

    private func keep(_ report: EvidenceReport, _ packets: [UInt8]) throws(Errno) {
        let result = writing.withLock { _ in
            Result { () throws(Errno) in try store.keep(report, packets: packets) }
        }
        try result.get()
    }

    private func read(_ request: EvidenceRequest) -> ControlReply {
        do throws(Errno) {
            switch request {
            case .list: return .evidenceList(try store.list())
            case .report(let incident):
                return try store.report(of: incident).map { .evidence($0) } ?? Self.none(incident)
            case .packets(let incident):
                return try store.packets(of: incident).map { .packets($0) } ?? Self.none(incident)
            }
        } catch {
            return .problem(
                500, Problem(error: "the sample cannot be read: \(settings.directory): \(error)"))
        }
    }

    private static func none(_ incident: UInt32) -> ControlReply {
        .problem(
            404,
            Problem(
                error: "there is no sample of incident \(incident)",
                cure: "sluicectl evidence lists those that are kept; evidence.quota says how many"))
    }
}

extension AlertLine {
    /// A sample was taken.
    fileprivate init(_ report: EvidenceReport, file: String?, problem: String?) {
        self.init(
            problem == nil ? .notice : .error,
            [
                ("event", "evidence"), ("incident", "\(report.incident)"), ("port", report.port),
                ("direction", report.direction), ("packets", "\(report.summary.packets)"),
                ("file", file), ("summary", report.summary.line), ("cut_short", report.cutShort),
                ("why", problem), ("mode", report.mode),
            ])
    }

    /// None was.
    fileprivate init(_ trip: EvidenceTrip, _ event: String, _ why: String) {
        self.init(
            .warning,
            [
                ("event", event), ("incident", "\(trip.incident)"),
                ("port", "\(trip.name)"), ("why", why), ("mode", trip.mode.rawValue),
            ])
    }
}
