// The daemon's socket, its journal, its recording, its log, and its configuration.
internal import ControlAPI
internal import Settings

extension HostFacts {
    /// Of files and sockets.
    var fileFindings: [Finding] {
        [socketFinding, stateFinding] + journalFindings + [recordingFinding, logFinding]
    }

    private var isAnswering: Bool {
        if case .answers = daemon { true } else { false }
    }

    /// It runs for longer than the first of what it writes takes.
    private var isSettled: Bool {
        if case .answers(let status, _) = daemon { status.uptimeSeconds > 60 } else { false }
    }

    private var socketFinding: Finding {
        switch socket {
        case .hidden(let why):
            return Finding(.note, .files, "socket", "\(socketPath): \(why)", cure: Self.asRoot)
        case .seen(nil):
            return Finding(
                .problem, .files, "socket", "\(socketPath) is not there",
                cure: "systemctl start sluiced, or name another socket by --socket")
        case .seen(let file?):
            let fact = "\(socketPath): \(Self.told(file))"
            guard file.kind == .socket else {
                return Finding(
                    .problem, .files, "socket", "\(fact): it is no socket",
                    cure: "remove it, and start the daemon again")
            }
            if let socketGroup, file.group != socketGroup {
                return Finding(
                    .warning, .files, "socket",
                    "\(fact): the group of [control] is \(socketGroup), so that its members cannot "
                        + "reach it",
                    cure: "systemctl restart sluiced")
            }
            return Finding(.ok, .files, "socket", fact)
        }
    }

    private var stateFinding: Finding {
        let path = configuration.journal.directory
        switch stateFolder {
        case .hidden(let why):
            return Finding(.note, .files, "state", "\(path): \(why)", cure: Self.asRoot)
        case .seen(nil):
            return Finding(
                isAnswering ? .warning : .note, .files, "state",
                "\(path) is not there: the daemon makes it where the folder above it is")
        case .seen(let folder?):
            let free = freeBytes.map { ", \(Self.bytes($0)) free" } ?? ""
            let fact = "\(path): \(Self.told(folder))\(free)"
            guard folder.kind == .folder else {
                return Finding(
                    .problem, .files, "state", "\(fact): it is no folder", cure: "move it")
            }
            guard let freeBytes, freeBytes < 64_000_000 else {
                return Finding(.ok, .files, "state", fact)
            }
            return Finding(
                freeBytes < 1_000_000 ? .problem : .warning, .files, "state", fact,
                cure: "free space there: the journal's durable copy and the recording need it")
        }
    }

    private var journalFindings: [Finding] {
        let copies = [
            ("journal", configuration.journal.runtime, journal),
            ("journal, on disk", configuration.journal.directory, durableJournal),
        ]
        return copies.map { name, folder, look in
            let path = "\(folder)/journal.json"
            switch look {
            case .hidden(let why):
                return Finding(.note, .files, name, "\(path): \(why)", cure: Self.asRoot)
            case .seen(nil):
                return Finding(
                    .note, .files, name, "\(path) is not there: nothing was limited so far")
            case .seen(let file?):
                return Finding(
                    .ok, .files, name,
                    "\(path): \(Self.bytes(file.bytes)), written \(Self.time(file.ageSeconds)) ago, "
                        + "can be read")
            }
        }
    }

    private var recordingFinding: Finding {
        let settings = configuration.recording
        guard settings.isEnabled else {
            return Finding(
                .note, .files, "recording", "off: replay and suggest have nothing to read",
                cure: "enabled = true in [recording] of \(configurationPath)")
        }
        switch recording {
        case .hidden(let why):
            return Finding(
                .note, .files, "recording", "\(settings.directory): \(why)", cure: Self.asRoot)
        case .seen(nil):
            return Finding(
                isSettled ? .warning : .note, .files, "recording",
                "\(settings.directory) is not there",
                cure: isSettled
                    ? "see sluicectl events, and that the daemon may write there" : nil)
        case .seen(let folder?):
            let age = folder.ageSeconds.map { ", written \(Self.time($0)) ago" } ?? ", no file yet"
            let fact =
                "\(settings.directory): \(Self.bytes(folder.bytes)) of "
                + "\(Self.bytes(settings.quota))\(age)"
            let room = settings.quota - min(settings.quota, folder.bytes)
            if let freeBytes, freeBytes < room {
                return Finding(
                    .warning, .files, "recording",
                    "\(fact); it may take \(Self.bytes(room)) more, and \(Self.bytes(freeBytes)) are free",
                    cure: "free space there, or lower its quota")
            }
            let isStale = isAnswering && (folder.ageSeconds ?? .infinity) > 300
            return Finding(
                isStale ? .warning : .ok, .files, "recording", fact,
                cure: isStale ? "see sluicectl events, and that the daemon may write there" : nil)
        }
    }

    private var logFinding: Finding {
        guard !logSockets.isEmpty else {
            return Finding(
                .warning, .files, "log", "nobody listens at /dev/log: alerts are lost",
                cure: "start systemd-journald, or rsyslog")
        }
        return Finding(.ok, .files, "log", logSockets.joined(separator: ", "))
    }

    // MARK: Words

    private static func told(_ file: FileFacts) -> String {
        "mode \(String(file.mode, radix: 8)), uid \(file.user), gid \(file.group)"
    }

    private static func bytes(_ count: UInt64) -> String {
        let units = ["bytes", "kB", "MB", "GB", "TB"]
        var (value, unit) = (Double(count), 0)
        while value >= 999.95, unit + 1 < units.count { (value, unit) = (value / 1_000, unit + 1) }
        guard unit > 0 else { return "\(count) bytes" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }

    private static func time(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "0s" }
        let whole = Int(seconds)
        if whole < 120 { return "\(whole)s" }
        if whole < 7_200 { return "\(whole / 60)min" }
        return whole < 172_800 ? "\(whole / 3_600)h" : "\(whole / 86_400)d"
    }
}

extension HostFacts {
    /// Of the configuration.
    var configurationFindings: [Finding] {
        guard isConfigurationReadable else {
            return [
                Finding(
                    .note, .configuration, "file",
                    "\(configurationPath) cannot be read by this user",
                    cure: Self.asRoot)
            ]
        }
        var findings = mistakes.map {
            Finding(.problem, .configuration, "file", $0.sentence, cure: $0.cure)
        }
        if mistakes.isEmpty {
            findings.append(
                Finding(.ok, .configuration, "file", "\(configurationPath): without a mistake"))
        }
        switch runningText {
        case .unknown: break
        case .same:
            findings.append(Finding(.ok, .configuration, "in force", "what stands in the file"))
        case .other:
            findings.append(
                Finding(
                    .warning, .configuration, "in force", "not what stands in the file",
                    cure: "sluicectl reload"))
        }
        return findings
    }
}
