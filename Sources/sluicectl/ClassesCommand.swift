// `sluicectl classes`: what each port was taken for, and why.

import ArgumentParser
import ControlAPI

/// What a port was taken for, as `--json` prints it.
private struct Classification: Encodable {
    var port: String
    var `class`: String
    var cloudspace: String?
    var pattern: String
}

struct ClassesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "classes",
        abstract: "What each watched port is taken for, its cloudspace, and by which pattern.",
        discussion: """
            Ports of one cloudspace stand together. An interface that is not listed is claimed by no \
            class, and is never touched.
            """)

    @Flag(help: "A JSON array of port, class, cloudspace and pattern.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try reporting { () throws(ControlClientError) in
            let status = try connection.client.status()
            guard json else { return Terminal.print(StatusReport.classes(status.ports)) }
            let ports = status.ports.map {
                Classification(
                    port: $0.name, class: $0.portClass, cloudspace: $0.netid, pattern: $0.pattern)
            }
            Terminal.printJSON(ports)
        }
    }
}
