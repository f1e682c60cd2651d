// What is kept of what was told, and what a scraper reads.
import ControlAPI
import LinuxSystem
import NIOHTTP1
import Testing

@testable import Daemon

@Suite struct EventHistoryTests {
    private static func history(_ count: Int) -> EventHistory {
        var history = EventHistory(startedAt: 7)
        for number in 1...count {
            history.add(AlertLine(.notice, [("event", "a"), ("n", "\(number)")]), at: 1)
        }
        return history
    }

    /// Guards against: a line that is left out, given twice, or given under another's number, before
    /// and after the oldest ones are overwritten.
    @Test(arguments: [1, 5, EventHistory.capacity, EventHistory.capacity * 2 + 7])
    func allLinesInTheirOrder(_ count: Int) {
        let history = Self.history(count)
        let kept = min(count, EventHistory.capacity)
        var read: [ToldLine] = []
        var after: UInt64 = 0
        var lost: UInt64 = 0
        repeat {
            let reply = history.reply(to: EventsRequest(after: after, limit: 100))
            #expect(reply.last == UInt64(count) && reply.events.count <= 100)
            lost += reply.lost
            read += reply.events
            after = reply.events.last?.number ?? UInt64(count)
        } while after < UInt64(count)
        #expect(read.map(\.number) == Array(UInt64(count - kept + 1)...UInt64(count)))
        #expect(read.allSatisfy { $0["n"] == "\($0.number)" })
        #expect(lost == UInt64(count - kept))
    }

    /// Guards against: a reader of the daemon before this one that is told nothing, and numbers that
    /// trap.
    @Test func strangeNumbers() {
        let history = Self.history(3)
        #expect(history.reply(to: EventsRequest(after: 9)).events.count == 3)
        #expect(history.reply(to: EventsRequest(after: .max)).events.count == 3)
        #expect(history.reply(to: EventsRequest(after: 3)).events == [])
        #expect(history.reply(to: EventsRequest(after: 0, limit: 0)).events == [])
        let empty = EventsReply(startedAt: 7, events: [], last: 0, lost: 0)
        #expect(EventHistory(startedAt: 7).reply(to: EventsRequest()) == empty)
    }

    /// Guards against: queries that are taken for others, and rights that are not asked for.
    @Test func routes() {
        func route(_ uri: String, _ access: ControlAccess = .read) -> ControlRoute {
            ControlRouter(
                access: access, actor: ControlActor(user: 1, process: 2), version: "1"
            ).route(method: .GET, uri: uri, body: [])
        }
        #expect(route("/v1/events") == .ask(.events(EventsRequest())))
        #expect(
            route("/v1/events?after=7&limit=2") == .ask(.events(EventsRequest(after: 7, limit: 2))))
        for query in ["after=-1", "limit=1001", "after", "since=1", "after=1&x=2", "after=1=2"] {
            guard case .refuse(400, let problem) = route("/v1/events?\(query)") else {
                Issue.record("\(query) is taken")
                continue
            }
            #expect(problem.cure?.contains("after=NUMBER") == true)
        }
        #expect(route("/v1/ports/vm%2D1/explain") == .ask(.explain("vm-1")))
        #expect(route("/v1/metrics") == .ask(.metrics))
        for uri in ["/v1/events", "/v1/metrics", "/v1/ports/a/explain"] {
            guard case .refuse(403, _) = route(uri, .none) else {
                Issue.record("\(uri) is for everybody")
                continue
            }
        }
        guard case .refuse(404, _) = route("/v1/ports/a/explode") else {
            Issue.record("a part that is not there is found")
            return
        }
    }
}

@Suite struct OpenMetricsTests {
    private static func port(_ number: Int, _ rung: String, name: String? = nil) -> PortStatus {
        let load = Load(packetsPerSecond: Double(number), bitsPerSecond: Double(number) * 800)
        let loads = Loads(from: load, to: load)
        var port = PortStatus(
            name: name ?? "vm-\(number)-ff", index: Int32(number), portClass: "vm",
            pattern: "vm-<num>-<netid>", netid: "00ff", rung: rung, onRungSeconds: nil,
            incident: nil, isVictim: false, offered: loads, delivered: nil, lane: nil, cap: nil,
            delayMilliseconds: nil, enforcement: nil, problem: nil)
        if rung != "normal" { (port.delivered, port.cap) = (loads, loads) }
        return port
    }

    private static func lines(_ ports: [PortStatus]) -> [Substring] {
        let status = Status(
            version: "1", pid: 2, mode: "enforce", uptimeSeconds: 61.5, kernel: "6.1.0",
            kernelNotes: ["no netem"], polls: 100, pollMilliseconds: 100, latePolls: 3,
            worstLatenessMicroseconds: 1_500, mitigated: 0, breaker: "share", ports: ports)
        return OpenMetrics.text(status).split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// Guards against: text that a scraper refuses: a sample outside its family, a family twice or
    /// without a type, a counter without `_total`, no end, a number that is none.
    @Test func isWellFormed() throws {
        let ports = (1...40).map { Self.port($0, $0 % 8 == 0 ? "shape" : "normal") }
        let lines = Self.lines(ports)
        #expect(lines.suffix(2) == ["# EOF", ""])
        var families: [Substring: Substring] = [:]
        var family: Substring = ""
        for line in lines.dropLast(2) {
            let words = line.split(separator: " ")
            if line.hasPrefix("# TYPE ") {
                family = words[2]
                #expect(families.updateValue(words[3], forKey: family) == nil, "\(family) twice")
            } else if line.hasPrefix("# HELP ") {
                #expect(words[2] == family && line.hasSuffix("."))
            } else {
                let name = line.prefix { $0 != "{" && $0 != " " }
                let suffix = ["counter": "_total", "info": "_info"][families[family] ?? ""] ?? ""
                #expect(name == family + suffix, "\(line)")
                let value = try #require(Double(words.last ?? ""))
                #expect(value.isFinite && value >= 0)
            }
        }
        #expect(lines.contains("sluice_mitigated_ports{rung=\"shape\"} 5"))
        #expect(lines.contains("sluice_breaker_open{cause=\"share\"} 1"))
        #expect(lines.contains("sluice_poll_lateness_worst_seconds 0.0015"))
        let rung = "sluice_port_rung{port=\"vm-8-ff\",class=\"vm\",netid=\"00ff\"} 2"
        #expect(lines.contains { $0 == rung })
    }

    /// Guards against: ten thousand ports that give ten thousand lines, a quiet one that is told of in
    /// place of a busy one, and a held one that is left out.
    @Test func detailIsForTheHeldAndTheTop() {
        let few = Self.lines((1...10).map { Self.port($0, "normal") })
        let many = Self.lines((1...10_000).map { Self.port($0, "normal") })
        #expect(many.count == few.count)
        #expect(many.contains { $0.contains("port=\"vm-10000-ff\"") })
        #expect(!many.contains { $0.contains("port=\"vm-9990-ff\"") })
        let held = Self.lines((1...100).map { Self.port($0, $0 == 1 ? "police" : "normal") })
        #expect(held.contains { $0.hasPrefix("sluice_port_cap_") && $0.contains("vm-1-ff") })
    }

    /// Guards against: a name that ends its label.
    @Test func labelsAreEscaped() {
        let lines = Self.lines([Self.port(1, "police", name: #"a\x0a"} 1"#)])
        #expect(lines.contains { $0.contains(#"port="a\\x0a\"} 1""#) })
    }
}
