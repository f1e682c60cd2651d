// The program that walks a namespace's interfaces and writes each one's counters into a shared array.
//
// It runs under the kernel's RCU read lock, as dev_get_stats does: the list may change meanwhile, and
// each interface that it shows is one. What it does for each is dev_get_tstats64 (net/core/dev.c): the
// shared counters and the sum of those of all processors. Whether that is what the interface's driver
// does is not its business: it names the driver, and the reader decides.
//
// Where the list is what it was, the interfaces are taken from the rows of the walk before: then one costs
// only the memory that its counters are in, not what tells where they are. All that is read lives: the
// kernel counts the changes of the list (`dev_base_seq`), one that takes an interface out before it waits
// for whoever may still read it (unlist_netdevice, then synchronize_net).
//
// Two ways of reading: through typed pointers, which the kernel makes loads of that cannot fault (6.2
// on), or through a helper for each (bpf_probe_read_kernel), four times as dear.
import LinuxSystem

/// Where things are in the shared array, in 64-bit words.
enum WalkWords {
    /// Where the list begins and ends, and the interface that is next: addresses.
    static let head = 0
    static let next = 1
    /// How many interfaces there were, with or without room.
    static let count = 2
    /// 1: the list was seen to its end.
    static let isWhole = 3
    /// The number of the network namespace.
    static let namespace = 4
    /// The number of the list that the rows are of, whole (low half), and 1 above it; 0: of none.
    static let sequence = 5
    /// 1: this walk takes the interfaces from the rows.
    static let isSame = 6
    /// Then a row for each interface.
    static let header = 8
    /// Of a row, a cache line: the index (low half) and `pcpu_stat_type` (high half), the address of the
    /// driver's operations, packets and bytes received and sent, and the addresses of the interface and
    /// of its per-processor counters.
    static let row = 8
    static let counters = 2
    static let device = 6
    static let perCPU = 7

    static func total(capacity: Int) -> Int { header + capacity * row }
}

/// Registers by their use.
private enum Register {
    static let result: UInt8 = 0
    static let scratch1: UInt8 = 1
    static let scratch2: UInt8 = 2
    static let scratch3: UInt8 = 3
    static let scratch4: UInt8 = 4
    static let shared: UInt8 = 6
    static let device: UInt8 = 7
    static let row: UInt8 = 8
    static let place: UInt8 = 9
    static let sequence: UInt8 = 9
    static let frame: UInt8 = 10
    /// The four sums, while they are made: packets and bytes received and sent.
    static let sums: [UInt8] = [9, 6, 8, 7]
}

/// Builds the program. Codes: <linux/bpf.h>, <linux/bpf_common.h>; calls lose r1 to r5.
struct WalkProgram: BPFAssembly {
    var instructions: [BPFInstruction] = []
    /// Where the callback begins.
    private(set) var callback = 0
    private let layout: DeviceLayout
    private let isTyped: Bool
    private let map: Int32
    private let capacity: Int

    /// More interfaces than a namespace ever holds: where a walk that does not end is cut off.
    private static let mostSteps: Int32 = 1 << 20

    /// - Parameters:
    ///   - isTyped: reads through typed pointers; `layout.typedPointer` is there then.
    ///   - map: the descriptor of the shared array, with room for `capacity` rows.
    ///   - processors: how far each possible processor's variables lie from their common address.
    init(
        _ layout: DeviceLayout, isTyped: Bool, map: Int32, capacity: Int, processors: [UInt64]
    ) {
        self.layout = layout
        self.isTyped = isTyped && layout.typedPointer != nil
        self.map = map
        self.capacity = capacity
        let callbackLoad = emitEntry()
        callback = instructions.count
        // BPF_PSEUDO_FUNC: the distance from the instruction that follows.
        instructions[callbackLoad].immediate = Int32(callback - callbackLoad - 1)
        emitStep(processors)
    }

