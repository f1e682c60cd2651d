// An operator's word on ports and classes, by sluicectl, under a real flood and over a crash.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct OrderTests {
    /// Guards against: a word that is not obeyed in the kernel, is lost by a crash, answers otherwise
    /// than described, or leaves no trace of who said it.
    @Test(.needs(.ifb, .tbf, .clsact)) func wordsAreObeyed() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 1, shape: 3_600)
            let rogue = try stage.startWatched(vm: 1)
            let quiet = try stage.startWatched(vm: 2)
            let untouched = try Snapshot()
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(90)))
            try stage.wait(for: "police", of: rogue.name, within: .seconds(10))
            let socket = stage.daemon.socket
            func ask(_ words: String...) throws -> String {
                try Tool.run(DaemonProcess.binary("sluicectl"), words + ["--socket", socket])
            }
            func refused(_ words: String...) throws -> String {
                let (status, said) = try Tool.status(
                    DaemonProcess.binary("sluicectl"), words + ["--socket", socket])
                #expect(status == .exited(1), "\(words)")
                return said
            }

            let held = try ask("hold", rogue.name, "--for", "1h", "--reason", "a look first")
            #expect(
                held.contains("held where it is, for 1h 0min more") && held.contains("a look first")
            )
            let seen = try stage.daemon.port(rogue.name)?.onRungSeconds ?? 0
            try wait(for: "three dwells", within: .seconds(10)) {
                try stage.daemon.port(rogue.name)?.onRungSeconds ?? 0 > seen + 3
            }
            #expect(try stage.daemon.port(rogue.name)?.rung == "police")
            _ = try ask("enable", rogue.name)
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(5))

            _ = try ask("exempt", rogue.name, "--for", "1h", "--reason", "our own load test")
            #expect(try Snapshot.settledDifference(from: untouched) == [])
            try stage.daemon.line(with: "event=would-move ", within: .seconds(5))
            stage.daemon.kill()
            let next = try stage.startAgain()
            try wait(for: "the would-be rung", within: .seconds(10)) {
                try next.port(rogue.name)?.rung != "normal"
            }
            let after = try next.port(rogue.name)
            #expect(after?.order?.order == "exempt" && after?.order?.reason == "our own load test")
            #expect(try Snapshot.settledDifference(from: untouched) == [])
            let passed = try stage.host.uplink.received.delivered(
                from: rogue.mac, during: measure(for: .seconds(1)))
            report(
                "exempt, over a crash: \(passed.packetsPerSecond) of \(Stage.floodRate) pps pass")
            #expect(passed.packetsPerSecond > Double(Stage.target) * 5)

            _ = try ask("enable", rogue.name)
            try wait(for: "the police", within: .seconds(5)) {
                try next.port(rogue.name)?.enforcement != nil
            }
            #expect(try refused("hold", quiet.name).contains("sluicectl escalate"))
            #expect(try refused("enable", quiet.name).contains("neither held nor exempt"))
            #expect(try ask("escalate", quiet.name).contains("\(quiet.name): police"))
            #expect(try next.port(quiet.name)?.enforcement != nil)

            #expect(try ask("observe", "vm").contains("class vm: observe (uid 0)"))
            #expect(try refused("escalate", quiet.name).contains("only observed"))
            _ = try ask("release", "--all")
            #expect(try Snapshot.settledDifference(from: untouched) == [])
            #expect(try ask("status").contains("class vm: observe (uid 0)"))
            #expect(try ask("arm", "vm", "--undo").contains("class vm: enforce (as configured)"))
            try wait(for: "the police again", within: .seconds(5)) {
                try next.port(rogue.name)?.enforcement != nil
            }

            let file = stage.folder.file("sluiced.toml")
            let text = try readFile(file)
            try writeFile("mode = \"armed\"\n" + text.dropFirst(17), to: file)
            #expect(try refused("reload").contains("sluiced.toml:1:8"))
            try writeFile(text.replacing("= \"1000pps\"", with: "= \"800pps\""), to: file)
            #expect(try ask("reload").contains("sluiced.toml is in force"))
            #expect(try next.port(rogue.name)?.rung == "police")
            try checkAnswers(of: next, on: rogue.name)

            let told = try ask("events")
            for act in [
                "act=enable port=\(rogue.name) uid=0 pid=",
                "act=mode mode=observe classes=vm uid=0",
                "act=escalate port=\(quiet.name) uid=0", "act=reload uid=0", "act=release port=all",
            ] { #expect(told.contains(act), "\(act)") }
            flood.stop()
            _ = try next.stop()
        }
    }

    private func checkAnswers(of daemon: borrowing DaemonProcess, on port: String) throws {
        let api = try OpenAPI()
        let bodies = [
            ("hold", #"{"port": "\#(port)", "seconds": 9, "reason": "x"}"#),
            ("exempt", #"{"port": "\#(port)", "seconds": 9}"#),
            ("disable", #"{"port": "\#(port)"}"#),
            ("enable", #"{"port": "\#(port)"}"#), ("escalate", #"{"port": "\#(port)"}"#),
            ("mode", #"{"mode": "configured"}"#), ("reload", "{}"),
        ]
        for (act, body) in bodies {
            let answer = try daemon.request("POST", "/v1/\(act)", body: body)
            #expect(try api.violations(of: answer, to: "POST /v1/\(act)") == [], "\(act)")
        }
    }
}
