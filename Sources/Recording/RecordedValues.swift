// The decision's values as they stand in a recording. Invariant: what is read back is equal to what
// was written.
internal import Mitigation

extension Recordable where Self: CaseIterable & Equatable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let place = Int(try reader.byte())
        guard let value = Self.allCases.dropFirst(place).first else {
            throw RecordingError(description: "there is no \(Self.self) of number \(place)")
        }
        self = value
    }

    func write(to writer: inout RecordWriter) {
        let place = Self.allCases.enumerated().first { $0.element == self }?.offset ?? 0
        writer.byte(UInt8(truncatingIfNeeded: place))
    }
}

extension Rung: Recordable {}
extension PortClass: Recordable {}
extension Direction: Recordable {}
extension Mode: Recordable {}
extension PortOrder: Recordable {}
extension Reason.Rule: Recordable {}
extension Event.BreakerCause: Recordable {}

extension Instant: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        self.init(nanoseconds: try reader.number())
    }

    func write(to writer: inout RecordWriter) { writer.number(nanoseconds) }
}

extension PortID: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let index = try reader.signed()
        let generation = try reader.number(upTo: UInt64(UInt32.max))
        self.init(
            index: Int32(truncatingIfNeeded: index),
            generation: UInt32(truncatingIfNeeded: generation))
    }

    func write(to writer: inout RecordWriter) {
        writer.signed(Int64(index))
        writer.number(UInt64(generation))
    }
}

extension PortName: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let bytes = try reader.list()
        guard bytes.count <= 255 else {
            throw RecordingError(description: "a port's name is too long")
        }
        self.init(bytes: bytes)
    }

    func write(to writer: inout RecordWriter) { writer.list(bytes) }
}

extension Port: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let id: PortID = try reader.value()
        let name: PortName = try reader.value()
        let portClass: PortClass = try reader.value()
        let netid = try reader.number(upTo: UInt64(UInt32.max) + 1)
        let mtu = try reader.number(upTo: UInt64(UInt32.max))
        let carries = try reader.flag()
        self.init(
            id: id, name: name, portClass: portClass,
            netid: netid == 0 ? nil : UInt32(truncatingIfNeeded: netid - 1),
            mtu: UInt32(truncatingIfNeeded: mtu), carriesDefaultRoute: carries)
    }

    func write(to writer: inout RecordWriter) {
        writer.value(id)
        writer.value(name)
        writer.value(portClass)
        writer.number(netid.map { UInt64($0) + 1 } ?? 0)
        writer.number(UInt64(mtu))
        writer.flag(carriesDefaultRoute)
    }
}

extension Cap: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let packets = try reader.number()
        let bits = try reader.number()
        self.init(
            packets: PacketRate(perSecond: packets), bits: BitRate(bitsPerSecond: bits))
    }

    func write(to writer: inout RecordWriter) {
        writer.number(packets.perSecond)
        writer.number(bits.bitsPerSecond)
    }
}

extension Limit: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let cap: Cap = try reader.value()
        let hasDelay = try reader.flag()
        let delay = hasDelay ? Duration.nanoseconds(try reader.signed()) : nil
        self.init(cap: cap, delay: delay)
    }

    func write(to writer: inout RecordWriter) {
        writer.value(cap)
        writer.flag(delay != nil)
        if let delay { writer.signed(Int64(clamping: delay.wholeNanoseconds)) }
    }
}

extension Lane: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        var ports: [UInt16] = []
        for _ in 0..<(try reader.count()) {
            ports.append(UInt16(truncatingIfNeeded: try reader.number(upTo: 65_535)))
        }
        let management: Cap = try reader.value()
        self.init(tcpPorts: ports, management: management, neighbour: try reader.value())
    }

    func write(to writer: inout RecordWriter) {
        writer.number(UInt64(tcpPorts.count))
        for port in tcpPorts { writer.number(UInt64(port)) }
        writer.value(management)
        writer.value(neighbour)
    }
}

extension Limits: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let rung: Rung = try reader.value()
        let incident = try reader.incident()
        let from: Limit? = try reader.optional()
        let to: Limit? = try reader.optional()
        self.init(rung: rung, incident: incident, from: from, to: to, lane: try reader.value())
    }

    func write(to writer: inout RecordWriter) {
        writer.value(rung)
        writer.number(UInt64(incident))
        writer.optional(from)
        writer.optional(to)
        writer.value(lane)
    }
}

