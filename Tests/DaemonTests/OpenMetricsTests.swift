// What a scraper reads.
import ControlAPI
import Mitigation
import Testing

@testable import Daemon

@Suite struct OpenMetricsTests {
    private static func port(_ number: Int, _ rung: String, name: String? = nil) -> PortStatus {
        let load = Load(packetsPerSecond: Double(number), bitsPerSecond: Double(number) * 800)
        let loads = Loads(from: load, to: load)
        var port = PortStatus(
            name: name ?? "vm-\(number)-ff", index: Int32(number), portClass: "vm",
            pattern: "vm-<num>-<netid>", netid: "00ff", rung: rung, onRungSeconds: nil,
            incident: nil, isVictim: false, offered: loads, delivered: nil, lane: nil, cap: nil,
            delayMilliseconds: nil, enforcement: nil, problem: nil)
        if rung != "normal" { (port.delivered, port.lane, port.cap) = (loads, loads, loads) }
        return port
    }

    private static func lines(_ ports: [PortStatus]) -> [Substring] {
        let status = Status(
            version: "1", pid: 2, mode: "enforce", uptimeSeconds: 61.5, kernel: "6.1.0",
            kernelNotes: ["no netem"], polls: 100, pollMilliseconds: 100, latePolls: 3,
            worstLatenessMicroseconds: 1_500, mitigated: 0, breaker: "share", ports: ports)
        return OpenMetrics.text(status, health)
            .split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// A daemon that has seen something of everything.
    private static var health: SelfHealth {
        var health = SelfHealth()
        var lateness = DurationHistogram()
        for duration in [50_000, 100_000, 100_001, 30_000_000, 2_000_000_000] as [UInt64] {
            lateness.add(nanoseconds: duration)
        }
        health.lateness = lateness.reading
        health.counts.failedPolls = 4
        health.counts.repairs = 5
        health.contestedPorts = 1
        health.observed = [8]
        health.durableJournal = JournalHealth(failures: 6, isBroken: true)
        (health.suppressedLines, health.lostLines) = (7, 8)
        health.refusals = [.busy: 9]
        health.breaker = BreakerRoom(
            mitigated: 2, mitigatedLimit: 4, shutdowns: 1, shutdownLimit: 3)
        return health
    }

    /// Guards against: text that a scraper refuses: a sample outside its family, a family twice or
    /// without a type, a counter without `_total`, no end, a number that is none.
    @Test func isWellFormed() throws {
        let ports = (1...40).map { Self.port($0, $0 % 8 == 0 ? "shape" : "normal") }
        let lines = Self.lines(ports)
        #expect(lines.suffix(2) == ["# EOF", ""])
        var families: [Substring: Substring] = [:]
        var family: Substring = ""
        for line in lines.dropLast(2) {
            let words = line.split(separator: " ")
            if line.hasPrefix("# TYPE ") {
                family = words[2]
                #expect(families.updateValue(words[3], forKey: family) == nil, "\(family) twice")
            } else if line.hasPrefix("# HELP ") {
                #expect(words[2] == family && line.hasSuffix("."))
            } else {
                let name = line.prefix { $0 != "{" && $0 != " " }
                let suffixes =
                    [
                        "counter": ["_total"], "info": ["_info"],
                        "histogram": ["_bucket", "_sum", "_count"],
                    ][families[family] ?? ""] ?? [""]
                #expect(suffixes.contains { name == family + $0 }, "\(line)")
                let value = try #require(Double(words.last ?? ""))
                #expect(value.isFinite && value >= 0)
            }
        }
        #expect(lines.contains(#"sluice_mitigated_ports{rung="shape",mode="enforce"} 4"#))
        #expect(lines.contains(#"sluice_mitigated_ports{rung="shape",mode="observe"} 1"#))
        #expect(lines.contains("sluice_breaker_open{cause=\"share\"} 1"))
        #expect(lines.contains("sluice_poll_lateness_worst_seconds 0.0015"))
        let rung =
            #"sluice_port_rung{port="vm-8-ff",class="vm",netid="00ff",mode="observe"} 2"#
        #expect(lines.contains { $0 == rung })
    }

    /// Guards against: a histogram whose steps do not add up or that puts a bound into the next step;
    /// something that the daemon counts and does not tell.
    @Test func selfHealthIsTold() {
        let lines = Self.lines([])
        for line in [
            #"sluice_poll_lateness_seconds_bucket{le="0.0001"} 2"#,
            #"sluice_poll_lateness_seconds_bucket{le="0.00025"} 3"#,
            #"sluice_poll_lateness_seconds_bucket{le="0.025"} 3"#,
            #"sluice_poll_lateness_seconds_bucket{le="0.05"} 4"#,
            #"sluice_poll_lateness_seconds_bucket{le="1.0"} 4"#,
            #"sluice_poll_lateness_seconds_bucket{le="+Inf"} 5"#,
            "sluice_poll_lateness_seconds_sum 2.030250001",
            "sluice_poll_lateness_seconds_count 5", "sluice_turn_seconds_count 0",
            #"sluice_netlink_errors_total{operation="poll"} 4"#, "sluice_repairs_total 5",
            "sluice_contested_ports 1", #"sluice_journal_failures_total{copy="disk"} 6"#,
            #"sluice_journal_broken{copy="disk"} 1"#, #"sluice_journal_broken{copy="memory"} 0"#,
            #"sluice_log_lines_dropped_total{reason="limit"} 7"#,
            #"sluice_log_lines_dropped_total{reason="reader"} 8"#,
            #"sluice_socket_refusals_total{reason="busy"} 9"#,
            #"sluice_socket_refusals_total{reason="rights"} 0"#,
            #"sluice_moves_total{to="police"} 0"#, #"sluice_breaker_counted{cause="share"} 2"#,
            #"sluice_breaker_limit{cause="share"} 4"#,
            #"sluice_breaker_limit{cause="shutdowns"} 3"#,
        ] {
            #expect(lines.contains { $0 == line }, "\(line)")
        }
    }

    /// Guards against: ten thousand ports that give ten thousand lines, a quiet one that is told of in
    /// place of a busy one, and a held one that is left out.
    @Test func detailIsForTheHeldAndTheTop() {
        let few = Self.lines((1...10).map { Self.port($0, "normal") })
        let many = Self.lines((1...10_000).map { Self.port($0, "normal") })
        #expect(many.count == few.count)
        #expect(many.contains { $0.contains("port=\"vm-10000-ff\"") })
        #expect(!many.contains { $0.contains("port=\"vm-9990-ff\"") })
        let bytes = many.reduce(0) { $0 + $1.utf8.count + 1 }
        #expect(bytes < 20_000, "\(bytes) bytes")
        let held = Self.lines((1...100).map { Self.port($0, $0 == 1 ? "police" : "normal") })
        for what in ["rung", "cap_packets", "delivered_bytes", "offered_packets", "lane_bytes"] {
            let mine = held.filter {
                $0.hasPrefix("sluice_port_\(what)") && $0.contains("vm-1-ff")
            }
            #expect(mine.count == (what == "rung" ? 1 : 2), "\(what)")
        }
        #expect(held.contains { $0.hasPrefix("sluice_port_cap_bytes") && $0.hasSuffix("} 100") })
    }

    /// Guards against: a name that ends its label.
    @Test func labelsAreEscaped() {
        let lines = Self.lines([Self.port(1, "police", name: #"a\x0a"} 1"#)])
        #expect(lines.contains { $0.contains(#"port="a\\x0a\"} 1""#) })
    }
}
