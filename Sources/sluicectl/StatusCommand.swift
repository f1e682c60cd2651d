// `sluicectl status`: how the daemon is, and what it holds.

import ArgumentParser
import ControlAPI

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "How the daemon is, and which ports are held.",
        discussion: """
            Without a port: a summary, what this kernel lacks, and the ports above normal; nothing \
            more where all is well. Loads are what the VM sends (from) and what is sent to it (to).
            """)

    @Argument(
        help: "Only these ports, held or not, named as this command prints them.",
        completion: .ports)
    var ports: [String] = []

    @Flag(help: "All watched ports, held or not.")
    var all = false

    @Flag(help: "The daemon's answer as it came: a line of JSON, for each port named.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if all, !ports.isEmpty { throw ValidationError("name ports, or --all, not both") }
    }

    func run() throws {
        try reporting { () throws(ControlClientError) in
            let client = connection.client
            guard !ports.isEmpty else { return try showAll(client) }
            var found: [PortStatus] = []
            for port in ports {
                let body = try client.get("/v1/ports/\(percentEncoded(port))")
                if json { Terminal.write(body) }
                found.append(try client.decode(PortStatus.self, from: body))
            }
            if !json { Terminal.print(StatusReport.table(found)) }
        }
    }

    private func showAll(_ client: ControlClient) throws(ControlClientError) {
        let body = try client.get("/v1/status")
        let status = try client.decode(Status.self, from: body)
        guard !json else { return Terminal.write(body) }
        Terminal.print(StatusReport.lines(status, withAllPorts: all))
    }
}
