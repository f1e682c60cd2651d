// A station on the host's bridge: a tap of the host, and what is behind it. A virtual machine is
// one, and so is the world behind the uplink.
// Invariant: made and closed on a thread of the host's namespace; the tap is gone after `close`.

internal import CLab
internal import Glibc
internal import Synchronization

/// A tap on the host's bridge, and what is behind it.
public final class Station: Sendable {
    /// What is behind the tap.
    public enum Inside: Hashable, Sendable {
        /// Nothing reads: the tap's own queue fills, and what is sent to it counts as dropped.
        case nobody
        /// Frames are read, noted in `received`, and forgotten.
        case sink
        /// As `sink`, and a guest's network stack with the endpoint's addresses answers.
        case guest
    }

    /// The tap's name on the host.
    public let name: String
    /// The tap's interface index on the host.
    public let index: Int32
    /// The addresses that the station sends from.
    public let endpoint: Endpoint
    /// What the host delivered to the station. Stays empty where nobody reads.
    public let received: Ledger
    /// The network stack inside; nil for `nobody` and `sink`.
    public let guest: GuestStack?

    private struct State {
        var tap: Tap?
        var pump: Pump?
        var floods: [FloodRun] = []
    }
    private let state: Mutex<State>

    /// Makes the tap, sets it up, and joins it to `bridge` where one is given.
    ///
    /// - Throws: `LabError`; EBUSY where the name is taken.
    public init(
        name: String, endpoint: Endpoint, inside: Inside = .sink, bridge: String? = nil,
        framesKept: Int = 1 << 17
    ) throws(LabError) {
        let guest = inside == .guest ? try GuestStack(endpoint) : nil
        let tap = try Tap(name, takesSegments: inside == .guest)
        let received = Ledger(capacity: inside == .nobody ? 0 : framesKept)
        let pump =
            inside == .nobody
            ? nil : try Pump(tap, guest: guest?.tap, received: received)
        self.name = name
        index = tap.index
        self.endpoint = endpoint
        self.received = received
        self.guest = guest
        state = Mutex(State(tap: tap, pump: pump))
        if let bridge {
            try checked(unsafe clab_bridge_add_port(bridge, name), "add \(name) to \(bridge)")
        }
        try tap.setUp(true)
    }

    /// Stands in for the guest of a VM that another program started and never ran: joins its tap of
    /// several queues as one more of them, and reads what the host sends to that one. The interface
    /// is gone only when the other program has let it go too.
    ///
    /// - Throws: `LabError`; EINVAL where the tap has one queue only.
    public init(joining name: String, endpoint: Endpoint) throws(LabError) {
        let tap = try Tap(joining: name)
        let received = Ledger(capacity: 1 << 17)
        let pump = try Pump(tap, guest: nil, received: received)
        self.name = name
        index = tap.index
        self.endpoint = endpoint
        self.received = received
        guest = nil
        state = Mutex(State(tap: tap, pump: pump))
    }

    deinit { close() }

    /// Its Ethernet address.
    public var mac: MACAddress { endpoint.mac }

    /// Sends one raw frame as the station: header and payload, padded to 60 bytes.
    ///
    /// - Throws: `LabError`; EIO where the link is down.
    public func send(_ frame: [UInt8]) throws(LabError) {
        try put(FrameWriter(raw: frame))
    }

    func put(_ packet: FrameWriter) throws(LabError) {
        let tap = try open()
        guard unsafe packet.bytes.withUnsafeBytes({ unsafe tap.write($0) }) else {
            throw LabError("send through \(name)", errno: errno)
        }
    }

    /// Starts a flood from the station, on a thread of its own; with another's addresses where these
    /// are given.
    ///
    /// - Throws: `LabError` where the station is closed.
    public func flood(
        _ flood: Flood, as forged: Endpoint? = nil
    ) throws(LabError) -> FloodRun {
        let run = try FloodRun(flood, from: forged ?? endpoint, through: try open())
        state.withLock { state in
            state.floods.removeAll(where: \.isOver)
            state.floods.append(run)
        }
        return run
    }

    /// Whether the tap is administratively up (IFF_UP), as the calling thread's namespace sees it.
    ///
    /// - Throws: `LabError`; ENODEV where there is no interface of its name.
    public func isUp() throws(LabError) -> Bool {
        try checked(unsafe clab_link_is_up(name), "flags of \(name)") == 1
    }

    /// Sets the tap up or down, as an operator would (`ip link set NAME up`).
    ///
    /// - Throws: `LabError`; ENODEV where there is no interface of its name.
    public func setUp(_ isUp: Bool) throws(LabError) {
        try checked(unsafe clab_link_set_up(name, isUp), "set \(name) \(isUp ? "up" : "down")")
    }

    /// Ends the floods and the guest, and lets the tap go; its interface is gone after this, as
    /// when a VM ends. Again: nothing.
    public func close() {
        let last = state.withLock { state in
            let last = state
            state = State(tap: nil, pump: nil)
            return last
        }
        for flood in last.floods { flood.stop() }
        last.pump?.stop()
    }

    private func open() throws(LabError) -> Tap {
        guard let tap = state.withLock({ $0.tap }) else { throw LabError("\(name) is closed") }
        return tap
    }
}

/// Gives a link another name (`ip link set NAME name NEW`), both as the kernel's bytes; it is up
/// after this.
///
/// - Throws: `LabError`; EINVAL where the kernel refuses the name.
public func renameLink(_ name: [UInt8], to new: [UInt8]) throws(LabError) {
    let old = (name + [0]).map(CChar.init(bitPattern:))
    let next = (new + [0]).map(CChar.init(bitPattern:))
    try checked(
        unsafe clab_link_rename(old, next),
        "rename \(String(decoding: name, as: UTF8.self)) to \(new)")
}
