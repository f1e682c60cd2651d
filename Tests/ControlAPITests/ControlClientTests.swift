// sluicectl's client, against the daemon's own server and against others.

import ArgumentParser
import ControlAPI
import Daemon
import Glibc
import Settings
import Synchronization
import SystemPackage
import Testing

@testable import sluicectl

@Suite struct ControlClientTests {
    /// A server whose every request is answered at once, on its own thread.
    private final class Served: Sendable {
        let path: String
        private let server: ControlServer
        let history = EventHistory(startedAt: 7)
        private static let count = Atomic<Int>(0)

        private final class Later: Sendable {
            let mailbox = Mutex<Mailbox?>(nil)
        }

        init(_ answer: @escaping @Sendable (ControlRequest) -> ControlReply) throws {
            let number = Self.count.wrappingAdd(1, ordering: .relaxed).newValue
            path = "/tmp/sluicectl-test-\(getpid())-\(number).sock"
            let later = Later()
            let mailbox = Mailbox {
                _ = later.mailbox.withLock { $0 }?.drain { $1(answer($0)) }
            }
            later.mailbox.withLock { $0 = mailbox }
            var settings = ControlSettings()
            settings.socket = path
            server = ControlServer(
                settings: settings, mailbox: mailbox, history: history, version: "1")
            try server.start()
        }

        deinit { server.stop() }
    }

    /// Guards against: a request that the server reads as another one.
    @Test func asks() throws {
        let served = try Served { request in
            switch request {
            case .port(let name):
                .problem(404, Problem(error: "there is no port \(name)", cure: "c"))
            case .release(let request, _):
                .release(ReleaseReply(released: [request.port ?? "all"], failed: [:]))
            default: .healthy
            }
        }
        let client = ControlClient(socket: served.path)
        let version = try client.decode(VersionReply.self, from: client.get("/v1/version"))
        #expect(version.version == "1")
        let body = try client.post("/v1/release", ReleaseRequest(port: #"vm\x01"#))
        #expect(try client.decode(ReleaseReply.self, from: body).released == [#"vm\x01"#])
        let name = #"a\x20/..%?"#
        let problem = ControlClientError.refused(
            404, Problem(error: "there is no port \(name)", cure: "c"))
        #expect(throws: problem) { try client.get("/v1/ports/\(percentEncoded(name))") }
        #expect(problem.exitStatus == 1)
        #expect(throws: ControlClientError.self) {
            try client.decode(Status.self, from: client.get("/v1/health"))
        }
    }

    /// Guards against: an operator who is told neither the socket nor the cure.
    @Test func unreachable() throws {
        let client = ControlClient(socket: "/nowhere/sluiced.sock")
        let error = try #require(throws: ControlClientError.self) { try client.get("/v1/status") }
        #expect(error == .unreachable(socket: client.socket, .noSuchFileOrDirectory))
        #expect(error.exitStatus == 2)
        #expect(error.description.contains("/nowhere/sluiced.sock"))
        #expect(error.description.contains("systemctl start sluiced"))
        let long = ControlClient(socket: "/" + String(repeating: "x", count: 200))
        #expect(throws: ControlClientError.unreachable(socket: long.socket, .fileNameTooLong)) {
            try long.get("/v1/status")
        }
    }

    /// Guards against: an answer cut short and taken for whole, or a trap on one that is none.
    @Test(
        arguments: [
            ("", nil), ("HTTP/1.1 200 OK\r\n", nil), ("HTTP/1.1 200 OK\r\n\r\n{}", nil),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", nil),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", nil),
            ("HTTP/1.1 x\r\nContent-Length: 2\r\n\r\n{}", nil),
            ("SSH-2.0-x\r\n\r\n", nil), ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}more", 200),
            ("HTTP/1.1 404\r\nContent-Length:2\r\n\r\n{}", 404),
        ] as [(String, Int?)])
    func answers(_ text: String, _ status: Int?) {
        let answer = HTTPAnswer(Array(text.utf8))
        #expect(answer?.status == status)
        if status != nil { #expect(answer?.body == Array("{}".utf8)) }
    }

    /// Guards against: a command line that releases what was not named.
    @Test(arguments: [
        ["release"], ["release", "--all", "vm-1-ff"], ["status", "--all", "vm-1-ff"], ["relaese"],
        ["status", "--bogus"], ["release", "x", "--socket"],
    ])
    func wrongUsage(_ arguments: [String]) throws {
        let error = try #require(throws: (any Error).self) {
            _ = try Sluicectl.parseAsRoot(arguments)
        }
        #expect(Sluicectl.exitCode(for: error).rawValue == 64)
    }

    /// Guards against: a command that does not parse as the manual has it.
    @Test func rightUsage() throws {
        let status = try #require(try Sluicectl.parseAsRoot(["status"]) as? StatusCommand)
        #expect(status.connection.socket == "/run/sluice/sluiced.sock" && status.ports.isEmpty)
        let release = try #require(
            try Sluicectl.parseAsRoot(["release", "a", "b", "--socket", "/x"]) as? ReleaseCommand)
        #expect(release.ports == ["a", "b"] && release.connection.socket == "/x")
    }
}
