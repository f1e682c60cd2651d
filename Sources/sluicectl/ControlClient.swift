// A small HTTP/1.1 client over the daemon's Unix socket: one request for each connection.
// Invariants: every answer is bounded in size and time; an answer that is cut short is an error.

import ControlAPI
import FoundationEssentials
import LinuxSystem
import SystemPackage

/// Why there is no answer.
enum ControlClientError: Error, Hashable, CustomStringConvertible {
    /// The daemon says no: HTTP status, and its own words.
    case refused(Int, Problem)
    /// Nobody answers at the socket.
    case unreachable(socket: String, Errno)
    /// Whoever answers at the socket does not speak as the daemon does.
    case foreign(socket: String, String)

    /// 1 where the daemon says no, 2 where it cannot be reached.
    var exitStatus: Int32 {
        switch self {
        case .refused: 1
        case .unreachable, .foreign: 2
        }
    }

    /// One sentence and its cure.
    var description: String {
        switch self {
        case .refused(_, let problem):
            return problem.error + (problem.cure.map { "; \($0)" } ?? "")
        case .unreachable(let socket, let errno):
            return "cannot reach sluiced at \(socket): \(errno); \(Self.cure(errno))"
        case .foreign(let socket, let what):
            return "\(socket) does not answer as sluiced does: \(what); name its socket by --socket"
        }
    }

    private static func cure(_ errno: Errno) -> String {
        switch errno {
        case .permissionDenied, .notPermitted:
            "run this as root, or as a member of the group that control.group names"
        case .wouldBlock, .timedOut:
            "it is busy or stuck: look at `systemctl status sluiced`, then ask again"
        default:
            "start it (`systemctl start sluiced`), or name its socket by --socket"
        }
    }
}

/// Asks the daemon.
struct ControlClient {
    /// The daemon's socket.
    let socket: String
    /// Of connecting, and of waiting for more of an answer.
    var timeout: Duration = .seconds(10)
    /// The longest answer: a status of 100,000 ports.
    var mostBytes = 64 << 20

    /// The body of the answer to a GET.
    func get(_ path: String) throws(ControlClientError) -> [UInt8] {
        try ask("GET \(path) HTTP/1.1\r\nHost: sluiced\r\nConnection: close\r\n\r\n", body: [])
    }

    /// Gives each line of a stream as it comes, until the daemon ends it.
    func stream(
        _ path: String, _ body: ([UInt8]) throws(ControlClientError) -> Void
    ) throws(ControlClientError) {
        var stream = HTTPStream()
        let peer = try reaching { () throws(Errno) in
            try PeerSocket.connect(path: socket, timeout: timeout)
        }
        try reaching { () throws(Errno) in
            try peer.send(Array("GET \(path) HTTP/1.1\r\nHost: sluiced\r\n\r\n".utf8))
        }
        while !stream.isOver {
            let chunk = try reaching { () throws(Errno) -> [UInt8]? in
                do throws(Errno) {
                    return try receive(peer, after: 0)
                } catch .wouldBlock {
                    // Nothing happens, for longer than an answer may take.
                    return nil
                }
            }
            guard let chunk else { continue }
            guard !chunk.isEmpty else { break }
            guard stream.take(chunk) else {
                throw .foreign(socket: socket, "the answer is no stream of lines")
            }
            guard stream.status == 200 else { continue }
            while let line = stream.next() { try body(line) }
        }
        guard stream.status != 200 else { return }
        try refuse(stream.status ?? 503, stream.rest)
    }

    private func reaching<Value: ~Copyable>(
        _ work: () throws(Errno) -> Value
    ) throws(ControlClientError) -> Value {
        do throws(Errno) {
            return try work()
        } catch {
            throw .unreachable(socket: socket, error)
        }
    }

    /// The daemon and all its ports.
    func status() throws(ControlClientError) -> Status {
        try decode(Status.self, from: try get("/v1/status"))
    }

    /// The body of the answer to a POST of this value as JSON.
    func post(_ path: String, _ value: some Encodable) throws(ControlClientError) -> [UInt8] {
        guard let body = try? JSONEncoder().encode(value) else {
            throw .foreign(socket: socket, "the request cannot be said in JSON")
        }
        return try post(path, body: Array(body))
    }

    /// The body of the answer to a POST of these bytes, which are JSON.
    func post(_ path: String, body: [UInt8]) throws(ControlClientError) -> [UInt8] {
        let head =
            "POST \(path) HTTP/1.1\r\nHost: sluiced\r\nConnection: close\r\n"
            + "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n\r\n"
        return try ask(head, body: body)
    }

