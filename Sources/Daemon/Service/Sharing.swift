// What the turn's thread shares with those beside it. The turn only ever tries a lock: where it is
// held, the exchange waits for the next turn.
internal import Mitigation
internal import Synchronization

/// The ports whose link we hold down, for those who are about to stop a machine hard.
final class ShutPorts: Sendable {
    private struct Kept: Sendable {
        var ports: Set<PortID> = []
    }

    private let published = Mutex(Kept())
    /// Owned by the turn's thread.
    private let pending = Mutex((ports: Set<PortID>(), isDirty: false))

    /// A turn told this. Gives the stops that are still to be carried out: whoever is shut down and let
    /// go in one turn, or between two, is not stopped.
    func follow(_ output: TurnOutput) -> [StopOrder] {
        pending.withLock { pending in
            for order in output.stops {
                pending.ports.insert(order.port)
                pending.isDirty = true
            }
            for event in output.events where event.kind.endsShutDown {
                if pending.ports.remove(event.port) != nil { pending.isDirty = true }
            }
            return output.stops.filter { pending.ports.contains($0.port) }
        }
    }

    /// Shows the present set to the others, where the lock is free.
    func publish() {
        pending.withLock { pending in
            guard pending.isDirty else { return }
            let ports = pending.ports
            if published.withLockIfAvailable({ $0.ports = ports }) != nil {
                pending.isDirty = false
            }
        }
    }

    /// Whether the port's link is still held down, for any thread.
    func contains(_ port: PortID) -> Bool { published.withLock { $0.ports.contains(port) } }
}

extension Event.Kind {
    /// The port came up again, or is gone: its link is no longer held down.
    fileprivate var endsShutDown: Bool {
        switch self {
        case .moved(from: .shutDown, _), .vanished: true
        default: false
        }
    }
}

/// Lines of those beside the turn, for the turn, which tells them as it does its own: so that whoever
/// asks or listens hears of them too.
final class Tidings: Sendable {
    /// More are not kept until the turn takes them.
    private static let most = 256
    private let waiting = Handover<[AlertLine]>()
    private let wake: @Sendable () -> Void

    /// - Parameter wake: called when there is something to tell, on the thread that told it.
    init(wake: @escaping @Sendable () -> Void) { self.wake = wake }

    /// Leaves a line, on any thread.
    func add(_ line: AlertLine) {
        waiting.put { lines in
            let lines = lines ?? []
            return lines.count < Self.most ? lines + [line] : lines
        }
        wake()
    }

    /// Never waits; empty where nothing is there or the lock is held (its holder wakes the turn after).
    func take() -> [AlertLine] { waiting.take() ?? [] }
}

/// What was read beside the turn, for the turn.
final class Handover<Value: Sendable>: Sendable {
    private let waiting = Mutex<Value?>(nil)

    /// Puts there what `body` makes of what nobody took yet.
    func put(_ body: (Value?) -> sending Value) { waiting.withLock { $0 = body($0) } }

    /// Never waits; nil where nothing is there or the lock is held (its holder wakes the turn after).
    func take() -> Value? {
        waiting.withLockIfAvailable { kept in
            defer { kept = nil }
            return kept
        } ?? nil
    }
}
