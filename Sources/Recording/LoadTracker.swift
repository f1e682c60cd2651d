// What single ports carried, from a recording, without a decision: for marks and for pictures.
public import Mitigation

/// Follows the ports of a recording through its items.
public struct LoadTracker: Sendable {
    private var ports: [Int: Port] = [:]
    /// What is added to the daemon's clock to get the wall clock, in nanoseconds.
    private var offset: UInt64 = 0

    /// Nothing was seen yet.
    public init() {}

    /// A moment of the daemon's clock on the wall clock, in nanoseconds since 1970.
    public func wall(_ at: Instant) -> UInt64 { at.nanoseconds &+ offset }

    /// The name of a port that is there.
    public func name(of id: PortID) -> PortName? {
        ports.values.first { $0.id == id }?.name
    }

    /// Takes the next item; `body` gets each port of a poll, its counters, and the moment on the wall
    /// clock in nanoseconds since 1970.
    public mutating func take(
        _ item: RecordedItem, _ body: (_ port: Port, _ counters: Counters, _ wall: UInt64) -> Void
    ) {
        switch item {
        case .start(let start):
            offset = start.wallNanoseconds &- start.now.nanoseconds
            ports = [:]
            for placed in start.ports { ports[placed.place] = placed.port }
        case .input(.appear(let port, let place), _): ports[place] = port
        case .input(.vanish(let id), _):
            if let place = ports.first(where: { $0.value.id == id })?.key { ports[place] = nil }
        case .poll(let poll):
            let wall = wall(poll.at)
            for sample in poll.samples {
                guard let port = ports[sample.place] else { continue }
                body(port, sample.counters, wall)
            }
        case .earlier, .input, .event: return
        }
    }
}

/// Packets and bytes a second from the VM, packets and bytes a second to it.
public typealias PortLoads = SIMD4<Double>

extension Counters {
    /// What they grew since `old`, a second; nil where they did not grow or no time went by.
    public func loads(since old: Counters, nanoseconds: UInt64) -> PortLoads? {
        lanes.loads(since: old.lanes, nanoseconds: nanoseconds)
    }

    /// Packets and bytes from the VM, packets and bytes to it.
    public var lanes: SIMD4<UInt64> { SIMD4(fromPackets, fromBytes, toPackets, toBytes) }
}

extension SIMD4<UInt64> {
    /// What counters grew since `old`, a second; nil where they did not grow or no time went by.
    func loads(since old: Self, nanoseconds: UInt64) -> PortLoads? {
        guard nanoseconds > 0, !any(self .< old) else { return nil }
        let grown = self &- old
        return SIMD4<Double>(
            Double(grown.x), Double(grown.y), Double(grown.z), Double(grown.w))
            * 1_000_000_000 / Double(nanoseconds)
    }
}

/// The highest loads of each port that lasted for a time.
public struct LoadMaxima: Sendable {
    fileprivate struct Window: Sendable {
        var samples: [(at: UInt64, counters: Counters)] = []
        var highest = PortLoads.zero
        var port: Port
    }

    private let sustain: UInt64
    private var tracker = LoadTracker()
    private var windows: [PortName: Window] = [:]

    /// Of loads that last for `sustain`, or that are only known as the average of a longer time.
    public init(sustain: Duration) { self.sustain = max(sustain.wholeNanoseconds, 1) }

    /// Takes the next item of a recording.
    public mutating func take(_ item: RecordedItem) {
        tracker.take(item) { port, counters, wall in
            windows[port.name, default: Window(port: port)].take(counters, wall, sustain)
        }
    }

    /// By name.
    public var ports: [(port: Port, loads: PortLoads)] {
        windows.values.map { ($0.port, $0.highest) }
            .sorted { "\($0.port.name)" < "\($1.port.name)" }
    }
}

extension LoadMaxima.Window {
    fileprivate mutating func take(_ counters: Counters, _ at: UInt64, _ sustain: UInt64) {
        defer { samples.append((at, counters)) }
        guard let last = samples.last else { return }
        guard at > last.at, counters.loads(since: last.counters, nanoseconds: 1) != nil else {
            // A counter went back: another beginning.
            samples = []
            return
        }
        // The latest of those that are old enough is what the load is measured from.
        let margin = sustain / 20
        let first = samples.lastIndex { at - $0.at + margin >= sustain }
        guard let first else { return }
        let begin = samples[first]
        if let loads = counters.loads(since: begin.counters, nanoseconds: at - begin.at) {
            highest = pointwiseMax(highest, loads)
        }
        samples.removeFirst(first)
    }
}
