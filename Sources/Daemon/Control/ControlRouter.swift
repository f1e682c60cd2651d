// What a request means: a pure function of its head, its body and the peer's rights.

import ControlAPI
import NIOHTTP1

/// What to do with a request.
enum ControlRoute: Hashable {
    /// Ask the turn.
    case ask(ControlRequest)
    /// Say the daemon's version.
    case version(VersionReply)
    /// What was told.
    case events(EventsRequest)
    /// What was told after this number, and what is told from now on.
    case listen(after: UInt64)
    /// The incidents in what was told; with a number, that one with its lines.
    case incidents(UInt32?)
    /// Refuse it.
    case refuse(Int, Problem)

    fileprivate static let noName = refuse(
        400, Problem(error: "the port's name is not percent-encoded text"))

    fileprivate static let noNumber = refuse(
        400, Problem(error: "an incident has a number", cure: "GET /v1/incidents lists them"))

    fileprivate static let nowhere = refuse(
        404, Problem(error: "there is no such thing here", cure: ControlRouter.paths))
}

/// Decides for one peer.
struct ControlRouter {
    /// What the peer may do.
    let access: ControlAccess
    /// Who it is.
    let actor: ControlActor
    /// The daemon's version.
    let version: String

    fileprivate static let paths =
        "GET /v1/status, /v1/ports/NAME, /v1/ports/NAME/explain, /v1/ports/NAME/export, /v1/events, "
        + "/v1/incidents, /v1/incidents/NUMBER, /v1/evidence, /v1/evidence/NUMBER, "
        + "/v1/evidence/NUMBER.pcap, /v1/metrics, /v1/version or /v1/health, or POST /v1/release, "
        + "/v1/hold, /v1/exempt, /v1/disable, /v1/enable, /v1/escalate, /v1/mode, /v1/reload or "
        + "/v1/import"

    /// What this request means.
    func route(method: HTTPMethod, uri: String, body: [UInt8]) -> ControlRoute {
        guard access >= .read else {
            return .refuse(
                403,
                Problem(
                    error: "you may not speak to this daemon",
                    cure: "ask as root, or as a member of the group control.group names"))
        }
        let path = String(uri.prefix { $0 != "?" })
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        switch Array(parts) {
        case ["v1", "status"]:
            return get(method, .ask(.status))
        case ["v1", "events"]:
            return get(method, Self.events(uri.dropFirst(path.count + 1)))
        case ["v1", "incidents"]:
            return get(method, .incidents(nil))
        case let parts where parts.count == 3 && parts.starts(with: ["v1", "incidents"]):
            guard let number = UInt32(parts[2]) else { return .noNumber }
            return get(method, .incidents(number))
        case ["v1", "metrics"]:
            return get(method, .ask(.metrics))
        case ["v1", "health"]:
            return get(method, .ask(.health))
        case ["v1", "version"]:
            return get(method, .version(VersionReply(version: version)))
        case ["v1", "evidence"]:
            return get(method, .ask(.evidence(.list)))
        case let parts where parts.count == 3 && parts.starts(with: ["v1", "evidence"]):
            return evidence(method, parts[2])
        case let parts where parts.count == 2 && parts[0] == "v1":
            return act(parts[1], method, body) ?? .nowhere
        case let parts where (3...4).contains(parts.count) && parts.starts(with: ["v1", "ports"]):
            guard let name = Self.percentDecoded(parts[2]), !name.isEmpty else { return .noName }
            return port(method, name, parts.count == 4 ? parts[3] : nil)
        default:
            return .nowhere
        }
    }

    private func port(_ method: HTTPMethod, _ name: String, _ part: Substring?) -> ControlRoute {
        switch part {
        case nil: return get(method, .ask(.port(name)))
        case "explain": return get(method, .ask(.explain(name)))
        case "export":
            guard access >= .act else { return .refuse(403, Self.mayNot("export")) }
            return get(method, .ask(.export(name)))
        default: return .nowhere
        }
    }

    /// `NUMBER`, or `NUMBER.pcap`: tenants' packets, for those who may act.
    private func evidence(_ method: HTTPMethod, _ name: Substring) -> ControlRoute {
        let suffix = EvidenceStore.packetSuffix
        let isPackets = name.hasSuffix(suffix)
        let digits = isPackets ? name.dropLast(suffix.count) : name
        guard let incident = UInt32(digits), "\(incident)" == digits else { return .nowhere }
        guard isPackets else { return get(method, .ask(.evidence(.report(incident)))) }
        guard access >= .act else { return .refuse(403, Self.mayNot("read packets")) }
        return get(method, .ask(.evidence(.packets(incident))))
    }

