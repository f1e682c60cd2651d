// A port's memory on its way to another host: what is exported is imported, and what is broken or
// hostile is refused with the key that is wrong.
import ControlAPI
import FoundationEssentials
import Mitigation
import Testing

@testable import Daemon

@Suite struct MigrationTests {
    private static let cap = Cap(
        packets: PacketRate(perSecond: 1_000), bits: BitRate(bitsPerSecond: 2_000_000))

    /// A port on shape with two strikes.
    private static var document: PortDocument {
        var incident = IncidentMemory(number: 3)
        incident.strikes = 2
        incident.wasMitigated = true
        incident.from.rung = .shape
        incident.from.since = Instant(nanoseconds: 80_000_000_000)
        incident.from.cap = cap
        let limit = Limit(cap: cap, delay: .milliseconds(200))
        incident.limits = Limits(
            rung: .shape, incident: 3, from: limit, to: limit, lane: Policy().lane)
        var memory = PortMemory()
        memory.incident = incident
        return PortDocument(
            name: PortName(bytes: [0x76, 0x6d, 0x2d, 0x31, 0x2d, 0x31]),
            address: [2, 0, 0, 0, 0, 1],
            exportedAt: Instant(nanoseconds: 90_000_000_000), memory: memory)
    }

    private static func text(_ document: PortDocument) throws -> String {
        String(decoding: try document.bytes(), as: UTF8.self)
    }

    /// Guards against: a value that is lost on its way, and a clock that counts from the wrong host's
    /// start.
    @Test func whatIsExportedIsImported() throws {
        let document = try PortDocument(bytes: try Self.document.bytes())
        #expect(document == Self.document)
        let here = Instant(nanoseconds: 1_000_000_000_000)
        let memory = document.memory.moved(from: document.exportedAt, to: here)
        #expect(memory.incident?.from.since == Instant(nanoseconds: 990_000_000_000))
    }

    /// Guards against: a document that is believed in part, and a refusal that does not say which key
    /// is wrong, or that reaches the turn.
    @Test(arguments: [
        (#""version":1"#, #""version":2"#, "form 2"),
        (#""name":"vm-1-1""#, #""name":"""#, "name no interface"),
        (#""name":"vm-1-1""#, #""named":"vm-1-1""#, "name is missing"),
        (#""exported_at":90000000000"#, #""exported_at":-1"#, "a number in it"),
        (#""rung":"shape""#, #""rung":"shaped""#, "there is no rung shaped"),
        (#""strikes":2"#, #""strikes":300"#, "too large"),
        (#""packets":1000"#, #""packets":"many""#, "is of another kind"),
        (#""packets":1000"#, #""packets":0"#, "memory.incident has parts that contradict"),
        (#""address":[2,0,0,0,0,1]"#, #""address":[2,0,0,0,0,256]"#, "a number in it"),
        (#"{"version""#, #"["version""#, "no JSON"),
    ])
    func whatIsBrokenIsRefused(_ good: String, _ bad: String, _ sentence: String) throws {
        let text = try Self.text(Self.document)
        let broken = text.replacing(good, with: bad)
        #expect(broken != text, "the case is made: \(text)")
        let harness = try ControlHarness()
        let answer = try harness.ask("POST", "/v1/import", body: broken)
        #expect(answer.status == 400)
        let problem = try JSONDecoder().decode(Problem.self, from: Data(answer.body.utf8))
        #expect(problem.error.contains(sentence), "\(problem.error)")
        #expect(problem.cure?.contains("sluicectl export") == true)
        #expect(harness.takenCount == 0)
    }

    /// Guards against: an address that does not lead to the acts.
    @Test func theSocketCarriesBoth() throws {
        let harness = try ControlHarness()
        let exported = try harness.ask("GET", "/v1/ports/vm-1-ff/export")
        #expect(exported.status == 200)
        let document = try PortDocument(bytes: Array(exported.body.utf8))
        #expect("\(document.name)" == "vm-1-ff" && document.memory == PortMemory())
        let imported = try harness.ask(
            "POST", "/v1/import", body: exported.body)
        #expect(imported.status == 200)
        let reply = try JSONDecoder().decode(ImportReply.self, from: Data(imported.body.utf8))
        #expect(reply == ImportReply(port: "vm-1-ff", rung: "normal", waits: true))
        #expect(try harness.ask("GET", "/v1/import").status == 405)
        #expect(try harness.ask("POST", "/v1/ports/vm-1-ff/export").status == 405)
        #expect(try harness.ask("GET", "/v1/ports//export").status == 400)
    }
}
