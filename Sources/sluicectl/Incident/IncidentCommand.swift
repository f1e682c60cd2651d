// `sluicectl incident`: the incidents that are kept, one of them, its report, its mail.

import ArgumentParser
import ControlAPI
import LinuxSystem
import Recording
import SystemPackage

struct IncidentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "incident",
        abstract: "The incidents that are kept; one with its timeline, its report, its mail.",
        discussion: """
            Without a number, all incidents of the kept events, the oldest first. With one, what there \
            is to say of it. --report writes one HTML file that needs nothing beside it, with the plot \
            out of the recording (for root, or whoever may read it), the targets out of the packet \
            sample, and what stands in the kernel as tc prints it. --mail prints a mail for an abuse \
            desk in X-ARF, without a recipient: `sluicectl incident 7 --mail "Example Hosting \
            <abuse@example.net>" | sendmail abuse@example.com`.

            Exit status: 0 done, 1 there is no such incident or it cannot be reported, 2 the daemon \
            cannot be reached or a file cannot be written, 64 wrong usage.
            """)

    @Argument(
        help: "The incident's number.",
        completion: .shellCommand("sluicectl incident 2>/dev/null | sed '1d; s/ .*//'"))
    var number: UInt32?

    @Option(help: ArgumentHelp("Write the report.", valueName: "file"), completion: .file())
    var report: String?

    @Option(help: ArgumentHelp("The recording.", valueName: "path"), completion: .directory)
    var from = ReplayCommand.defaultSource

    @Option(
        help: ArgumentHelp("Print the mail; this is who reports.", valueName: "name <address>"))
    var mail: AbuseMail.Reporter?

    @Option(
        help: ArgumentHelp(
            "The VM's address in the mail, in place of the sample's most frequent source.",
            valueName: "address"))
    var sourceAddress: String?

    @Flag(help: "JSON: the daemon's answer.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if number == nil, report != nil || mail != nil {
            throw ValidationError("a report or a mail is of one incident: name its number")
        }
        if mail != nil, json { throw ValidationError("a mail is no JSON: --mail or --json") }
        if mail == nil, sourceAddress != nil {
            throw ValidationError("--source-address belongs to --mail")
        }
    }

    func run() throws {
        let client = connection.client
        guard let number else {
            return try reporting { () throws(ControlClientError) in try list(client) }
        }
        var found: IncidentReport?
        try reporting { () throws(ControlClientError) in
            let body = try client.get("/v1/incidents/\(number)")
            if json { Terminal.write(body) }
            found = try gather(client.decode(Incident.self, from: body), client)
        }
        guard var found else { return }
        if let report {
            complete(&found)
            try write(found.html(), to: report)
        }
        if let mail {
            try print(
                AbuseMail(
                    incident: found.incident, evidence: found.evidence, reporter: mail,
                    source: sourceAddress, madeAt: found.madeAt))
        } else if report == nil, !json {
            Terminal.print(
                IncidentText.lines(found.incident, isOpen: found.isOpen, now: found.madeAt)
                    + IncidentText.targets(found.evidence))
        }
    }

    private func list(_ client: ControlClient) throws(ControlClientError) {
        let body = try client.get("/v1/incidents")
        guard !json else { return Terminal.write(body) }
        let reply = try client.decode(IncidentsReply.self, from: body)
        let open = Set(try client.status().ports.compactMap(\.incident))
        Terminal.print(IncidentText.table(reply.incidents, open: open))
    }

    /// What the daemon has on it.
    private func gather(
        _ incident: Incident, _ client: ControlClient
    ) throws(ControlClientError) -> IncidentReport {
        let explanation: Explanation? = try Self.whereThere { () throws(ControlClientError) in
            let path = "/v1/ports/\(percentEncoded(incident.port))/explain"
            return try client.decode(Explanation.self, from: try client.get(path))
        }
        let evidence: EvidenceReport? = try Self.whereThere { () throws(ControlClientError) in
            let body = try client.get("/v1/evidence/\(incident.number)")
            return try client.decode(EvidenceReport.self, from: body)
        }
        return IncidentReport(
            incident: incident, isOpen: explanation?.port.incident == incident.number,
            explanation: explanation, evidence: evidence, host: Machine.name,
            version: Product.version, madeAt: Terminal.now)
    }

    /// Nil where the daemon knows of none.
    private static func whereThere<Value>(
        _ ask: () throws(ControlClientError) -> Value
    ) throws(ControlClientError) -> Value? {
        do throws(ControlClientError) {
            return try ask()
        } catch .refused(404, _) {
            return nil
        }
    }

    /// The picture, and what stands in the kernel.
    private func complete(_ report: inout IncidentReport) {
        do throws(ReplayError) {
            var loads = IncidentLoads(report.incident, now: report.madeAt)
            var notes: [String] = []
            try ReplaySource(path: from).during(loads.span)
                .read({ loads.take($0) }, note: { notes.append($0) })
            report.notes += notes
            if loads.isEmpty {
                report.notes.append("no plot: \(from) holds nothing of that time")
            } else {
                report.chart = loads.chart(
                    report.incident, title: report.incident.port,
                    subtitle: "\(EventReport.time(loads.span.lowerBound)) to "
                        + "\(EventReport.time(loads.span.upperBound)), logarithmic")
            }
        } catch {
            report.notes.append("no plot: \(error)")
        }
        if report.evidence == nil { report.notes.append("no sample of its packets is kept") }
        if report.isOpen, let port = report.explanation?.port {
            let listings = KernelObjects.listings(port: port.name, index: port.index)
            report.listings = listings ?? []
            if listings == nil { report.notes.append("no kernel objects: tc cannot be run") }
        }
        for note in report.notes { Terminal.complain("sluicectl: note: \(note)") }
    }

    private func write(_ text: String, to path: String) throws(ExitCode) {
        do throws(Errno) {
            try AtomicFile(path: path).replace(Array(text.utf8), isDurable: false)
        } catch {
            Terminal.complain("sluicectl: cannot write \(path): \(error)")
            throw ExitCode(2)
        }
    }

    private func print(_ mail: AbuseMail) throws(ExitCode) {
        do throws(AbuseMailError) {
            Terminal.write(Array(try mail.text().utf8))
        } catch {
            Terminal.complain("sluicectl: \(error)")
            throw ExitCode(1)
        }
    }
}

extension AbuseMail.Reporter: ExpressibleByArgument {
    /// `Example Hosting <abuse@example.net>`
    init?(argument: String) { self.init(argument) }
}
