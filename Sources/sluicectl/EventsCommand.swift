// `sluicectl events`: what the daemon told, and tells.

import ArgumentParser
import ControlAPI

struct EventsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "What the daemon told since it started, and what it tells now.",
        discussion: """
            The log's lines, also those that its limit of one a second kept out of syslog; of the \
            latest 2,048. What a daemon before this one told is in syslog.
            """)

    @Option(help: "Only of this port, named as status prints it.")
    var port: String?

    @Option(help: ArgumentHelp("Only of this incident.", valueName: "number"))
    var incident: UInt32?

    @Option(
        help: ArgumentHelp(
            "Only of so long ago, or later: 30s, 10m, 2h, 1d.", valueName: "duration"))
    var since: ShortDuration?

    @Flag(name: [.customLong("follow"), .customShort("f")], help: "Go on with what is told next.")
    var follow = false

    @Flag(help: "A JSON object a line: number, at (seconds since 1970), severity, line, fields.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try reporting { () throws(ControlClientError) in
            let client = connection.client
            let begin = since.map { Terminal.now - $0.seconds } ?? 0
            var after: UInt64 = 0
            while true {
                let body = try client.get("/v1/events?after=\(after)")
                let reply = try client.decode(EventsReply.self, from: body)
                // A daemon that started again counts from one.
                if reply.last < after {
                    after = 0
                    continue
                }
                show(reply, after: after, since: begin)
                after = reply.events.last?.number ?? after
                if after < reply.last { continue }
                guard follow else { return }
                Terminal.sleep(milliseconds: 500)
            }
        }
    }

    private func show(_ reply: EventsReply, after: UInt64, since begin: Double) {
        if reply.lost > 0, after > 0 {
            Terminal.complain("sluicectl: \(reply.lost) lines came and went between two looks")
        }
        let wanted = reply.events.filter { event in
            event.at >= begin && (port.map { event["port"] == $0 } ?? true)
                && (incident.map { event["incident"] == "\($0)" } ?? true)
        }
        guard !json else {
            for event in wanted { Terminal.printJSON(TakenApart(event)) }
            return
        }
        if !wanted.isEmpty { Terminal.print(wanted.map(EventReport.line)) }
    }
}

/// A line with its fields, as `--json` prints it.
private struct TakenApart: Encodable {
    var number: UInt64
    var at: Double
    var severity: String
    var line: String
    var fields: [String: String]

    init(_ event: ToldLine) {
        number = event.number
        at = event.at
        severity = event.severity
        line = event.line
        fields = Dictionary(event.fields.map { ($0.key, $0.value) }) { first, _ in first }
    }
}

/// `30s`, `10m`, `2h` or `1d`.
struct ShortDuration: ExpressibleByArgument {
    var seconds: Double

    init?(argument: String) {
        let units: [Character: Double] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
        guard let unit = argument.last.flatMap({ units[$0] }),
            let number = UInt32(argument.dropLast())
        else { return nil }
        seconds = Double(number) * unit
    }
}
