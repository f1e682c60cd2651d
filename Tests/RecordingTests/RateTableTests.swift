// Loads that others wrote down: tables and collectd's files, right and wrong.
import Mitigation
import Seeded
import Testing

@testable import Recording

@Suite struct RateTableTests {
    private static let rates = "time,port,pps_from,bps_from,pps_to,bps_to\n"
    private static let counters = "time,port,rx_packets,rx_bytes,tx_packets,tx_bytes\n"

    private static func policy(_ interval: Duration) -> Policy {
        var policy = Policy()
        policy.pollInterval = interval
        policy.marks[.vm] = Marks(
            from: Mark(packets: PacketRate(perSecond: 30_000)),
            to: Mark(packets: PacketRate(perSecond: 30_000)))
        return policy
    }

    private static func replay(_ table: RateTable) throws -> Replayer {
        let (items, interval) = try table.recording(file: "loads.csv")
        var replay = Replayer(answers: .assumed, policy: { _ in policy(interval) })
        for item in items { replay.take(item) }
        replay.finish()
        return replay
    }

    /// Guards against: rx taken for what is sent to the VM, bits taken for bytes, and coarse times
    /// that void every sample: both kinds of tables give the flood at its time, at its rate.
    @Test(arguments: [1, 10, 60, 300])
    func bothKindsGiveTheFlood(step: UInt64) throws {
        var rates = Self.rates
        var counters = Self.counters
        var sum: UInt64 = 5_000
        for row in 0..<20 as Range<UInt64> {
            let packets: UInt64 = row >= 8 && row < 14 ? 45_000 : 100
            sum += packets * step
            let time = 1_700_000_000 + row * step
            rates += "\(time),vm-1-00aa,\(packets),\(packets * 8_000),10,1000\n"
            rates += "\(time),vm-2-00aa,10,80000,10,1000\n"
            counters += "\(time),vm-1-00aa,\(sum),\(sum * 1_000),7,700\n"
            counters += "\(time),vm-2-00aa,7,700,7,700\n"
        }
        for text in [rates, counters] {
            let replay = try Self.replay(try RateTable(parsing: Array(text.utf8), file: "t.csv"))
            let first = try #require(replay.told.first)
            #expect(first.kind == .moved(from: .normal, to: .police))
            #expect(first.name == PortName("vm-1-00aa"))
            let measured = try #require(first.reason?.measured)
            #expect(abs(Double(measured.packets.perSecond) - 45_000) < 450)
            #expect(abs(Double(measured.bits.bitsPerSecond) - 360e6) < 3.6e6)
            #expect(replay.told.allSatisfy { $0.name == PortName("vm-1-00aa") })
            let clock = try #require(replay.wallClocks.first)
            let wall = first.at.nanoseconds - clock.monotonic + clock.wall
            let begun = (1_700_000_000 + 7 * step) * 1_000_000_000
            #expect(wall > begun && wall <= begun + 2 * step * 1_000_000_000)
        }
    }

    /// Guards against: collectd's two files of a port taken for two ports, or bytes for bits.
    @Test func collectdFilesBelongTogether() throws {
        var packets = "epoch,rx,tx\n"
        var octets = "epoch,rx,tx\n"
        for row in 0..<20 {
            let rate = row >= 8 ? 60_000.0 : 20.0
            packets += "\(1_700_000_000 + row * 10).012,\(rate),5.0\n"
            octets += "\(1_700_000_000 + row * 10).013,\(rate * 500),-nan\n"
        }
        var table = RateTable()
        let name = Array("vm-1-00aa".utf8)
        try table.add(collectd: Array(packets.utf8), port: name, unit: 0, file: "if_packets-1")
        try table.add(collectd: Array(octets.utf8), port: name, unit: 1, file: "if_octets-1")
        let replay = try Self.replay(table)
        #expect(replay.portCount == 1)
        let measured = try #require(replay.told.first?.reason?.measured)
        #expect(abs(Double(measured.packets.perSecond) - 60_000) < 600)
    }

    /// Guards against: a mistake without its place, or one that is taken for a load.
    @Test(
        arguments: [
            ("", "t.csv: error: it is empty"),
            ("time,port\n", "t.csv:1:1: error: these are no columns that are known"),
            (rates + "1,vm,1,2,3\n", "t.csv:2:1: error: there are 5 columns"),
            (rates + "1,vm,1,2,3,4,5\n", "t.csv:2:1: error: there are more than 6 columns"),
            (rates + "1,vm,1,2,x,4\n", "t.csv:2:10: error: \"x\" is no number here"),
            (rates + "1,vm,-1,2,3,4\n", "t.csv:2:6: error: \"-1\" is no number here"),
            (rates + "1,vm,nan,2,3,4\n", "t.csv:2:6: error: \"nan\" is no number here"),
            (rates + "1700000000000,vm,1,2,3,4\n", "t.csv:2:1: error: this time is not in seconds"),
            (counters + "1,,1,2,3,4\n", "t.csv:2:3: error: there is no port's name"),
            (rates + "1,vm,1,2,3,4\n", "t.csv: error: no port has two rows"),
            (rates + "1,a,1,2,3,4\n2,a,1,2,3,4\n90000000,b,1,1,1,1\n", "t.csv: error: it has more"),
        ])
    func mistakesHavePlacesAndCures(text: String, sentence: String) {
        do {
            _ = try RateTable(parsing: Array(text.utf8), file: "t.csv").recording(file: "t.csv")
            Issue.record("taken: \(text)")
        } catch {
            #expect("\(error)".hasPrefix(sentence), "\(error)")
            #expect("\(error)".contains("; "))
        }
    }

    /// Guards against: a trap on any numbers and any order of them.
    @Test func anyTableComesToAnEnd() throws {
        var random = SplitMix(seed: 9)
        for _ in 0..<300 {
            var text = random.once(in: 2) ? Self.rates : Self.counters
            for _ in 0..<random.value(2...40) {
                text += "\(random.value(0...random.value(1...4_000))),vm-\(random.value(1...3))"
                for _ in 0..<4 { text += ",\(random.extreme() >> 1)" }
                text += "\n"
            }
            guard let table = try? RateTable(parsing: Array(text.utf8), file: "t.csv"),
                (try? table.recording(file: "t.csv")) != nil
            else { continue }
            #expect(try Self.replay(table).pollCount > 0)
        }
    }

    /// Guards against: maxima of moments shorter than the time that counts, or missed ones.
    @Test func maximaLastForTheirTime() throws {
        var text = Self.rates
        for row in 0..<60 {
            let packets = row == 20 ? 90_000 : (30..<36).contains(row) ? 8_000 : 1_000
            text += "\(1_700_000_000 + row),vm-1,\(packets),\(packets * 800),1,800\n"
        }
        let table = try RateTable(parsing: Array(text.utf8), file: "t.csv")
        var maxima = LoadMaxima(sustain: .seconds(5))
        for item in try table.recording(file: "t.csv").items { maxima.take(item) }
        let highest = try #require(maxima.ports.first?.loads)
        // 90,000 of one second and 1,000 of four others.
        #expect(abs(highest.x - 18_800) < 200)
    }
}
