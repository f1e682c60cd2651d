// `sluicectl explain`: why a port is where it is, and what comes next.

import ArgumentParser
import ControlAPI

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Why a port is where it is: rule, numbers, marks, and what comes next and when.",
        discussion: "Rates are offered (what the VM sends or is sent) and delivered (what passes).")

    @Argument(help: "The port, named as status prints it.")
    var port: String

    @Flag(help: "The daemon's answer as it came: a line of JSON, without the events.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try reporting { () throws(ControlClientError) in
            let client = connection.client
            let body = try client.get("/v1/ports/\(percentEncoded(port))/explain")
            let explanation = try client.decode(Explanation.self, from: body)
            guard !json else { return Terminal.write(body) }
            var told: [ToldLine] = []
            var after: UInt64 = 0
            while true {
                let reply = try client.decode(
                    EventsReply.self, from: try client.get("/v1/events?after=\(after)"))
                told += reply.events.filter { $0["port"] == port }
                guard let last = reply.events.last, last.number > after, last.number < reply.last
                else { break }
                after = last.number
            }
            Terminal.print(ExplanationReport.lines(explanation, events: told))
        }
    }
}
