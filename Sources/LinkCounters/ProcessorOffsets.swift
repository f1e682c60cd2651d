// How far each processor's variables lie from their common address: the kernel's __per_cpu_offset,
// which it exports to nobody. The difference between an array map's value on a processor and the
// map's per-processor address is one; they never change while the machine runs.
import LinuxSystem

/// The processors that a kernel may ever have.
enum ProcessorOffsets {
    /// The offset of each possible processor. Makes and drops two maps and a program.
    static func read(
        _ layout: DeviceLayout, processors: [Int]
    ) throws(WalkRefusal) -> [UInt64] {
        do throws(BPFError) {
            if let offsets = try run(layout, processors: processors) { return offsets }
        } catch {
            throw WalkRefusal(error.description)
        }
        throw WalkRefusal("the kernel does not show its processors' memory")
    }

    private static func run(
        _ layout: DeviceLayout, processors: [Int]
    ) throws(BPFError) -> [UInt64]? {
        let perCPU = try BPFPerCPUArray(name: "sluice_offsets", wordCount: 1)
        let shared = try BPFSharedArray(name: "sluice_cpus", wordCount: processors.count + 1)
        let program = OffsetProgram(
            layout, processors: processors, perCPU: perCPU.descriptor, shared: shared.descriptor)
        _ = try BPFRunnable(name: "sluice_cpus", program.instructions).run()
        var addresses: [UInt64] = []
        shared.withWords { words in
            for place in words.indices { addresses.append(words[place]) }
        }
        // A processor that is none has no value.
        guard !addresses.contains(0) else { return nil }
        return addresses.dropFirst().map { $0 &- addresses[0] }
    }

    /// The numbers in a list as /sys/devices/system/cpu/possible has it: `0-3,8`. Nil where it is
    /// another thing, or names more than the kernel can have (8,192).
    static func parse(_ list: some StringProtocol) -> [Int]? {
        var numbers: [Int] = []
        for part in list.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard ends.count <= 2, let first = ends[0], let last = ends[ends.count - 1],
                first >= 0, first <= last, last < 8_192
            else { return nil }
            numbers += first...last
        }
        return numbers
    }
}

/// Writes the map's per-processor address into word 0, and its value's on each processor behind.
private struct OffsetProgram: BPFAssembly {
    var instructions: [BPFInstruction] = []

    init(_ layout: DeviceLayout, processors: [Int], perCPU: Int32, shared: Int32) {
        emitMapValue(6, map: shared, offset: 0)
        emitMap(1, perCPU)
        // Through the array: what comes back is a number, with which one may reckon.
        emit(0x7b, 6, 1)
        emit(0x79, 3, 6)
        emit(0x07, 3, immediate: Int32(layout.arrayPointers))
        emit(0xbf, 1, 6)
        emit(0xb7, 2, immediate: 8)
        emit(0x85, immediate: 113)  // bpf_probe_read_kernel
        for (place, processor) in processors.enumerated() {
            emitMap(1, perCPU)
            emit(0x62, 10, offset: -4, immediate: 0)
            emit(0xbf, 2, 10)
            emit(0x07, 2, immediate: -4)
            emit(0xb7, 3, immediate: Int32(processor))
            emit(0x85, immediate: 195)  // bpf_map_lookup_percpu_elem (5.19 on)
            emit(0x15, 0, offset: 1, immediate: 0)
            emit(0x7b, 6, 0, offset: Int16(8 * (place + 1)))
        }
        emit(0xb7, 0, immediate: 0)
        emit(0x95)
    }
}
