// What the running daemon takes of a host: its share of a core at ten polls a second, and its memory
// with everything on.
import ControlAPI
import Lab

struct DaemonSection {
    var setting: Setting

    private struct Findings: Sendable {
        var ports: Int
        /// Whether each port has a guard.
        var isGuarded: Bool
        /// Of one core, from 0 to 1.
        var share: Double
        var polls: UInt64
        /// In kilobytes.
        var resident: Int
        var anonymous: Int
    }

    func run() async throws -> Part {
        var all: [Findings] = []
        var failures: [(ports: Int, why: String)] = []
        let sizes = setting.isQuick ? [100] : [1_000, 10_000]
        for isGuarded in [false, true] {
            for ports in sizes where ports <= setting.mostLinks {
                do {
                    all.append(
                        try await Namespace.run { try measure(ports, isGuarded: isGuarded) })
                } catch {
                    failures.append((ports, "\(error)".prefix { $0 != "\n" }.description))
                }
            }
        }
        var table = Table(
            "ports", "guards", "share of a core at 10 Hz", "resident (VmRSS)",
            "of it its own (RssAnon)")
        for found in all {
            table.add(
                found.ports.grouped, found.isGuarded ? "on every port" : "none",
                "\((found.share * 100).ratio) %",
                "\((Double(found.resident) / 1_000).fixed(1)) MB",
                "\((Double(found.anonymous) / 1_000).fixed(1)) MB")
        }
        for (ports, why) in failures { table.add(ports.grouped, "", "failed: \(why)", "", "") }
        return Part(
            name: "daemon",
            markdown: """
                ## The running daemon

                On \(try Machine.sentence()). `sluiced` as it is built for users, all its threads, over
                \(setting.isQuick ? 5 : 20) s of quiet; recording and evidence on, counters by
                netlink as the unit has it; memory after a status and a scrape of its metrics.

                \(table.markdown)
                """,
            headlines: all.map { found in
                [
                    "the daemon, \(found.ports.grouped) ports, 10 polls a second",
                    "\((found.share * 100).ratio) % of a core, "
                        + "\((Double(found.resident) / 1_000).fixed(1)) MB",
                    found.isGuarded
                        ? "one core; a guard on every port too"
                        : "one core; recording and evidence on",
                ]
            })
    }

    private func measure(_ ports: Int, isGuarded: Bool) throws -> Findings {
        let folder = try ScratchFolder()
        try Ports.make(1...ports, in: folder)
        let socket = folder.file("control")
        let guards = """
            [guard."vm-<num>-<netid>"]
            switches = ["no-dhcp-server", "no-ra"]

            """
        let config = try folder.write(
            """
            [poll]
            grace = "0s"
            counters = "netlink"
            [guards]
            directory = "\(folder.file("guards.d"))"
            \(isGuarded ? guards : "")
            [journal]
            runtime = "\(folder.file("run"))"
            directory = "\(folder.file("state"))"
            [recording]
            directory = "\(folder.file("record"))"
            [control]
            socket = "\(socket)"

            """, to: "sluiced.toml")
        let daemon = try DaemonProcess(
            in: folder, config: config, socket: socket, readyWithin: .seconds(120))
        try wait(for: "guards", within: .seconds(120)) {
            let status = try daemon.status()
            return status.ports.count == ports
                && (!isGuarded || status.ports.allSatisfy { $0.guards?.inForce == true })
        }
        Lab.measure(for: .seconds(2))
        let begin = (try daemon.status().polls, try exactProcessorTime(of: daemon.pid))
        let window = Lab.measure(for: setting.isQuick ? .seconds(5) : .seconds(20))
        let spent = try exactProcessorTime(of: daemon.pid) - begin.1
        let polls = try daemon.status().polls - begin.0
        try daemon.request("GET", "/v1/metrics")
        let memory = try readFile("/proc/\(daemon.pid)/status")
        func kilobytes(_ name: String) -> Int {
            let line = memory.split(separator: "\n").first { $0.hasPrefix(name) } ?? ""
            return Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0
        }
        let found = Findings(
            ports: ports, isGuarded: isGuarded,
            share: spent / ((window.upperBound - window.lowerBound).inSeconds * 1e9), polls: polls,
            resident: kilobytes("VmRSS:"), anonymous: kilobytes("RssAnon:"))
        try daemon.stop()
        return found
    }

}
