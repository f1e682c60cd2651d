// What replay and suggest read: the daemon's recordings, tables of loads, collectd's files.
// Invariants: a recording is read a file at a time, the oldest first; whatever is wrong names its file
// and what to do.

import ControlAPI
import LinuxSystem
import Mitigation
import Recording
import Settings
import SystemPackage

/// Why an input cannot be read.
struct ReplayError: Error, CustomStringConvertible {
    /// One line.
    var description: String

    /// Exit status of an input that cannot be read.
    static let exitStatus: Int32 = 2
}

/// What `--from` names.
struct ReplaySource {
    private enum Content {
        case files([String])
        case items([RecordedItem])
    }

    private static let longestFile = 300_000_000
    private static let mostFiles = 100_000

    /// As the operator named it.
    let path: String
    private let content: Content
    /// The time between two polls of loads that others wrote down; nil: a recording of the daemon's.
    let interval: Duration?

    /// Looks at what `path` names.
    init(path: String) throws(ReplayError) {
        self.path = path
        if let folders = try? FolderEntry.folders(path, most: Self.mostFiles) {
            let files = try Self.list(path, suffix: RecordFormat.suffix)
            if !files.isEmpty {
                content = .files(files.map { "\(path)/\($0)" })
                interval = nil
                return
            }
            let table = try Self.collectd(path, folders)
            (content, interval) = try Self.content(table, path)
            return
        }
        let bytes = try Self.read(path)
        if RecordingReader.isRecording(bytes) {
            content = .files([path])
            interval = nil
            return
        }
        let table = try Self.sentence { () throws(RateTableError) in
            try RateTable(parsing: bytes, file: path)
        }
        (content, interval) = try Self.content(table, path)
    }

    /// What of it goes over this time, in seconds since 1970: files are named by when they begin.
    func during(_ span: ClosedRange<Double>) -> ReplaySource {
        guard case .files(let files) = content else { return self }
        func stamp(_ seconds: Double) -> String {
            WallClock.stamp(nanoseconds: UInt64(max(seconds, 0) * 1e9))
        }
        func name(_ path: String) -> Substring { path.split(separator: "/").last ?? "" }
        let (begin, end) = (stamp(span.lowerBound), stamp(span.upperBound))
        let first = files.lastIndex { name($0) <= begin[...] } ?? files.startIndex
        let content = Content.files(files[first...].filter { name($0) <= end[...] })
        return ReplaySource(path: path, content: content, interval: interval)
    }

    private init(path: String, content: Content, interval: Duration?) {
        self.path = path
        self.content = content
        self.interval = interval
    }

    /// Gives everything that it says, in order; `note` gets what could not be read of it.
    func read(_ body: (RecordedItem) -> Void, note: (String) -> Void) throws(ReplayError) {
        switch content {
        case .items(let items): for item in items { body(item) }
        case .files(let files):
            for file in files {
                let bytes = try Self.read(file)
                var reader = try Self.sentence("\(file): ") { () throws(RecordingError) in
                    try RecordingReader(bytes)
                }
                while let item = reader.next() { body(item) }
                if let problem = reader.problem { note("\(file): \(problem)") }
            }
        }
    }

    // MARK: Files

    private static func read(_ path: String) throws(ReplayError) -> [UInt8] {
        do throws(Errno) {
            return try WholeInput.read(path: path, limit: longestFile)
        } catch {
            throw ReplayError(description: "cannot read \(path): \(error)")
        }
    }

    private static func list(_ path: String, suffix: String) throws(ReplayError) -> [String] {
        do throws(Errno) {
            return try FolderEntry.list(path, suffix: suffix, most: mostFiles).map(\.name)
        } catch {
            throw ReplayError(description: "cannot read \(path): \(error)")
        }
    }

    private static func sentence<Failure: Error & CustomStringConvertible, Value>(
        _ prefix: String = "", _ body: () throws(Failure) -> Value
    ) throws(ReplayError) -> Value {
        do throws(Failure) {
            return try body()
        } catch {
            throw ReplayError(description: "\(prefix)\(error)")
        }
    }

    private static func content(
        _ table: RateTable, _ path: String
    ) throws(ReplayError) -> (Content, Duration?) {
        let (items, interval) = try sentence { () throws(RateTableError) in
            try table.recording(file: path)
        }
        return (.items(items), interval)
    }

    /// `interface-<name>/if_packets-YYYY-MM-DD` and `if_octets-…`, here or in the folder of one host.
    private static func collectd(
        _ path: String, _ folders: [String]
    ) throws(ReplayError) -> RateTable {
        var root = path
        var interfaces = folders.filter { $0.hasPrefix("interface-") }
        if interfaces.isEmpty {
            let hosts = folders.filter { folder in
                let below = try? FolderEntry.folders("\(path)/\(folder)", most: mostFiles)
                return below?.contains { $0.hasPrefix("interface-") } == true
            }
            guard hosts.count < 2 else {
                throw ReplayError(
                    description: "\(path) holds several hosts, \(hosts[0]) and \(hosts[1]) among "
                        + "them: name the folder of one")
            }
            guard let host = hosts.first else {
                throw ReplayError(
                    description: "\(path) holds neither recordings (*\(RecordFormat.suffix)) nor "
                        + "collectd's folders (interface-NAME)")
            }
            root = "\(path)/\(host)"
            interfaces = ((try? FolderEntry.folders(root, most: mostFiles)) ?? [])
                .filter { $0.hasPrefix("interface-") }
        }
        var table = RateTable()
        for interface in interfaces {
            let folder = "\(root)/\(interface)"
            let name = Array(interface.dropFirst("interface-".count).utf8)
            for file in try list(folder, suffix: "") {
                let unit = file.hasPrefix("if_packets") ? 0 : file.hasPrefix("if_octets") ? 1 : nil
                guard let unit else { continue }
                let path = "\(folder)/\(file)"
                let bytes = try read(path)
                try sentence { () throws(RateTableError) in
                    try table.add(collectd: bytes, port: name, unit: unit, file: path)
                }
            }
        }
        return table
    }
}

// MARK: - Configurations

/// What a replay goes by.
struct ReplayRules {
    /// The new configuration; nil: the recorded ones.
    let configuration: Configuration?
    /// The time between two polls of what is read, where that is no recording of the daemon's.
    let interval: Duration?

    /// - Parameter path: the file of `--config`; nil: none was given.
    init(path: String?, interval: Duration?) throws(ReplayError) {
        self.interval = interval
        guard let path else {
            configuration = interval == nil ? nil : Configuration()
            return
        }
        do throws(ConfigurationError) {
            configuration = try Configuration.load(path: path)
        } catch {
            throw ReplayError(description: "\(error)")
        }
    }

    /// The policy in force under this recorded configuration.
    func policy(_ text: [UInt8]) -> Policy? {
        var policy = configuration?.policy
        if policy == nil {
            policy = try? Configuration(parsing: text, file: "the recorded one").policy
        }
        if let interval { policy?.pollInterval = interval }
        return policy
    }

    /// What the configuration takes a port for.
    func classify(_ port: Port) -> Port? {
        guard let configuration else { return port }
        guard let match = configuration.names.match(port.name) else { return nil }
        var port = port
        port.portClass = match.portClass
        port.netid = match.netid
        return port
    }
}
