// An operator's first day with the package, word for word as README.md has it: installed, observing, a
// flood, explained, armed, a flood, reported, released, removed. The lane's log is the transcript.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized, .needsSystemd) struct TranscriptTests {
    /// Guards against: a README that tells of a command, an answer or an effect that is not there.
    @Test func aFirstDay() throws {
        let day = try Day()
        defer { day.close() }
        try day.run("sluicectl doctor", says: "act_police", status: nil)
        try day.run("sluicectl classes", says: "no interface is claimed")
        let rogue = try day.host.start(vm: 4_519)
        let neighbour = try day.host.start(vm: 4_520)
        try day.until("sluicectl classes", says: rogue.name)
        // What this machine can send is less than a real one's marks.
        let marks = "[port.\"\(rogue.name)\"]\nfrom = { packets = \"4kpps\" }\n"
        try day.run("echo '\(marks)' >>/etc/sluice/sluiced.toml")
        try day.run(
            "sed -i 's/^packets = \"10kpps\"/packets = \"1kpps\"/' /etc/sluice/sluiced.toml")
        try day.run("sluicectl reload", says: "sluiced.toml")

        try day.run(
            "sluicectl config \(rogue.name) --changed", says: "port.\(rogue.name).from.packets")

        // Observed.
        let flood = try rogue.flood(
            Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(120)))
        try day.until("sluicectl events --port \(rogue.name)", says: "event=would-move")
        try day.run("sluicectl status", says: rogue.name)
        try day.run("sluicectl ports --class vm", says: neighbour.name)
        try day.run("sluicectl top --json --count 2 | tail -n 1 | jq '.ports | length'", says: "2")
        let passed = try day.passed(rogue)
        #expect(passed > Double(Stage.floodRate) / 2, "observing, and \(passed) pps pass")
        try day.run("sluicectl explain \(rogue.name)", says: "(observe: nothing is limited)")
        try day.run("sluicectl incident", says: "observe")

        // Armed.
        try day.run("sluicectl exempt \(neighbour.name) --for 30d --reason 'their backup'")
        try day.run("sluicectl arm vm", says: "enforce")
        try day.until("sluicectl status", says: "police")
        try day.until("sluicectl explain \(rogue.name)", says: "delivered")
        let held = try day.passed(rogue)
        #expect(held <= 1_050 && held >= 500, "armed, and \(held) pps pass")
        try day.run("sluicectl explain --kernel \(rogue.name)", says: "police")
        let number = try #require(try day.service.port(rogue.name)?.incident)
        try day.until("sluicectl evidence \(number)", says: "\(Host.outside.address4)")
        try day.run("sluicectl incident \(number) --report /root/incident.html")
        try day.run("grep -c polyline /root/incident.html")
        try day.run(
            "sluicectl incident \(number) --mail 'You <abuse@you.example>' | head -20",
            says: "Abuse report: ddos from")
        flood.stop()
        try day.run("sluicectl release \(rogue.name)", says: rogue.name)
        try day.run("sluicectl status", says: "none held")
        try day.run("sluicectl doctor --self-test", says: "every rung holds")
        try day.run("dpkg --no-triggers --purge sluice")
        #expect(try Tool.run("tc", "filter", "show", "dev", rogue.name, "ingress").isEmpty)
    }

    /// A machine on which the package was just installed.
    private struct Day {
        let service: InstalledService
        let host: Host

        init() throws {
            let package = try #require(
                Program.environment("SLUICE_PACKAGE"), "SLUICE_PACKAGE names it: make deb")
            report("# dpkg --install sluice_*.deb")
            service = try InstalledService(package: package)
            host = try Host()
        }

        func close() {
            _ = try? InstalledService.package("--purge", "sluice")
            host.uplink.close()
            _ = try? Tool.run("ip", "link", "delete", Host.bridge)
        }

        /// What a shell makes of a line, which is to say this and to end so; nil: in either way.
        func run(_ line: String, says text: String = "", status wanted: Int32? = 0) throws {
            let (status, output) = try Tool.status("sh", ["-c", line], within: .seconds(60))
            report("# \(line)\n\(output)")
            #expect(output.contains(text), "\(line)")
            if let wanted { #expect(status == .exited(wanted), "\(line)") }
        }

        /// The same again and again, until it says this.
        func until(_ line: String, says text: String) throws {
            try wait(for: "\(line) with \(text)", within: .seconds(30)) {
                try Tool.status("sh", ["-c", line]).1.contains(text)
            }
            try run(line, says: text)
        }

        /// Packets a second that arrive from a VM.
        func passed(_ vm: Station) throws -> Double {
            measure(for: .seconds(1))
            return try host.uplink.received.delivered(
                from: vm.mac, during: measure(for: .seconds(2))
            ).packetsPerSecond
        }
    }
}
