// What was told, in files, so that a restart forgets none of it: in the state folder, under `events`,
// a line for each, as `number seconds severity event=…`.
//
// Invariants: beside the turn: a disk that is slow, full or gone delays nobody; files are read once, at
// start, and the two newest are kept, of `fileBytes` each; a line that is cut short is no line.
internal import ControlAPI
internal import Dispatch
internal import FoundationEssentials
internal import LinuxSystem
internal import Synchronization
internal import SystemPackage

/// The files of what was told.
package final class EventArchive: Sendable {
    /// A file that has grown over this is followed by another one.
    static let fileBytes = 1 << 20
    private static let suffix = ".log"
    private static let heading = "# counted since "
    private static let mostFiles = 1_000

    private struct Written: ~Copyable {
        var file: GrowingFile?
        var bytes = 0
        var hasLines = false
        /// The number of the last line that is in a file.
        var last: UInt64 = 0
        var problem: String?
    }

    private let folder: String
    private let history: EventHistory
    private let tell: @Sendable (AlertLine) -> Void
    private let queue = DispatchQueue(label: "events", qos: .utility)
    /// Owned by the queue.
    private let written = Mutex(Written())

    /// Keeps what is told in this folder from now on.
    ///
    /// - Parameter tell: gets why that is not possible, once, and that it works again; on another
    ///   thread.
    init(
        folder: String, history: EventHistory, tell: @escaping @Sendable (AlertLine) -> Void
    ) {
        self.folder = folder
        self.history = history
        self.tell = tell
        history.listen { [self] in queue.async { self.write() } }
        queue.async { self.write() }
    }

    /// Waits until all that was told is written, at most a second.
    func flush() {
        let group = DispatchGroup()
        queue.async(group: group) { self.write() }
        _ = group.wait(timeout: .now() + .seconds(1))
    }

    // MARK: Reading

    /// What a former daemon told; a new history where there is nothing to be read.
    ///
    /// - Parameter now: seconds since 1970.
    static func read(folder: String, now: Double) -> EventHistory {
        let names = (try? FolderEntry.list(folder, suffix: suffix, most: mostFiles)) ?? []
        var lines: [ToldLine] = []
        var startedAt: Double?
        for name in names.suffix(2).map(\.name) {
            let path = "\(folder)/\(name)"
            let bytes = (try? WholeInput.read(path: path, limit: 2 * fileBytes)) ?? []
            let text = String(decoding: bytes, as: UTF8.self)
            var file = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()[...]
            let count = file.popFirst().flatMap { heading(of: $0) }
            guard let count else { continue }
            // Another count than in the file before.
            if startedAt != count { lines = [] }
            startedAt = count
            for line in file.compactMap({ line(of: $0) }) {
                if let last = lines.last?.number, line.number <= last { continue }
                lines.append(line)
            }
        }
        guard let startedAt, !lines.isEmpty else { return EventHistory(startedAt: now) }
        return EventHistory(startedAt: startedAt, lines)
    }

    private static func heading(of line: Substring) -> Double? {
        guard line.hasPrefix(heading) else { return nil }
        return Double(line.dropFirst(heading.count))
    }

    private static func line(of line: Substring) -> ToldLine? {
        let parts = line.split(separator: " ", maxSplits: 3)
        guard parts.count == 4, let number = UInt64(parts[0]), number > 0, number < .max / 2,
            let at = Double(parts[1]), at.isFinite
        else { return nil }
        return ToldLine(
            number: number, at: at, severity: String(parts[2]), line: String(parts[3]))
    }

    // MARK: Writing

    private func write() {
        written.withLock { written in
            do throws(Errno) {
                while let lines = new(after: written.last) {
                    try add(lines, to: &written)
                }
                guard written.problem != nil, written.file != nil else { return }
                written.problem = nil
                tell(AlertLine(.notice, [("event", "events-kept")]))
            } catch {
                // One without a line would stand in the place of one that has some.
                if let path = written.file?.path, !written.hasLines {
                    try? AtomicFile(path: path).remove()
                }
                written.file = nil
                let problem = "\(folder): \(error)"
                guard written.problem != problem else { return }
                written.problem = problem
                tell(AlertLine(.error, [("event", "events-not-kept"), ("why", problem)]))
            }
        }
    }

    private func new(after number: UInt64) -> [ToldLine]? {
        let lines = history.reply(to: EventsRequest(after: number)).events
        return lines.first.flatMap { $0.number > number ? lines : nil }
    }

    private func add(_ lines: [ToldLine], to written: inout Written) throws(Errno) {
        let isNew = written.file == nil || written.bytes > Self.fileBytes
        if isNew { try begin(&written) }
        let text = lines.map { "\($0.number) \($0.at) \($0.severity) \($0.line)\n" }.joined()
        try written.file?.add(Array(text.utf8))
        written.bytes += text.utf8.count
        written.hasLines = true
        written.last = lines.last?.number ?? written.last
        // Not before the new one holds what the oldest may have held alone.
        if isNew { try removeOld() }
    }

    private func begin(_ written: inout Written) throws(Errno) {
        try FolderEntry.makeFolder(folder)
        written.file = nil
        let file = try GrowingFile.stamped(in: folder, suffix: Self.suffix)
        written.file = consume file
        written.hasLines = false
        let heading = "\(Self.heading)\(history.startedAt)\n"
        try written.file?.add(Array(heading.utf8))
        written.bytes = heading.utf8.count
    }

    private func removeOld() throws(Errno) {
        let files = try FolderEntry.list(folder, suffix: Self.suffix, most: Self.mostFiles)
        for file in files.dropLast(2) { try AtomicFile(path: "\(folder)/\(file.name)").remove() }
    }
}
