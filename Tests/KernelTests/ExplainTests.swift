// What an operator asks of a port under a real flood: why, since when, what next, and who did what.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct ExplainTests {
    /// Guards against: a limited port that is not explained, an event that is not kept, an act without
    /// its actor, metrics that know nothing of the port, and answers that are not as described.
    @Test(.needs(.ifb, .tbf, .clsact)) func aFloodIsExplained() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 3_600, shape: 3_600)
            let rogue = try stage.startWatched(vm: 1)
            let quiet = try stage.startWatched(vm: 2)
            let flood = try rogue.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(60)))
            try stage.wait(for: "police", of: rogue.name, within: .seconds(10))
            try wait(for: "what passes", within: .seconds(5)) {
                try stage.daemon.port(rogue.name)?.delivered?.from != nil
            }
            let socket = stage.daemon.socket
            func ask(_ words: String...) throws -> String {
                try Tool.run(DaemonProcess.binary("sluicectl"), words + ["--socket", socket])
            }

            let explained = try ask("explain", rogue.name)
            report(explained)
            for part in ["): police for ", "  why      normal to police: ", "over the mark of "] {
                #expect(explained.contains(part), "\(part)")
            }
            #expect(explained.contains("  next     shape in ") && explained.contains("delivered"))
            #expect(explained.contains("  next     normal in ") && explained.contains("held by"))
            let healthy = try ask("explain", quiet.name)
            #expect(healthy.contains("): normal") && !healthy.contains("why"))

            let told = try ask("events", "--port", rogue.name)
            #expect(told.contains("Z  warning  event=move ") && !told.contains(quiet.name))
            let status = try #require(try stage.daemon.port(rogue.name))
            let incident = try #require(status.incident)
            #expect(try ask("events", "--incident", "\(incident)", "--json").contains(#""seq":"#))
            #expect(try ask("events", "--since", "0s") == "")

            let metrics = try ask("metrics")
            #expect(metrics.contains(#"sluice_mitigated_ports{rung="police",mode="enforce"} 1"#))
            #expect(metrics.contains("sluice_port_rung{port=\"\(rogue.name)\",class=\"vm\""))
            #expect(metrics.hasSuffix("# EOF\n"))

            let api = try OpenAPI()
            try stage.daemon.line(with: "event=evidence ", within: .seconds(10))
            for operation in api.operations where operation.hasPrefix("GET ") {
                // Text, and packets.
                guard !operation.hasSuffix("/metrics"), !operation.hasSuffix(".pcap") else {
                    continue
                }
                let path = String(operation.dropFirst(4)).replacing("{name}", with: rogue.name)
                    .replacing("{number}", with: "\(incident)")
                let answer = try stage.daemon.request("GET", path)
                #expect(try api.violations(of: answer, to: operation) == [], "\(operation)")
            }
            let released = try stage.daemon.request(
                "POST", "/v1/release", body: #"{"port": "vm-9-1"}"#)
            #expect(try api.violations(of: released, to: "POST /v1/release") == [])

            _ = try ask("release", rogue.name)
            let acts = try ask("events", "--port", rogue.name)
            #expect(acts.contains("event=asked act=release port=\(rogue.name) uid=0 pid="))
            flood.stop()
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: a follower that misses a line, or tells one twice.
    @Test(.needs(.ifb, .tbf, .clsact)) func aFollowerHearsEachLineOnce() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 3_600, shape: 3_600)
            let rogue = try stage.startWatched(vm: 1)
            let flood = try rogue.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(60)))
            let program = try DaemonProcess.binary("sluicectl")
            let (status, heard) = try Tool.status(
                "timeout",
                ["5", program, "events", "--follow", "--socket", stage.daemon.socket])
            #expect(status == .exited(124))
            let lines = heard.split(separator: "\n")
            #expect(lines.count { $0.contains("event=move ") && $0.contains("to=police") } == 1)
            #expect(Set(lines).count == lines.count)
            flood.stop()
            _ = try stage.daemon.stop()
        }
    }
}
