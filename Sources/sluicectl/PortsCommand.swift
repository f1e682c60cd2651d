// `sluicectl ports`: every watched port, held or not.

import ArgumentParser
import ControlAPI

struct PortsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ports",
        abstract: "Every watched port: what it is, what it sends, and how it is held.",
        discussion: "As status --all prints them, without its line on the daemon.")

    @Option(
        name: .customLong("class"),
        help: ArgumentHelp("Only of this class: vm, router, vtep or backend.", valueName: "class"))
    var portClass: String?

    @Flag(help: "A JSON array of ports, as the daemon tells them.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        let classes = ["vm", "router", "vtep", "backend"]
        if let portClass, !classes.contains(portClass) {
            throw ValidationError("--class is one of \(classes.joined(separator: ", "))")
        }
    }

    func run() throws {
        try reporting { () throws(ControlClientError) in
            let all = try connection.client.status().ports
            let ports = all.filter { portClass == nil || $0.portClass == portClass }
            if json {
                Terminal.printJSON(ports)
            } else {
                Terminal.print(StatusReport.table(ports))
            }
        }
    }
}
