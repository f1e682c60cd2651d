// The description of the socket, and the socket.
import ControlAPI
import Lab
import NIOHTTP1
import Testing

@testable import Daemon

@Suite struct OpenAPITests {
    /// Guards against: a path that is described and not there, one that is there and not described,
    /// and one whose method is another.
    @Test func eachPathIsThere() throws {
        let router = ControlRouter(
            access: .act, actor: ControlActor(user: 1, process: 2), version: "1")
        var described: [String] = []
        for operation in try OpenAPI().operations {
            let words = operation.split(separator: " ").map(String.init)
            let uri = words[1].replacing("{name}", with: "vm-1-ff").replacing("{number}", with: "1")
            let route = router.route(method: HTTPMethod(rawValue: words[0]), uri: uri, body: [])
            if case .refuse(let status, _) = route {
                // An act without a body is refused for that.
                #expect(status == 400 && words[0] == "POST", "\(operation): \(status)")
            }
            let other: HTTPMethod = words[0] == "POST" ? .GET : .POST
            guard case .refuse(405, _) = router.route(method: other, uri: uri, body: []) else {
                Issue.record("\(other) \(uri)")
                continue
            }
            described.append(
                words[1].replacing("{name}", with: "NAME").replacing("{number}", with: "NUMBER"))
        }
        guard case .refuse(404, let problem) = router.route(method: .GET, uri: "/", body: [])
        else {
            Issue.record("there is something at /")
            return
        }
        let told = try #require(problem.cure).split { " ,".contains($0) }
            .filter { $0.hasPrefix("/") }.map(String.init)
        #expect(told.sorted() == described.sorted())
    }

    /// Guards against: a check that finds nothing.
    @Test func aWrongAnswerIsFound() throws {
        let api = try OpenAPI()
        #expect(try api.violations(of: #"{"version":"1"}"#, to: "GET /v1/version") == [])
        let broken = [
            (#"{}"#, "GET /v1/version", "body.version is missing"),
            (#"{"version":1}"#, "GET /v1/version", "body.version is no "),
            (#"{"version":"1","x":2}"#, "GET /v1/version", "body.x is not described"),
            (#"{"healthy":true}"#, "GET /v1/nothing", "is not described"),
            (
                #"{"released":["a"],"failed":{"b":7}}"#, "POST /v1/release",
                "body.failed.b is no "
            ),
            (
                #"{"port":"a","rung":"polite","waits":false}"#, "POST /v1/import",
                "body.rung is polite"
            ),
        ]
        for (body, operation, wanted) in broken {
            let found = try api.violations(of: body, to: operation)
            #expect(found.contains { $0.contains(wanted) }, "\(operation): \(found)")
        }
    }
}
