// `sluicectl release`: takes mitigations out.

import ArgumentParser
import ControlAPI

struct ReleaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release",
        abstract: "Take the limits of ports out, and their links up again.",
        discussion: "A port that still floods is tripped again.")

    @Argument(help: "These ports, named as status prints them.", completion: .ports)
    var ports: [String] = []

    @Flag(help: "Every port that is limited. (Guards stay; sluiced undo takes all out.)")
    var all = false

    @Flag(help: "The daemon's answer as it came: a line of JSON for each port named.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if ports.isEmpty == !all { throw ValidationError("name one port or more, or --all") }
    }

    func run() throws {
        var failed = false
        try reporting { () throws(ControlClientError) in
            let client = connection.client
            let requests =
                all ? [ReleaseRequest(all: true)] : ports.map { ReleaseRequest(port: $0) }
            for request in requests {
                let body = try client.post("/v1/release", request)
                let reply = try client.decode(ReleaseReply.self, from: body)
                if json { Terminal.write(body) } else { report(reply) }
                if !reply.failed.isEmpty { failed = true }
            }
        }
        if failed { throw ExitCode(1) }
    }

    private func report(_ reply: ReleaseReply) {
        for port in reply.released { Terminal.print(["released \(port)"]) }
        for (port, reason) in reply.failed.sorted(by: { $0.key < $1.key }) {
            Terminal.complain("sluicectl: \(port) is not released: \(reason)")
        }
        if reply.released.isEmpty, reply.failed.isEmpty {
            Terminal.print(["nothing was held"])
        }
    }
}