extension RecordReader {
    mutating func incident() throws(RecordingError) -> UInt32 {
        UInt32(truncatingIfNeeded: try number(upTo: UInt64(UInt32.max)))
    }
}

extension FloodPath.Leg: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let name: PortName = try reader.value()
        self.init(name: name, load: try reader.value())
    }

    func write(to writer: inout RecordWriter) {
        writer.value(name)
        writer.value(load)
    }
}

extension FloodPath: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let legs: [Leg] = try reader.values()
        self.init(legs: legs, companion: try reader.optional())
    }

    func write(to writer: inout RecordWriter) {
        writer.values(legs)
        writer.optional(companion)
    }
}

extension Outcome: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        switch try reader.byte() {
        case 0: self = .done
        case 1: self = .refused(try reader.text())
        case 2: self = .unknown(try reader.text())
        default: throw RecordingError(description: "there is no such outcome")
        }
    }

    func write(to writer: inout RecordWriter) {
        switch self {
        case .done: writer.byte(0)
        case .refused(let sentence):
            writer.byte(1)
            writer.text(sentence)
        case .unknown(let sentence):
            writer.byte(2)
            writer.text(sentence)
        }
    }
}

extension RecordReader {
    /// Modes by class, in the order of the classes.
    mutating func modes() throws(RecordingError) -> [PortClass: Mode] {
        var modes: [PortClass: Mode] = [:]
        for portClass in PortClass.allCases {
            let mode: Mode? = try optional()
            modes[portClass] = mode
        }
        return modes
    }
}

extension RecordWriter {
    /// Modes by class, in the order of the classes.
    mutating func modes(_ modes: [PortClass: Mode]) {
        for portClass in PortClass.allCases { optional(modes[portClass]) }
    }
}

// MARK: Events

extension Reason: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let rule: Rule = try reader.value()
        let direction: Direction = try reader.value()
        let measured: Cap = try reader.value()
        self.init(
            rule: rule, direction: direction, measured: measured, against: try reader.value())
    }

    func write(to writer: inout RecordWriter) {
        writer.value(rule)
        writer.value(direction)
        writer.value(measured)
        writer.value(against)
    }
}

extension Event.Kind: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        switch try reader.byte() {
        case 0:
            let from: Rung = try reader.value()
            self = .moved(from: from, to: try reader.value())
        case 1: self = .victim(try reader.flag())
        case 2: self = .watched(try reader.flag())
        case 3:
            let rung: Rung = try reader.value()
            self = .held(rung, try reader.value())
        case 4:
            let rung: Rung = try reader.value()
            self = .refused(rung, try reader.text())
        case 5:
            let rung: Rung = try reader.value()
            self = .unknown(rung, try reader.text())
        case 6: self = .path(try reader.value())
        case 7: self = .vanished(try reader.value())
        default: throw RecordingError(description: "there is no such event")
        }
    }

    func write(to writer: inout RecordWriter) {
        switch self {
        case .moved(let from, let to):
            writer.byte(0)
            writer.value(from)
            writer.value(to)
        case .victim(let isOn): writer.bytes += [1, isOn ? 1 : 0]
        case .watched(let isOn): writer.bytes += [2, isOn ? 1 : 0]
        case .held(let rung, let cause):
            writer.byte(3)
            writer.value(rung)
            writer.value(cause)
        case .refused(let rung, let sentence):
            writer.byte(4)
            writer.value(rung)
            writer.text(sentence)
        case .unknown(let rung, let sentence):
            writer.byte(5)
            writer.value(rung)
            writer.text(sentence)
        case .path(let path):
            writer.byte(6)
            writer.value(path)
        case .vanished(let rung):
            writer.byte(7)
            writer.value(rung)
        }
    }
}

extension Event: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        let sequence = try reader.number()
        let kind: Kind = try reader.value()
        let at: Instant = try reader.value()
        let port: PortID = try reader.value()
        let name: PortName = try reader.value()
        let incident = try reader.incident()
        let reason: Reason? = try reader.optional()
        self.init(
            sequence: sequence, kind: kind, at: at, port: port, name: name, incident: incident,
            reason: reason, mode: try reader.value())
    }

    func write(to writer: inout RecordWriter) {
        writer.number(sequence)
        writer.value(kind)
        writer.value(at)
        writer.value(port)
        writer.value(name)
        writer.number(UInt64(incident))
        writer.optional(reason)
        writer.value(mode)
    }
}
