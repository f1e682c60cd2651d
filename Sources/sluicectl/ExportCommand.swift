// `sluicectl export`: what the daemon remembers of a port, for another host.

import ArgumentParser
import ControlAPI

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Print what is remembered of a port, for another host to import.",
        discussion: """
            A line of JSON: its rung, clocks, calibration and strikes, by this host's clock at this \
            moment. Nothing changes here: the limits go with the port's interface. For a live \
            migration: export here, import on the other host before the machine arrives.
            """)

    @Argument(help: "The port, named as status prints it.", completion: .ports)
    var port: String

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try reporting { () throws(ControlClientError) in
            let path = "/v1/ports/\(percentEncoded(port))/export"
            Terminal.write(try connection.client.get(path))
        }
    }
}
