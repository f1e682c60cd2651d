// The control protocol: a connection's bytes through the very handlers of the socket, up to the turn
// and back, in the simulated time of an embedded channel.
import ControlAPI
import FoundationEssentials
import NIOCore
import NIOEmbedded
import NIOHTTP1

@testable import Daemon

extension FuzzTarget {
    /// The first bytes say who the peer is, in what pieces its bytes come, and how the turn answers.
    static let control = FuzzTarget(
        name: "control",
        seeds: {
            [
                "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /v1/ports/vm-1-%66f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                "POST /v1/release HTTP/1.1\r\nContent-Length: 13\r\n\r\n{\"all\": true}",
                "GET /v1/ports/vm-1-1/export HTTP/1.1\r\n\r\n",
                "GET /v1/evidence/7.pcap HTTP/1.1\r\n\r\nGET /v1/evidence HTTP/1.1\r\n\r\n",
                "POST /v1/import HTTP/1.1\r\nContent-Length: 81\r\n\r\n"
                    + #"{"version":1,"name":"vm-1-1","address":[],"exported_at":0,"memory":{"strikes":0}}"#,
                "POST /v1/release HTTP/1.1\r\nContent-Length: 16\r\n\r\n{\"port\":\"vm-1-1\"}",
                "POST /v1/release HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "d\r\n{\"all\": true}\r\n0\r\n\r\n",
                "GET /v1/health HTTP/1.1\r\n\r\nGET /v1/version HTTP/1.1\r\n\r\nHEAD / HTTP/1.0\r\n\r\n",
            ].flatMap { text in
                [[2, 0, 0], [1, 7, 1], [0, 1, 2]].map { $0 + Array(text.utf8) }
            }
        },
        read: { bytes in
            var input = FuzzInput(bytes)
            let access: [ControlAccess] = [.none, .read, .act]
            let client = try EmbeddedClient(
                access: access[Int(input.byte() % 3)], pieceBytes: Int(input.byte()),
                patience: EmbeddedClient.Patience(rawValue: input.byte() % 3) ?? .answers)
            return try client.run(input.remainder)
        })
}

/// One connection in simulated time, and the turn that answers it.
private final class EmbeddedClient {
    /// What the turn does with a request.
    enum Patience: UInt8 {
        /// It answers at its next drain.
        case answers
        /// It answers when all bytes are there.
        case answersLate
        /// It never answers.
        case keepsSilent
    }

    private let access: ControlAccess
    private let pieceBytes: Int
    private let patience: Patience
    private let channel = EmbeddedChannel()
    private let mailbox = Mailbox(capacity: 8) {}
    private let table = ControlTable(history: EventHistory(startedAt: 7), mostListening: 1)
    private let limits = ControlLimits()
    private var owed: [(ControlRequest, Mailbox.Reply)] = []
    private var asked = 0
    private var output: [UInt8] = []

    init(access: ControlAccess, pieceBytes: Int, patience: Patience) throws {
        self.access = access
        self.pieceBytes = pieceBytes == 0 ? 4096 : pieceBytes
        self.patience = patience
        try ControlServer.addHandlers(
            to: channel.pipeline.syncOperations,
            router: ControlRouter(
                access: access, actor: ControlActor(user: 7, process: 8), version: "9.9.9"),
            limits: limits,
            mailbox: mailbox, bell: try ReplyBell(), table: table)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/fuzz")).wait()
    }

    /// True where a request reached the turn or was answered.
    func run(_ bytes: [UInt8]) throws -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty, channel.isActive {
            let piece = rest.prefix(pieceBytes)
            rest = rest.dropFirst(piece.count)
            // Thrown where the connection was closed meanwhile.
            _ = try? channel.writeInbound(ByteBuffer(bytes: piece))
            try turn(answers: patience == .answers)
        }
        for _ in 0..<16 { try turn(answers: patience != .keepsSilent) }
        try promise(table.open == (channel.isActive ? 1 : 0), "the count of connections is wrong")
        // Whatever it is in the midst of, it does not outlive a deadline and an idle time.
        channel.embeddedEventLoop.advanceTime(by: TimeAmount(limits.deadline))
        try turn(answers: false)
        channel.embeddedEventLoop.advanceTime(by: TimeAmount(limits.idle))
        try promise(!channel.isActive, "the connection outlives its bounds")
        try turn(answers: true)
        _ = try? channel.finish(acceptAlreadyClosed: true)
        try promise(table.open == 0 && table.waiting.isEmpty, "a closed connection is kept")
        return try checkAnswers() + asked > 0
    }

    /// One turn of the daemon's: takes the mail, answers, and the bell is heard.
    private func turn(answers: Bool) throws {
        var taken: [(ControlRequest, Mailbox.Reply)] = []
        _ = mailbox.drain { taken.append(($0, $1)) }
        for (request, _) in taken { try check(request) }
        asked += taken.count
        owed += taken
        if answers {
            for (request, reply) in owed { reply(Self.answer(to: request)) }
            owed = []
        }
        for connection in Array(table.waiting.values) { connection.collect() }
        while let part = try? channel.readOutbound(as: IOData.self) {
            if case .byteBuffer(let buffer) = part { output += buffer.readableBytesView }
        }
        // What a closed channel left for later.
        channel.embeddedEventLoop.run()
        try promise(output.count < 4 << 20, "answers without end")
    }

    private func check(_ request: ControlRequest) throws(BrokenPromise) {
        try promise(access != .none, "a stranger reached the turn")
        switch request {
        case .release(let release, let actor):
            try promise(actor.user == 7 && actor.process == 8, "another one acts")
            try promise(access == .act, "a reader acts")
            try promise(
                (release.port == nil) == (release.all == true), "a release of nobody knows what")
        case .port(let name), .explain(let name):
            try promise(!name.isEmpty, "a port without a name")
        case .export(let name):
            try promise(access == .act, "a reader exports")
            try promise(!name.isEmpty, "a port without a name")
        case .importPort: try promise(access == .act, "a reader imports")
        case .evidence(.packets): try promise(access == .act, "a reader has packets")
        case .order(_, let order, let actor), .takeBackOrder(let order, let actor),
            .escalate(let order, let actor):
            try promise(access == .act && actor.user == 7, "a reader orders")
            try promise(!order.port.isEmpty, "a port without a name")
            try promise((order.reason?.utf8.count ?? 0) <= 200, "a reason without end")
            try promise(order.seconds.map { (1...7_776_000).contains($0) } ?? true, "no time")
        case .mode(_, let classes, let reason, _):
            try promise(access == .act, "a reader orders")
            try promise(!classes.isEmpty && (reason?.utf8.count ?? 0) <= 200, "for nobody")
        case .reload: try promise(access == .act, "a reader reloads")
        case .status, .metrics, .health, .evidence: break
        }
    }

    private static func answer(to request: ControlRequest) -> ControlReply {
        switch request {
        case .status, .port, .export, .explain, .metrics, .evidence(.report), .evidence(.packets):
            .problem(404, Problem(error: "there is no such port"))
        case .release(let release, _):
            .release(ReleaseReply(released: [release.port ?? "all"], failed: [:]))
        case .importPort(let document, _):
            .imported(ImportReply(port: "\(document.name)", rung: "normal", waits: true))
        case .order(_, let order, _), .takeBackOrder(let order, _), .escalate(let order, _):
            .ordered(OrderReply(port: order.port, rung: "normal", order: nil))
        case .mode: .modes(ModeReply(classes: []))
        case .reload: .reloaded(ReloadReply(file: "/etc/x", note: nil))
        case .evidence(.list): .evidenceList(EvidenceList(evidence: []))
        case .health: .healthy
        }
    }

    /// Every answer is whole HTTP with JSON in it; gives how many there are.
    private func checkAnswers() throws -> Int {
        var rest = output[...]
        var count = 0
        while !rest.isEmpty {
            let end = try require(rest.firstRange(of: Array("\r\n\r\n".utf8)), "no end of a head")
            let head = String(decoding: rest[..<end.lowerBound], as: UTF8.self)
            try promise(head.hasPrefix("HTTP/1.1 "), "no status line: \(head)")
            let status = Int(head.dropFirst(9).prefix(3)) ?? 0
            try promise(
                [200, 400, 403, 404, 405, 408, 413, 431, 503, 504].contains(status),
                "the status \(status)")
            rest = rest[end.upperBound...]
            // A HEAD is answered without its body.
            if !rest.isEmpty, rest.first != UInt8(ascii: "H") {
                let line = try require(rest.firstIndex(of: UInt8(ascii: "\n")), "no end of a body")
                let body = Data(rest[...line])
                if status != 200 {
                    let problem = try JSONDecoder().decode(Problem.self, from: body)
                    try promise(!problem.error.isEmpty, "a problem without a sentence")
                }
                rest = rest[(line + 1)...]
            }
            count += 1
        }
        return count
    }

    private func require<Value>(_ value: Value?, _ what: String) throws(BrokenPromise) -> Value {
        guard let value else { throw BrokenPromise(description: what) }
        return value
    }
}
