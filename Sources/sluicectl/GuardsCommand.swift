// `sluicectl guards`: what ports may never send, and what they sent of it.

import ArgumentParser
import ControlAPI

/// A port's guards, as `--json` prints them.
private struct GuardedPort: Encodable {
    var port: String
    var guards: GuardStatus
}

struct GuardsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "guards",
        abstract: "What each guarded port may never send, who says so, and what was refused.",
        discussion: """
            BY is a section of the configuration, or a file of the folder of guards. Frames are counted \
            since the guards stand as they are; in mode monitor they are counted and go on.
            """)

    @Flag(help: "A JSON array of port and guards.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try reporting { () throws(ControlClientError) in
            let status = try connection.client.status()
            guard json else { return Terminal.print(StatusReport.guards(status.ports)) }
            let ports = status.ports.compactMap { port in
                port.guards.map { GuardedPort(port: port.name, guards: $0) }
            }
            Terminal.printJSON(ports)
        }
    }
}