    /// Finds the thread's namespace and walks its interfaces. Gives the place of the callback's load.
    private mutating func emitEntry() -> Int {
        emitMapValue(Register.shared, map: map, offset: 0)
        emit(0x85, immediate: 158)  // r0 = bpf_get_current_task_btf()
        emit(0x79, Register.scratch1, Register.result, offset: Int16(layout.taskProxy))
        emit(0x79, Register.device, Register.scratch1, offset: Int16(layout.proxyNamespace))
        emit(0x61, Register.scratch1, Register.device, offset: Int16(layout.namespaceNumber))
        emitListNumber()
        emitFetch(Register.scratch2, from: WalkWords.namespace)
        emitStore(register: Register.scratch1, at: WalkWords.namespace)
        emitFetch(Register.scratch3, from: WalkWords.sequence)
        let isElsewhere = emitJump(0x5d, Register.scratch1, Register.scratch2)
        let isOther = emitJump(0x5d, Register.scratch3, Register.sequence)
        let isOfNone = emitJump(0x15, Register.scratch3)
        emitStore(1, at: WalkWords.isSame)
        emitFetch(Register.scratch1, from: WalkWords.count)
        let isReady = emitJump(0x05)
        for jump in [isElsewhere, isOther, isOfNone] { land(jump) }
        for word in [WalkWords.isSame, WalkWords.sequence, WalkWords.count, WalkWords.isWhole] {
            emitStore(0, at: word)
        }
        emit(0x79, Register.scratch1, Register.device, offset: Int16(layout.namespaceDevices))
        emitStore(register: Register.scratch1, at: WalkWords.next)
        emit(0x07, Register.device, immediate: Int32(layout.namespaceDevices))
        emitStore(register: Register.device, at: WalkWords.head)
        emit(0xb7, Register.scratch1, immediate: Self.mostSteps)
        land(isReady)
        let callbackLoad = instructions.count
        emit(0x18, Register.scratch2, 4)  // BPF_PSEUDO_FUNC
        emit(0)
        emit(0xb7, Register.scratch3, immediate: 0)
        emit(0xb7, Register.scratch4, immediate: 0)
        emit(0x85, immediate: 181)  // bpf_loop (5.17 on)
        emitFetch(Register.scratch1, from: WalkWords.isWhole)
        let isCutOff = emitJump(0x15, Register.scratch1)
        emitFetch(Register.scratch1, from: WalkWords.count)
        let isFull = emitJump(0x25, Register.scratch1, immediate: Int32(capacity))
        emitStore(register: Register.sequence, at: WalkWords.sequence)
        for jump in [isCutOff, isFull] { land(jump) }
        emit(0xb7, Register.result, immediate: 0)
        emit(0x95)
        return callbackLoad
    }

    /// The number of the namespace's list as it is before the walk, as `WalkWords.sequence` has it.
    private mutating func emitListNumber() {
        guard let offset = layout.namespaceSequence else {
            return emit(0xb7, Register.sequence, immediate: 0)
        }
        emit(0x61, Register.sequence, Register.device, offset: Int16(offset))
        emitWide(Register.scratch2, 1 << 32)
        emit(0x4f, Register.sequence, Register.scratch2)
    }

    /// One interface: 0 goes on, 1 ends the walk.
    private mutating func emitStep(_ processors: [UInt64]) {
        emit(0xbf, Register.place, Register.scratch1)
        emitMapValue(Register.shared, map: map, offset: 0)
        emitFetch(Register.scratch1, from: WalkWords.isSame)
        let isListed = emitJump(0x15, Register.scratch1)
        let hasNoRow = emitJump(0x35, Register.place, immediate: Int32(capacity))
        emitRowAddress()
        emit(0x79, Register.device, Register.row, offset: Int16(WalkWords.device * 8))
        emitTyped(Register.device, layout.device)
        let isKnown = emitJump(0x05)
        land(isListed)
        emitFetch(Register.device, from: WalkWords.next)
        emitFetch(Register.row, from: WalkWords.head)
        let isDevice = emitJump(0x5d, Register.device, Register.row)
        emitStore(1, at: WalkWords.isWhole)
        emit(0xb7, Register.result, immediate: 1)
        emit(0x95)
        land(isDevice)
        emit(0xbf, Register.scratch1, Register.place)
        emit(0x07, Register.scratch1, immediate: 1)
        emitStore(register: Register.scratch1, at: WalkWords.count)
        emit(0x07, Register.device, immediate: -Int32(layout.deviceList))
        emitTyped(Register.device, layout.device)
        emitLoad(Register.scratch1, Register.device, layout.deviceList)
        emitStore(register: Register.scratch1, at: WalkWords.next)
        let isFull = emitJump(0x35, Register.place, immediate: Int32(capacity))
        emitRowAddress()
        emitIdentity()
        land(isKnown)
        emitCounters(processors)
        for jump in [hasNoRow, isFull] { land(jump) }
        emit(0xb7, Register.result, immediate: 0)
        emit(0x95)
    }

    /// The address of the row at the place, which is below `capacity`.
    private mutating func emitRowAddress() {
        emit(0x27, Register.place, immediate: Int32(WalkWords.row * 8))
        emit(0xbf, Register.row, Register.shared)
        emit(0x0f, Register.row, Register.place)
        emit(0x07, Register.row, immediate: Int32(WalkWords.header * 8))
    }

    /// What stays as it is while the list does.
    private mutating func emitIdentity() {
        emitLoad(Register.scratch1, Register.device, layout.deviceIndex, size: 4)
        emit(0x63, Register.row, Register.scratch1, offset: 0)
        if let counterType = layout.deviceCounterType {
            emitLoad(Register.scratch1, Register.device, counterType, size: 1)
            emit(0x63, Register.row, Register.scratch1, offset: 4)
        }
        emitLoad(Register.scratch1, Register.device, layout.deviceOperations)
        emit(0x7b, Register.row, Register.scratch1, offset: 8)
        emitLoad(Register.scratch1, Register.device, layout.devicePerCPU)
        emit(0x7b, Register.row, Register.scratch1, offset: Int16(WalkWords.perCPU * 8))
        emit(0x7b, Register.row, Register.device, offset: Int16(WalkWords.device * 8))
    }

