// What stands beside a decision and writes down what it sees, says and is told: all of what can change
// a decision, and of the rest a look now and then.
//
// What is left out cannot change a decision. A port without an incident that is below its marks
// leaves a trace in the engine in three ways only: as the sample before the next one (its counters
// and their time); as a bit of history, which is gone after 64 polls; and as a part of its
// cloudspace (the sum of its VMs, the way of a flood through its router or VTEP). So every poll of a
// port is written while one of these holds, for it or for another port of its cloudspace, and for 64
// polls more:
//   it has an incident;
//   its load is at or over a quarter of its low mark, or its cloudspace's sum of the group's low mark;
//   it is one of a cloudspace, and the last three polls did not show it (its load stays as it was).
// And when that begins, what was read of it in the second before is written first, since a sample
// measures what came since the one before it. An operator who brings a quiet port up the ladder has it
// calibrated by its latest load, and the way of its flood by its router's of a second: then, too.
//
// Invariants: a poll without a new incident allocates nothing; the buffer never grows beyond its bound
// and one turn: what does not fit is dropped and counted, and the recording begins anew when there is
// room.
public import Mitigation

/// How a recorder records.
public struct RecorderSettings: Hashable, Sendable {
    /// How often the counters of every port that moved are written.
    public var interval: Duration = .seconds(10)
    /// The most bytes that wait to be taken.
    public var capacity = 512 * 1_024
    /// About so many bytes go into one file.
    public var fileBytes = 16 * 1_024 * 1_024

    /// The defaults.
    public init() {}
}

/// Writes down one engine's polls, inputs and events.
public struct Recorder: Sendable {
    /// The configuration that the engine goes by, as it was read. Its owner changes it together with
    /// the engine's policy.
    public var configuration: [UInt8]
    /// Records that were dropped since the buffer had no room.
    public private(set) var dropped: UInt64 = 0

    private let settings: RecorderSettings
    private let startedAt: Instant
    private var watch: PortWatch
    private var writer = RecordWriter()
    /// Where the open frame begins in the buffer, and when it was opened; nil: none is open.
    private var frame: (place: Int, at: UInt64)?
    /// Where the present turn begins in the buffer.
    private var turnBegin = 0
    /// Where the start ends that the buffer begins with.
    private var startEnd = 0
    /// The buffer begins a file.
    private var beginsFile = false
    private var bytesInFile = 0
    /// Something was dropped, or nothing was written yet: records are of no use before a start.
    private var isBroken = true
    /// The moment that the next one is told from, and the time between the latest two polls.
    private var latest: UInt64 = 0
    private var step: UInt64 = 0
    private var wholeAt: UInt64
    /// The places of the samples of one poll that are written.
    private var chosen: [Int32] = []
    private var chosenEarlier: [Int32] = []

    /// A recorder of an engine that begins now. `start` is to be called before anything else.
    public init(
        _ settings: RecorderSettings, configuration: [UInt8], policy: Policy, now: Instant
    ) {
        self.settings = settings
        self.configuration = configuration
        startedAt = now
        wholeAt = now.nanoseconds
        watch = PortWatch(policy)
        writer.bytes.reserveCapacity(settings.capacity + 4_096)
    }

    // MARK: What the engine is told, and tells

    mutating func sample(_ samples: Span<PortSample>) {
        watch.sample(samples)
    }

    mutating func take(_ input: EngineInput, policy: Policy, at: Instant) {
        switch input {
        case .appear(let port, let place): watch.appear(port, at: place)
        case .vanish(let id): watch.vanish(id)
        case .replace: watch.replace(policy)
        default: break
        }
        if case .escalate(let id) = input, hasRoom(0, now: at.nanoseconds) {
            watch.heat(id)
            writeEarlier()
        }
        guard hasRoom(2_048 + configuration.count, now: at.nanoseconds) else { return }
        writer.byte(RecordTag.input.rawValue)
        writer.change(from: latest, to: at.nanoseconds)
        writer.value(input)
    }

    mutating func tell(_ event: Event) {
        guard hasRoom(2_048, now: event.at.nanoseconds) else { return }
        writer.byte(RecordTag.event.rawValue)
        writer.value(event)
    }

    /// A poll was decided: what may matter of it is written.
    mutating func finishPoll(_ engine: Engine, now: Instant) {
        watch.judge(engine)
        defer { watch.advance() }
        let isWhole = now.nanoseconds >= wholeAt
        if isWhole {
            wholeAt = now.nanoseconds &+ max(settings.interval.wholeNanoseconds, 1_000_000)
        }
        chosen.removeAll(keepingCapacity: true)
        if chosen.capacity < watch.order.count { chosen.reserveCapacity(watch.order.count * 2) }
        for place in watch.order where isWhole || watch.isAnyHot {
            if watch.isHot(Int(place)) || isWhole && watch.hasMoved(Int(place)) {
                chosen.append(place)
            }
        }
        guard hasRoom(0, now: now.nanoseconds) else { return }
        if watch.newlyHot { writeEarlier() }
        let at = watch.readAt ?? now.nanoseconds
        writer.byte(RecordTag.poll.rawValue)
        writer.signed(Int64(bitPattern: at &- latest &- step))
        writer.change(from: at, to: now.nanoseconds)
        step = at &- latest
        latest = at
        writer.number(UInt64(chosen.count))
        var last = 0
        for place in chosen {
            watch.write(Int(place), ago: 0, after: last, into: &writer)
            last = Int(place)
        }
        // One turn alone always fits, however many ports there are.
        if writer.bytes.count > settings.capacity, turnBegin > startEnd { dropTurn() }
    }

