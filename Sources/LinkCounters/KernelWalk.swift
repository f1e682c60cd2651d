// Reading every interface's counters by a program in the kernel, without its RTNL lock and without a
// system call for each.
//
// Invariants: a walk that ended early, ran in another network namespace, or found more interfaces than
// there is room for, is an error, never a shorter answer; nothing is allocated while all is well.
internal import LinuxSystem
internal import Netlink

/// What tells interfaces apart whose counters are kept in different ways: the driver's operations
/// (`netdev_ops`, by address) and the kind of its per-processor counters.
struct DriverKey: Hashable, Sendable {
    /// An address in the kernel: for comparisons alone.
    var operations: UInt64
    /// `enum netdev_stat_type`; 0 before 6.7.
    var counterType: UInt32
}

/// One interface as the walk saw it. The counters are right where the driver keeps them as
/// dev_get_tstats64 reads them.
struct DeviceRow: Hashable, Sendable {
    var index: Int32
    var driver: DriverKey
    var counters: LinkStatistics
}

/// Why a walk is of no use.
enum WalkFailure: Error, Sendable {
    /// More interfaces than rows: how many.
    case full(Int)
    case failed(WalkRefusal)
}

/// The loaded program and the array that it writes.
struct KernelWalk: ~Copyable {
    private let program: BPFRunnable
    private let shared: BPFSharedArray
    private let capacity: Int
    private let processors: Int
    /// The namespace of the first walk.
    private let namespace: UInt64
    /// Whether it reads through typed pointers.
    let isTyped: Bool
    /// Rows of the latest walk.
    private(set) var count = 0

    /// More rows are not made room for: with the header they are 4 MiB, the most that a kernel before 6.0
    /// gives an array's value.
    static let mostRows = 65_535
    /// More counters of single processors are not summed up: nothing else runs on this one meanwhile.
    static let mostCounters = 1 << 18
    private static let leastRows = 1_024

    /// Loads the program with room for twice `expected` interfaces, and runs it once, in the network
    /// namespace of this thread, in which it then stays. Needs CAP_BPF and CAP_PERFMON; a walk
    /// itself needs nothing.
    ///
    /// - Parameter isTyped: false: through the helper even where typed pointers work.
    static func open(
        _ plan: WalkPlan, expected: Int, isTyped: Bool = true
    ) throws(WalkRefusal) -> KernelWalk {
        guard expected <= mostRows else {
            throw WalkRefusal("\(expected) interfaces are more than there is room for")
        }
        let capacity = min(mostRows, max(leastRows, expected * 2))
        if isTyped, plan.layout.typedPointer != nil,
            let walk = try? KernelWalk(plan, capacity: capacity, isTyped: true)
        {
            return walk
        }
        return try KernelWalk(plan, capacity: capacity, isTyped: false)
    }

    private init(
        _ plan: WalkPlan, capacity: Int, isTyped: Bool
    ) throws(WalkRefusal) {
        do throws(BPFError) {
            let shared = try BPFSharedArray(
                name: "sluice_links", wordCount: WalkWords.total(capacity: capacity))
            let walk = WalkProgram(
                plan.layout, isTyped: isTyped, map: shared.descriptor, capacity: capacity,
                processors: plan.processors)
            let program = try BPFRunnable(
                name: "sluice_links", walk.instructions, callback: walk.callback)
            _ = try program.run()
            var namespace: UInt64 = 0
            shared.withWords { namespace = $0[WalkWords.namespace] }
            self.namespace = namespace
            self.program = program
            self.shared = shared
        } catch {
            throw WalkRefusal(error.description)
        }
        self.capacity = capacity
        processors = plan.processors.count
        self.isTyped = isTyped
    }

    /// Takes the counters of all interfaces; `forEach` shows them.
    mutating func run() throws(WalkFailure) {
        count = 0
        do throws(BPFError) {
            _ = try program.run()
        } catch {
            throw .failed(WalkRefusal(error.description))
        }
        var found: UInt64 = 0
        var isWhole = false
        var isHere = false
        shared.withWords { words in
            found = words[WalkWords.count]
            isWhole = words[WalkWords.isWhole] == 1
            isHere = words[WalkWords.namespace] == namespace
        }
        guard isWhole else { throw .failed(WalkRefusal("the list of interfaces did not end")) }
        guard isHere else { throw .failed(WalkRefusal("this is another network namespace")) }
        guard found <= UInt64(capacity) else { throw .full(Int(clamping: found)) }
        guard Int(found) * processors <= Self.mostCounters else {
            throw .failed(
                WalkRefusal("\(found) interfaces on \(processors) processors are too many for it"))
        }
        count = Int(found)
    }

    /// Whether the latest walk found the list of interfaces as it was, and took them from its rows.
    var isSameList: Bool {
        var isSame = false
        shared.withWords { isSame = $0[WalkWords.isSame] == 1 }
        return isSame
    }

    /// Calls `body` with each interface of the latest walk, in the kernel's order.
    @inline(__always)
    borrowing func forEach<Failure: Error>(
        _ body: (DeviceRow) throws(Failure) -> Void
    ) throws(Failure) {
        try shared.withWords { words throws(Failure) in
            for number in 0..<count {
                let base = WalkWords.header + number * WalkWords.row
                let counters = base + WalkWords.counters
                try body(
                    DeviceRow(
                        index: Int32(truncatingIfNeeded: words[base]),
                        driver: DriverKey(
                            operations: words[base + 1],
                            counterType: UInt32(truncatingIfNeeded: words[base] >> 32)),
                        counters: LinkStatistics(
                            rxPackets: words[counters], txPackets: words[counters + 2],
                            rxBytes: words[counters + 1], txBytes: words[counters + 3])))
            }
        }
    }
}