    private mutating func emitCounters(_ processors: [UInt64]) {
        // Through the array: what comes back is a number, with which one may reckon.
        emit(0x79, Register.scratch1, Register.row, offset: Int16(WalkWords.perCPU * 8))
        emit(0x7b, Register.frame, Register.scratch1, offset: -8)
        emit(0x7b, Register.frame, Register.row, offset: -16)
        // The device's register is the last of the four.
        for (sum, offset) in zip(Register.sums, layout.deviceCounters.all) {
            emitLoad(sum, Register.device, offset)
        }
        emit(0x79, Register.scratch1, Register.frame, offset: -8)
        let hasNone = emitJump(0x15, Register.scratch1, immediate: 0)
        for offset in processors { emitProcessor(offset) }
        land(hasNone)
        emit(0x79, Register.scratch1, Register.frame, offset: -16)
        for (place, sum) in Register.sums.enumerated() {
            emit(0x7b, Register.scratch1, sum, offset: Int16((WalkWords.counters + place) * 8))
        }
    }

    /// Adds one processor's counters to the sums.
    private mutating func emitProcessor(_ offset: UInt64) {
        emit(0x79, Register.scratch1, Register.frame, offset: -8)
        emitWide(Register.scratch2, offset)
        emit(0x0f, Register.scratch1, Register.scratch2)
        let base: UInt8
        let start: Int
        if isTyped {
            emitTyped(Register.scratch1, layout.perCPU)
            (base, start) = (Register.scratch1, 0)
        } else {
            emit(0xbf, Register.scratch3, Register.scratch1)
            emitRead(CounterFields.span)
            (base, start) = (Register.frame, Self.readAt)
        }
        for (sum, field) in zip(Register.sums, layout.perCPUCounters.all) {
            emit(0x79, Register.scratch2, base, offset: Int16(start + field))
            emit(0x0f, sum, Register.scratch2)
        }
    }

    // MARK: Reading the kernel's memory

    /// Where the helper writes what it read, from the frame.
    private static let readAt = -16 - CounterFields.span

    /// Makes the number in a register a pointer to a structure: r0 = bpf_rdonly_cast(r1, r2).
    private mutating func emitTyped(_ register: UInt8, _ structure: UInt32) {
        guard isTyped, let function = layout.typedPointer else { return }
        if register != Register.scratch1 { emit(0xbf, Register.scratch1, register) }
        emit(0xb7, Register.scratch2, immediate: Int32(bitPattern: structure))
        emit(0x85, 0, 2, immediate: Int32(bitPattern: function))  // BPF_PSEUDO_KFUNC_CALL
        emit(0xbf, register, Register.result)
    }

    /// destination = `size` bytes at base + offset.
    private mutating func emitLoad(
        _ destination: UInt8, _ base: UInt8, _ offset: Int, size: Int = 8
    ) {
        let code: UInt8 = size == 8 ? 0x79 : size == 4 ? 0x61 : 0x71
        guard !isTyped else { return emit(code, destination, base, offset: Int16(offset)) }
        emit(0xbf, Register.scratch3, base)
        emit(0x07, Register.scratch3, immediate: Int32(offset))
        emitRead(size)
        emit(code, destination, Register.frame, offset: Int16(Self.readAt))
    }

    /// bpf_probe_read_kernel(frame + readAt, size, r3): what cannot be read becomes zeros.
    private mutating func emitRead(_ size: Int) {
        emit(0xbf, Register.scratch1, Register.frame)
        emit(0x07, Register.scratch1, immediate: Int32(Self.readAt))
        emit(0xb7, Register.scratch2, immediate: Int32(size))
        emit(0x85, immediate: 113)
    }

    // MARK: The shared array, and jumps

    private mutating func emitFetch(_ register: UInt8, from word: Int) {
        emit(0x79, register, Register.shared, offset: Int16(word * 8))
    }

    private mutating func emitStore(_ value: Int32, at word: Int) {
        emit(0x7a, Register.shared, offset: Int16(word * 8), immediate: value)
    }

    private mutating func emitStore(register: UInt8, at word: Int) {
        emit(0x7b, Register.shared, register, offset: Int16(word * 8))
    }

    /// A jump forward, to where it is landed.
    private mutating func emitJump(
        _ code: UInt8, _ destination: UInt8 = 0, _ source: UInt8 = 0, immediate: Int32 = 0
    ) -> Int {
        emit(code, destination, source, immediate: immediate)
        return instructions.count - 1
    }

    private mutating func land(_ jump: Int) {
        instructions[jump].offset = Int16(instructions.count - jump - 1)
    }
}
