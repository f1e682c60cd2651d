// The journal in files. What the turn writes goes to the runtime folder, a file system in memory, and
// so never waits for a disk; a copy goes to the state folder, beside the turn, and is made durable
// there.
//
// Why this is enough: the kernel's objects end with the machine, and so does the runtime folder. A
// crash of the daemon loses neither; a loss of power loses both, and leaves the durable copy, from
// which strikes are taken.
internal import Dispatch
internal import LinuxSystem
package import Mitigation
package import Settings
internal import Synchronization
internal import SystemPackage

extension JournalSettings {
    /// The two files: in memory, and durable.
    var files: (runtime: AtomicFile, durable: AtomicFile) {
        (AtomicFile(path: runtime + "/journal.json"), AtomicFile(path: directory + "/journal.json"))
    }
}

/// What was found at start.
package struct JournalFindings: Sendable {
    /// What is remembered, by the present clock; nil where there is no journal.
    package var state: JournalState?
    /// What is wrong with the files, a sentence each.
    package var problems: [String] = []
}

/// The journal's files.
package struct FileJournal: JournalStore, ~Copyable {
    private let runtime: AtomicFile
    private let keeper: JournalKeeper
    private let boot = RunningKernel.boot

    /// The journal in these folders, which are made where they are not there; nothing is read or
    /// written. Where a folder cannot be made, the first write says so.
    ///
    /// - Parameter tell: called on another thread where the durable copy cannot be written, once for
    ///   each reason, and with nil when it is written again.
    package init(_ settings: JournalSettings, tell: @escaping @Sendable (JournalError?) -> Void) {
        runtime = settings.files.runtime
        try? settings.files.runtime.makeFolder()
        try? settings.files.durable.makeFolder()
        keeper = JournalKeeper(settings.files.durable, tell: tell)
    }

    /// What is remembered: the file in memory, or, after a start of the machine or where that one is
    /// broken, the durable copy. A broken file is set aside as `journal.json.broken`.
    package static func read(
        _ settings: JournalSettings, now: Instant, forgiveness: Duration
    ) -> JournalFindings {
        var findings = JournalFindings()
        let files = settings.files
        for file in [files.runtime, files.durable] {
            do throws(JournalError) {
                guard let document = try read(file) else { continue }
                findings.state = document.state(
                    boot: RunningKernel.boot, now: now, wallClock: WallClock.seconds,
                    forgiveness: forgiveness)
                return findings
            } catch {
                findings.problems.append(error.description)
                try? file.setAside(as: ".broken")
            }
        }
        return findings
    }

    /// Deletes both files.
    package static func remove(_ settings: JournalSettings) throws(JournalError) {
        for file in [settings.files.runtime, settings.files.durable] {
            do throws(Errno) {
                try file.remove()
            } catch {
                throw JournalError("\(file.path): \(error)")
            }
        }
    }

    package mutating func write(_ state: JournalState, now: Instant) throws(JournalError) {
        let bytes = try JournalDocument(
            boot: boot, savedAt: now, wallClock: WallClock.seconds, state: state
        ).bytes()
        keeper.keep(bytes)
        do throws(Errno) {
            try runtime.replace(bytes, isDurable: false)
        } catch {
            throw JournalError("\(runtime.path): \(error)")
        }
    }

    /// How the durable copy fares. Never waits.
    package var durableHealth: JournalHealth { keeper.health }

    /// Waits until the durable copy is the last state that was written, a second at most.
    package func flush() { keeper.flush() }

    private static func read(_ file: AtomicFile) throws(JournalError) -> JournalDocument? {
        let bytes: [UInt8]?
        do throws(Errno) {
            bytes = try file.read(limit: JournalDocument.longest)
        } catch {
            throw JournalError("\(file.path): \(error)")
        }
        guard let bytes else { return nil }
        do throws(JournalError) {
            return try JournalDocument(bytes: bytes)
        } catch {
            throw JournalError("\(file.path): \(error)")
        }
    }
}

/// Copies the journal to disk, on a thread of its own: a disk that does not answer delays nobody, and
/// only the newest state is copied when it does.
private final class JournalKeeper: Sendable {
    private struct Waiting: Sendable {
        var bytes: [UInt8]?
        var isCopying = false
    }

    private let file: AtomicFile
    private let tell: @Sendable (JournalError?) -> Void
    private let waiting = Mutex(Waiting())
    private let told = Mutex<Errno?>(nil)
    private let failures = Atomic<UInt64>(0)
    private let isBroken = Atomic<Bool>(false)
    private let queue = DispatchQueue(label: "journal")

    init(_ file: AtomicFile, tell: @escaping @Sendable (JournalError?) -> Void) {
        self.file = file
        self.tell = tell
    }

    /// Leaves a state to be copied; the lock is only ever held for an exchange.
    func keep(_ bytes: [UInt8]) {
        let mustStart = waiting.withLock { waiting in
            waiting.bytes = bytes
            defer { waiting.isCopying = true }
            return !waiting.isCopying
        }
        if mustStart { queue.async { [self] in copy() } }
    }

    var health: JournalHealth {
        JournalHealth(
            failures: failures.load(ordering: .relaxed), isBroken: isBroken.load(ordering: .relaxed)
        )
    }

    func flush() {
        let group = DispatchGroup()
        queue.async(group: group) {}
        _ = group.wait(timeout: .now() + .seconds(1))
    }

    private func copy() {
        while let bytes = next() {
            do throws(Errno) {
                try file.replace(bytes, isDurable: true)
                isBroken.store(false, ordering: .relaxed)
                let wasBroken = told.withLock { told in
                    defer { told = nil }
                    return told != nil
                }
                if wasBroken { tell(nil) }
            } catch {
                failures.add(1, ordering: .relaxed)
                isBroken.store(true, ordering: .relaxed)
                let isNew = told.withLock { told in
                    defer { told = error }
                    return told != error
                }
                if isNew { tell(JournalError("\(file.path): \(error)")) }
            }
        }
    }

    private func next() -> [UInt8]? {
        waiting.withLock { waiting in
            let bytes = waiting.bytes
            waiting.bytes = nil
            if bytes == nil { waiting.isCopying = false }
            return bytes
        }
    }
}
