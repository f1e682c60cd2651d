// The control socket as clients meet it: real Unix sockets, a real event loop.

import ControlAPI
import FoundationEssentials
import LinuxSystem
import SystemPackage
import Testing

@testable import Daemon
@testable import Settings

@Suite struct ControlServerTests {
    private func decode<Value: Decodable>(_ type: Value.Type, _ answer: Answer) throws -> Value {
        try JSONDecoder().decode(type, from: Data(answer.body.utf8))
    }

    /// Guards against: an answer that is not what the turn said.
    @Test func status() throws {
        let harness = try ControlHarness()
        let answer = try harness.ask("GET", "/v1/status?pretty")
        #expect(answer.status == 200)
        #expect(answer.head.lowercased().contains("content-type: application/json"))
        #expect(try decode(Status.self, answer) == ControlHarness.status)
        #expect(answer.body.contains("\"on_rung_seconds\":12"))
    }

    /// Guards against: ports that are spliced into the wrong place, and a number that traps.
    @Test func statusPortByPort() throws {
        var status = ControlHarness.status
        status.kernelNotes = [#""ports":[]"#, "\"ports\":[{"]
        for count in 0..<4 {
            status.ports = Array(repeating: ControlHarness.port, count: count)
            let body = ControlAnswer(.status(status)).body
            #expect(try JSONDecoder().decode(Status.self, from: Data(body)) == status)
        }
        status.ports[1].onRungSeconds = .infinity
        #expect(ControlAnswer(.status(status)).status == 500)
        status.ports = []
        status.uptimeSeconds = .nan
        #expect(ControlAnswer(.status(status)).status == 500)
    }

    @Test func port() throws {
        let harness = try ControlHarness()
        let found = try harness.ask("GET", "/v1/ports/vm-1-%66f")
        #expect(try decode(PortStatus.self, found) == ControlHarness.port)
        #expect(try harness.ask("GET", "/v1/ports/vm-2-ff").status == 404)
        #expect(try harness.ask("GET", "/v1/ports/").status == 400)
        #expect(try harness.ask("GET", "/v1/ports/%ff").status == 400)
        #expect(try harness.ask("GET", "/v1/ports/%2").status == 400)
    }

    @Test func release() throws {
        let harness = try ControlHarness()
        let one = try harness.ask("POST", "/v1/release", body: #"{"port": "vm-1-ff"}"#)
        #expect(try decode(ReleaseReply.self, one).released == ["vm-1-ff"])
        let all = try harness.ask("POST", "/v1/release", body: #"{"all": true}"#)
        #expect(try decode(ReleaseReply.self, all).released == ["all"])
    }

    /// Guards against: a release of everything that nobody asked for.
    @Test(arguments: [
        "", "{}", "[]", #"{"all": false}"#, #"{"port": "x", "all": true}"#, #"{"all": "true"}"#,
        "{\"port\": \"x\"",
    ])
    func refusedRelease(_ body: String) throws {
        let harness = try ControlHarness()
        let answer = try harness.ask("POST", "/v1/release", body: body)
        #expect(answer.status == 400)
        #expect(try decode(Problem.self, answer).cure != nil)
        #expect(harness.takenCount == 0)
    }

    @Test func versionAndHealth() throws {
        let harness = try ControlHarness()
        let version = try harness.ask("GET", "/v1/version")
        #expect(try decode(VersionReply.self, version).version == "9.9.9")
        let health = try harness.ask("GET", "/v1/health")
        #expect(try decode(HealthReply.self, health).healthy)
    }

    /// Guards against: an act behind a harmless method, or a wrong path that is answered.
    @Test(arguments: [
        ("POST", "/v1/status", 405), ("GET", "/v1/release", 405), ("DELETE", "/v1/ports/x", 405),
        ("GET", "/", 404), ("GET", "/v1", 404), ("GET", "/v2/status", 404),
        ("GET", "/v1/status/", 404), ("OPTIONS", "*", 404),
    ])
    func refused(_ method: String, _ path: String, _ status: Int) throws {
        let harness = try ControlHarness()
        let answer = try harness.ask(method, path)
        #expect(answer.status == status)
        #expect(try !decode(Problem.self, answer).error.isEmpty)
        #expect(harness.takenCount == 0)
    }

    /// Guards against: a stranger who reads, or a reader who acts.
    @Test func rights() throws {
        let stranger = try ControlHarness(access: .none)
        #expect(try stranger.ask("GET", "/v1/status").status == 403)
        #expect(try stranger.ask("GET", "/v1/version").status == 403)
        #expect(try stranger.ask("POST", "/v1/release", body: #"{"all": true}"#).status == 403)
        #expect(stranger.takenCount == 0)
        let reader = try ControlHarness(access: .read)
        #expect(try reader.ask("GET", "/v1/status").status == 200)
        #expect(try reader.ask("POST", "/v1/release", body: #"{"all": true}"#).status == 403)
        #expect(try reader.ask("GET", "/v1/ports/vm-1-ff/export").status == 403)
        #expect(try reader.ask("POST", "/v1/import", body: "{}").status == 403)
        #expect(try stranger.ask("GET", "/v1/ports/vm-1-ff/export").status == 403)
        #expect(reader.takenCount == 1)
    }

    /// Guards against: rights that are taken from the wrong field of the peer's credentials.
    @Test func authorizer() throws {
        var settings = ControlSettings()
        func peer(_ user: UInt32, _ group: UInt32, _ groups: [UInt32] = []) -> PeerCredentials {
            PeerCredentials(pid: 1, user: user, group: group, groups: groups)
        }
        let closed = try ControlAuthorizer(settings: settings)
        #expect(closed.access(of: peer(0, 0)) == .act)
        #expect(closed.access(of: peer(4242, 0, [0])) == .none)
        settings.readers = "daemon"
        settings.operators = "adm"
        let open = try ControlAuthorizer(settings: settings)
        let daemon = try PeerCredentials.group(named: "daemon")
        let adm = try PeerCredentials.group(named: "adm")
        #expect(open.fileGroup == daemon)
        #expect(open.access(of: peer(4242, daemon)) == .read)
        #expect(open.access(of: peer(4242, 4242, [7, daemon])) == .read)
        #expect(open.access(of: peer(4242, 4242, [daemon, adm])) == .act)
        #expect(open.access(of: peer(4242, 4242, [4243])) == .none)
        settings.readers = "no-such-group"
        #expect(throws: ControlServerError.self) { try ControlAuthorizer(settings: settings) }
    }

    /// Guards against: credentials that the kernel did not say.
    @Test func ownCredentials() throws {
        let harness = try ControlHarness()
        let peer = try harness.connect()
        let server = try peer.credentials()
        #expect(server.pid == ProcessID.own)
        #expect(throws: Errno.self) { try PeerCredentials(ofPeerAt: .standardInput) }
    }

    /// Guards against: a second request of a kept connection that is lost, mixed up, or never read.
    @Test func keptAndPipelined() throws {
        let harness = try ControlHarness()
        let peer = try harness.connect()
        let request = "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in 0..<3 {
            try peer.send(request.utf8)
            let text = String(decoding: try peer.receive(), as: UTF8.self)
            #expect(Answer(text).status == 200)
        }
        let last = "GET /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        try peer.send((String(repeating: request, count: 300) + last).utf8)
        let answers = try ControlHarness.everything(from: peer)
        #expect(answers.ranges(of: "\"healthy\":true").count == 300)
        #expect(answers.hasSuffix("{\"version\":\"9.9.9\"}\n"))
        #expect(harness.takenCount == 303)
    }

    /// Guards against: a client that says it is done sending and gets no answer.
    @Test func halfClosed() throws {
        let harness = try ControlHarness()
        let peer = try harness.connect()
        try peer.send("GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
        try peer.finishSending()
        let text = try ControlHarness.everything(from: peer)
        #expect(Answer(text).status == 200)
    }

    /// Guards against: a file of somebody else's that is removed, or a served socket that is taken.
    @Test func socketFile() throws {
        let harness = try ControlHarness()
        var settings = ControlSettings()
        settings.socket = harness.path
        func second() throws -> ControlServer {
            let server = ControlServer(
                settings: settings, mailbox: Mailbox(wake: {}),
                history: EventHistory(startedAt: 7), version: "1")
            try server.start()
            return server
        }
        #expect(throws: ControlServerError.bind(path: harness.path, .served)) { try second() }
        #expect(try harness.ask("GET", "/v1/health").status == 200)
        settings.socket = "/dev/null"
        #expect(throws: ControlServerError.bind(path: "/dev/null", .notSocket)) { try second() }
        settings.socket = "/nowhere/sluiced.sock"
        #expect(throws: ControlServerError.self) { try second() }
    }

    /// Guards against: a socket left by a crash that keeps the next daemon from starting, and one
    /// that stays behind after a clean stop.
    @Test func staleSocket() throws {
        let path = ControlHarness.freshPath()
        var settings = ControlSettings()
        settings.socket = path
        let stale = try ControlFiles.leaveStaleSocket(at: path)
        let server = ControlServer(
            settings: settings, mailbox: Mailbox(wake: {}), history: EventHistory(startedAt: 7),
            version: "1")
        try server.start()
        #expect(try ControlFiles.mode(of: path) == 0o660)
        #expect(try ControlFiles.inode(of: path) != stale)
        server.stop()
        #expect(throws: Errno.noSuchFileOrDirectory) { try ControlFiles.mode(of: path) }
        server.stop()
    }
}
