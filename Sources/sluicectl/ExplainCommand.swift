// `sluicectl explain`: why a port is where it is, and what comes next.

import ArgumentParser
import ControlAPI

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Why a port is where it is: rule, numbers, marks, and what comes next and when.",
        discussion: "Rates are offered (what the VM sends or is sent) and delivered (what passes).")

    @Argument(help: "The port, named as status prints it.", completion: .ports)
    var port: String

    @Flag(help: "The daemon's answer as it came: a line of JSON, without the events.")
    var json = false

    @Flag(help: "Also what stands in the kernel, as tc prints it.")
    var kernel = false

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if json, kernel { throw ValidationError("--kernel is tc's text: --json or --kernel") }
    }

    func run() throws {
        var port: PortStatus?
        try reporting { () throws(ControlClientError) in
            let client = connection.client
            let body = try client.get("/v1/ports/\(percentEncoded(self.port))/explain")
            let explanation = try client.decode(Explanation.self, from: body)
            guard !json else { return Terminal.write(body) }
            var reader = EventReader(client: client)
            let told = try reader.readAll().events.filter { $0["port"] == self.port }
            Terminal.print(ExplanationReport.lines(explanation, events: told))
            port = explanation.port
        }
        guard kernel, let port else { return }
        guard let listings = KernelObjects.listings(port: port.name, index: port.index) else {
            Terminal.complain("sluicectl: tc cannot be run; it is in the package iproute2")
            throw ExitCode(1)
        }
        for listing in listings { Terminal.print(["", "$ \(listing.command)"] + listing.lines) }
    }
}
