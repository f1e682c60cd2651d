// Traffic control as the daemon sees it: bring a port to its limits, look at what stands, measure
// what gets through. A protocol, so that a simulated host can stand in for the kernel.
public import Mitigation

/// Why a port's limits are not as asked.
public enum TrafficControlError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kernel refused an object; what stood before still stands. The object and the kernel's
    /// sentence.
    case refused(String)
    /// It is not known what stands: the kernel gave no answer, or reads back something else.
    case unknown(String)
    /// The interface is gone, and with it all that stood on it.
    case gone

    /// A sentence for an alert.
    public var description: String {
        switch self {
        case .refused(let sentence): sentence
        case .unknown(let sentence): "not confirmed: \(sentence)"
        case .gone: "the interface is gone"
        }
    }
}

/// What was done about limits that did not stand.
public enum Repair: Hashable, Sendable {
    /// They were put back: how many objects, and the first of them.
    case putBack(String)
    /// A redirect that led nowhere was taken out; what else is missing was left so.
    case takenOut(String)
    /// They could not be put back, or could not be looked at.
    case failed(TrafficControlError)
}

/// What a port's limits have let through since they stand. Counters only grow, but for a rewrite of
/// the object that counts, after which they start again.
public struct Measured: Hashable, Sendable {
    /// Passed of what the VM sent, lane excluded; nil where nothing is limited.
    public var from: DeliveredCounters?
    /// Passed of what the VM sent through the management lane.
    public var fromLane: DeliveredCounters?
    /// What the limits saw of what the VM sent, lanes included, passed or dropped; nil where it is
    /// not limited. For `BypassWatch`: where the port moves and this does not, frames go past them.
    public var fromSeen: DeliveredCounters?
    /// Passed of what was sent to the VM, lane excluded; nil where nothing is limited.
    public var to: DeliveredCounters?
    /// Passed of what was sent to the VM through the management lane.
    public var toLane: DeliveredCounters?
    /// Dropped of what was sent to the VM: the port's own tx counters do not show it.
    public var toDropped: DeliveredCounters?

    /// Nothing measured.
    public init() {}
}

/// What was found at start on a port.
public struct Found: Hashable, Sendable {
    /// The port.
    public var port: ControlledPort
    /// The limits that stand there, read back from the kernel.
    public var limits: Limits

    /// Limits that stand on a port.
    public init(port: ControlledPort, limits: Limits) {
        self.port = port
        self.limits = limits
    }
}

/// What was found at start.
public struct Survey: Hashable, Sendable {
    /// The ports on which limits of ours stand.
    public var found: [Found] = []
    /// The ports, by interface index, on which guards of ours stand. They stay until `apply` says
    /// what the port's guards are.
    public var guarded: Set<Int32> = []
    /// The interfaces from which something of ours was taken out, by name.
    public var cleaned: [PortName] = []
    /// Of these, those whose root qdisc another owner had and that nobody remembers: they are left
    /// with the kernel's default.
    public var defaulted: [PortName] = []
    /// The interfaces, by index, that could not be looked at or cleaned, each with a sentence.
    public var failed: [Int32: String] = [:]

    /// What is to be said of the defaulted ones.
    public static let defaultedSentence =
        "another owner's root qdisc had been replaced and nobody remembers it: the kernel's default is "
        + "left there"

    /// Nothing found.
    public init() {}
}

/// The counters of a link of ours, by interface index, from the last poll.
public typealias LinkCounters = (Int32) -> (received: DeliveredCounters, sent: DeliveredCounters)?

/// Brings ports to their limits. Not thread-safe; every call may wait for the kernel's RTNL.
public protocol TrafficControl: ~Copyable {
    /// What this kernel has.
    var parts: KernelParts { get }

    /// Brings a port to `limits` (nil: none of ours) and reads it back. Equal limits write
    /// nothing. Its guards stay as they are.
    /// - Throws: `refused` where what stood before still stands, `unknown`, `gone`.
    mutating func apply(
        _ limits: Limits?, to port: ControlledPort
    ) throws(TrafficControlError)

    /// Brings a port to `guards` (nil: none) and reads it back; equal ones write nothing. Its limits
    /// stay as they are. Guards stand before every limit, whatever the rung, until this is called
    /// again; guards that a former process left stay until it is called. Changed guards, and those of
    /// a former process whose counters cannot be had, are replaced in place, without a gap, and count
    /// from zero.
    /// - Throws: `refused` where what stood before still stands, and where limits stand that this
    ///   process has not confirmed; `unknown`, `gone`.
    mutating func setGuards(
        _ guards: Guards?, on port: ControlledPort
    ) throws(TrafficControlError)

    /// What a port's guards have refused since they stand, or would have in monitor mode.
    /// - Throws: `unknown` where the counters cannot be read, `gone`.
    mutating func guardCounts(
        of port: ControlledPort
    ) throws(TrafficControlError) -> GuardCounts

    /// What is on a port on which nothing of ours stands: to be kept, before the first limits, for
    /// whoever has to take them out again, and to be held as soon as it is kept.
    mutating func origin(of port: ControlledPort) throws(TrafficControlError) -> PortOrigin

    /// What was on a port before anything of ours, by a journal that says so: before the first limits,
    /// and after a restart. What is not held is not replaced.
    mutating func hold(_ origin: PortOrigin, for port: ControlledPort)

    /// Looks whether the limits that were applied to these ports still stand, and puts back what
    /// does not; a redirect that leads nowhere goes first. With `puttingBack` false it goes, and
    /// nothing is put back. Gives an entry, by interface index, for each port on which something was
    /// missing.
    mutating func repair(_ ports: [ControlledPort], puttingBack: Bool) -> [Int32: Repair]

    /// The ifbs, by interface index, that filters of ours on this port lead to, as last confirmed.
    func redirects(of port: ControlledPort) -> [Int32]

    /// What got through a limited port.
    mutating func measure(
        _ port: ControlledPort, links: LinkCounters
    ) throws(TrafficControlError) -> Measured

    /// Takes the port's link down or up (`ip link set dev PORT down`).
    mutating func setLink(_ port: ControlledPort, up: Bool) throws(TrafficControlError)

    /// What of ours stands on these ports. What of ours is on other interfaces, or cannot be
    /// understood, is taken out.
    /// `lane` is what found limits are taken to leave open; ports that are `known`, by interface
    /// index, are left as they are: their limits are about to be applied.
    mutating func survey(
        _ ports: [ControlledPort], lane: Lane, except known: Set<Int32>
    ) throws(TrafficControlError) -> Survey

    /// Forgets a port that is gone, and deletes its ifbs. Does nothing where nothing stood on it.
    mutating func forget(_ port: ControlledPort)

    /// How the port's limits are held: `act_police`, `ebpf`, `ifb+tbf+netem` …; nil without limits.
    func enforcement(of port: ControlledPort) -> String?

    /// What makes a limited port's limits ineffective, or what of others they make ineffective, as
    /// it was found at the last look (`apply`, `repair`, `survey`), a sentence each; empty where all
    /// is well.
    func advisories(of port: ControlledPort) -> [String]
}
