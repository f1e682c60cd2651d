// A chain of nftables that hangs on interfaces' ingress, behind traffic control's.
// Invariant: names are bytes, as an interface's are.

/// A base chain of the hook `ingress`, of the families netdev and inet. `nft list chains`
public struct IngressChain: Hashable, Sendable {
    /// Which interfaces it hangs on.
    public enum Device: Hashable, Sendable {
        /// The interface of this name.
        case named([UInt8])
        /// Every interface whose name starts so (`tap*`; kernels from 6.16 on).
        case startingWith([UInt8])

        /// Whether the interface of this name is one.
        public func matches(_ name: [UInt8]) -> Bool {
            switch self {
            case .named(let own): own == name
            case .startingWith(let start): name.starts(with: start)
            }
        }
    }

    /// `netdev` or `inet`.
    public var family: String
    /// Its table's name, printable.
    public var table: String
    /// Its name, printable.
    public var name: String
    /// Where it hangs, each once.
    public var devices: [Device]

    /// A chain on these devices.
    public init(family: String, table: String, name: String, devices: [Device]) {
        self.family = family
        self.table = table
        self.name = name
        self.devices = devices
    }

    /// Whether frames that come in at the interface of this name go through the chain.
    public func hangs(on name: [UInt8]) -> Bool { devices.contains { $0.matches(name) } }
}
