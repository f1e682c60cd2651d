// Who may do what at the socket, by the kernel's word on real peers: threads of other users.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct CredentialTests {
    /// Debian's groups `daemon` and `adm`, which every system has.
    private static let readers: UInt32 = 1
    private static let operators: UInt32 = 4
    private static let control = "group = \"daemon\"\noperators = \"adm\""

    private static let all = #"{"all": true}"#

    /// Guards against: a stranger who gets an answer, a reader who acts, an operator or root who
    /// cannot, and rights taken from the wrong one of a peer's groups.
    @Test(.needs(.ifb, .tbf, .clsact)) func credentialsDecide() async throws {
        try await Namespace.run {
            let stage = try Stage(calm: 60, control: Self.control)
            try Tool.run("chmod", "0755", stage.folder.path)
            let rogue = try stage.startWatched(vm: 1)
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(20)))
            try stage.wait(for: "police", of: rogue.name, within: .seconds(10))
            flood.stop()
            let socket = stage.daemon.socket

            let readers = [
                Identity(user: 64_000, group: Self.readers),
                Identity(user: 64_000, group: 64_000, groups: [7, Self.readers]),
            ]
            for reader in readers {
                #expect(try reader.ask(socket, "GET", "/v1/status").status == 200)
                #expect(try reader.ask(socket, "GET", "/v1/ports/\(rogue.name)").status == 200)
                for body in [Self.all, #"{"port": "\#(rogue.name)"}"#] {
                    let refused = try reader.ask(socket, "POST", "/v1/release", body: body)
                    #expect(refused.status == 403)
                    #expect(refused.body.contains("control.operators"))
                }
            }
            try Self.expectNothing(socket)
            #expect(try stage.daemon.port(rogue.name)?.rung == "police")

            let someOperator = Identity(
                user: 64_000, group: 64_000, groups: [Self.readers, Self.operators])
            let released = try someOperator.ask(socket, "POST", "/v1/release", body: Self.all)
            #expect(released.status == 200 && released.body.contains(rogue.name))
            #expect(try stage.daemon.port(rogue.name)?.rung == "normal")
            let root = Identity(user: 0, group: 64_000)
            #expect(try root.ask(socket, "POST", "/v1/release", body: Self.all).status == 200)
            _ = try stage.daemon.stop()
        }
    }

    /// Strangers cannot connect; where somebody opened the file to them, they are told nothing.
    private static func expectNothing(_ socket: String) throws {
        let strangers = [
            Identity.stranger, Identity(user: 64_000, group: 0),
            Identity(user: 64_000, group: 64_000, groups: [0, 2, 3]),
        ]
        let requests = [
            ("GET", "/v1/status"), ("GET", "/v1/version"), ("GET", "/v1/health"),
            ("POST", "/v1/release"), ("GET", "/v1/ports/vm-1-00aa"), ("GET", "/"),
        ]
        for stranger in strangers {
            let error = #expect(throws: LabError.self) {
                try stranger.ask(socket, "GET", "/v1/status")
            }
            #expect(error?.detail == "Permission denied")
        }
        try Tool.run("chmod", "0666", socket)
        for stranger in strangers {
            for (method, path) in requests {
                let answer = try stranger.ask(socket, method, path, body: all)
                #expect(answer.status == 403, "\(method) \(path)")
                #expect(!answer.body.contains("vm-1-00aa"), "\(answer.body)")
            }
        }
        try Tool.run("chmod", "0660", socket)
    }

    /// Guards against: rights without any group named: only root may connect.
    @Test(.needs(.ifb)) func rootAloneByDefault() async throws {
        try await Namespace.run {
            let stage = try Stage()
            try Tool.run("chmod", "0755", stage.folder.path)
            for group in [Self.readers, Self.operators, 64_000] {
                #expect(throws: LabError.self) {
                    try Identity(user: 64_000, group: group)
                        .ask(stage.daemon.socket, "GET", "/v1/status")
                }
            }
            #expect(try stage.daemon.status().mode == "enforce")
            _ = try stage.daemon.stop()
        }
    }
}
