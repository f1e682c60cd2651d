// The daemon as a machine's own service: installed by hand or by package, and run by its systemd.
// Invariant: only in a machine that is thrown away afterwards (Tests/fullkernel/run --systemd), since
// it writes to /usr/sbin and /etc, and the daemon acts on the machine's own network.

public import ControlAPI

/// `sluiced.service` on this machine.
public struct InstalledService: Sendable {
    /// Whether this machine is one to throw away, with systemd as its first process.
    public static var isPossible: Bool { Program.environment("SLUICE_MANAGER") == "systemd" }

    /// The control socket.
    public static let socket = "/run/sluice/sluiced.sock"

    private static let unit = "sluiced.service"
    private static let configurationPath = "/etc/sluice/sluiced.toml"
    private let linesBefore: Int

    /// Installs the programs, the configuration and the unit as it is shipped, stopped.
    ///
    /// - Parameters:
    ///   - configuration: the text of /etc/sluice/sluiced.toml.
    ///   - unit: the unit's file.
    ///   - dropIn: lines of a drop-in; none where empty.
    /// - Throws: `LabError` with the tool's sentence.
    public init(
        configuration: String, unit: String, dropIn: String = ""
    ) throws(LabError) {
        guard Self.isPossible else {
            throw LabError("install sluiced", detail: "this machine is not one to throw away")
        }
        let installed = "/etc/systemd/system/\(Self.unit)"
        try Tool.run(
            "install", DaemonProcess.binary("sluiced"), DaemonProcess.binary("sluicectl"),
            "/usr/sbin/")
        try Tool.run("install", "-d", "/etc/sluice", "\(installed).d")
        try Tool.run("install", "-m", "644", unit, installed)
        try writeFile(dropIn, to: "\(installed).d/test.conf")
        try writeFile(configuration, to: Self.configurationPath)
        try Tool.run("systemctl", "daemon-reload")
        linesBefore = try Self.journal().count
    }

    /// Installs a Debian package, which starts the service; what was
    /// installed by hand goes before.
    ///
    /// - Throws: `LabError` with dpkg's sentence.
    public init(package: String) throws(LabError) {
        guard Self.isPossible else {
            throw LabError("install \(package)", detail: "this machine is not one to throw away")
        }
        // A machine's own policy may be that packages start nothing (policy-rc.d(8)).
        try Tool.run(
            "rm", "-rf", "/usr/sbin/policy-rc.d", "/usr/sbin/sluiced", "/usr/sbin/sluicectl",
            "/etc/sluice", "/etc/systemd/system/\(Self.unit)",
            "/etc/systemd/system/\(Self.unit).d", "/run/sluice", "/var/lib/sluice")
        try Tool.run("systemctl", "daemon-reload")
        linesBefore = try Self.journal().count
        try Self.package("--install", package)
    }

    /// `dpkg VERB WHAT`, without the triggers of other packages.
    ///
    /// - Returns: what it and the package's scripts say.
    /// - Throws: `LabError` with that where it fails.
    @discardableResult
    public static func package(_ verb: String, _ what: String) throws(LabError) -> String {
        let (status, output) = try Tool.status(
            "dpkg", ["--no-triggers", verb, what], within: .seconds(120))
        guard status == .exited(0) else {
            throw LabError("dpkg \(verb) \(what)", detail: output)
        }
        return output
    }

    /// Writes the configuration anew; it counts from the next reload or start on.
    ///
    /// - Throws: `LabError` with write's errno.
    public func configure(_ text: String) throws(LabError) {
        try writeFile(text, to: Self.configurationPath)
    }

    /// `systemctl VERB sluiced`: comes back when the manager has done it.
    ///
    /// - Throws: `LabError` with its sentence, and the service's last lines, where it fails.
    public func order(_ verb: String) throws(LabError) {
        let (status, output) = try Tool.status("systemctl", [verb, Self.unit])
        guard status != .exited(0) else { return }
        let last = try lines().suffix(20)
        throw LabError("systemctl \(verb)", detail: ([output] + last).joined("\n"))
    }

    /// A property of the unit (`systemctl show -P NAME`).
    ///
    /// - Throws: `LabError` with the tool's sentence.
    public func property(_ name: String) throws(LabError) -> String {
        let text = try Tool.run("systemctl", "show", "-P", name, Self.unit)
        return String(text.prefix { $0 != "\n" })
    }

    /// The daemon's process id; 0 where it does not run.
    ///
    /// - Throws: `LabError` with the tool's sentence.
    public func pid() throws(LabError) -> Int32 { Int32(try property("MainPID")) ?? 0 }

    /// Sends a signal to the daemon (`systemctl kill`).
    ///
    /// - Throws: `LabError` with the tool's sentence.
    public func signal(_ name: String) throws(LabError) {
        try Tool.run("systemctl", "kill", "--kill-whom=main", "--signal=\(name)", Self.unit)
    }

    /// What the daemon, and the manager about it, wrote to the journal since it was installed.
    ///
    /// - Throws: `LabError` with the tool's sentence.
    public func lines() throws(LabError) -> [String] {
        try Array(Self.journal().dropFirst(linesBefore))
    }

    /// Waits for a line that contains `text`.
    ///
    /// - Throws: `LabError` with the last lines where none comes in time.
    public func line(with text: String, within limit: Duration) throws {
        do {
            try wait(for: "a line with \(text)", within: limit) {
                try lines().contains { $0.contains(text) }
            }
        } catch {
            throw LabError("\(error)", detail: try lines().suffix(20).joined("\n"))
        }
    }

    /// `GET /v1/status`.
    ///
    /// - Throws: `LabError` where nobody answers or the answer is not that of the contract.
    public func status() throws(LabError) -> Status {
        try ControlClient(path: Self.socket).status()
    }

    /// One port of `GET /v1/status`.
    ///
    /// - Returns: nil where the daemon does not watch it.
    /// - Throws: `LabError` where nobody answers or the answer is not that of the contract.
    public func port(_ name: String) throws(LabError) -> PortStatus? {
        try status().ports.first { $0.name == name }
    }

    private static func journal() throws(LabError) -> [String] {
        try Tool.run("journalctl", "--no-pager", "--quiet", "--output=cat", "--unit=\(unit)")
            .split(separator: "\n").map { String($0) }
    }
}
