// `sluiced undo`: everything of ours out of the kernel, without a running daemon and without a journal.
//
// Invariants: nobody else's object is touched; a root of another owner's that ours replaced is put back
// where the journal can be read, and said to be lost where not; it works without a configuration file;
// what is undone is not brought back by the next start, since the journal goes too, but where something
// could not be undone.
internal import FoundationEssentials
internal import LinuxSystem
internal import Mitigation
internal import Settings
internal import TrafficControl

/// What was taken out.
package struct UndoReport: Codable, Hashable, Sendable {
    /// The interfaces from which something was taken out, by escaped name.
    package var cleaned: [String] = []
    /// What has to be said of some of them, by escaped name.
    package var notes: [String: String] = [:]
    /// What could not be taken out, by interface index.
    package var failed: [String: String] = [:]

    /// As one line of JSON.
    package var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
}

/// Takes everything of ours out of the kernel.
package enum Undo {
    /// Takes out what stands, in the network namespace of the caller.
    ///
    /// - Parameters:
    ///   - path: the configuration file, for the places of the socket and the journal; where it cannot
    ///     be read, the built-in ones are taken.
    ///   - isForced: goes on where a daemon runs, which will put back what it holds.
    /// - Throws: a sentence with its cure.
    package static func run(
        configuration path: String, isForced: Bool
    ) throws(ServiceError) -> UndoReport {
        let configuration = (try? Configuration.load(path: path)) ?? Configuration()
        let socket = configuration.control.socket
        if !isForced, PeerListener.isServed(socket) {
            throw ServiceError(
                "a daemon answers at \(socket) and would put back what is taken out: stop it first "
                    + "(systemctl stop sluiced), or let it take its limits out (sluicectl release "
                    + "--all); --force goes on all the same")
        }
        var report = UndoReport()
        do throws(TrafficControlError) {
            var control = try KernelTrafficControl.open(TrafficControlSettings())
            for port in remembered(configuration) {
                guard let origin = port.origin else { continue }
                control.hold(
                    origin, for: ControlledPort(index: port.index, name: port.name, mtu: 0))
            }
            let survey = try control.undo()
            report.cleaned = survey.cleaned.map(\.description)
            for name in survey.defaulted {
                report.notes[name.description] = Survey.defaultedSentence
            }
            for (index, sentence) in survey.failed { report.failed["\(index)"] = sentence }
        } catch {
            throw ServiceError(error.description)
        }
        // It may hold what another attempt has to put back.
        guard report.failed.isEmpty else { return report }
        do throws(JournalError) {
            try FileJournal.remove(configuration.journal)
        } catch {
            report.failed["journal"] = error.description
        }
        return report
    }

    /// The ports of the journal of this start of the machine.
    private static func remembered(_ configuration: Configuration) -> [PortRecord] {
        let findings = FileJournal.read(
            configuration.journal, now: Instant(nanoseconds: 0), forgiveness: .zero)
        return findings.state?.ports ?? []
    }
}