    /// The value that a body holds.
    func decode<Answer: Decodable>(
        _ type: Answer.Type, from body: [UInt8]
    ) throws(ControlClientError) -> Answer {
        do {
            return try JSONDecoder().decode(type, from: Data(body))
        } catch {
            throw .foreign(socket: socket, "the answer is no \(type)")
        }
    }

    private func ask(_ head: String, body: [UInt8]) throws(ControlClientError) -> [UInt8] {
        let bytes = try exchange(Array(head.utf8) + body)
        guard let answer = HTTPAnswer(bytes) else {
            throw .foreign(socket: socket, "the answer is no whole HTTP answer")
        }
        guard answer.status != 200 else { return answer.body }
        try refuse(answer.status, answer.body)
    }

    private func refuse(_ status: Int, _ body: [UInt8]) throws(ControlClientError) -> Never {
        let problem = try? JSONDecoder().decode(Problem.self, from: Data(body))
        throw .refused(status, problem ?? Problem(error: "the daemon says \(status)"))
    }

    /// Sends a request and receives until the daemon closes.
    private func exchange(_ request: [UInt8]) throws(ControlClientError) -> [UInt8] {
        var answer: [UInt8] = []
        do throws(Errno) {
            let peer = try PeerSocket.connect(path: socket, timeout: timeout)
            do throws(Errno) {
                try peer.send(request)
            } catch .brokenPipe {
                // Closed at once, for too many connections, or with an answer that says why.
            }
            while answer.count <= mostBytes {
                let chunk = try receive(peer, after: answer.count)
                if chunk.isEmpty { break }
                answer += chunk
            }
        } catch {
            throw .unreachable(socket: socket, error)
        }
        guard answer.count <= mostBytes else {
            throw .foreign(socket: socket, "the answer has more than \(mostBytes) bytes")
        }
        guard !answer.isEmpty else {
            throw .refused(
                503,
                Problem(
                    error: "the daemon closed the connection without an answer",
                    cure: "it may have too many; ask again in a second"))
        }
        return answer
    }

    /// A reset after the answer ends it: the daemon closes with parts of a request unread.
    private func receive(_ peer: borrowing PeerSocket, after count: Int) throws(Errno) -> [UInt8] {
        do throws(Errno) {
            return try peer.receive()
        } catch .connectionReset {
            return []
        }
    }
}

/// An HTTP answer with its length said in its head.
struct HTTPAnswer: Hashable {
    /// The HTTP status.
    var status: Int
    /// As long as its head said.
    var body: [UInt8]

    /// The answer in these bytes; nil where it is none, or is cut short.
    init?(_ bytes: [UInt8]) {
        let end = Array("\r\n\r\n".utf8)
        guard let headEnd = Self.firstIndex(of: end, in: bytes) else { return nil }
        let head = String(decoding: bytes[..<headEnd], as: UTF8.self)
        var lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)[...]
        guard let first = lines.popFirst(), first.hasPrefix("HTTP/1.") else { return nil }
        let words = first.split(separator: " ")
        guard words.count >= 2, let status = Int(words[1]) else { return nil }
        var length: Int?
        for line in lines {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2, parts[0].lowercased() == "content-length" {
                length = Int(parts[1].drop { $0 == " " })
            }
        }
        let body = bytes[(headEnd + end.count)...]
        guard let length, length >= 0, body.count >= length else { return nil }
        self.status = status
        self.body = Array(body.prefix(length))
    }

    private static func firstIndex(of pattern: [UInt8], in bytes: [UInt8]) -> Int? {
        guard bytes.count >= pattern.count else { return nil }
        return (0...(bytes.count - pattern.count)).first { bytes[$0...].starts(with: pattern) }
    }
}

/// RFC 3986: all but letters, digits and `-._~` stands as `%XX`.
func percentEncoded(_ text: String) -> String {
    var encoded = ""
    for byte in text.utf8 {
        let character = Character(Unicode.Scalar(byte))
        if byte < 0x80, character.isLetter || character.isNumber || "-._~".contains(character) {
            encoded.append(character)
        } else {
            let hex = String(byte, radix: 16, uppercase: true)
            encoded += hex.count == 1 ? "%0\(hex)" : "%\(hex)"
        }
    }
    return encoded
}
