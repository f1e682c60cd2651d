// What operators said, and have not taken back: of single ports, and of whole classes.
//
// Invariants: bounded in number; of each port and of each class the latest word counts; what ended in
// time is handed out once; it is in the journal, so that a restart of the daemon or of the machine
// changes no word.
package import Mitigation

/// Who said something, why, and when.
package struct Word: Hashable, Codable, Sendable {
    /// The effective user who said it.
    package var user: UInt32
    /// Why; nil where nothing was said.
    package var reason: String?
    /// Seconds since 1970.
    package var saidAt: Int64

    /// A word.
    package init(user: UInt32, reason: String?, saidAt: Int64) {
        self.user = user
        self.reason = reason
        self.saidAt = saidAt
    }
}

/// What was said of one port.
package struct PortWord: Hashable, Codable, Sendable {
    /// The port's name: it holds for whatever interface bears it.
    package var name: PortName
    /// What was said.
    package var order: PortOrder
    /// When it ends; nil: with another word.
    package var until: Instant?
    /// By whom.
    package var word: Word

    /// An order for a port.
    package init(name: PortName, order: PortOrder, until: Instant?, word: Word) {
        self.name = name
        self.order = order
        self.until = until
        self.word = word
    }
}

/// What was said of a class.
package struct ClassWord: Hashable, Codable, Sendable {
    /// `vm`, `router`, `vtep` or `backend`.
    package var portClass: String
    /// `enforce` or `observe`.
    package var mode: String
    /// By whom.
    package var word: Word

    /// A mode for a class.
    package init(_ portClass: PortClass, _ mode: Mode, word: Word) {
        self.portClass = portClass.rawValue
        self.mode = mode.rawValue
        self.word = word
    }
}

/// All that operators said.
package struct OrderBook: Hashable, Codable, Sendable {
    /// More ports than this are not kept.
    package static let capacity = 4_096

    /// Of single ports, the latest last.
    package private(set) var ports: [PortWord] = []
    /// Of classes.
    package private(set) var classes: [ClassWord] = []
    /// Where each port's word stands: every port is looked for in every status.
    private var places: [PortName: Int] = [:]

    private enum CodingKeys: CodingKey { case ports, classes }

    /// Nothing said.
    package init() {}

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        ports = try container.decode([PortWord].self, forKey: .ports)
        classes = try container.decode([ClassWord].self, forKey: .classes)
        index()
    }

    private mutating func index() {
        places = Dictionary(ports.indices.map { (ports[$0].name, $0) }) { first, _ in first }
    }

    /// Nothing said.
    package var isEmpty: Bool { ports.isEmpty && classes.isEmpty }

    /// What was said of a port of this name.
    package func word(on name: PortName) -> PortWord? {
        places[name].map { ports[$0] }
    }

    /// What was said of a class.
    package func word(on portClass: PortClass) -> ClassWord? {
        classes.first { $0.portClass == portClass.rawValue }
    }

    /// The latest word on a port.
    ///
    /// - Returns: false where there are too many.
    package mutating func say(_ word: PortWord) -> Bool {
        guard ports.count < Self.capacity || self.word(on: word.name) != nil else { return false }
        ports.removeAll { $0.name == word.name }
        ports.append(word)
        index()
        return true
    }

    /// Takes back what was said of a port: what that was.
    package mutating func takeBack(_ name: PortName) -> PortWord? {
        guard let place = places[name] else { return nil }
        defer { index() }
        return ports.remove(at: place)
    }

    /// The latest word on a class; nil takes it back.
    package mutating func say(_ word: ClassWord?, of portClass: PortClass) {
        classes.removeAll { $0.portClass == portClass.rawValue }
        if let word { classes.append(word) }
        classes.sort { $0.portClass < $1.portClass }
    }

    /// Takes out what has ended.
    package mutating func takeEnded(now: Instant) -> [PortWord] {
        guard ports.contains(where: { $0.hasEnded(now) }) else { return [] }
        let ended = ports.filter { $0.hasEnded(now) }
        ports.removeAll { $0.hasEnded(now) }
        index()
        return ended
    }

    /// The configuration's rules, with what was said of classes in their place.
    package func applied(to policy: Policy) -> Policy {
        var policy = policy
        for portClass in PortClass.allCases {
            if let mode = word(on: portClass).flatMap({ Mode(rawValue: $0.mode) }) {
                policy.modes[portClass] = mode
            }
        }
        return policy
    }

    /// The same by a clock that shows `here` when the former showed `there`.
    package func moved(from there: Instant, to here: Instant) -> OrderBook {
        var moved = self
        for place in ports.indices {
            moved.ports[place].until = ports[place].until?.moved(from: there, to: here)
        }
        return moved
    }
}

extension PortWord {
    fileprivate func hasEnded(_ now: Instant) -> Bool { until.map { $0 <= now } ?? false }
}
