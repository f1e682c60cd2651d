// The kernel's description of itself: what is found in it, and that no bytes are a trap.
import Seeded
import Testing

@testable import LinkCounters

@Suite struct TypeInformationTests {
    /// Guards against: an offset that is off, a union or a typedef not looked into, a bit-field's size
    /// taken for a part of its offset.
    @Test func whatAWalkNeeds() throws {
        let types = try #require(TypeInformation(TypeFile.kernel().bytes))
        let layout = try DeviceLayout(types)
        #expect(layout.taskProxy == 64 && layout.proxyNamespace == 40)
        #expect(layout.namespaceNumber == 152 + 24 && layout.namespaceDevices == 232)
        #if arch(x86_64)
            #expect(layout.namespaceSequence == 12)
        #else
            #expect(layout.namespaceSequence == nil)
        #endif
        #expect(layout.deviceList == 336 && layout.deviceIndex == 224)
        #expect(layout.deviceOperations == 8 && layout.devicePerCPU == 160)
        #expect(layout.deviceCounterType == 1_340)
        #expect(
            layout.deviceCounters
                == CounterFields(rxPackets: 528, rxBytes: 544, txPackets: 536, txBytes: 552))
        #expect(
            layout.perCPUCounters
                == CounterFields(rxPackets: 0, rxBytes: 16, txPackets: 8, txBytes: 24))
        #expect(layout.arrayPointers == 312)
        #expect(layout.typedPointer == types.function("bpf_rdonly_cast"))
        #expect(layout.device == types.structure("net_device"))
        #expect(layout.perCPU == types.structure("pcpu_sw_netstats"))
        #expect(layout.device != layout.perCPU)
    }

    /// Guards against: a kernel of another shape read at wrong places in place of a refusal.
    @Test(arguments: [
        "net_device", "ifindex", "dev_list", "netdev_ops", "tstats", "nsproxy", "net_ns", "inum",
        "dev_base_head", "rx_bytes", "pptrs",
    ])
    func whatIsMissingIsNamed(_ name: String) throws {
        let types = try #require(TypeInformation(TypeFile.kernel(missing: name).bytes))
        let refusal = #expect(throws: WalkRefusal.self) { try DeviceLayout(types) }
        #expect(refusal?.description.contains(name) == true)
    }

    /// Guards against: older kernels refused for what newer ones have.
    @Test func whatMayBeMissing() throws {
        for name in ["pcpu_stat_type", "bpf_rdonly_cast", "dev_base_seq"] {
            let types = try #require(TypeInformation(TypeFile.kernel(missing: name).bytes))
            let layout = try DeviceLayout(types)
            #expect((layout.deviceCounterType == nil) == (name == "pcpu_stat_type"))
            #expect((layout.typedPointer == nil) == (name == "bpf_rdonly_cast"))
            #expect(layout.namespaceSequence == nil || name != "dev_base_seq")
        }
        let apart = try #require(TypeInformation(TypeFile.kernel(countersApart: true).bytes))
        #expect(throws: WalkRefusal.self) { try DeviceLayout(apart) }
    }

    /// Guards against: a trap, or a walk without an end, over bytes that are no type information.
    @Test func brokenBytes() throws {
        let whole = TypeFile.kernel().bytes
        for length in 0..<whole.count {
            // The string section goes to the end: nothing shorter is whole.
            #expect(TypeInformation(Array(whole[..<length])) == nil)
        }
        var random = SplitMix(seed: 0xb7f)
        var read = 0
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0...random.value(0...3) {
                let place = Int(random.value(0...UInt64(bytes.count - 1)))
                bytes[place] = UInt8(truncatingIfNeeded: random.extreme())
            }
            guard let types = TypeInformation(bytes) else { continue }
            read += 1
            _ = try? DeviceLayout(types)
        }
        #expect(read > 1_000 && read < 20_000)
    }

    /// Guards against: a structure that holds itself, and names that lead to each other.
    @Test func circles() throws {
        var file = TypeFile()
        let inner = file.structure("", [("", 1, 0)])
        let outer = file.structure("task_struct", [("", inner, 0), ("", 4, 0)])
        _ = file.add(8, "one", size: 4)
        _ = file.add(8, "two", size: 3)
        let types = try #require(TypeInformation(file.bytes))
        #expect(types.structure("task_struct") == outer)
        #expect(types.field("nsproxy", of: outer) == nil)
    }

    /// Guards against: processors left out of the sum, or made up.
    @Test func processors() {
        #expect(ProcessorOffsets.parse("0") == [0])
        #expect(ProcessorOffsets.parse("0-3,8,10-11") == [0, 1, 2, 3, 8, 10, 11])
        for broken in ["", "-", "3-1", "0-", "a", "0,,1", "0-1-2", "-1", "0-9999999999999999999"] {
            #expect(ProcessorOffsets.parse(broken) == nil, "\(broken)")
        }
    }
}
