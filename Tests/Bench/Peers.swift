// Other programs that read the counters of all links, each by its own way, and what a read costs it.
// Invariants: they run in the caller's namespaces, never as services; they have ended with their owner.
import CBench
import Lab

/// Where the peers' programs are: `make bench` unpacks them.
struct Peers: Sendable {
    /// The folder with `root` (Debian packages, unpacked) and `venv` (PyPI).
    var folder: String

    /// A Python with psutil and pyroute2.
    var python: String { "\(folder)/venv/bin/python3" }
    /// The folder of the Debian packages.
    var root: String { "\(folder)/root" }
    /// The folder of the peers' scripts.
    static let scripts = "Tests/Bench/peers"

    /// Distributions and their versions, as they are installed.
    func versions() -> String {
        let python = try? Tool.run(
            self.python, "-c",
            "from importlib.metadata import version as v\n"
                + "print('psutil', v('psutil') + ', pyroute2', v('pyroute2'))")
        let packages = (try? readFile("\(folder)/versions")) ?? ""
        let iproute = (try? Tool.run("ip", "-V")) ?? ""
        return ([python ?? "", iproute] + packages.split(separator: "\n").map { String($0) })
            .map { String($0.prefix { $0 != "\n" }) }.filter { !$0.isEmpty }
            .joined(separator: ", ")
    }
}

/// One peer, and how a read is taken of it.
struct Peer {
    /// What the tables call it.
    var title: String
    /// The CPU time of each of some reads, in nanoseconds.
    var reads: (_ links: Int) throws -> [Double]

    /// All that read counters.
    static func all(_ peers: Peers) -> [Peer] {
        [
            Peer(title: "psutil.net_io_counters(pernic=True)") { _ in
                try python(peers, "psutil")
            },
            Peer(title: "pyroute2 get_links()") { _ in try python(peers, "pyroute2") },
            Peer(title: "ip -s -j link") { links in
                try (0..<(links > 2_000 ? 2 : 5)).map { _ in
                    let before = cbench_children_cpu_ns()
                    let text = try Tool.run("ip", "-s", "-j", "link")
                    guard text.utf8.count > links * 100 else { throw LabError("ip listed too few") }
                    return Double(cbench_children_cpu_ns() - before)
                }
            },
            Peer(title: "collectd, plugin interface") { try collectd(peers, links: $0) },
            Peer(title: "node_exporter, collector netdev") {
                try nodeExporter(peers, "netdev", links: $0)
            },
            Peer(title: "node_exporter, collector netclass") {
                try nodeExporter(peers, "netclass", links: $0)
            },
        ]
    }

    private static func python(_ peers: Peers, _ name: String) throws -> [Double] {
        let words = ["\(Peers.scripts)/poll.py", name, "1", "20"]
        let (status, text) = try Tool.status(peers.python, words, within: .seconds(120))
        guard status == .exited(0) else { throw LabError(name, detail: text) }
        return text.split(separator: "\n").compactMap { Double($0) }
    }

    /// Reads every `interval` without being asked, by one of its threads; nothing is written anywhere.
    private static func collectd(_ peers: Peers, links: Int) throws -> [Double] {
        let folder = try ScratchFolder()
        let interval = Double(max(100, links / 5)) / 1_000
        let config = """
            Hostname "bench"
            FQDNLookup false
            BaseDir "\(folder.path)"
            PIDFile "\(folder.file("pid"))"
            PluginDir "\(peers.root)/usr/lib/collectd"
            TypesDB "\(peers.root)/usr/share/collectd/types.db"
            Interval \(interval)
            LoadPlugin logfile
            <Plugin logfile>
              File "\(folder.file("log"))"
            </Plugin>
            LoadPlugin interface

            """
        let path = try folder.write(config, to: "collectd.conf")
        let daemon = try RunningTool("\(peers.root)/usr/sbin/collectd", ["-f", "-C", path])
        defer { end(daemon) }
        // Its cache is filled by the first reads.
        measure(for: .seconds(interval * 3))
        let reads = 8.0
        let before = try processorTime(of: "\(daemon.pid)")
        let window = measure(for: .seconds(interval * reads))
        let spent = try processorTime(of: "\(daemon.pid)") - before
        let elapsed = (window.upperBound - window.lowerBound).inSeconds
        guard spent < elapsed * 0.9e9 else { throw LabError("collectd does not keep up") }
        guard spent > 0 else { throw LabError("collectd reads nothing", detail: daemon.written) }
        return [spent / (elapsed / interval)]
    }

    /// Reads when it is scraped, by curl(1), whose own time does not count.
    private static func nodeExporter(
        _ peers: Peers, _ collector: String, links: Int
    ) throws -> [Double] {
        let daemon = try RunningTool(
            "\(peers.root)/usr/bin/prometheus-node-exporter",
            [
                "--web.listen-address=127.0.0.1:9100", "--collector.disable-defaults",
                "--collector.\(collector)", "--web.disable-exporter-metrics",
            ])
        defer { end(daemon) }
        let scrape = [
            "-sf", "--max-time", "60", "--retry-connrefused", "--retry", "20", "--retry-delay", "1",
            "-o", "/dev/null", "-w", "%{size_download}", "http://127.0.0.1:9100/metrics",
        ]
        for _ in 0..<2 {
            let (status, size) = try Tool.status("curl", scrape, within: .seconds(70))
            guard status == .exited(0), Int(size) ?? 0 > links * 100 else {
                throw LabError("scrape node_exporter", detail: size + daemon.written)
            }
        }
        let scrapes = max(3, min(40, 8_000 / links))
        let before = try processorTime(of: "\(daemon.pid)")
        for _ in 0..<scrapes { _ = try Tool.status("curl", scrape, within: .seconds(70)) }
        return [(try processorTime(of: "\(daemon.pid)") - before) / Double(scrapes)]
    }

    private static func end(_ daemon: RunningTool) {
        daemon.signal(15)
        if daemon.wait(within: .seconds(5)) == nil { daemon.signal(9) }
        _ = daemon.wait(within: .seconds(5))
    }
}

/// The CPU time of a process (its id, or `self`) and all its threads so far, in nanoseconds, to 10 ms
/// (/proc/PID/stat).
func processorTime(of pid: String) throws -> Double {
    let text = try readFile("/proc/\(pid)/stat")
    // The name, in brackets, may hold anything.
    let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
    guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else {
        throw LabError("read /proc/\(pid)/stat")
    }
    // sysconf(_SC_CLK_TCK) is 100 on Linux.
    return (user + system) * 1e7
}

/// The same to the nanosecond, of the threads that are there (/proc/PID/task/*/schedstat).
func exactProcessorTime(of pid: Int32) throws -> Double {
    let threads = try Tool.run("ls", "/proc/\(pid)/task").split(separator: "\n")
    return try threads.reduce(0) { sum, thread in
        let text = try readFile("/proc/\(pid)/task/\(thread)/schedstat")
        return sum + (text.split(separator: " ").first.flatMap { Double($0) } ?? 0)
    }
}
