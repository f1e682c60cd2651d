// The journal: a file's bytes, through another start's clocks, to a decision that goes on with them.
import Mitigation
import TrafficControl

@testable import Daemon
@testable import Settings

extension FuzzTarget {
    /// Any bytes are refused, or give a state that is written and read back, moved to other clocks,
    /// and restored, without a trap and without a limit that lets nothing pass. The first byte says
    /// whether the rest is a file, or edits of one that is whole: mutations of a file's bytes are
    /// hardly ever JSON.
    static let journal = FuzzTarget(
        name: "journal",
        seeds: {
            let edits: [[UInt8]] = [[1, 0], [3, 7, 2, 9, 4], [5, 1, 1, 3, 0, 5, 8, 6, 9, 2]]
            return try JournalSeeds.documents.map { [0] + (try $0.bytes()) } + edits
                + edits.map { $0 + $0.reversed() }
        },
        rounds: 1_500,
        read: { bytes in
            var input = FuzzInput(bytes)
            let bytes = try input.file(orOneOf: 3) {
                edited(try JournalSeeds.documents[$0].bytes(), by: $1)
            }
            let document: JournalDocument
            do throws(JournalError) {
                document = try JournalDocument(bytes: bytes)
            } catch {
                return false
            }
            let again = try JournalDocument(bytes: try document.bytes())
            try promise(again == document, "what was written is not what is read")
            let now = Instant(nanoseconds: 5_000_000_000)
            for boot in [document.boot, "another", ""] {
                let state = document.state(
                    boot: boot, now: now, wallClock: 2_000_000_000, forgiveness: .seconds(3600))
                try restore(state, now: now)
            }
            return true
        })

    /// Each pair of bytes chooses a value of the file, and what stands there instead.
    private static func edited(_ file: [UInt8], by edits: [UInt8]) -> [UInt8] {
        let numbers = [
            "0", "1", "-1", "2", "255", "256", "1000", "2147483648", "4294967295",
            "9223372036854775807", "9223372036854775808", "18446744073709551615", "1e30", "null",
        ]
        var text = String(decoding: file, as: UTF8.self)
        for place in stride(from: 0, to: min(edits.count, 16), by: 2) {
            let (chosen, by) = (Int(edits[place]), Int(edits.dropFirst(place + 1).first ?? 0))
            if chosen.isMultiple(of: 5) {
                let rungs = text.ranges(of: /"(?:normal|police|shape|tighten|shutdown)"/)
                guard !rungs.isEmpty else { continue }
                let rung = Rung.allCases[by % Rung.allCases.count]
                text.replaceSubrange(rungs[chosen % rungs.count], with: "\"\(rung)\"")
            } else {
                let values = text.ranges(of: /\b\d+\b|\b(?:true|false)\b/)
                guard !values.isEmpty else { continue }
                let range = values[chosen % values.count]
                let isFlag = text[range].first?.isNumber == false
                let value = isFlag ? ["true", "false"][by % 2] : numbers[by % numbers.count]
                text.replaceSubrange(range, with: value)
            }
        }
        return Array(text.utf8)
    }

    /// Ten polls of a decision that remembers `state`, on ports that flood.
    private static func restore(_ state: JournalState, now: Instant) throws {
        var engine = Engine(policy: Configuration().policy, now: now)
        engine.restore(state.engine, now: now)
        let memories = state.ports.map(\.memory) + state.departed.map(\.memory)
        var slots: [(Engine.Slot, PortID)] = []
        for (number, memory) in memories.prefix(8).enumerated() {
            let id = PortID(index: Int32(number + 1), generation: 1)
            let port = Port(
                id: id, name: PortName("vm-\(number)-1"), portClass: .vm, netid: nil, mtu: 1_500,
                carriesDefaultRoute: false)
            let slot = engine.appear(port, now: now)
            engine.restore(slot, memory, now: now)
            slots.append((slot, id))
        }
        var actions: [Action] = []
        for poll in 1...10 as ClosedRange<UInt64> {
            let moment = now.advanced(by: .milliseconds(100 * poll))
            for (slot, _) in slots {
                engine.sample(
                    slot, Counters(fromPackets: poll * 100_000, fromBytes: poll * 25_000_000),
                    at: moment)
            }
            engine.finishPoll(now: moment, into: &actions)
            let asked = actions
            actions = []
            for case .limit(let id, let limits) in asked {
                if let limits { try check(limits) }
                engine.confirm(
                    id, poll.isMultiple(of: 2) ? .done : .unknown("?"), now: moment, into: &actions)
            }
            actions = []
        }
        for (slot, _) in slots { _ = (engine.memory(slot, now: now), engine.view(slot)) }
    }

    private static func check(_ limits: Limits) throws(BrokenPromise) {
        for limit in [limits.from, limits.to].compactMap({ $0 }) {
            try promise(
                limit.cap.packets.perSecond > 0 && limit.cap.bits.bitsPerSecond > 0,
                "a limit that lets nothing pass: \(limits)")
        }
    }
}

private enum JournalSeeds {
    /// Nothing, a policed port, and one whose machine is gone.
    static var documents: [JournalDocument] {
        var incident = IncidentMemory(number: 3)
        incident.strikes = 1
        incident.wasMitigated = true
        incident.from.rung = .police
        incident.from.since = Instant(nanoseconds: 1_000_000_000)
        incident.from.cap = cap
        incident.limits = Limits(
            rung: .police, incident: 3, from: Limit(cap: cap), to: nil,
            lane: Configuration().policy.lane)
        var memory = PortMemory()
        memory.incident = incident
        memory.strikes = 1
        memory.relapseUntil = Instant(nanoseconds: 9_000_000_000)
        var state = JournalState()
        state.engine.lastIncident = 3
        state.engine.shutdowns = [Instant(nanoseconds: 2_000_000_000)]
        let empty = JournalState()
        state.ports = [
            PortRecord(
                index: 7, name: PortName(bytes: [0x76, 0x6d, 0xff]), address: [2, 0, 0, 0, 0, 1],
                kind: "tun", origin: PortOrigin(hadHook: true), advisories: ["a"],
                memory: memory)
        ]
        var gone = state
        gone.departed = [
            DepartedRecord(
                name: PortName("vm-2-1"), address: [], until: Instant(nanoseconds: 8_000_000_000),
                memory: memory)
        ]
        return [empty, state, gone].map {
            JournalDocument(
                boot: "here", savedAt: Instant(nanoseconds: 3_000_000_000),
                wallClock: 1_900_000_000, state: $0)
        }
    }

    private static let cap = Cap(
        packets: PacketRate(perSecond: 1_000), bits: BitRate(bitsPerSecond: 2_000_000))
}
