// The turn's side of the recording: what its engine wrote goes to the writer after each turn, and what
// was lost is said once.
internal import LinuxSystem
internal import Mitigation
internal import Recording
internal import Settings

/// Keeps the recording of a daemon's engine.
struct RecordKeeper: Sendable {
    private let settings: RecorderSettings
    private let writer: RecordingWriter
    private var lost: UInt64 = 0
    private var isLosing = false

    /// Nil where nothing is to be recorded. `tell` gets what the writer has to tell, on its thread.
    init?(_ settings: RecordingSettings, tell: @escaping @Sendable (AlertLine) -> Void) {
        guard settings.isEnabled else { return nil }
        var recorder = RecorderSettings()
        recorder.interval = settings.interval
        recorder.fileBytes = Self.fileBytes(settings)
        self.settings = recorder
        writer = RecordingWriter(settings, capacity: recorder.capacity, tell: tell)
    }

    /// About so many bytes go into a file: a sixteenth of the quota, so that the oldest that is
    /// deleted is little of what is kept.
    static func fileBytes(_ settings: RecordingSettings) -> Int {
        Int(min(max(settings.quota / 16, 65_536), 16_000_000))
    }

    /// Before the engine is told anything.
    func begin(_ engine: inout RecordedEngine, configuration: [UInt8], now: Instant) {
        engine.record(
            settings, configuration: configuration, now: now,
            wallNanoseconds: WallClock.nanoseconds)
    }

    /// After a turn; never waits. Gives what is to be told.
    mutating func endTurn(_ engine: inout RecordedEngine, now: Instant) -> AlertLine? {
        if writer.takeBroken() { engine.breakRecording() }
        engine.endTurn(now: now, wallNanoseconds: { WallClock.nanoseconds }) {
            writer.offer(&$0, beginsFile: $1)
        }
        let dropped = engine.recorder?.dropped ?? 0
        guard dropped != lost else {
            isLosing = false
            return nil
        }
        lost = dropped
        guard !isLosing else { return nil }
        isLosing = true
        return AlertLine(
            .warning,
            [
                ("event", "recording-lost"), ("records", "\(dropped)"),
                ("why", "the disk is slower than what is recorded"),
            ])
    }

    /// The last turn was: all that is left is written.
    func end(_ engine: inout RecordedEngine, now: Instant) {
        engine.endTurn(now: now, wallNanoseconds: { WallClock.nanoseconds }, isLast: true) {
            writer.offer(&$0, beginsFile: $1)
        }
        writer.end()
    }
}
