// What the journal holds: why ports are limited and since when, by a clock of this start of the
// machine. The kernel's objects say what is installed; this says the rest.
//
// Invariants: the whole state stands in one value, written whole; it announces a change before the
// change is made; losing it loses no enforcement.
package import Mitigation
package import TrafficControl

/// What the daemon remembers.
package struct JournalState: Hashable, Codable, Sendable {
    /// The numbers, and the breaker's shutdowns.
    package var engine = EngineMemory()
    /// The ports of which there is something to remember, by interface index.
    package var ports: [PortRecord] = []
    /// The strikes of ports that are gone, for the time in which another incident is a relapse.
    package var departed: [DepartedRecord] = []
    /// What operators said; nil: nothing.
    package var orders: OrderBook?
    /// What has happened and may not have been told yet.
    package var untold: [AlertLine] = []
    /// Ports, by interface index, whose machines are to be stopped and may not have been.
    package var stops: [Int32] = []

    /// Nothing remembered.
    package init() {}
}

/// A port that is there.
package struct PortRecord: Hashable, Codable, Sendable {
    /// Its interface index: with kind and address its identity in this start of the machine.
    package var index: Int32
    /// Its name.
    package var name: PortName
    /// Its link-layer address.
    package var address: [UInt8]
    /// IFLA_INFO_KIND; nil for hardware.
    package var kind: String?
    /// What was on it before anything of ours.
    package var origin: PortOrigin?
    /// What the operator was told of others on it (`TrafficControl.advisories`).
    package var advisories: [String]
    /// What is remembered of it.
    package var memory: PortMemory

    /// What is remembered of a port.
    package init(
        index: Int32, name: PortName, address: [UInt8], kind: String?, origin: PortOrigin?,
        advisories: [String], memory: PortMemory
    ) {
        self.index = index
        self.name = name
        self.address = address
        self.kind = kind
        self.origin = origin
        self.advisories = advisories
        self.memory = memory
    }
}

/// A port that is gone, or that is to come from another host.
package struct DepartedRecord: Hashable, Codable, Sendable {
    /// Its name.
    package var name: PortName
    /// Its link-layer address; empty: any.
    package var address: [UInt8]
    /// It is forgotten then.
    package var until: Instant
    /// What is remembered of it.
    package var memory: PortMemory

    /// What is remembered of a port that is not here.
    package init(name: PortName, address: [UInt8], until: Instant, memory: PortMemory) {
        self.name = name
        self.address = address
        self.until = until
        self.memory = memory
    }
}

extension JournalState {
    /// The same state by a clock that shows `here` when the former showed `there`.
    package func moved(from there: Instant, to here: Instant) -> JournalState {
        var moved = self
        moved.engine = engine.moved(from: there, to: here)
        moved.orders = orders?.moved(from: there, to: here)
        for index in ports.indices {
            moved.ports[index].memory = ports[index].memory.moved(from: there, to: here)
        }
        for index in departed.indices {
            moved.departed[index].until = departed[index].until.moved(from: there, to: here)
            moved.departed[index].memory = departed[index].memory.moved(from: there, to: here)
        }
        return moved
    }

    /// What is left of it when the machine has been started again at `now`: nothing stands in the
    /// kernel, and ports have other indexes. Strikes stay.
    package func afterRestartOfTheMachine(now: Instant, forgiveness: Duration) -> JournalState {
        var rest = self
        rest.ports = []
        rest.stops = []
        rest.departed = departed.filter { $0.until > now }
        for port in ports {
            guard let memory = port.memory.outlived(now: now, forgiveness: forgiveness),
                let until = memory.relapseUntil
            else { continue }
            rest.departed.append(
                DepartedRecord(
                    name: port.name, address: port.address, until: until, memory: memory))
        }
        return rest
    }
}

/// Where the journal is kept.
package protocol JournalStore: ~Copyable {
    /// Replaces what is kept. Returns when it would survive the end of this process.
    mutating func write(_ state: JournalState, now: Instant) throws(JournalError)
}

/// Why the journal could not be written or read.
package struct JournalError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One sentence, with the file's path.
    package var description: String

    /// An error of this sentence.
    package init(_ description: String) { self.description = description }
}
