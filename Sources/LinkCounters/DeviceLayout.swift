// Where the running kernel keeps what a walk over its interfaces reads.

/// Why counters cannot be read by BPF, in a sentence.
struct WalkRefusal: Error, Sendable, CustomStringConvertible {
    /// What is missing, or what the kernel answered.
    var description: String

    init(_ description: String) { self.description = description }
}

/// Four 64-bit counters that lie within 32 bytes of one another.
struct CounterFields: Hashable, Sendable {
    var rxPackets: Int
    var rxBytes: Int
    var txPackets: Int
    var txBytes: Int

    /// Offsets from the first byte of the four.
    var all: [Int] { [rxPackets, rxBytes, txPackets, txBytes] }
    static let span = 32

    fileprivate func moved(by offset: Int) -> CounterFields {
        CounterFields(
            rxPackets: rxPackets + offset, rxBytes: rxBytes + offset,
            txPackets: txPackets + offset, txBytes: txBytes + offset)
    }
}

/// Offsets in bytes, and the numbers of types.
struct DeviceLayout: Hashable, Sendable {
    /// From `struct task_struct` to its network namespace, and to its number (`ns.inum`).
    var taskProxy: Int
    var proxyNamespace: Int
    var namespaceNumber: Int
    /// `dev_base_head` of `struct net`: the list of its interfaces.
    var namespaceDevices: Int
    /// `dev_base_seq` of `struct net`: another number after each change of that list. Nil where a walk
    /// may not go by it.
    var namespaceSequence: Int?
    /// `struct net_device`.
    var device: UInt32
    var deviceList: Int
    var deviceIndex: Int
    var deviceOperations: Int
    /// `pcpu_stat_type` (6.7 on): what the per-processor counters are.
    var deviceCounterType: Int?
    /// `stats`, counters that all processors share.
    var deviceCounters: CounterFields
    /// `tstats`, those of each processor.
    var devicePerCPU: Int
    /// `struct pcpu_sw_netstats`.
    var perCPU: UInt32
    var perCPUCounters: CounterFields
    /// Where an array map of the kernel's keeps the per-processor address of its value.
    var arrayPointers: Int
    /// The function that makes a typed pointer of a number (6.2 on).
    var typedPointer: UInt32?

    /// Looks all of it up; what lies elsewhere than a load can reach is a refusal too.
    init(_ types: TypeInformation) throws(WalkRefusal) {
        let look = Lookup(types: types)
        taskProxy = try look.pointer("nsproxy", in: "task_struct")
        proxyNamespace = try look.pointer("net_ns", in: "nsproxy")
        namespaceNumber =
            try look.field("ns", in: "net", size: nil)
            + look.field("inum", in: "ns_common", size: 4)
        namespaceDevices = try look.field("dev_base_head", in: "net", size: 16)
        // The list and the number are two stores, the number last (list_netdevice): seen in that order only
        // where the processor keeps it.
        #if arch(x86_64)
            namespaceSequence = try? look.field("dev_base_seq", in: "net", size: 4)
        #endif
        device = try look.structure("net_device")
        deviceList = try look.field("dev_list", in: "net_device", size: 16)
        deviceIndex = try look.field("ifindex", in: "net_device", size: 4)
        deviceOperations = try look.pointer("netdev_ops", in: "net_device")
        deviceCounterType = try? look.field("pcpu_stat_type", in: "net_device", size: 1)
        devicePerCPU = try look.pointer("tstats", in: "net_device")
        deviceCounters = try look.counters("net_device_stats")
            .moved(by: look.field("stats", in: "net_device", size: nil))
        perCPU = try look.structure("pcpu_sw_netstats")
        perCPUCounters = try look.counters("pcpu_sw_netstats")
        arrayPointers = try look.field("pptrs", in: "bpf_array", size: nil)
        typedPointer = types.function("bpf_rdonly_cast")
    }

    private struct Lookup {
        let types: TypeInformation

        func structure(_ name: String) throws(WalkRefusal) -> UInt32 {
            guard let number = types.structure(name) else {
                throw WalkRefusal("the kernel has no struct \(name)")
            }
            return number
        }

        /// The offset of a field; with a `size`, one of that many bytes.
        func field(_ name: String, in structure: String, size: Int?) throws(WalkRefusal) -> Int {
            guard let field = types.field(name, of: try self.structure(structure)),
                size.map({ $0 == field.size }) ?? true, field.offset < Int(Int16.max) / 2
            else { throw WalkRefusal("the kernel has no usable \(structure).\(name)") }
            return field.offset
        }

        func pointer(_ name: String, in structure: String) throws(WalkRefusal) -> Int {
            try field(name, in: structure, size: 8)
        }

        func counters(_ structure: String) throws(WalkRefusal) -> CounterFields {
            let fields = CounterFields(
                rxPackets: try field("rx_packets", in: structure, size: 8),
                rxBytes: try field("rx_bytes", in: structure, size: 8),
                txPackets: try field("tx_packets", in: structure, size: 8),
                txBytes: try field("tx_bytes", in: structure, size: 8))
            guard fields.all.allSatisfy({ $0 <= CounterFields.span - 8 }) else {
                throw WalkRefusal("the counters of struct \(structure) lie too far apart")
            }
            return fields
        }
    }
}
