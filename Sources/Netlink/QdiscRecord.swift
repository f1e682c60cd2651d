// A qdisc or a class as the kernel has it: its raw options, and what of them we know to read.

/// A queueing discipline. `tc -s -d qdisc show dev D`
public struct QdiscRecord: Hashable, Sendable {
    /// The interface.
    public var index: Int32
    /// Its handle; `ingress` and `clsact` have ffff:, the kernel's default root 0:.
    public var handle: Handle
    /// Where it hangs: `.root`, `.ingress`, or a class.
    public var parent: Handle
    /// `tbf`, `netem`, `htb`, `noqueue`.
    public var kind: String
    /// The payload of TCA_OPTIONS, as it came.
    public var options: [UInt8]
    /// Whether it has attributes besides, which are not held here: a size table, a shared block.
    public var hasMore: Bool
    /// What it counted.
    public var statistics: Statistics

    /// A qdisc of these properties.
    public init(
        index: Int32, handle: Handle, parent: Handle, kind: String, options: [UInt8] = [],
        hasMore: Bool = false, statistics: Statistics = Statistics()
    ) {
        self.index = index
        self.handle = handle
        self.parent = parent
        self.kind = kind
        self.options = options
        self.hasMore = hasMore
        self.statistics = statistics
    }
}

/// A class. `tc -s -d class show dev D`
public struct ClassRecord: Hashable, Sendable {
    /// The interface.
    public var index: Int32
    /// Its id.
    public var classID: Handle
    /// The class or qdisc it belongs to; `.root` for the first of a tree.
    public var parent: Handle
    /// The qdisc's kind.
    public var kind: String
    /// The payload of TCA_OPTIONS, as it came.
    public var options: [UInt8]
    /// What it counted.
    public var statistics: Statistics

    /// A class of these properties.
    public init(
        index: Int32, classID: Handle, parent: Handle, kind: String, options: [UInt8] = [],
        statistics: Statistics = Statistics()
    ) {
        self.index = index
        self.classID = classID
        self.parent = parent
        self.kind = kind
        self.options = options
        self.statistics = statistics
    }
}
