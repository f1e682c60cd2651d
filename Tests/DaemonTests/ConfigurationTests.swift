// The configuration file as it should be: its default, its units, its names.

import Lab
import Mitigation
import TOML
import Testing
import TrafficControl

@testable import Daemon
@testable import Settings

@Suite struct ConfigurationTests {
    /// The repository's Configs/sluiced.toml.
    static func documentedFile() throws -> [UInt8] {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        let root = parts.dropLast(3).joined(separator: "/")
        return try contents(ofFile: "\(root)/Configs/sluiced.toml")
    }

    static func parse(_ text: String) throws -> Configuration {
        try Configuration(parsing: Array(text.utf8), file: "test.toml")
    }

    /// Guards against: a documented default that is not the built-in one.
    @Test func documentedFileIsTheDefault() throws {
        let bytes = try Self.documentedFile()
        #expect(try Configuration(parsing: bytes, file: "sluiced.toml") == Configuration())
        #expect(try Self.parse("") == Configuration())
    }

    /// Guards against: a key that the file does not document, or documents in another section.
    @Test func everyKeyIsDocumented() throws {
        let text = String(decoding: try Self.documentedFile(), as: UTF8.self)
        var section = ""
        var documented: Set<String> = []
        for line in text.split(separator: "\n") {
            let line = line.hasPrefix("# ") ? line.dropFirst(2) : line
            if line.hasPrefix("["), let end = line.firstIndex(of: "]") {
                section = line[line.index(after: line.startIndex)..<end] + "."
                documented.insert(String(section.dropLast()))
            } else if let equals = line.firstRange(of: " = ") {
                let key = section + line[..<equals.lowerBound]
                documented.insert(key)
                guard line[equals.upperBound...].hasPrefix("{") else { continue }
                for part in ["packets", "bits"] where line.contains("\(part) = ") {
                    documented.insert("\(key).\(part)")
                }
            }
        }
        let sections = ["class", "port", "guard"]
        let missing = Configuration.knownKeys.filter {
            !documented.contains($0) && !sections.contains($0)
        }
        #expect(missing == [])
        #expect(Configuration.knownKeys.count > 60)
    }

    /// Guards against: a mark whose low mark is not above the target, or that a class lacks.
    @Test func defaultsHaveMarksForEveryClass() {
        for portClass in PortClass.allCases {
            let marks = Configuration().policy.marks[portClass]
            #expect(marks?.from.packets != nil && marks?.to.bits != nil)
        }
    }

    /// Guards against: a unit that is read as another one, or rounded.
    @Test(
        arguments: [
            ("1pps", QuantityKind.packetRate, 1), ("10kpps", .packetRate, 10_000),
            ("1.5 Mpps", .packetRate, 1_500_000), ("16mbit", .bitRate, 16_000_000),
            ("1.25gbit", .bitRate, 1_250_000_000), ("64kbit", .bitRate, 64_000),
            ("8000bit", .bitRate, 8000), ("200ms", .duration, 200_000_000),
            ("0.5ms", .duration, 500_000), ("1.50s", .duration, 1_500_000_000),
            ("5min", .duration, 300_000_000_000), ("1h", .duration, 3_600_000_000_000),
            ("20%", .share, 20_000), ("12.5%", .share, 12_500),
        ] as [(String, QuantityKind, UInt64)])
    func quantity(_ text: String, _ kind: QuantityKind, _ value: UInt64) throws {
        #expect(try kind.value(of: text) == value)
        #expect(try kind.value(of: kind.text(value)) == value)
    }

    /// Guards against: nonsense that is read as a number, and overflow.
    @Test(arguments: [
        "", "s", "-1s", "1", "1.s", ".5s", "1..5s", "1e3s", "1  s", "1s ", "1x", "0.0000000001s",
        "99999999999999999999s", "18446744073709551615h", "1\u{00a0}s", "½s",
    ])
    func refusedQuantity(_ text: String) {
        #expect(throws: QuantityMistake.self) { try QuantityKind.duration.value(of: text) }
    }