    /// What ports showed that matter from this poll on, the oldest poll first.
    private mutating func writeEarlier() {
        for ago in (1...watch.lookback).reversed() {
            chosenEarlier.removeAll(keepingCapacity: true)
            for slot in watch.ports.indices where watch.isEarlier(slot, ago: ago) {
                chosenEarlier.append(Int32(slot))
            }
            guard !chosenEarlier.isEmpty else { continue }
            writer.byte(RecordTag.earlier.rawValue)
            writer.number(UInt64(ago))
            writer.number(UInt64(chosenEarlier.count))
            var last = 0
            for place in chosenEarlier {
                watch.write(Int(place), ago: ago, after: last, into: &writer)
                last = Int(place)
            }
        }
    }

    // MARK: Frames

    /// Whether so many bytes more may be written; opens a frame.
    private mutating func hasRoom(_ count: Int, now: UInt64) -> Bool {
        guard !isBroken else {
            dropped += 1
            return false
        }
        let size = writer.bytes.count + RecordFormat.frameHead + count
        guard size <= settings.capacity || turnBegin <= startEnd else {
            dropTurn()
            return false
        }
        if frame == nil {
            frame = (writer.bytes.count, now)
            for _ in 0..<RecordFormat.frameHead { writer.byte(0) }
        }
        return true
    }

    /// Takes the present turn back: what is written are whole turns.
    private mutating func dropTurn() {
        isBroken = true
        dropped += 1
        writer.bytes.removeLast(writer.bytes.count - turnBegin)
        if let frame, frame.place >= turnBegin { self.frame = nil }
        closeFrame()
    }

    private mutating func closeFrame() {
        guard let place = frame?.place else { return }
        frame = nil
        let begin = place + RecordFormat.frameHead
        let end = writer.bytes.count
        guard end > begin else {
            writer.bytes.removeLast(end - place)
            return
        }
        let checksum = RecordFormat.checksum(writer.bytes, in: begin..<end)
        RecordFormat.put(UInt32(end - begin), in: &writer.bytes, at: place)
        RecordFormat.put(checksum, in: &writer.bytes, at: place + 4)
    }

    // MARK: Its owner's side

    /// Writes where the recording begins: before the first input, and as soon as it can be after
    /// something was dropped, or a file is long enough. Whole turns only: between two of them.
    ///
    /// - Parameter wallNanoseconds: the wall clock, in nanoseconds since 1970.
    mutating func start(_ engine: Engine, now: Instant, wallNanoseconds: UInt64) {
        guard writer.bytes.isEmpty else { return }
        let start = RecordedStart(
            continues: !isBroken, startedAt: startedAt, now: now, wallNanoseconds: wallNanoseconds,
            configuration: configuration, modes: engine.policy.modes, memory: engine.memory,
            ports: watch.ports.indices.compactMap { place in
                watch.ports[place].map {
                    RecordedStart.PlacedPort(
                        port: $0, place: place, memory: engine.memory(place, now: now),
                        order: engine.view(place).order)
                }
            })
        isBroken = false
        beginsFile = true
        bytesInFile = 0
        watch.forgetWritten()
        writer.bytes += RecordFormat.magic
        // It may be longer than the buffer, where there are many ports: it is taken at once.
        frame = (writer.bytes.count, now.nanoseconds)
        for _ in 0..<RecordFormat.frameHead { writer.byte(0) }
        writer.byte(RecordTag.start.rawValue)
        writer.value(start)
        closeFrame()
        turnBegin = writer.bytes.count
        startEnd = turnBegin
        latest = now.nanoseconds
        step = 0
    }

    /// A turn ends: what is a second old, or much, can be taken.
    ///
    /// - Returns: whether there is something to take.
    mutating func endTurn(now: Instant) -> Bool {
        if let frame {
            let age = now.nanoseconds &- frame.at
            let size = writer.bytes.count - frame.place
            if age >= 1_000_000_000 || size >= 32_768 { closeFrame() }
        }
        turnBegin = writer.bytes.count
        return frame == nil && !writer.bytes.isEmpty
    }

    /// What was given away before is lost: nothing is of use before another start.
    mutating func breakOff() {
        frame = nil
        writer.bytes.removeAll(keepingCapacity: true)
        turnBegin = 0
        startEnd = 0
        isBroken = true
    }

    /// All that was written, whole turns; an open frame is closed.
    mutating func flush() { closeFrame() }

    /// Whether a new file is due: nothing waits, and this one is long enough, or broken.
    var isStartDue: Bool {
        writer.bytes.isEmpty && (isBroken || bytesInFile >= settings.fileBytes)
    }

    /// Gives what was written for an empty buffer, which is kept.
    ///
    /// - Parameter body: gets the bytes, and whether they begin a file; leaves an empty array.
    mutating func give(_ body: (inout [UInt8], _ beginsFile: Bool) -> Void) {
        guard frame == nil, !writer.bytes.isEmpty else { return }
        let count = writer.bytes.count
        body(&writer.bytes, beginsFile)
        guard writer.bytes.isEmpty else { return }
        bytesInFile += count
        turnBegin = 0
        startEnd = 0
        beginsFile = false
    }
}