    /// `after=N&limit=N&follow=true`, any or none.
    private static func events(_ query: Substring) -> ControlRoute {
        var request = EventsRequest()
        var follows = false
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            let number = parts.count == 2 ? UInt64(parts[1]) : nil
            switch (parts.first, number) {
            case ("follow", _) where parts.count == 2 && parts[1] == "true": follows = true
            case ("after", let number?): request.after = number
            case ("limit", let number?) where number <= EventsRequest.most:
                request.limit = Int(number)
            default:
                return .refuse(
                    400,
                    Problem(
                        error: "the query does not say which events",
                        cure: "ask for after=NUMBER, and limit=NUMBER up to \(EventsRequest.most), "
                            + "or follow=true"))
            }
        }
        return follows ? .listen(after: request.after) : .events(request)
    }

    private func get(_ method: HTTPMethod, _ route: ControlRoute) -> ControlRoute {
        guard method == .GET else {
            return .refuse(405, Problem(error: "this can only be read", cure: "use GET"))
        }
        return route
    }

    static func mayNot(_ act: String) -> Problem {
        Problem(
            error: "you may read, but not \(act)",
            cure: "ask as root, or as a member of the group control.operators names")
    }

    /// RFC 3986, section 2.1; nil where it is malformed or no UTF-8.
    private static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2,
                digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

/// An answer as it goes out.
struct ControlAnswer: Hashable {
    /// The HTTP status.
    var status: Int
    /// JSON with a newline at its end, but for metrics and packets.
    var body: [UInt8]
    /// The media type.
    var type = "application/json"

    /// This problem.
    init(_ status: Int, _ problem: Problem) {
        self.init(status, encoding: problem)
    }

    /// The version.
    init(_ version: VersionReply) {
        self.init(200, encoding: version)
    }

    /// What was told.
    init(_ events: EventsReply) {
        self.init(200, encoding: events)
    }

    /// The incidents in what was told; with a number, that one with its lines.
    init(incidents lines: [ToldLine], _ number: UInt32?) {
        let all = Incident.all(in: lines)
        guard let number else {
            self.init(200, encoding: IncidentsReply(incidents: all.map(\.withoutEvents)))
            return
        }
        guard let incident = all.last(where: { $0.number == number }) else {
            let problem = Problem(
                error: "nothing of an incident \(number) is kept",
                cure: "sluicectl incident lists those that are; syslog has the older ones")
            self.init(404, problem)
            return
        }
        self.init(200, encoding: incident)
    }

    /// What a listener is told: a JSON object a line, after one that says how many lines were lost.
    static func stream(_ news: EventsReply) -> [UInt8] {
        var bytes = news.lost > 0 ? Array("{\"lost\":\(news.lost)}\n".utf8) : []
        for event in news.events { bytes += ControlAnswer(200, encoding: event).body }
        return bytes
    }

    /// The media type of what a listener is told.
    static let streamType = "application/x-ndjson"

    /// What the turn answered.
    init(_ reply: ControlReply) {
        switch reply {
        case .status(let status): self.init(200, encoding: status)
        case .port(let port): self.init(200, encoding: port)
        case .explanation(let explanation): self.init(200, encoding: explanation)
        case .metrics(let status, let health):
            self.init(status: 200, body: OpenMetrics.text(status, health))
            type = OpenMetrics.mediaType
        case .release(let release): self.init(200, encoding: release)
        case .export(let document): self.init(document)
        case .evidenceList(let list): self.init(200, encoding: list)
        case .evidence(let report): self.init(200, encoding: report)
        case .packets(let bytes): self.init(packets: bytes)
        case .imported(let reply): self.init(200, encoding: reply)
        case .ordered(let reply): self.init(200, encoding: reply)
        case .modes(let reply): self.init(200, encoding: reply)
        case .reloaded(let reply): self.init(200, encoding: reply)
        case .healthy: self.init(200, encoding: HealthReply())
        case .problem(let status, let problem): self.init(status, encoding: problem)
        }
    }

    private init(packets: [UInt8]) {
        status = 200
        body = packets
        type = "application/vnd.tcpdump.pcap"
    }

    /// As the journal writes it.
    private init(_ document: PortDocument) {
        guard let bytes = try? document.bytes() else {
            self = .unsayable
            return
        }
        status = 200
        body = bytes
    }

    private init(_ status: Int, encoding value: some Encodable) {
        guard let line = try? JSONText.line(of: value) else {
            self = .unsayable
            return
        }
        self.status = status
        body = line
    }

    private init(status: Int, body: String) {
        self.status = status
        self.body = Array(body.utf8)
    }

    /// A number that JSON cannot say (infinite, or none): a fault of ours, not the client's.
    private static var unsayable: ControlAnswer {
        ControlAnswer(
            status: 500,
            body: "{\"error\":\"the answer holds a number that JSON cannot say\"}\n")
    }
}