    /// Guards against: a key that is read into another one's place.
    @Test func everySectionIsRead() throws {
        let configuration = try Self.parse(
            """
            mode = "observe"
            poll = { interval = "200ms", grace = "5s" }
            trip = { sustain = "2s", fast_sustain = "400ms", fast_factor = 7 }
            target.packets = "2kpps"
            police = { dwell = "2s", engine = "ebpf" }
            shape = { dwell = "3s", delay = "100ms" }
            tighten = { dwell = "4s", divisor = 8 }
            shutdown = { probe = "1h", hook = { gentle = "none", hard = ["/bin/kill", "{port}"] } }
            ladder.highest = "shutdown"
            still = { rule = "saturated", unresponsive_factor = 2, saturated_share = "80%" }
            calm = { low = "40%", time = "6s", limit = "7s", forgiveness = "8s" }
            victim.response = "shape"
            breaker = { share = "30%", minimum = 9, shutdowns = 10 }
            tc = { hook = "clsact" }
            control = { socket = "/tmp/s", group = "g", operators = "o", max_connections = 5 }
            syslog.facility = "local3"
            [lane]
            tcp_ports = [2222]
            packets = "1pps"
            bits = "2kbit"
            neighbour_packets = "3pps"
            neighbour_bits = "4kbit"
            """)
        var policy = Configuration().policy
        policy.mode = .observe
        (policy.pollInterval, policy.grace) = (.milliseconds(200), .seconds(5))
        (policy.sustain, policy.fastSustain, policy.fastFactor) = (
            .seconds(2), .milliseconds(400), 7
        )
        policy.target = PacketRate(perSecond: 2000)
        (policy.policeDwell, policy.shapeDwell, policy.tightenDwell) = (
            .seconds(2), .seconds(3), .seconds(4)
        )
        (policy.delay, policy.tightenDivisor, policy.probe) = (
            .milliseconds(100), 8, .seconds(3600)
        )
        (policy.stillFlooding, policy.unresponsiveFactor, policy.saturatedShare) = (
            .saturated, 2, 0.8
        )
        (policy.lowShare, policy.calm, policy.calmLimit, policy.forgiveness) = (
            0.4, .seconds(6), .seconds(7), .seconds(8)
        )
        policy.victim = .shape
        (policy.breakerShare, policy.breakerMinimum, policy.breakerShutdowns) = (0.3, 9, 10)
        policy.lane = Lane(
            tcpPorts: [2222],
            management: Cap(
                packets: PacketRate(perSecond: 1), bits: BitRate(bitsPerSecond: 2000)),
            neighbour: Cap(packets: PacketRate(perSecond: 3), bits: BitRate(bitsPerSecond: 4000)))
        #expect(configuration.policy == policy)
        #expect(configuration.enforcement.policer == .bpf)
        #expect(configuration.enforcement.hook == .clsact)
        #expect(configuration.shutdown.hook.gentle == [])
        #expect(configuration.shutdown.hook.hard == ["/bin/kill", "{port}"])
        #expect(configuration.control.socket == "/tmp/s")
        #expect(configuration.control.readers == "g")
        #expect(configuration.control.operators == "o")
        #expect(configuration.control.maximumConnections == 5)
        #expect(configuration.syslog.facility == .local3)
    }

    /// Guards against: a VM that is shut down although the operator switched that off.
    @Test func shutdownCanBeSwitchedOff() throws {
        let configuration = try Self.parse("shutdown.enabled = false")
        #expect(configuration.policy.highestRung == .tighten)
        #expect(!configuration.shutdown.isEnabled)
    }

    /// Guards against: a port's marks that lose the class's other direction, or cannot be off.
    @Test func portMarksInheritTheClass() throws {
        let configuration = try Self.parse(
            #"""
            [class.vm]
            to = { packets = "70kpps" }
            [port."vm-1-ff"]
            from = { packets = "90kpps", bits = "off" }
            [port.'vm-\x32-ff']
            to = { bits = "off" }
            """#)
        let vm = try #require(configuration.policy.marks[.vm])
        #expect(vm.to.packets?.perSecond == 70_000)
        #expect(vm.to.bits?.bitsPerSecond == 2_000_000_000)
        let first = try #require(configuration.policy.portMarks[PortName("vm-1-ff")])
        #expect(first.from == Mark(packets: PacketRate(perSecond: 90_000), bits: nil))
        #expect(first.to == vm.to)
        let second = try #require(configuration.policy.portMarks[PortName("vm-2-ff")])
        #expect(second.from == vm.from)
        #expect(second.to == Mark(packets: PacketRate(perSecond: 70_000), bits: nil))
    }

    /// Guards against: a folder or a missing file that is taken for an empty configuration.
    @Test(arguments: ["/", "/nowhere/sluiced.toml", "/dev/null"])
    func unreadableFile(_ path: String) throws {
        let error = try #require(throws: ConfigurationError.self) {
            try Configuration.load(path: path)
        }
        #expect(error.description.hasPrefix("\(path): error: cannot be read: "))
        #expect(error.problems.count == 1)
    }

    /// Guards against: a reload that says all is in force where something waits for a restart, or names
    /// what does not.
    @Test(arguments: [
        ("mode = \"observe\"", []), ("[breaker]\nshutdowns = 9", []),
        ("[tc]\nrepairs_per_minute = 7", []),
        ("[tc]\nreplace_foreign_root = true", ["tc.replace_foreign_root"]),
        ("[tc]\nhook = \"clsact\"", ["tc.hook"]),
        (
            "[poll]\ncounters = \"netlink\"\n[police]\nengine = \"ifb\"",
            ["poll.counters", "police.engine"]
        ),
        ("[guards]\nengine = \"ebpf\"\ndirectory = \"/g\"", ["guards.engine", "guards.directory"]),
        (
            "[control]\nmax_connections = 9\n[recording]\nenabled = false",
            ["[control]", "[recording]"]
        ),
    ])
    func whatWaitsForARestart(_ text: String, _ waiting: [String]) throws {
        let start = try Self.parse("")
        let new = try Self.parse(text)
        #expect(new != start)
        #expect(new.waitingForRestart(since: start) == waiting)
        #expect(start.waitingForRestart(since: new) == waiting)
        #expect(new.waitingForRestart(since: new) == [])
    }

    /// Guards against: a group that is not there, found when the daemon starts or never.
    @Test func groupsAreLookedUp() throws {
        let folder = try ScratchFolder()
        let path = try folder.write("[control]\ngroup = \"nosuch\"", to: "sluiced.toml")
        _ = try Configuration.load(path: path)
        let error = try #require(throws: ConfigurationError.self) {
            try ConfigurationSource.loadHere(path: path)
        }
        #expect(error.description.hasPrefix("\(path): error: control.group: there is no group"))
        #expect(error.description.contains("make it, or take the key out"))
        let other = try folder.write("[control]\ngroup = \"daemon\"", to: "other.toml")
        _ = try ConfigurationSource.loadHere(path: other)
    }
}
