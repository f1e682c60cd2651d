// Files, folders and sockets of the daemon, as they are on disk.
internal import FoundationEssentials
internal import LinuxSystem
internal import Recording
internal import Settings
internal import SystemPackage

extension Examiner {
    /// Of the socket, the journal, the recording and the log.
    func lookAtFiles(into facts: inout HostFacts) {
        let settings = facts.configuration
        facts.socket = Self.look(facts.socketPath)
        if let group = settings.control.readers ?? settings.control.operators {
            facts.socketGroup = try? PeerCredentials.group(named: group)
        }
        facts.stateFolder = Self.look(settings.journal.directory)
        let disk = try? FileManager.default.attributesOfFileSystem(
            forPath: settings.journal.directory)
        facts.freeBytes = (disk?[.systemFreeSize] as? Int).map { UInt64(clamping: $0) }
        facts.journal = Self.lookInto(settings.journal.runtime + "/journal.json")
        facts.durableJournal = Self.lookInto(settings.journal.directory + "/journal.json")
        facts.recording = Self.recording(settings.recording.directory)
        facts.logSockets = ["/dev/log", "/run/systemd/journal/socket"].filter {
            FileManager.default.fileExists(atPath: $0)
        }
    }

    /// What is at a path, links not followed.
    static func look(_ path: String) -> Looked<FileFacts?> {
        do {
            let found = try FileManager.default.attributesOfItem(atPath: path)
            let written = (found[.modificationDate] as? Date)?.timeIntervalSince1970
            let kind: FileFacts.Kind =
                switch found[.type] as? FileAttributeType {
                case .typeRegular?: .file
                case .typeDirectory?: .folder
                case .typeSocket?: .socket
                default: .other
                }
            return .seen(
                FileFacts(
                    kind: kind, user: UInt32(clamping: number(found[.ownerAccountID])),
                    group: UInt32(clamping: number(found[.groupOwnerAccountID])),
                    mode: UInt16(clamping: number(found[.posixPermissions])),
                    ageSeconds: max(0, WallClock.exactSeconds - (written ?? 0)),
                    bytes: UInt64(clamping: number(found[.size]))))
        } catch {
            let code = (error as? CocoaError)?.code
            guard code != .fileReadNoSuchFile, code != .fileNoSuchFile else { return .seen(nil) }
            return .hidden(
                code == .fileReadNoPermission
                    ? "\(Errno.permissionDenied)" : "it cannot be looked at")
        }
    }

    /// A file that can also be read.
    private static func lookInto(_ path: String) -> Looked<FileFacts?> {
        let look = look(path)
        guard case .seen(.some) = look else { return look }
        do throws(Errno) {
            _ = try AtomicFile(path: path).read(limit: 1 << 30)
            return look
        } catch {
            return .hidden("\(error)")
        }
    }

    private static func recording(_ path: String) -> Looked<RecordingFacts?> {
        do throws(Errno) {
            let files = try FolderEntry.list(path, suffix: RecordFormat.suffix, most: 65_536)
            var age: Double?
            if let newest = files.last, case .seen(let file?) = look("\(path)/\(newest.name)") {
                age = file.ageSeconds
            }
            let bytes = files.reduce(UInt64(0)) { $0 + UInt64(clamping: $1.size) }
            return .seen(RecordingFacts(bytes: bytes, ageSeconds: age))
        } catch .noSuchFileOrDirectory {
            return .seen(nil)
        } catch {
            return .hidden("\(error)")
        }
    }

    /// What FileManager gives as one integer type or another.
    private static func number(_ value: Any?) -> Int {
        switch value {
        case let value as Int: value
        case let value as any FixedWidthInteger: Int(clamping: value)
        default: 0
        }
    }
}
