// What the running daemon takes of a host: its share of a core at ten polls a second, and its memory
// with everything on.
import ControlAPI
import Lab

struct DaemonSection {
    var setting: Setting

    /// What a daemon is given.
    private struct Load: Sendable {
        var ports: Int
        /// Whether each port has a guard.
        var isGuarded = false
        /// Whether counters come from the walk in the kernel.
        var usesBPF = false

        /// The first cells of its row: ports, guards, counters.
        var cells: [String] {
            [
                ports.grouped, isGuarded ? "on every port" : "none",
                usesBPF ? "eBPF" : "netlink",
            ]
        }
    }

    private struct Findings: Sendable {
        var load: Load
        /// Of one core, from 0 to 1.
        var share: Double
        /// In kilobytes.
        var resident: Int
        var anonymous: Int
    }

    func run() async throws -> Part {
        var all: [Findings] = []
        var failures: [(load: Load, why: String)] = []
        let sizes = (setting.isQuick ? [100] : [1_000, 10_000]).filter { $0 <= setting.mostLinks }
        let loads =
            sizes.map { Load(ports: $0) } + sizes.map { Load(ports: $0, usesBPF: true) }
            + sizes.map { Load(ports: $0, isGuarded: true) }
        for load in loads {
            do {
                all.append(try await Namespace.run { try measure(load) })
            } catch {
                failures.append((load, "\(error)".prefix { $0 != "\n" }.description))
            }
        }
        var table = Table(
            "ports", "guards", "counters", "share of a core at 10 Hz", "resident (VmRSS)",
            "of it its own (RssAnon)")
        for found in all {
            table.rows.append(
                found.load.cells + [
                    "\((found.share * 100).ratio) %",
                    "\((Double(found.resident) / 1_000).fixed(1)) MB",
                    "\((Double(found.anonymous) / 1_000).fixed(1)) MB",
                ])
        }
        for (load, why) in failures { table.rows.append(load.cells + ["failed: \(why)", "", ""]) }
        return Part(
            name: "daemon",
            markdown: """
                ## The running daemon

                On \(try Machine.sentence()). `sluiced` as it is built for users, all its threads, over
                \(setting.isQuick ? 5 : 20) s of quiet; recording and evidence on; memory after a status
                and a scrape of its metrics. As its unit has it the daemon takes its counters from
                netlink; eBPF needs a drop-in (see the guide).

                \(table.markdown)
                \(try await Namespace.run { try flatness() })
                """,
            headlines: all.map { found in
                [
                    "the daemon, \(found.load.ports.grouped) ports, 10 polls a second",
                    "\((found.share * 100).ratio) % of a core, "
                        + "\((Double(found.resident) / 1_000).fixed(1)) MB",
                    found.load.isGuarded
                        ? "one core; a guard on every port too"
                        : "one core; recording and evidence on, counters by "
                            + (found.load.usesBPF ? "eBPF" : "netlink"),
                ]
            })
    }

    /// What memory becomes of many turns, in a sentence.
    private func flatness() throws -> String {
        let (ports, polls) = (100, setting.isQuick ? 20_000 : 1_000_000)
        let folder = try ScratchFolder()
        try Ports.make(1...ports, in: folder)
        let turn = try WholeTurn("", claims: true)
        for _ in 0..<polls / 100 { try turn.take() }
        let early = try kilobytes("RssAnon", ofProcess: "self")
        for _ in 0..<polls - polls / 100 { try turn.take() }
        let late = try kilobytes("RssAnon", ofProcess: "self")
        return "Over \(polls.grouped) polls of \(ports) ports in one process RssAnon went from "
            + "\(early.grouped) kB, after the first hundredth, to \(late.grouped) kB.\n"
    }

    private func measure(_ load: Load) throws -> Findings {
        let folder = try ScratchFolder()
        try Ports.make(1...load.ports, in: folder)
        // The walk in the kernel is believed when an interface has counted something.
        let sender = try Station(name: "bench", endpoint: Endpoint(number: 1), inside: .nobody)
        try sender.send([UInt8](repeating: 0xff, count: 60))
        let socket = folder.file("control")
        let guards = """
            [guard."vm-<num>-<netid>"]
            switches = ["no-dhcp-server", "no-ra"]

            """
        let config = try folder.write(
            """
            [poll]
            grace = "0s"
            counters = "\(load.usesBPF ? "auto" : "netlink")"
            [guards]
            directory = "\(folder.file("guards.d"))"
            \(load.isGuarded ? guards : "")
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
            return status.ports.count == load.ports
                && (!load.isGuarded || status.ports.allSatisfy { $0.guards?.inForce == true })
        }
        let source = try daemon.status().counters
        guard source == (load.usesBPF ? "bpf" : "netlink") else {
            throw LabError("counters come from \(source)")
        }
        Lab.measure(for: .seconds(2))
        let begin = (try daemon.status().polls, try exactProcessorTime(of: daemon.pid))
        let window = Lab.measure(for: setting.isQuick ? .seconds(5) : .seconds(20))
        let spent = try exactProcessorTime(of: daemon.pid) - begin.1
        let polls = try daemon.status().polls - begin.0
        // A turn that overruns makes fewer, and then a share says little.
        let seconds = (window.upperBound - window.lowerBound).inSeconds
        guard Double(polls) > 9.5 * seconds else {
            throw LabError("\(polls) polls in \(seconds.fixed(1)) s")
        }
        try daemon.request("GET", "/v1/metrics")
        let found = Findings(
            load: load,
            share: spent / (seconds * 1e9),
            resident: try kilobytes("VmRSS", ofProcess: "\(daemon.pid)"),
            anonymous: try kilobytes("RssAnon", ofProcess: "\(daemon.pid)"))
        try daemon.stop()
        sender.close()
        return found
    }
}
