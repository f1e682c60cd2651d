// What a turn needs of the machine, as a protocol so that a simulated host can run the same turn.
package import LinkCounters
package import Netlink

/// What happened to the host's interfaces since the last turn.
package enum HostChange: Sendable {
    /// An interface is there: new, or with another name, MTU or address.
    case link(Link)
    /// An interface is gone.
    case gone(Int32)
    /// Somebody changed traffic control on this interface.
    case trafficControl(Int32)
    /// All interfaces, after notifications were lost or at start: what is not listed is gone.
    case all([Link])
}

/// The machine that the daemon watches.
package protocol Host: ~Copyable {
    /// What changed, oldest first; never waits for an event.
    mutating func takeChanges(_ body: (HostChange) -> Void) throws(NetlinkError)

    /// The next `takeChanges` begins with all interfaces.
    mutating func listAgain()

    /// The counters of every interface. `body` gets some at a time, and whether these were asked for by
    /// themselves, which may have waited. Where they would cost more than others' and `isWanted` says no,
    /// they are not read.
    mutating func poll(
        isWanted: (Int32) -> Bool, _ body: (Span<LinkSample>, _ isLate: Bool) -> Void
    ) throws(NetlinkError)

    /// The counters of one interface; nil where it is gone.
    mutating func counters(of index: Int32) throws(NetlinkError) -> LinkStatistics?

    /// Where counters come from.
    var counterSource: CounterSource { get }

    /// What was read beside turns that waited, since the last call.
    mutating func takeStandbyPolls() -> [StandbyPoll]

    /// The interfaces through which a default route leaves.
    mutating func defaultRouteInterfaces() throws(NetlinkError) -> Set<Int32>
}

/// The kernel below us.
package struct KernelHost: Host, ~Copyable {
    private var counters: CounterReader
    private var monitor: LinkMonitor
    private var socket: RouteSocket
    private var needsAll = true
    /// Who reads beside turns that wait.
    var lookout: Lookout?

    /// Opens the sockets; the monitor first, so that no interface falls between it and the first
    /// dump.
    ///
    /// - Parameter usesBPF: counters come from a walk in the kernel where it is allowed.
    package static func open(usesBPF: Bool = true) throws(NetlinkError) -> KernelHost {
        let monitor = try LinkMonitor.open()
        return KernelHost(
            counters: try CounterReader.open(usesBPF: usesBPF), monitor: monitor,
            socket: try RouteSocket.open())
    }

    private init(
        counters: consuming CounterReader, monitor: consuming LinkMonitor,
        socket: consuming RouteSocket
    ) {
        self.counters = counters
        self.monitor = monitor
        self.socket = socket
    }

    /// Has input when interfaces changed.
    package var changesDescriptor: Int32 { monitor.descriptor }

    package mutating func takeChanges(_ body: (HostChange) -> Void) throws(NetlinkError) {
        var isOverrun = needsAll
        // Where it fails, what it told so far is lost to the caller: all are listed then.
        needsAll = true
        try monitor.drain { event in
            switch event {
            case .link(let link): if !isOverrun { body(.link(link)) }
            case .gone(let index): if !isOverrun { body(.gone(index)) }
            case .tc(let index): if !isOverrun { body(.trafficControl(index)) }
            case .overrun: isOverrun = true
            }
        }
        guard isOverrun else {
            needsAll = false
            return
        }
        // Stays set where the dump fails, so that the next turn asks again.
        body(.all(try socket.links()))
        needsAll = false
    }

    package mutating func listAgain() { needsAll = true }

    package mutating func poll(
        isWanted: (Int32) -> Bool, _ body: (Span<LinkSample>, _ isLate: Bool) -> Void
    ) throws(NetlinkError) {
        try counters.poll(isWanted: isWanted, body)
    }

    package mutating func counters(of index: Int32) throws(NetlinkError) -> LinkStatistics? {
        try counters.counters(of: index)
    }

    package var counterSource: CounterSource { counters.source }

    package mutating func takeStandbyPolls() -> [StandbyPoll] { lookout?.take() ?? [] }

    package mutating func defaultRouteInterfaces() throws(NetlinkError) -> Set<Int32> {
        try socket.defaultRouteInterfaces()
    }
}
