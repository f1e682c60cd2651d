// Incidents out of told lines.

import ControlAPI
import Testing

@Suite struct IncidentTests {
    private static func lines(_ texts: [String]) -> [ToldLine] {
        texts.enumerated().map { place, text in
            ToldLine(
                number: UInt64(place + 1), at: 100 + Double(place), severity: "notice", line: text)
        }
    }

    private static func move(
        _ sequence: Int, _ incident: Int, _ port: String, _ from: String, _ to: String,
        direction: String = "from", rule: String = "sustained", pps: Int = 20_000
    ) -> String {
        "event=move seq=\(sequence) incident=\(incident) port=\(port) ifindex=7 from=\(from) "
            + "to=\(to) rule=\(rule) direction=\(direction) pps=\(pps) bps=8000000 "
            + "against_pps=10000 against_bps=0 mode=enforce"
    }

    /// Guards against: incidents that run into each other, a beginning, an end or a highest rung that is
    /// another's, and lines of a port told of an incident that was over by then.
    @Test func twoAtOnce() throws {
        let all = Incident.all(
            in: Self.lines([
                "event=start mode=enforce",
                Self.move(1, 1, "vm-1", "normal", "police"),
                Self.move(2, 2, "vm-2", "normal", "police", pps: 90_000),
                "event=repaired port=vm-1 missing=police",
                Self.move(3, 1, "vm-1", "police", "shape", rule: "unresponsive", pps: 30_000),
                "event=path seq=4 incident=1 port=vm-1 ifindex=7 path=\"vm-1 > spc-1\" mode=enforce",
                Self.move(5, 1, "vm-1", "shape", "police", rule: "calm", pps: 10),
                Self.move(6, 1, "vm-1", "police", "normal", rule: "calm", pps: 10),
                "event=asked act=release port=vm-1 uid=0 pid=1",
            ]))
        #expect(all.map(\.number) == [1, 2])
        let first = try #require(all.first)
        #expect(first.port == "vm-1" && first.startedAt == 101 && first.endedAt == 107)
        #expect(first.rung == "normal" && first.highest == "shape" && !first.wasVictim)
        #expect(first.rule == "sustained" && first.direction == "from")
        #expect(first.measured == Load(packetsPerSecond: 20_000, bitsPerSecond: 8_000_000))
        #expect(first.against?.packetsPerSecond == 10_000)
        #expect(first.peak?.packetsPerSecond == 30_000 && first.path == "vm-1 > spc-1")
        #expect(first.events?.map(\.number) == [2, 4, 5, 6, 7, 8])
        #expect(all[1].endedAt == nil && all[1].rung == "police")
        #expect(all[1].withoutEvents.events == nil)
    }

    /// Guards against: an end while the other direction is limited still, or while the port is a victim;
    /// an event that a crash had told twice; a port that vanished and is never over.
    @Test func bothDirectionsAndTwice() {
        var texts = [
            Self.move(1, 3, "vm-1", "normal", "police", direction: "to"),
            "event=victim seq=2 incident=3 port=vm-1 ifindex=7 direction=to mode=enforce",
            Self.move(3, 3, "vm-1", "normal", "police"),
            Self.move(3, 3, "vm-1", "normal", "police"),
            Self.move(4, 3, "vm-1", "police", "normal", direction: "to", rule: "calm"),
            "event=victim-over seq=5 incident=3 port=vm-1 ifindex=7 direction=to mode=enforce",
        ]
        let open = Incident.all(in: Self.lines(texts))[0]
        #expect(open.endedAt == nil && open.rung == "police" && open.wasVictim)
        #expect(open.events?.count == 5)
        texts.append(
            "event=vanished seq=6 incident=3 port=vm-1 ifindex=7 rung=police mode=enforce")
        let over = Incident.all(in: Self.lines(texts))[0]
        #expect(over.endedAt == 106 && over.rung == "normal" && over.highest == "police")
    }

    /// Guards against: an incident that was armed in its midst and told as observed, and two of one
    /// number, of a daemon that lost its journal, told as one.
    @Test func armedAndCountedAnew() {
        let would = Self.move(1, 1, "vm-1", "normal", "police").replacing(
            "=enforce", with: "=observe")
        let all = Incident.all(
            in: Self.lines([
                would.replacing("=move", with: "=would-move"),
                Self.move(2, 1, "vm-1", "normal", "police"),
                Self.move(1, 1, "vm-7", "normal", "police"),
                Self.move(2, 1, "vm-7", "police", "normal", rule: "calm"),
            ]))
        #expect(all.map(\.port) == ["vm-1", "vm-7"] && all.map(\.mode) == ["enforce", "enforce"])
        #expect(all.map { $0.events?.count } == [2, 2] && all[1].endedAt == 103)
    }

    /// Guards against: a beginning that is taken from a line in the midst of an incident, lines that are
    /// none of an incident, and strange ones that trap.
    @Test func whatIsMissing() {
        let all = Incident.all(
            in: Self.lines([
                Self.move(9, 4, "vm-1", "police", "shape", rule: "unresponsive"), "incident=0",
                "incident=x", "", "=", "event=move incident=5",
                "event=would-move incident=6 to=lost",
            ]))
        #expect(all.map(\.number) == [4, 5, 6])
        #expect(all[0].rule == nil && all[0].measured == nil && all[0].rung == "shape")
        #expect(all[1].port == "?" && all[2].rung == "normal")
        #expect(Incident.all(in: []) == [])
    }
}
