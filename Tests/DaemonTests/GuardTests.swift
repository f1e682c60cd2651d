// Guards as an operator writes them, the folder of files, and when drops are told.
import Lab
import Mitigation
import TOML
import Testing
import TrafficControl

@testable import Daemon
@testable import Settings

@Suite struct GuardTests {
    private static func configuration(_ text: String) throws -> Configuration {
        try Configuration(parsing: Array(text.utf8), file: "sluiced.toml")
    }

    /// Guards against: a key that is read into the wrong field, or not at all.
    @Test func everyKeyCounts() throws {
        let book = try Self.configuration(
            """
            [guards]
            directory = "/run/guards"
            engine = "ebpf"
            [guard."vm-1-00df"]
            profile = "tenant"
            mode = "monitor"
            mac = ["52:54:00:12:34:56", "52-54-00-12-34-57"]
            ipv4 = ["192.0.2.5", "198.51.100.0/25"]
            ipv6 = "2001:db8:0:5::/64"
            allow = ["192.0.2.99", { ip = "2001:db8::7", mac = "00:00:5e:00:01:07" }]
            switches = ["no-ra", "no-ipv6"]
            [guard."pub-<netid>"]
            profile = "public-router"
            mac = "52:54:00:00:00:01"
            ipv4 = "192.0.2.1"
            ipv6 = "2001:db8:1::/64"
            link_local = "fe80::1"
            [guard."gwm-<netid>"]
            profile = "management"
            mac = "52:54:00:00:00:02"
            ipv4 = "10.199.3.5"
            network = ["10.199.0.0/22"]
            """)
        #expect(book.guardFolder == "/run/guards")
        #expect(book.enforcement.guardEnforcer == .bpf)
        let macs = [HardwareAddress(0x5254_0012_3456), HardwareAddress(0x5254_0012_3457)]
        let tenant = TenantGuard(
            macs: macs,
            prefixes4: [
                AddressPrefix4(0xc000_0205), AddressPrefix4(0xc633_6400, length: 25),
            ],
            prefixes6: [AddressPrefix6(0x2001_0db8_0000_0005, 0, length: 64)],
            pairs: [
                TenantGuard.Pair(prefix: .version4(AddressPrefix4(0xc000_0263))),
                TenantGuard.Pair(
                    mac: HardwareAddress(0x5e00_0107),
                    prefix: .version6(AddressPrefix6(0x2001_0db8_0000_0000, 7))),
            ])
        let vm = try #require(book.guards.entry(for: PortName("vm-1-00df")))
        #expect(
            vm.guards
                == Guards(profile: .tenant(tenant), switches: [.noRA, .noIPv6], mode: .monitor))
        let router = PublicRouterGuard(
            mac: HardwareAddress(0x5254_0000_0001), prefixes4: [AddressPrefix4(0xc000_0201)],
            prefixes6: [AddressPrefix6(0x2001_0db8_0001_0000, 0, length: 64)],
            linkLocal: AddressPrefix6(0xfe80_0000_0000_0000, 1))
        #expect(
            book.guards.entry(for: PortName("pub-00df"))?.guards
                == Guards(profile: .publicRouter(router)))
        let leg = ManagementGuard(
            mac: HardwareAddress(0x5254_0000_0002), addresses: [AddressPrefix4(0x0ac7_0305)],
            networks: [AddressPrefix4(0x0ac7_0000, length: 22)])
        #expect(
            book.guards.entry(for: PortName("gwm-00df"))?.guards
                == Guards(profile: .management(leg)))
        #expect(book.guards.entry(for: PortName("vx-00df")) == nil)
    }

    /// Guards against: a pattern that wins over a port's own section or file, and two that are mixed.
    @Test func theNearestSayerWins() throws {
        var book = try Self.configuration(
            """
            [guard."vm-<num>-00df"]
            switches = ["no-ra"]
            [guard."vm-*"]
            switches = ["no-ipv6"]
            [guard."vm-2-00df"]
            switches = ["no-dhcp-server"]
            """
        ).guards
        book.files[PortName("vm-3-00df")] = Guards()
        func said(_ name: String) -> (Set<Guards.Switch>?, String?) {
            let entry = book.entry(for: PortName(name))
            return (entry?.guards.switches, entry?.origin)
        }
        #expect(said("vm-1-00df") == ([.noRA], "guard.\"vm-<num>-00df\""))
        #expect(said("vm-2-00df") == ([.noDHCPServer], "guard.\"vm-2-00df\""))
        #expect(said("vm-3-00df") == ([], "vm-3-00df.toml"))
        #expect(said("vm-4-00aa") == ([.noIPv6], "guard.\"vm-*\""))
        #expect(said("spc-00aa") == (nil, nil))
    }

    // MARK: The folder

    /// Guards against: a file that is not seen, a broken one that changes anything or is told twice, a
    /// half-written one beside its place that counts, and a file that goes and stays in force.
    @Test func filesComeChangeBreakAndGo() throws {
        let scratch = try ScratchFolder()
        var folder = GuardFolder(path: scratch.path)
        #expect(folder.look() == nil)
        try scratch.write("switches = [\"no-ra\"]", to: "vm-1-00df.toml")
        try scratch.write("switches = [\"no-ipv6\"]", to: ".vm-2-00df.toml")
        try scratch.write("switches = [\"no-ipv6\"]", to: "vm-2-00df.toml.new")
        var looked = folder.look()
        var change = try #require(looked)
        #expect(change.files == [PortName("vm-1-00df"): Guards(switches: [.noRA])])
        #expect(change.changed == 1 && change.problems == [])
        #expect(folder.look() == nil)

        try scratch.write("switches = [\"no-rx\"]\nmode = 5", to: "vm-1-00df.toml")
        looked = folder.look()
        change = try #require(looked)
        #expect(change.files == [PortName("vm-1-00df"): Guards(switches: [.noRA])])
        #expect(change.changed == 0)
        let path = "\(scratch.path)/vm-1-00df.toml"
        #expect(
            change.problems == [
                "\(path):1:13: error: switches: \"no-rx\" is none of no-dhcp-server, no-ra, no-ipv6; "
                    + "did you mean \"no-ra\"?",
                "\(path):2:8: error: mode: is a whole number; write text in quotes",
            ])
        #expect(folder.look() == nil)

        try scratch.write("switches = [\"no-ipv6\"]", to: "vm-1-00df.toml")
        try scratch.write("", to: "a port too long by far.toml")
        looked = folder.look()
        change = try #require(looked)
        #expect(change.files == [PortName("vm-1-00df"): Guards(switches: [.noIPv6])])
        #expect(change.changed == 1 && change.problems.count == 1)
        #expect(change.problems[0].contains("its name is no interface's"))

        try Tool.run("rm", scratch.file("vm-1-00df.toml"))
        looked = folder.look()
        change = try #require(looked)
        #expect(change.files == [:] && change.changed == 1)
    }

    /// Guards against: a folder that cannot be read taken for one without files.
    @Test func aFolderThatIsAFileChangesNothing() throws {
        let scratch = try ScratchFolder()
        try Tool.run("mkdir", scratch.file("guards.d"))
        try scratch.write("switches = [\"no-ra\"]", to: "guards.d/vm-1-00df.toml")
        var folder = GuardFolder(path: scratch.path + "/guards.d")
        #expect(folder.look()?.files.count == 1)
        try Tool.run("mv", scratch.file("guards.d"), scratch.file("other"))
        try scratch.write("", to: "guards.d")
        let looked = folder.look()
        let change = try #require(looked)
        #expect(change.files.count == 1 && change.changed == 0 && change.problems.count == 1)
        #expect(folder.look() == nil)
        try Tool.run("rm", scratch.file("guards.d"))
        #expect(folder.look()?.files == [:])
    }

    // MARK: Telling

    private static func moment(_ seconds: UInt64) -> Instant {
        Instant(nanoseconds: (1_000 + seconds) * 1_000_000_000)
    }

    /// Guards against: a table's flood that is told like one wrong address, and one that looks like many.
    @Test func manySourcesAreTold() {
        let name = PortName("vm-1-00df")
        func line(_ sources: Int?) -> String {
            let counts = GuardCounts(
                [.sourceMAC: GuardCount(packets: 7, bytes: 420)], sourceMACs: sources)
            return AlertLine(.guardsRefused(name, .monitor, counts, packets: 7, seconds: nil)).text
        }
        #expect(line(40).contains("all=source-mac:7 source_macs=~40 mode=monitor"))
        for sources in [nil, 0, 1] { #expect(!line(sources).contains("source_macs=")) }
    }

    /// Guards against: a port that sends one forged frame a second and a line for each; a second forgery
    /// after a quiet night that waits for an hour; frames that are never told.
    @Test func dropsAreToldLessAndLess() {
        var alarm = GuardAlarm()
        var told: [(UInt64, UInt64)] = []
        for second in 0..<10_000 {
            let report = alarm.take(UInt64(second + 1), now: Self.moment(UInt64(second)))
            if let report { told.append((UInt64(second), report.packets)) }
        }
        #expect(told.map(\.0) == [0, 60, 660, 4_260, 7_860])
        #expect(told.map(\.1) == [1, 60, 600, 3_600, 3_600])
        // The rest is told when its time has come, though nothing follows.
        #expect(alarm.take(10_000, now: Self.moment(11_460))?.packets == 10_000 - 7_861)
        #expect(alarm.take(10_000, now: Self.moment(20_000)) == nil)
        let first = alarm.take(10_001, now: Self.moment(30_000))
        #expect(first == GuardAlarm.Report(packets: 1, since: nil))
        #expect(alarm.take(10_002, now: Self.moment(30_059)) == nil)
        // Counters that begin anew.
        #expect(alarm.take(5, now: Self.moment(30_060))?.packets == 5)
    }
}
