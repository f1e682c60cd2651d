// `sluicectl events`: what the daemon told, and tells.

import ArgumentParser
import ControlAPI

struct EventsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "What the daemon told, and what it tells now.",
        discussion: """
            The log's lines, also those that its limit of one a second kept out of syslog; the latest \
            2,048, over restarts of the daemon. What is older is in syslog.
            """)

    @Option(help: "Only of this port, named as status prints it.", completion: .ports)
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
        let begin = since.map { Terminal.now - $0.seconds } ?? 0
        var reader = EventReader(client: connection.client)
        try reporting { () throws(ControlClientError) in
            show(try reader.readAll(), since: begin)
            while follow {
                do throws(ControlClientError) {
                    try reader.listen { show($0, since: begin) }
                    // What a daemon that starts anew told meanwhile.
                    show(try reader.readAll(), since: begin)
                } catch .unreachable {
                    // It is being started again, or upgraded: what it tells then is heard.
                    Terminal.sleep(milliseconds: 500)
                }
            }
        }
    }

    private func show(_ read: EventReader.Read, since begin: Double) {
        if read.lost > 0 {
            Terminal.complain("sluicectl: \(read.lost) lines came and went unread")
        }
        let wanted = read.events.filter { event in
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

/// Reads each line once, over restarts of the daemon too.
struct EventReader {
    /// What is new.
    struct Read {
        var events: [ToldLine] = []
        /// Lines that were told since the last look, and are no longer kept.
        var lost: UInt64 = 0
    }

    let client: ControlClient
    private var startedAt: Double?
    private var after: UInt64 = 0

    /// A reader that begins with the oldest line that is kept.
    init(client: ControlClient) { self.client = client }

    /// All that was told since the last look.
    mutating func readAll() throws(ControlClientError) -> Read {
        var read = Read()
        while true {
            let body = try client.get("/v1/events?after=\(after)")
            let reply = try client.decode(EventsReply.self, from: body)
            if let startedAt, startedAt != reply.startedAt, after > 0 {
                self.startedAt = reply.startedAt
                after = 0
                continue
            }
            if startedAt != nil { read.lost += reply.lost }
            startedAt = reply.startedAt
            read.events += reply.events
            guard let last = reply.events.last?.number, last > after else { return read }
            after = last
            if last >= reply.last { return read }
        }
    }

    /// Gives what is told from now on, as it is told, until the daemon ends.
    mutating func listen(_ body: (Read) -> Void) throws(ControlClientError) {
        var last = after
        defer { after = last }
        let client = client
        try client.stream("/v1/events?after=\(after)&follow=true") {
            (line) throws(ControlClientError) in
            if let event = try? client.decode(ToldLine.self, from: line) {
                last = event.number
                body(Read(events: [event]))
            } else {
                body(Read(lost: try client.decode(LostLines.self, from: line).lost))
            }
        }
    }
}

/// What a listener is told where lines came faster than it read.
private struct LostLines: Decodable {
    var lost: UInt64
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

    /// So many seconds.
    init(seconds: Double) { self.seconds = seconds }

    /// A number and its unit.
    init?(argument: String) {
        let units: [Substring: Double] = [
            "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400,
        ]
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        guard let unit = units[argument.dropFirst(digits.count)], let number = UInt32(digits)
        else { return nil }
        seconds = Double(number) * unit
    }

    /// As it would be typed.
    var defaultValueDescription: String {
        seconds.remainder(dividingBy: 3_600) == 0 ? "\(Int(seconds / 3_600))h" : "\(Int(seconds))s"
    }
}
