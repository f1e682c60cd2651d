// `sluicectl evidence`: what the floods were made of.

import ArgumentParser
import ControlAPI
import Evidence
import LinuxSystem
import SystemPackage

struct EvidenceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evidence",
        abstract:
            "What a flood was made of, by the packets that were sampled when its port tripped.",
        discussion: """
            Without an argument, the samples that are kept. The packets themselves (--pcap) are for \
            those who may act: they are tenants'. A file is any pcap of Ethernet frames.
            """)

    @Argument(
        help: ArgumentHelp("An incident's number, or a file.", valueName: "number-or-file"),
        completion: .file(extensions: ["pcap"]))
    var what: String?

    @Flag(
        help: "The packets as pcap on standard output: sluicectl evidence 7 --pcap | tcpdump -nr -")
    var pcap = false

    @Flag(help: "JSON: the list, the report, or of a file the summary.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    /// As long a file is read.
    private static let longestFile = 256_000_000
    private static let mostPackets = 1_000_000

    func validate() throws {
        guard pcap else { return }
        guard !json else { throw ValidationError("--pcap and --json exclude each other") }
        guard let what, UInt32(what) != nil else {
            throw ValidationError("--pcap needs an incident's number")
        }
    }

    func run() throws {
        let client = connection.client
        guard let what else {
            return try reporting { () throws(ControlClientError) in
                let body = try client.get("/v1/evidence")
                guard !json else { return Terminal.write(body) }
                let list = try client.decode(EvidenceList.self, from: body)
                Terminal.print(EvidenceText.lines(list))
            }
        }
        guard let incident = UInt32(what) else { return try show(file: what) }
        try reporting { () throws(ControlClientError) in
            let path = "/v1/evidence/\(incident)"
            guard !pcap else { return Terminal.write(try client.get("\(path).pcap")) }
            let body = try client.get(path)
            guard !json else { return Terminal.write(body) }
            Terminal.print(
                EvidenceText.lines(try client.decode(EvidenceReport.self, from: body)))
        }
    }

    /// Of a file nobody says whose it is: no source is called forged.
    private func show(file: String) throws(ExitCode) {
        let packets: [SampledPacket]
        do {
            let bytes = try WholeInput.read(path: file, limit: Self.longestFile)
            let read = try CaptureFile.read(bytes, most: Self.mostPackets)
            if read.isTorn { Terminal.complain("sluicectl: \(file) ends within a packet") }
            packets = read.packets
        } catch let error as CaptureFileError {
            Terminal.complain("sluicectl: \(file) \(error)")
            throw ExitCode(2)
        } catch {
            Terminal.complain("sluicectl: \(file): \(error)")
            throw ExitCode(2)
        }
        let summary = SampleSummary(packets, sources: .none)
        guard !json else { return Terminal.printJSON(summary) }
        Terminal.print(EvidenceText.lines(summary))
    }
}
