// The Debian package on a machine with a real systemd: installed, upgraded, removed and purged, with a
// limited port and a guarded one. (On a clean Debian, without a service manager: Tests/package.)
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized, .needsSystemd) struct PackageTests {
    /// Guards against: a package that limits ports before anybody armed it, that does not come with
    /// the machine's next start, or whose service lacks something that the tests' own one has.
    @Test func observesAsInstalled() throws {
        let before = try Debian.filesOfOurs()
        let debian = try Debian()
        defer { debian.close() }
        #expect(try debian.service.property("ActiveState") == "active")
        #expect(try debian.service.property("UnitFileState") == "enabled")
        #expect(try debian.service.status().mode == "observe")
        #expect(try Tool.run("/usr/bin/sluicectl", "status").contains("observe"))
        #expect(try Tool.run("stat", "-c", "%a", "/etc/sluice/guards.d") == "755\n")

        // The groups that the configuration's comments name are there, and the service is in them.
        let groups = "[control]\ngroup = \"sluice\"\n"
        try debian.service.configure(groups)
        try debian.service.order("restart")
        let owner = try Tool.run("stat", "-c", "%U:%G", InstalledService.socket)
        #expect(owner == "root:sluice\n")

        try InstalledService.package("--purge", "sluice")
        #expect(try Debian.filesOfOurs() == before)
        #expect(try debian.service.property("LoadState") == "not-found")
    }

    /// Guards against: limits, clocks, incidents or guards that end with an upgrade; an upgrade after
    /// which the former program runs; one that replaces a daemon that runs by one that refuses the
    /// configuration; an operator's file that is replaced.
    @Test func mitigationsOutliveAnUpgrade() throws {
        let debian = try Debian()
        defer { debian.close() }
        let held = try debian.holdSomebody()
        let next = try debian.nextVersion()
        let former = try debian.service.pid()

        let begin = Moment.now
        try InstalledService.package("--install", next)
        report("upgraded within \((Moment.now - begin).milliseconds) ms")
        let pid = try debian.service.pid()
        #expect(pid != former)
        #expect(try Tool.run("readlink", "/proc/\(pid)/exe") == "/usr/sbin/sluiced\n")
        try debian.expectHeld(held)
        try debian.service.line(with: "event=adopted ports=1 ", within: .seconds(5))

        let configuration = try readFile("/etc/sluice/sluiced.toml")
        try debian.service.configure("mode = \"armed\"\n")
        let said = try InstalledService.package("--install", debian.package)
        #expect(said.contains("sluiced.toml:1:8: error: mode"))
        #expect(said.contains("what runs goes on"))
        #expect(try debian.service.pid() == pid)
        #expect(try readFile("/etc/sluice/sluiced.toml") == "mode = \"armed\"\n")
        try debian.expectHeld(held)
        try debian.service.configure(configuration)
        try debian.service.order("restart")
        #expect(try debian.service.pid() != pid)
        try debian.expectHeld(held)
    }

    /// Guards against: a removal after which a limit or a guard is in the kernel, and nobody who could
    /// take it out; a removal that takes an operator's files; a purge that leaves any.
    @Test func removalLeavesNothing() throws {
        let files = try Debian.filesOfOurs()
        let debian = try Debian()
        defer { debian.close() }
        let held = try debian.holdSomebody()
        try InstalledService.package("--remove", "sluice")
        let left = try Snapshot.settledDifference(from: held.before)
        #expect(left == [])
        #expect(try debian.service.property("ActiveState") == "inactive")
        #expect(try readFile("/etc/sluice/sluiced.toml").contains("enforce"))

        // It is installed again over the operator's files, and goes at once.
        try InstalledService.package("--install", debian.package)
        #expect(try debian.service.status().mode == "enforce")
        try InstalledService.package("--purge", "sluice")
        let leftAgain = try Snapshot.settledDifference(from: held.before)
        #expect(leftAgain == [])
        #expect(try held.vm.isUp())
        #expect(try Debian.filesOfOurs() == files)
    }
}

/// The virtual machine as a hypervisor on which the package is installed.
private struct Debian {
    let package: String
    let service: InstalledService
    let host: Host

    /// Makes the hypervisor and installs the package.
    init() throws {
        let path = Program.environment("SLUICE_PACKAGE")
        package = try #require(path, "SLUICE_PACKAGE names the package: make deb")
        service = try InstalledService(package: package)
        host = try Host()
    }

    /// Leaves the machine as the next test wants to find it, whatever happened.
    func close() {
        _ = try? InstalledService.package("--purge", "sluice")
        _ = try? Tool.run("systemctl", "reset-failed")
        host.uplink.close()
        _ = try? Tool.run("ip", "link", "delete", Host.bridge)
    }

    /// A shaped VM, the kernel before it was, and the kernel since.
    struct Held {
        let vm: Station
        var incident: UInt32
        var before: Snapshot
        var snapshot: Snapshot
    }

    /// Arms the service, guards a VM, and lets it flood until it is shaped.
    func holdSomebody() throws -> Held {
        try service.configure(
            Stage.configuration(
                socket: InstalledService.socket, police: 1, calm: 60, mode: "enforce"))
        try service.order("reload")
        let rogue = try host.start(vm: 1)
        let before = try Snapshot.settled()
        try writeFile(
            "switches = [\"no-ra\"]\n", to: "/etc/sluice/guards.d/\(rogue.name).toml")
        try wait(for: "the guard", within: .seconds(10)) {
            try service.port(rogue.name)?.guards != nil
        }
        let flood = try rogue.flood(
            Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(40)))
        try wait(for: "shape", within: .seconds(15)) {
            try service.port(rogue.name)?.rung == "shape"
        }
        flood.stop()
        let incident = try #require(try service.port(rogue.name)?.incident)
        return Held(
            vm: rogue, incident: incident, before: before, snapshot: try Snapshot.settled())
    }

    func expectHeld(_ held: Held) throws {
        guard let port = try service.port(held.vm.name) else {
            throw LabError(
                "\(held.vm.name) is not watched",
                detail: try service.lines().suffix(20).joined(separator: "\n"))
        }
        #expect(port.rung == "shape" && port.incident == held.incident && port.guards != nil)
        // Handles and cookies among it.
        let changed = try Snapshot.settledDifference(from: held.snapshot)
        #expect(changed == [])
    }

    /// The same package with a later version.
    func nextVersion() throws -> String {
        let folder = "/var/tmp/sluice-next"
        let wait = Duration.seconds(120)
        _ = try Tool.status("dpkg-deb", ["-R", package, folder], within: wait)
        let control = try readFile("\(folder)/DEBIAN/control")
        let lines = control.split(separator: "\n", omittingEmptySubsequences: false).map {
            $0.hasPrefix("Version: ") ? $0 + "+next" : String($0)
        }
        try writeFile(lines.joined(separator: "\n"), to: "\(folder)/DEBIAN/control")
        _ = try Tool.status("dpkg-deb", ["-Znone", "-b", folder, "\(folder).deb"], within: wait)
        return "\(folder).deb"
    }

    /// The files whose name says whose they are, and those in the package's folders.
    static func filesOfOurs() throws -> String {
        try Tool.run(
            "find", "/etc", "/run", "/usr/bin", "/usr/sbin", "/usr/share", "/usr/lib/systemd",
            "/usr/lib/sysusers.d", "/var/lib", "-xdev", "-name", "*sluice*", "-not", "-name",
            "sluice-*")
    }
}
