// What a decision is told besides samples: the one list of it, for whoever records and whoever replays.
public import Mitigation

/// One thing that an engine is told besides what is read in a poll. What an operator may do in
/// another version is one more case, and one more line in each of the three functions below.
public enum EngineInput: Hashable, Sendable {
    /// A port is there, or is another one than before, at this place.
    case appear(Port, place: Int)
    /// A port is gone.
    case vanish(PortID)
    /// What became of what was asked.
    case confirm(PortID, Outcome)
    /// An operator wants the port back to normal.
    case release(PortID)
    /// These limits were found at start.
    case adopt(PortID, Limits, linkIsDown: Bool)
    /// What is remembered apart from the ports.
    case restore(EngineMemory)
    /// What is remembered of a port.
    case restorePort(PortID, PortMemory)
    /// What stands on the port is not known before this moment: why.
    case distrust(PortID, String, until: Instant)
    /// An operator's word on a port; nil: the rules decide again.
    case order(PortID, PortOrder?)
    /// An operator wants the port one rung up.
    case escalate(PortID)
    /// Another configuration: its text; and the classes for which a mode holds by an operator's word.
    case replace([UInt8], modes: [PortClass: Mode])
    /// What got through the limits of a port.
    case delivered(PortID, Direction, DeliveredCounters)
}

extension EngineInput: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        switch try reader.byte() {
        case 0:
            let port: Port = try reader.value()
            self = .appear(port, place: Int(try reader.number(upTo: RecordFormat.mostPlaces)))
        case 1: self = .vanish(try reader.value())
        case 2:
            let id: PortID = try reader.value()
            self = .confirm(id, try reader.value())
        case 3: self = .release(try reader.value())
        case 4:
            let id: PortID = try reader.value()
            let limits: Limits = try reader.value()
            self = .adopt(id, limits, linkIsDown: try reader.flag())
        case 5: self = .restore(try reader.value())
        case 6:
            let id: PortID = try reader.value()
            self = .restorePort(id, try reader.value())
        case 7:
            let id: PortID = try reader.value()
            let sentence = try reader.text()
            self = .distrust(id, sentence, until: try reader.value())
        case 8:
            let text = try reader.list()
            self = .replace(text, modes: try reader.modes())
        case 10:
            let id: PortID = try reader.value()
            self = .order(id, try reader.optional())
        case 11: self = .escalate(try reader.value())
        case 9:
            let id: PortID = try reader.value()
            let direction: Direction = try reader.value()
            let packets = try reader.number()
            self = .delivered(
                id, direction,
                DeliveredCounters(packets: packets, bytes: try reader.number()))
        default: throw RecordingError(description: "it is of a later version: an unknown input")
        }
    }

    func write(to writer: inout RecordWriter) {
        switch self {
        case .appear(let port, let place):
            writer.byte(0)
            writer.value(port)
            writer.number(UInt64(place))
        case .vanish(let id):
            writer.byte(1)
            writer.value(id)
        case .confirm(let id, let outcome):
            writer.byte(2)
            writer.value(id)
            writer.value(outcome)
        case .release(let id):
            writer.byte(3)
            writer.value(id)
        case .adopt(let id, let limits, let isDown):
            writer.byte(4)
            writer.value(id)
            writer.value(limits)
            writer.flag(isDown)
        case .restore(let memory):
            writer.byte(5)
            writer.value(memory)
        case .restorePort(let id, let memory):
            writer.byte(6)
            writer.value(id)
            writer.value(memory)
        case .distrust(let id, let sentence, let until):
            writer.byte(7)
            writer.value(id)
            writer.text(sentence)
            writer.value(until)
        case .order(let id, let order):
            writer.byte(10)
            writer.value(id)
            writer.optional(order)
        case .escalate(let id):
            writer.byte(11)
            writer.value(id)
        case .replace(let text, let modes):
            writer.byte(8)
            writer.list(text)
            writer.modes(modes)
        case .delivered(let id, let direction, let counters):
            writer.byte(9)
            writer.value(id)
            writer.value(direction)
            writer.number(counters.packets)
            writer.number(counters.bytes)
        }
    }
}

extension Engine {
    /// Tells the engine this. A port that it does not have is ignored; `policy` is that of a new
    /// configuration, where there is one.
    mutating func take(
        _ input: EngineInput, policy: Policy?, now: Instant, into actions: inout [Action]
    ) {
        switch input {
        case .appear(let port, _): appear(port, now: now)
        case .vanish(let id): vanish(id, now: now, into: &actions)
        case .confirm(let id, let outcome): confirm(id, outcome, now: now, into: &actions)
        case .release(let id): _ = release(id, now: now, into: &actions)
        case .adopt(let id, let limits, let isDown):
            guard let slot = slot(of: id) else { return }
            adopt(slot, limits, linkIsDown: isDown, now: now)
        case .restore(let memory): restore(memory, now: now)
        case .restorePort(let id, let memory):
            guard let slot = slot(of: id) else { return }
            restore(slot, memory, now: now)
        case .order(let id, let word): order(id, word, now: now, into: &actions)
        case .escalate(let id): _ = escalate(id, now: now, into: &actions)
        case .distrust(let id, let sentence, let until): distrust(id, sentence, until: until)
        case .replace: if let policy { replace(policy: policy, now: now) }
        case .delivered(let id, let direction, let counters):
            guard let slot = slot(of: id) else { return }
            delivered(slot, direction, counters, at: now)
        }
    }
}
