// A real Open vSwitch in the calling thread's namespace.
// Invariant: both of its daemons have ended when its owner is gone.
import Lab

/// ovsdb-server and ovs-vswitchd, and one bridge.
final class OpenVSwitch {
    /// The bridge.
    static let bridge = "ovs0"
    private let folder: ScratchFolder

    /// Starts both. Open vSwitch that is started in the first ten seconds of a kernel's life gets no
    /// threads that handle its packets, and forwards nothing: so those are waited for.
    init() throws {
        folder = try ScratchFolder()
        try wait(for: "ten seconds of uptime", within: .seconds(15)) {
            let uptime = try Tool.run("cat", "/proc/uptime").prefix { $0 != "." }
            return (Int(uptime) ?? 0) > 10
        }
        // Where ovs-vswitchd puts the sockets of its bridges.
        try Tool.run("mkdir", "-p", "/run/openvswitch")
        let database = folder.file("conf.db")
        try Tool.run(
            "ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        try Tool.run(
            "ovsdb-server", database, "--remote=punix:\(folder.file("db.sock"))",
            "--unixctl=\(folder.file("db.ctl"))", "--pidfile=\(folder.file("db.pid"))",
            "--log-file=\(folder.file("db.log"))", "--detach", "-vconsole:off")
        try configure("--no-wait init")
        try start()
        try configure("add-br \(Self.bridge)")
    }

    deinit {
        for name in ["switch", "db"] { try? end(name) }
    }

    /// `ovs-vsctl` with the words of a line; waits until ovs-vswitchd has done it.
    func configure(_ line: String) throws {
        try Tool.run(
            "ovs-vsctl",
            ["--timeout=15", "--db=unix:\(folder.file("db.sock"))"]
                + line.split(separator: " ").map { String($0) })
    }

    /// Starts ovs-vswitchd.
    func start() throws {
        try Tool.run(
            "ovs-vswitchd", "unix:\(folder.file("db.sock"))",
            "--unixctl=\(folder.file("switch.ctl"))", "--pidfile=\(folder.file("switch.pid"))",
            "--log-file=\(folder.file("switch.log"))", "--detach", "-vconsole:off")
    }

    /// Ends ovs-vswitchd, as its service's restart does: the datapath in the kernel stays.
    func stop() throws { try end("switch") }

    private func end(_ name: String) throws {
        let file = folder.file("\(name).pid")
        let pid = try Tool.run("cat", file).prefix { $0 != "\n" }
        try Tool.run("kill", String(pid))
        // A daemon takes its pid file away when it ends.
        try wait(for: "\(name) to end", within: .seconds(10)) {
            (try? Tool.run("ls", file)) == nil
        }
    }
}
