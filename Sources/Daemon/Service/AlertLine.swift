// One line for each thing to tell: `key=value` fields in a fixed order, values that hold blanks or
// quotes in quotes. Invariant: printable ASCII only, whatever a name or the kernel's sentence held.
internal import ControlAPI
package import LinuxSystem
package import Mitigation
internal import TrafficControl

/// A line for the system's log.
package struct AlertLine: Hashable, Codable, Sendable {
    /// How grave it is.
    package var severity: SystemLog.Severity
    /// The whole line.
    package var text: String

    /// A line of these fields.
    init(_ severity: SystemLog.Severity, _ fields: [(key: String, value: String?)]) {
        self.severity = severity
        text = fields.compactMap { field in
            field.value.map { "\(field.key)=\(Self.quoted($0))" }
        }.joined(separator: " ")
    }

    /// What the engine told. Where it was only observed, the event is marked `would`.
    package init(_ event: Event) {
        let name = event.mode == .observe ? "would-\(event.word)" : event.word
        var fields: [(key: String, value: String?)] = [
            ("event", name), ("seq", "\(event.sequence)"), ("incident", "\(event.incident)"),
            ("port", "\(event.name)"), ("ifindex", "\(event.port.index)"),
        ]
        switch event.kind {
        case .moved(let from, let to): fields += [("from", "\(from)"), ("to", "\(to)")]
        case .held(let rung, let cause): fields += [("rung", "\(rung)"), ("by", cause.rawValue)]
        case .refused(let rung, let sentence), .unknown(let rung, let sentence):
            fields += [("rung", "\(rung)"), ("kernel", sentence)]
        case .vanished(let rung): fields += [("rung", "\(rung)")]
        case .path(let path): fields += Self.fields(of: path)
        case .victim, .watched: break
        }
        if let reason = event.reason { fields += Self.fields(of: reason) }
        fields.append(("mode", event.mode.rawValue))
        self.init(event.severity, fields)
    }

    /// What the turn told.
    package init(_ note: TurnNote) {
        switch note {
        case .repaired(let name, let what):
            self.init(.warning, [("event", "repaired"), ("port", "\(name)"), ("missing", what)])
        case .damaged(let name, let why):
            self.init(.error, [("event", "damaged"), ("port", "\(name)"), ("why", why)])
        case .pollFailed(let why): self.init(.error, [("event", "poll-failed"), ("why", why)])
        case .counters(let source):
            self.init(
                .notice, [("event", "counters"), ("from", source.word), ("why", source.reason)])
        case .linksFailed(let why): self.init(.error, [("event", "links-failed"), ("why", why)])
        case .adopted(let adoption): self.init(adoption)
        case .contested(let name, let what, let seconds):
            self.init(
                .alert,
                [
                    ("event", "contested"), ("port", "\(name)"), ("missing", what),
                    ("why", "another program keeps taking it out"), ("again_in", "\(seconds)s"),
                ])
        case .redirectTakenOut(let name, let what):
            self.init(
                .error, [("event", "redirect-taken-out"), ("port", "\(name)"), ("why", what)])
        case .advised(let name, let why):
            self.init(.warning, [("event", "advisory"), ("port", "\(name)"), ("why", why)])
        case .imported(let name, let rung, let isWaiting):
            self.init(
                .notice,
                [
                    ("event", "imported"), ("port", "\(name)"), ("rung", "\(rung)"),
                    ("waits", isWaiting ? "yes" : "no"),
                ])
        case .cap(let name, let direction, let isExceeded, let passed, let cap):
            self.init(
                isExceeded ? .alert : .notice,
                [
                    ("event", isExceeded ? "cap-exceeded" : "cap-holds"), ("port", "\(name)"),
                    ("direction", direction.rawValue),
                    ("delivered_pps", "\(Int64(passed.packetsPerSecond.rounded()))"),
                    ("delivered_bps", "\(Int64(passed.bitsPerSecond.rounded()))"),
                    ("cap_pps", "\(cap.packets.perSecond)"),
                    ("cap_bps", "\(cap.bits.bitsPerSecond)"),
                ])
        case .orderOver(let name, let order):
            self.init(
                .notice,
                [("event", "order-over"), ("port", "\(name)"), ("order", order.rawValue)])
        case .guardsFailed(let name, let why):
            self.init(.error, [("event", "guards-failed"), ("port", "\(name)"), ("why", why)])
        case .guardsRefused(let name, let mode, let counts, let packets, let seconds):
            self.init(
                .warning,
                [
                    ("event", mode == .enforce ? "guards-refused" : "would-guards-refused"),
                    ("port", "\(name)"), ("packets", "\(packets)"),
                    ("in", seconds.map { "\($0)s" }), ("all", Self.text(of: counts.reasons)),
                    ("source_macs", counts.sourceMACs.flatMap { $0 > 1 ? "~\($0)" : nil }),
                    ("mode", mode.rawValue),
                ])
        case .journalFailed(let why):
            self.init(.error, [("event", "journal-failed"), ("why", why)])
        case .journalWorks: self.init(.notice, [("event", "journal-works")])
        case .surveyFailed(let why): self.init(.error, [("event", "survey-failed"), ("why", why)])
        }
    }

    /// Somebody acts.
    init(_ act: String, of port: String?, by actor: ControlActor) {
        self.init(act, [("port", port)], by: actor)
    }

    /// Somebody says something of a port.
    init(_ act: String, of request: OrderRequest, by actor: ControlActor) {
        self.init(
            act,
            [
                ("port", request.port), ("for", request.seconds.map { "\($0)s" }),
                ("reason", request.reason),
            ], by: actor)
    }

    /// Somebody says whether decisions about classes are carried out.
    init(_ mode: Mode?, of classes: [PortClass], reason: String?, by actor: ControlActor) {
        self.init(
            "mode",
            [
                ("mode", mode?.rawValue ?? ModeRequest.configured),
                ("classes", classes.map(\.rawValue).joined(separator: ",")), ("reason", reason),
            ], by: actor)
    }

    private init(
        _ act: String, _ fields: [(key: String, value: String?)], by actor: ControlActor
    ) {
        self.init(
            .notice,
            [("event", "asked"), ("act", act)] + fields + [
                ("uid", "\(actor.user)"), ("pid", "\(actor.process)"),
            ])
    }

    /// What a look at the folder of guards has to tell.
    static func lines(_ change: GuardFolder.Change) -> [AlertLine] {
        var lines = change.problems.map {
            AlertLine(.error, [("event", "guard-file-refused"), ("why", $0)])
        }
        if change.changed > 0 {
            lines.append(
                AlertLine(
                    .notice,
                    [
                        ("event", "guard-files"), ("changed", "\(change.changed)"),
                        ("all", "\(change.files.count)"),
                    ]))
        }
        return lines
    }

    /// `source-mac:120,arp:3`, the most first.
    private static func text(of counts: [GuardReason: GuardCount]) -> String {
        counts.sorted { ($1.value.packets, $0.key.rawValue) < ($0.value.packets, $1.key.rawValue) }
            .map { "\($0.key.rawValue):\($0.value.packets)" }.joined(separator: ",")
    }

    /// One line for all ports at start.
    private init(_ adoption: Adoption) {
        let rungs = adoption.rungs.sorted { $0.key < $1.key }.map { ("\($0.key)", "\($0.value)") }
        self.init(
            .notice,
            [("event", "adopted"), ("ports", "\(adoption.rungs.values.reduce(0, +))")] + rungs + [
                ("unremembered", adoption.unremembered > 0 ? "\(adoption.unremembered)" : nil),
                ("gone", adoption.gone > 0 ? "\(adoption.gone)" : nil),
            ])
    }

    /// The way with each port's share, and who is limited along with the VM.
    private static func fields(of path: FloodPath) -> [(key: String, value: String?)] {
        let shares = path.legs.map { "\($0.name):\($0.load.packets.perSecond)pps" }
        return [
            ("path", path.description), ("shares", shares.joined(separator: ",")),
            ("companion", path.companion.map { "\($0)" }),
        ]
    }

    private static func fields(of reason: Reason) -> [(key: String, value: String?)] {
        func rates(_ cap: Cap, _ prefix: String) -> [(key: String, value: String?)] {
            [
                ("\(prefix)pps", "\(cap.packets.perSecond)"),
                ("\(prefix)bps", "\(cap.bits.bitsPerSecond)"),
            ]
        }
        return [("rule", reason.rule.rawValue), ("direction", reason.direction.rawValue)]
            + rates(reason.measured, "") + rates(reason.against, "against_")
    }

    private static func quoted(_ value: String) -> String {
        let isPlain =
            !value.isEmpty
            && value.utf8.allSatisfy {
                $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=")
            }
        guard !isPlain else { return value }
        let escaped = value.utf8.reduce(into: "") { text, byte in
            switch byte {
            case UInt8(ascii: "\""): text += "'"
            case 0x20..<0x7f: text.unicodeScalars.append(Unicode.Scalar(byte))
            default: text += "?"
            }
        }
        return "\"\(escaped)\""
    }
}

extension Event {
    fileprivate var word: String {
        switch kind {
        case .moved: "move"
        case .victim(let isOn): isOn ? "victim" : "victim-over"
        case .watched(let isOn): isOn ? "watched-flood" : "watched-flood-over"
        case .held: "held"
        case .refused: "refused"
        case .unknown: "unknown"
        case .vanished: "vanished"
        case .path: "path"
        }
    }

    /// The breaker and the last rung page the operator.
    fileprivate var severity: SystemLog.Severity {
        switch kind {
        case .moved(let from, let to): to == .shutDown ? .alert : to > from ? .warning : .notice
        case .held: .alert
        case .refused, .unknown: .error
        case .victim(let isOn), .watched(let isOn): isOn ? .warning : .notice
        case .vanished, .path: .notice
        }
    }
}
