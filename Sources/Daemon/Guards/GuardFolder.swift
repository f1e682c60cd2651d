// The folder of guards: a file for a port, which an orchestrator drops in, replaces or removes while
// the daemon runs. Read by a thread of its own, since a disk may be slow.
//
// Invariants: a file counts whole or not at all; one that is broken leaves what was said before, and is
// told once for each of its contents; a file is read again only where it looks different.
internal import Dispatch
internal import LinuxSystem
package import Mitigation
internal import Settings
internal import SystemPackage
package import TrafficControl

/// What was read of a folder of guards.
package struct GuardFolder: Sendable {
    /// What each file's name ends with; what goes before it is the port's name, as `sluicectl status`
    /// prints it. Others are not looked at, so that a file can be written beside its place and renamed.
    package static let suffix = GuardBook.fileSuffix
    /// As many files as are read; what goes beyond is refused.
    private static let mostFiles = 16_384

    /// What changed by a look at the folder.
    package struct Change: Sendable {
        /// All guards that files say by now.
        package var files: [PortName: Guards] = [:]
        /// How many files are new or say something else, or are gone.
        package var changed = 0
        /// Mistakes, a line each.
        package var problems: [String] = []
    }

    private struct File {
        var state: FolderEntry
        var name: PortName?
        /// What it said last without a mistake.
        var guards: Guards?
    }

    private let path: String
    private var files: [String: File] = [:]
    private var folderProblem: String?

    /// A folder that was not looked at yet.
    package init(path: String) { self.path = path }

    /// Looks at the folder; nil where nothing is different. A folder that is not there is empty.
    package mutating func look() -> Change? {
        var change = Change()
        var entries: [FolderEntry] = []
        do throws(Errno) {
            entries = try FolderEntry.list(path, suffix: Self.suffix, most: Self.mostFiles)
            folderProblem = nil
        } catch {
            guard error == .noSuchFileOrDirectory else {
                // What was said before stays.
                let problem = "\(path): \(error)"
                defer { folderProblem = problem }
                guard folderProblem != problem else { return nil }
                change.files = guards
                change.problems = [problem]
                return change
            }
        }
        let present = Set(entries.map(\.name))
        for name in files.keys where !present.contains(name) {
            if files.removeValue(forKey: name)?.guards != nil { change.changed += 1 }
        }
        for entry in entries where files[entry.name]?.state != entry { read(entry, into: &change) }
        guard change.changed > 0 || !change.problems.isEmpty else { return nil }
        change.files = guards
        return change
    }

    private var guards: [PortName: Guards] {
        files.values.reduce(into: [:]) { guards, file in
            if let name = file.name, let said = file.guards { guards[name] = said }
        }
    }

    private mutating func read(_ entry: FolderEntry, into change: inout Change) {
        let former = files[entry.name]?.guards
        var file = File(state: entry, name: nil, guards: former)
        defer { files[entry.name] = file }
        let path = "\(path)/\(entry.name)"
        file.name = PortName(escaped: String(entry.name.dropLast(Self.suffix.count)))
        guard file.name != nil else {
            change.problems.append("\(path): error: its name is no interface's")
            return
        }
        do throws(ConfigurationError) {
            let bytes = try readConfiguration(path, cure: "make it readable, or remove it")
            file.guards = try Guards(parsing: bytes, file: path)
            if file.guards != former { change.changed += 1 }
        } catch {
            change.problems += error.problems.map(\.description)
        }
    }
}

/// Watches a folder of guards beside the turn: inotify(7) says when to look, and a look now and then
/// finds what it lost.
final class GuardWatcher: Sendable {
    private let latest = Handover<GuardFolder.Change>()
    private let queue = DispatchQueue(label: "guards")
    private let path: String
    private let wakeUp: @Sendable () -> Void

    private static let lookInterval: Int32 = 60_000
    /// A folder that is not there may come.
    private static let absentSeconds = 2.0

    /// - Parameter wakeUp: called, by another thread, when there is something to take.
    init(path: String, wakeUp: @escaping @Sendable () -> Void) {
        self.path = path
        self.wakeUp = wakeUp
    }

    /// Looks at the folder, then watches it.
    ///
    /// - Returns: what the folder holds; nil where it holds nothing.
    func start() -> GuardFolder.Change? {
        var folder = GuardFolder(path: path)
        let first = folder.look()
        let looked = folder
        queue.async { [self] in follow(looked) }
        return first
    }

    private func follow(_ looked: GuardFolder) {
        var folder = looked
        if let watch = try? FolderWatch(path: path) {
            // Watched before it is looked at, so that nothing falls between.
            repeat { take(folder.look()) } while watch.wait(milliseconds: Self.lookInterval)
        }
        take(folder.look())
        let latest = folder
        queue.asyncAfter(deadline: .now() + Self.absentSeconds) { [self] in follow(latest) }
    }

    private func take(_ change: GuardFolder.Change?) {
        guard let change else { return }
        latest.put { change.following($0) }
        wakeUp()
    }

    /// What changed since the last call; never waits.
    func next() -> GuardFolder.Change? { latest.take() }
}

extension GuardFolder.Change {
    /// With what a change before it told and nobody took.
    fileprivate func following(_ earlier: GuardFolder.Change?) -> GuardFolder.Change {
        guard let earlier else { return self }
        var both = self
        both.changed += earlier.changed
        both.problems = earlier.problems + problems
        return both
    }
}
