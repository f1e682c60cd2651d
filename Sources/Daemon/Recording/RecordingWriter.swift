// A recording on its way to the disk, beside the turn: a disk that is slow, full or gone delays nobody.
//
// Invariants: one buffer is on the way at a time, and the turn keeps the other; what could not be
// written is a hole that the recorder is told of, so that it begins anew; all files together keep to
// the quota, and the newest is never deleted.
internal import Dispatch
internal import LinuxSystem
internal import Recording
internal import Settings
internal import Synchronization
internal import SystemPackage

/// Writes what a recorder gives, on a thread of its own.
final class RecordingWriter: Sendable {
    private struct Waiting {
        var bytes: [UInt8]
        var beginsFile = false
        var isLast = false
    }

    private static let mostFiles = 65_536
    private let settings: RecordingSettings
    private let capacity: Int
    private let tell: @Sendable (AlertLine) -> Void
    private let waiting: Mutex<Waiting>
    private let bell = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let isBroken = Atomic<Bool>(false)

    /// A writer into the settings' folder, which is made where it is not there.
    ///
    /// - Parameters:
    ///   - capacity: the most bytes that are given at once.
    ///   - tell: gets what goes wrong, once, and that it works again; on another thread.
    init(
        _ settings: RecordingSettings, capacity: Int,
        tell: @escaping @Sendable (AlertLine) -> Void
    ) {
        self.settings = settings
        self.tell = tell
        self.capacity = capacity + 4_096
        var bytes: [UInt8] = []
        bytes.reserveCapacity(self.capacity)
        waiting = Mutex(Waiting(bytes: bytes))
        DispatchQueue(label: "record", qos: .utility).async { [self] in run() }
    }

    /// Takes the bytes for an empty buffer; leaves them where the ones before are not written yet.
    /// Never waits.
    func offer(_ bytes: inout [UInt8], beginsFile: Bool) {
        let isTaken = waiting.withLockIfAvailable { waiting in
            guard waiting.bytes.isEmpty else { return false }
            swap(&waiting.bytes, &bytes)
            waiting.beginsFile = beginsFile
            return true
        }
        if isTaken == true { bell.signal() }
    }

    /// Whether something was lost on the way since this was last asked.
    func takeBroken() -> Bool { isBroken.exchange(false, ordering: .relaxed) }

    /// No more is given. Waits until all is written, at most a second.
    func end() {
        waiting.withLock { $0.isLast = true }
        bell.signal()
        _ = ended.wait(timeout: .now() + .seconds(1))
    }

    // MARK: Its own thread

    private func run() {
        var file = OpenFile()
        var spare: [UInt8] = []
        spare.reserveCapacity(capacity)
        while true {
            bell.wait()
            let (beginsFile, isLast) = waiting.withLock { waiting in
                swap(&waiting.bytes, &spare)
                return (waiting.beginsFile, waiting.isLast)
            }
            if !spare.isEmpty {
                let former = file.problem
                write(spare, beginsFile: beginsFile, to: &file)
                if let why = file.problem, why != former {
                    tell(AlertLine(.error, [("event", "recording-failed"), ("why", why)]))
                } else if file.problem == nil, former != nil {
                    tell(AlertLine(.notice, [("event", "recording-works")]))
                }
            }
            // Its room goes back, for the next time.
            spare.removeAll(keepingCapacity: true)
            waiting.withLock { if $0.bytes.isEmpty { swap(&$0.bytes, &spare) } }
            if isLast { break }
        }
        ended.signal()
    }

    /// The file that is written; none after a failure, until another one begins.
    private struct OpenFile: ~Copyable {
        var file: GrowingFile?
        var retryAt: UInt64 = 0
        /// What stood in the way of the latest bytes; nil where they are in the file.
        var problem: String?
    }

    private func write(_ bytes: [UInt8], beginsFile: Bool, to open: inout OpenFile) {
        let now = MonotonicClock.nanoseconds
        // What belongs to a file that failed is of no use; and a broken disk is left alone for a while.
        guard beginsFile || open.file != nil, now >= open.retryAt else {
            return isBroken.store(true, ordering: .relaxed)
        }
        do throws(Errno) {
            if beginsFile {
                try FolderEntry.makeFolder(settings.directory)
                try keepQuota(adding: bytes.count)
                open.file = try GrowingFile.stamped(
                    in: settings.directory, suffix: RecordFormat.suffix)
            }
            try open.file?.add(bytes)
            open.problem = nil
        } catch {
            open.file = nil
            open.retryAt = now + 10_000_000_000
            open.problem = "\(settings.directory): \(error)"
            isBroken.store(true, ordering: .relaxed)
        }
    }

    /// Deletes the oldest files until as much as one more file is free.
    private func keepQuota(adding count: Int) throws(Errno) {
        let files = try FolderEntry.list(
            settings.directory, suffix: RecordFormat.suffix, most: Self.mostFiles)
        let room = UInt64(max(RecordKeeper.fileBytes(settings), count))
        var sum = files.reduce(room) { $0 &+ UInt64(max($1.size, 0)) }
        for file in files where sum > settings.quota {
            try AtomicFile(path: "\(settings.directory)/\(file.name)").remove()
            sum -= UInt64(max(file.size, 0))
        }
    }
}
