// The samples of trips on disk: of each the packets, and what was said of them.
//
//   <folder>/<incident>.pcap    the packets, for tcpdump and Wireshark
//   <folder>/<incident>.json    what they hold; whoever has one of both has a whole one
//
// Invariants: a file is whole or not there; all together keep to the quota, and the oldest go first,
// both of a sample together; a full disk costs older samples nothing.
internal import ControlAPI
internal import FoundationEssentials
internal import LinuxSystem
internal import Settings
internal import SystemPackage

/// The folder of samples. One thread at a time writes; any may read.
struct EvidenceStore: Sendable {
    static let packetSuffix = ".pcap"
    static let reportSuffix = ".json"
    private static let mostFiles = 200_000
    private static let longestReport = 65_536
    /// A file of ours has no more than some 40 KB.
    private static let longestCapture = 1_000_000
    /// Whoever is of the file's group may read it.
    private static let mode: UInt32 = 0o640

    let settings: EvidenceSettings

    /// The packets' file.
    func path(of incident: UInt32) -> String {
        "\(settings.directory)/\(incident)\(Self.packetSuffix)"
    }

    private func reportPath(of incident: UInt32) -> String {
        "\(settings.directory)/\(incident)\(Self.reportSuffix)"
    }

    /// Keeps a sample, in place of one that had the incident's number before.
    ///
    /// - Throws: errno; of this sample nothing is kept then.
    func keep(_ report: EvidenceReport, packets: [UInt8]) throws(Errno) {
        guard let text = try? JSONText.line(of: report) else { throw .invalidArgument }
        try FolderEntry.makeFolder(settings.directory)
        try makeRoom(for: packets.count + text.count, besides: report.incident)
        let files = [
            (AtomicFile(path: path(of: report.incident)), packets),
            (AtomicFile(path: reportPath(of: report.incident)), text),
        ]
        do throws(Errno) {
            for (file, content) in files {
                try file.replace(content, isDurable: false, mode: Self.mode)
            }
        } catch {
            for (file, _) in files { try? file.remove() }
            throw error
        }
    }

    /// What was said of a sample; nil where there is none of this incident.
    ///
    /// - Throws: errno; EINVAL where the file is none of ours.
    func report(of incident: UInt32) throws(Errno) -> EvidenceReport? {
        let file = AtomicFile(path: reportPath(of: incident))
        guard let bytes = try file.read(limit: Self.longestReport) else { return nil }
        guard let report = try? JSONDecoder().decode(EvidenceReport.self, from: Data(bytes)) else {
            throw .invalidArgument
        }
        return report
    }

    /// The packets of a sample as pcap; nil where there is none of this incident.
    ///
    /// - Throws: errno.
    func packets(of incident: UInt32) throws(Errno) -> [UInt8]? {
        try AtomicFile(path: path(of: incident)).read(limit: Self.longestCapture)
    }

    /// The newest samples, the oldest of them first. One that cannot be read is left out.
    ///
    /// - Throws: errno, but for a folder that is not there.
    func list(most: Int = EvidenceList.most) throws(Errno) -> EvidenceList {
        var items: [EvidenceItem] = []
        for sample in try samples().suffix(most) {
            if let report = try? report(of: sample.incident) { items.append(EvidenceItem(report)) }
        }
        return EvidenceList(evidence: items)
    }

    // MARK: Files

    private struct Sample {
        var incident: UInt32
        var bytes: UInt64 = 0
        var writtenAt = 0.0
    }

    /// All samples by age, the oldest first.
    private func samples() throws(Errno) -> [Sample] {
        var samples: [UInt32: Sample] = [:]
        for suffix in [Self.packetSuffix, Self.reportSuffix] {
            for file in try Self.files(settings.directory, suffix: suffix) {
                guard let incident = UInt32(file.name.dropLast(suffix.utf8.count)) else { continue }
                var sample = samples[incident] ?? Sample(incident: incident)
                sample.bytes += UInt64(max(file.size, 0))
                sample.writtenAt = max(sample.writtenAt, file.writtenAt)
                samples[incident] = sample
            }
        }
        return samples.values.sorted { ($0.writtenAt, $0.incident) < ($1.writtenAt, $1.incident) }
    }

    private static func files(_ path: String, suffix: String) throws(Errno) -> [FolderEntry] {
        do throws(Errno) {
            return try FolderEntry.list(path, suffix: suffix, most: mostFiles)
        } catch .noSuchFileOrDirectory {
            return []
        }
    }

    /// Deletes what a crash left half written, and the oldest samples until there is room for more.
    private func makeRoom(for count: Int, besides incident: UInt32) throws(Errno) {
        for file in try Self.files(settings.directory, suffix: ".new") {
            try AtomicFile(path: "\(settings.directory)/\(file.name)").remove()
        }
        let samples = try samples().filter { $0.incident != incident }
        var sum = samples.reduce(UInt64(count)) { $0 + $1.bytes }
        for sample in samples where sum > settings.quota {
            for path in [path(of: sample.incident), reportPath(of: sample.incident)] {
                try AtomicFile(path: path).remove()
            }
            sum -= sample.bytes
        }
    }
}
