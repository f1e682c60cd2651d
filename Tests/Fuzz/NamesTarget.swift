// Names and sentences of strangers on their way out: to the log, the socket, and the hook's arguments.
import ControlAPI
import FoundationEssentials
import LinkCounters
import Mitigation
import NIOHTTP1
import TrafficControl

@testable import Daemon
@testable import Settings

extension FuzzTarget {
    /// A name and a sentence, through every way out.
    static let names = FuzzTarget(
        name: "names",
        seeds: {
            [
                "vm-4519-00df", "vm-1-1", "--help", "$(id)", "%s%n", "vm-\"q\"", "vm-\\x0a",
                "{domain}", "vm-e\u{301}", "vm-\u{1b}[31m", "a=b",
            ].map { name in
                [UInt8(name.utf8.count)] + Array(name.utf8)
                    + Array("Specified qdisc kind is unknown \" x=1\n".utf8)
            } + [[5, 0xff, 0xfe, 0x80, 0xc3, 0x28, 0xc0, 0xaf]]
        },
        read: { bytes in
            var input = FuzzInput(bytes)
            let name = PortName(bytes: input.bytes(most: 15).filter { $0 != 0 })
            guard !name.bytes.isEmpty else { return false }
            let sentence = String(decoding: input.remainder, as: UTF8.self)
            try checkName(name)
            try checkLines(name, sentence)
            try checkSocket(name)
            return try checkHook(name) || true
        })

    private static func checkName(_ name: PortName) throws {
        let escaped = name.description
        try promisePrintable(escaped, "a name")
        try promise(!escaped.contains { " \"".contains($0) }, "a name with a blank or a quote")
        try promise(PortName(escaped: escaped) == name, "\(escaped) is not the name it came from")
    }

    /// Each line is printable and holds the fields that it should, whatever their values.
    private static func checkLines(_ name: PortName, _ sentence: String) throws {
        let reason = Reason(
            rule: .fast, direction: .from, measured: Cap.some, against: Cap.some)
        let kinds: [Event.Kind] = [
            .moved(from: .normal, to: .police), .victim(true), .watched(false),
            .held(.shutDown, .share), .refused(.shape, sentence), .unknown(.shape, sentence),
            .vanished(.police),
        ]
        for kind in kinds {
            let event = Event(
                sequence: 9, kind: kind, at: Instant(nanoseconds: 1),
                port: PortID(index: 7, generation: 1),
                name: name, incident: 3, reason: reason, mode: .enforce)
            let keys = try fields(of: AlertLine(event).text).map(\.key)
            try promise(
                keys.starts(with: ["event", "seq", "incident", "port", "ifindex"]), "\(keys)")
            try promise(keys.last == "mode" && Set(keys).count == keys.count, "\(keys)")
        }
        let notes: [(TurnNote, [String])] = [
            (.repaired(name, sentence), ["event", "port", "missing"]),
            (.damaged(name, sentence), ["event", "port", "why"]),
            (.pollFailed(sentence), ["event", "why"]),
            (.counters(.netlink(sentence)), ["event", "from", "why"]),
            (
                .contested(name, sentence, seconds: 60),
                ["event", "port", "missing", "why", "again_in"]
            ),
            (.redirectTakenOut(name, sentence), ["event", "port", "why"]),
            (.journalFailed(sentence), ["event", "why"]),
            (
                .guardsRefused(
                    name, .enforce,
                    GuardCounts([.sourceMAC: GuardCount(packets: 9, bytes: 900)], sourceMACs: 4),
                    packets: 9, seconds: 60),
                ["event", "port", "packets", "in", "all", "source_macs", "mode"]
            ),
        ]
        for (note, wanted) in notes {
            let keys = try fields(of: AlertLine(note).text).map(\.key)
            try promise(keys == wanted, "\(keys)")
        }
    }

    /// Takes a line apart as a log's reader does: `key=value` or `key="value"`, a blank between.
    private static func fields(of line: String) throws -> [(key: String, value: String)] {
        try promisePrintable(line, "a line")
        var fields: [(key: String, value: String)] = []
        var rest = line[...]
        while !rest.isEmpty {
            let key = rest.prefix { $0.isASCII && ($0.isLowercase || $0 == "_") }
            rest = rest.dropFirst(key.count)
            try promise(!key.isEmpty && rest.first == "=", "no key in \(line)")
            rest = rest.dropFirst()
            let isQuoted = rest.first == "\""
            if isQuoted { rest = rest.dropFirst() }
            let value = rest.prefix { isQuoted ? $0 != "\"" : $0 != " " && $0 != "=" }
            rest = rest.dropFirst(value.count)
            if isQuoted {
                try promise(rest.first == "\"", "a quote without end in \(line)")
                rest = rest.dropFirst()
            }
            try promise(rest.isEmpty || rest.first == " ", "a field without end in \(line)")
            rest = rest.dropFirst()
            fields.append((String(key), String(value)))
        }
        return fields
    }

    /// The name as the socket says it comes back as it went, by JSON and by a path.
    private static func checkSocket(_ name: PortName) throws {
        let escaped = name.description
        let body = try JSONEncoder().encode(ReleaseRequest(port: escaped))
        let actor = ControlActor(user: 7, process: 8)
        let router = ControlRouter(access: .act, actor: actor, version: "1")
        let release = router.route(method: .POST, uri: "/v1/release", body: Array(body))
        let wanted = ControlRoute.ask(.release(ReleaseRequest(port: escaped), by: actor))
        try promise(release == wanted, "\(release)")
        let path = escaped.utf8.map { "%" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let port = router.route(method: .GET, uri: "/v1/ports/\(path)", body: [])
        try promise(port == .ask(.port(escaped)), "\(port)")
        let raw = router.route(
            method: .GET, uri: "/v1/ports/" + String(decoding: name.bytes, as: UTF8.self), body: [])
        if case .ask(.port(let told)) = raw { try promise(!told.isEmpty, "an empty name") }
    }

    /// As many arguments as were written, none of them an option that was not; true where the name
    /// can be told to a program at all.
    private static func checkHook(_ name: PortName) throws -> Bool {
        let match = PortMatch(
            name: name, portClass: .vm, pattern: NamePattern(parts: [.any]), numText: nil,
            netidText: nil)
        let template = ["stop", "--force", "{port}", "x{port}{port}"]
        let command: [[UInt8]]
        do throws(ShutdownHook.ExpansionError) {
            command = try ShutdownHook().command(template, for: match)
        } catch {
            return false
        }
        let bytes = name.bytes
        try promise(
            command == [Array("stop".utf8), Array("--force".utf8), bytes, [0x78] + bytes + bytes],
            "\(command)")
        try promise(bytes.first != UInt8(ascii: "-"), "a name as an option")
        return true
    }
}

extension Cap {
    /// Any cap.
    fileprivate static let some = Cap(
        packets: PacketRate(perSecond: 1), bits: BitRate(bitsPerSecond: 1))
}
