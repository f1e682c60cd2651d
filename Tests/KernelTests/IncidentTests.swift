// An incident of the real daemon, over its end and another start, as its operator has it.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct IncidentTests {
    /// Guards against: an incident that a restart forgets, a report without what the recording and the
    /// kernel hold, and a stream that does not tell what happens.
    @Test(.needs(.ifb, .tbf, .clsact)) func anIncidentIsReported() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 2, shape: 3_600)
            let rogue = try stage.startWatched(vm: 1)
            let flood = try rogue.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(60)))
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(15))
            measure(for: .seconds(3))
            _ = try stage.daemon.stop()
            let again = try stage.startAgain()
            let program = try DaemonProcess.binary("sluicectl")
            func ask(_ words: String...) throws -> String {
                try Tool.run(program, words + ["--socket", again.socket])
            }

            let table = try ask("incident")
            report(table)
            #expect(table.contains(rogue.name) && table.contains("goes on"))
            let told = try ask("incident", "1")
            report(told)
            #expect(told.contains("incident 1: \(rogue.name), shape at most, on shape now"))
            #expect(told.contains("normal to police: ") && told.contains("police to shape: "))

            let file = stage.folder.file("incident.html")
            _ = try ask(
                "incident", "1", "--report", file, "--from", stage.folder.file("state/record"))
            let html = try Tool.run("cat", [file])
            for part in [
                "class=\"offered\"", "class=\"delivered\"", "class=\"shape\"", "class=\"mark\"",
                "tc -s -d filter show dev \(rogue.name) ingress", "qdisc tbf 7a01:",
                "<h2>Targets</h2>", "\(Host.outside.address4)",
            ] {
                #expect(html.contains(part), "\(part)")
            }
            let kernel = try ask("explain", "--kernel", rogue.name)
            #expect(kernel.contains("$ tc -s -d qdisc show dev \(rogue.name)"))
            #expect(kernel.contains("qdisc tbf 7a01:"))

            let mail = try ask("incident", "1", "--mail", "Example Hosting <abuse@example.net>")
            #expect(mail.contains("Subject: Abuse report: ddos from "))
            #expect(mail.contains("target:      \(Host.outside.address4)"))

            flood.stop()
            _ = try ask("release", rogue.name)
            let over = try ask("incident", "1")
            #expect(over.contains("shape at most, over") && over.contains("act=release"))
            let missing = try Tool.status(program, ["incident", "9", "--socket", again.socket])
            #expect(missing.0 == .exited(1))
            _ = try again.stop()
        }
    }
}
