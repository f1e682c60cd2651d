// The policer of kernels without act_police: a direct-action eBPF classifier with a token bucket
// in packets and one in bytes for each lane.
//
// What passes goes on to the next filter (TC_ACT_UNSPEC); what exceeds is dropped (TC_ACT_SHOT).
// A GSO frame costs what its segments will cost: gso_size is the guest's own word, but it is also
// what the frame will be cut by. One program serves all ports: it finds what it knows of one by the
// interface's index.
//
// Each bucket is a clock that runs ahead of time ("theoretical arrival time", GCRA): units move it by
// their cost, and conform while it is at most the burst ahead of now. Clocks only move by atomic
// additions, so that queues on several processors cannot spend one token twice.
//
// What is taken from a clock is written to a lease: as many units may have passed, ever. Where a
// bucket is not at its limit, some more than the frame needs are taken, and the next frames pass by
// comparing what has passed with the lease: without the time and the clocks, which cost ten times
// as much. Frames that two processors compare at once may pass beyond a lease; the next ones then
// take that too.
import LinuxSystem
import Mitigation

/// Layout of a port's value in the table, in 64-bit words: for each lane what it may (written here)
/// and what it has used (written by the program).
enum TokenBucketLayout {
    /// Words of one lane's limits: packet cost (ns), packet burst (ns), byte cost (ns x 65536),
    /// byte burst (ns).
    static let limitWords = 4
    /// Words of one lane's state, behind its limits: passed packets, passed bytes, packet lease, byte
    /// lease, dropped packets, dropped bytes, packet clock, byte clock.
    static let stateWords = 8
    static let laneWords = limitWords + stateWords
    static let lanes = FrameLane.allCases.count
    static let words = lanes * laneWords
    static let name = "sluice_buckets"
    /// An array of all limits for each port, until programs were shared: what has it is replaced (Plan).
    static let formerLimitsName = "sluice_limits"
    /// Packets and bytes that are taken beyond a frame's own: few against the smallest bursts (64
    /// and 70,000), since what is left of a lease passes at once after a pause or a change.
    static let leasedPackets: Int32 = 32
    static let leasedBytes: Int32 = 16_384
}

/// What one lane's buckets have counted; a GSO frame counts as its segments.
struct TokenBucketCounters: Hashable, Sendable {
    var passed = DeliveredCounters()
    var dropped = DeliveredCounters()
}

/// The limits of one lane as the program reads them.
struct TokenBucketLimits: Hashable, Sendable {
    var words: [UInt64]

    /// Passes everything, and still counts it.
    static let unlimited = TokenBucketLimits(words: [0, UInt64(1) << 62, 0, UInt64(1) << 62])

    /// Holds `cap`, with act_police's bursts; in packets at least 64, since a GSO frame costs what
    /// it will be cut into (45 for 64 KB of TCP).
    init(_ cap: Cap) {
        let packets = max(1, cap.packets.perSecond)
        let bytes = max(1, cap.bits.bytesPerSecond)
        let packetCost = 1_000_000_000 / packets
        let burst = Formulas.police(cap)
        words = [
            max(1, packetCost),
            Formulas.nanoseconds(units: max(64, burst.burstPackets), perSecond: packets),
            max(1, Formulas.scaledNanosecondsPerByte(bytesPerSecond: bytes)),
            Formulas.nanoseconds(units: UInt64(burst.burstBytes), perSecond: bytes),
        ]
    }

    private init(words: [UInt64]) { self.words = words }

    /// The cap that a map's words hold for a lane; nil where the lane is not limited.
    static func cap(ofLane lane: FrameLane) -> ([UInt64]) -> Cap? {
        { words in
            let base = lane.rawValue * TokenBucketLayout.limitWords
            guard words.count >= base + TokenBucketLayout.limitWords, words[base] > 0,
                words[base + 2] > 0
            else { return nil }
            let bytes = (UInt64(1_000_000_000) << 16) / words[base + 2]
            return Cap(
                packets: PacketRate(perSecond: 1_000_000_000 / words[base]),
                bits: BitRate(bytesPerSecond: bytes))
        }
    }
}

/// Registers by their use in the program.
private enum Register {
    static let result: UInt8 = 0
    static let scratch1: UInt8 = 1
    static let packets: UInt8 = 2
    static let bytes: UInt8 = 3
    static let scratch4: UInt8 = 4
    static let scratch5: UInt8 = 5
    static let context: UInt8 = 6
    static let index: UInt8 = 7  // while classifying
    static let now: UInt8 = 7  // after
    static let lane: UInt8 = 8
    static let frame: UInt8 = 10
}

/// Where the interface's index is kept on the stack, for look-ups.
private let savedInterface: Int16 = -20

/// One of a lane's two buckets: where its words are.
private struct Bucket {
    /// Its units of the frame: the register, and where they are kept on the stack.
    let register: UInt8
    let saved: Int16
    let passed: Int16
    let lease: Int16
    let clock: Int16
    let cost: Int16
    let burst: Int16
    let leased: Int32
    /// Bits behind the point of a unit's cost.
    let scale: Int32

    static let packets = Bucket(
        register: Register.packets, saved: -8, passed: 32, lease: 48, clock: 80, cost: 0, burst: 8,
        leased: TokenBucketLayout.leasedPackets, scale: 0)
    static let bytes = Bucket(
        register: Register.bytes, saved: -16, passed: 40, lease: 56, clock: 88, cost: 16, burst: 24,
        leased: TokenBucketLayout.leasedBytes, scale: 16)
}

/// Where a lane counts what is dropped.
private let droppedOffset: Int16 = 64

/// Builds the program. Codes: <linux/bpf.h>, <linux/bpf_common.h>; LD_ABS and LD_IND need the
/// context in r6, give r0, and lose r1 to r5.
struct TokenBucketProgram: BPFAssembly {
    var instructions: [BPFInstruction] = []
    private var places: [Label: Int] = [:]
    private var jumps: [(at: Int, to: Label)] = []
    private var nextLocal = 1_000

    /// The classifier of a direction, with the table's descriptor.
    init(_ classifier: FrameClassifier, table: Int32) {
        // r6 = context
        emit(0xbf, Register.context, Register.scratch1)
        emit(0x61, Register.scratch1, Register.context, offset: SocketBufferField.interface)
        emit(0x63, Register.frame, Register.scratch1, offset: savedInterface)
        let unknown = makeLabel()
        emitMap(Register.scratch1, table)
        emit(0xbf, Register.packets, Register.frame)
        emit(0x07, Register.packets, immediate: Int32(savedInterface))
        emit(0x85, immediate: 1)  // bpf_map_lookup_elem(r1, r2)
        emitJump(0x15, Register.result, immediate: 0, to: unknown)
        emit(0xbf, Register.lane, Register.result)
        emitHead(LaneFastPath(classifier))
        // The index is set on every path that uses it; the verifier wants to see it.
        emit(0xb7, Register.index, immediate: 0)
        for instruction in classifier.instructions { emit(instruction) }
        let bucket = makeLabel()
        // The lane of a flood is the last one: it needs no jump.
        for lane in FrameLane.allCases {
            place(.lane(lane))
            let offset = lane.rawValue * TokenBucketLayout.laneWords * 8
            emit(0x07, Register.lane, immediate: Int32(offset))
            if lane != FrameLane.allCases.last { emitJump(0x05, to: bucket) }
        }
        place(bucket)
        emitBuckets()
        place(unknown)
        emit(0xb4, Register.result, immediate: -1)  // TC_ACT_UNSPEC
        emit(0x95)
        for jump in jumps {
            let distance = (places[jump.to] ?? jump.at) - jump.at - 1
            instructions[jump.at].offset = Int16(distance)
        }
    }

    /// Loads it into the kernel.
    func load() throws(BPFError) -> BPFClassifier {
        try BPFClassifier(name: Ownership.programName, instructions)
    }

    private mutating func makeLabel() -> Label {
        nextLocal += 1
        return .local(nextLocal)
    }

    private mutating func place(_ label: Label) { places[label] = instructions.count }

    private mutating func emitJump(
        _ code: UInt8, _ destination: UInt8 = 0, _ source: UInt8 = 0, immediate: Int32 = 0,
        to label: Label
    ) {
        jumps.append((instructions.count, label))
        emit(code, destination, source, immediate: immediate)
    }

    private mutating func emitHead(_ head: LaneFastPath) {
        let begin = instructions.count
        let behind = makeLabel()
        instructions += head.instructions
        jumps += head.laneJumps.map { (begin + $0.at, .lane($0.to)) }
        jumps += head.slowJumps.map { (begin + $0, behind) }
        place(behind)
    }

    private mutating func emit(_ instruction: ClassifierInstruction) {
        let a = Register.result
        switch instruction {
        case .load(.byte, let offset): emit(0x30, immediate: Int32(offset))
        case .load(.half, let offset): emit(0x28, immediate: Int32(offset))
        case .loadIndexed(.byte, let offset):
            emit(0x50, 0, Register.index, immediate: Int32(offset))
        case .loadIndexed(.half, let offset):
            emit(0x48, 0, Register.index, immediate: Int32(offset))
        case .loadLength: emit(0x61, a, Register.context, offset: SocketBufferField.length)
        case .loadHeaderLength(let offset):
            emit(0x30, immediate: Int32(offset))
            emit(0x57, a, immediate: 0xf)
            emit(0x67, a, immediate: 2)
            emit(0xbf, Register.index, a)
        case .subtractIndex: emit(0x1c, a, Register.index)  // 32 bits, as classic BPF
        case .ifEqual(let value, let label): emitJump(0x15, a, immediate: Int32(value), to: label)
        case .ifAnySet(let mask, let label):
            emitJump(0x45, a, immediate: Int32(bitPattern: mask), to: label)
        case .ifLess(let value, let label): emitJump(0xa5, a, immediate: Int32(value), to: label)
        case .jump(let label): emitJump(0x05, to: label)
        case .mark(let label): place(label)
        }
    }

    /// r8: the lane's words.
    private mutating func emitBuckets() {
        emitSegments()
        let passes = makeLabel()
        let lacking = makeLabel()
        let dropped = makeLabel()
        for bucket in [Bucket.packets, .bytes] {
            emit(0x79, Register.scratch4, Register.lane, offset: bucket.passed)
            emit(0x0f, Register.scratch4, bucket.register)
            emit(0x79, Register.scratch5, Register.lane, offset: bucket.lease)
            emitJump(0x2d, Register.scratch4, Register.scratch5, to: lacking)
        }
        place(passes)
        emitCount(at: Bucket.packets.passed)
        emit(0xb4, Register.result, immediate: -1)  // TC_ACT_UNSPEC
        emit(0x95)
        place(lacking)
        emit(0x7b, Register.frame, Register.packets, offset: Bucket.packets.saved)
        emit(0x7b, Register.frame, Register.bytes, offset: Bucket.bytes.saved)
        emit(0x85, immediate: 5)  // r0 = bpf_ktime_get_ns()
        emit(0xbf, Register.now, Register.result)
        // What bytes refuse has its packets: the lease keeps them for the next frame.
        emitTake(.packets, exceeded: dropped)
        emitTake(.bytes, exceeded: dropped)
        emitRestore()
        emitJump(0x05, to: passes)
        place(dropped)
        emitRestore()
        emitCount(at: droppedOffset)
        emit(0xb4, Register.result, immediate: 2)  // TC_ACT_SHOT
        emit(0x95)
    }

    /// The frame's packets and bytes, as they were kept.
    private mutating func emitRestore() {
        for bucket in [Bucket.packets, .bytes] {
            emit(0x79, bucket.register, Register.frame, offset: bucket.saved)
        }
    }

    /// r2 = packets the frame will be cut into, r3 = their bytes with a header each.
    private mutating func emitSegments() {
        let single = makeLabel()
        emit(0x61, Register.bytes, Register.context, offset: SocketBufferField.length)
        emit(0x61, Register.scratch4, Register.context, offset: SocketBufferField.gsoSize)
        emit(0xb7, Register.packets, immediate: 1)
        emitJump(0x15, Register.scratch4, immediate: 0, to: single)
        emit(0xbf, Register.packets, Register.bytes)
        emit(0x0f, Register.packets, Register.scratch4)
        emit(0x17, Register.packets, immediate: 1)
        emit(0x3f, Register.packets, Register.scratch4)
        emit(0xbf, Register.scratch5, Register.packets)
        emit(0x17, Register.scratch5, immediate: 1)
        emit(0x27, Register.scratch5, immediate: 54)  // Ethernet, IPv4 and TCP headers
        emit(0x0f, Register.bytes, Register.scratch5)
        place(single)
    }

    /// Takes from the clock what the bucket's lease lacks for the frame, and a little more where
    /// that conforms too; jumps where the frame does not. r1 to r5 are lost.
    private mutating func emitTake(_ bucket: Bucket, exceeded: Label) {
        let enough = makeLabel()
        let taking = makeLabel()
        let taken = makeLabel()
        emit(0x79, Register.scratch1, Register.frame, offset: bucket.saved)
        emit(0x79, Register.scratch4, Register.lane, offset: bucket.passed)
        emit(0x0f, Register.scratch1, Register.scratch4)
        emit(0x79, Register.scratch4, Register.lane, offset: bucket.lease)
        emit(0x1f, Register.scratch1, Register.scratch4)
        emitJump(0xd5, Register.scratch1, immediate: 0, to: enough)  // signed <=
        emitLift(bucket)
        emit(0x79, Register.scratch5, Register.lane, offset: bucket.burst)
        emit(0x0f, Register.scratch5, Register.now)
        // r2 = units, r3 = their cost
        emit(0xbf, Register.packets, Register.scratch1)
        emit(0x07, Register.packets, immediate: bucket.leased)
        emitCost(bucket)
        emit(0x0f, Register.result, Register.bytes)
        emitJump(0xbd, Register.result, Register.scratch5, to: taking)  // <=
        emit(0xbf, Register.packets, Register.scratch1)
        emitCost(bucket)
        place(taking)
        emit(0xbf, Register.result, Register.bytes)
        emit(0xdb, Register.lane, Register.result, offset: bucket.clock, immediate: 0x01)
        emit(0x0f, Register.result, Register.bytes)
        emitJump(0xbd, Register.result, Register.scratch5, to: taken)  // <=
        emit(0x87, Register.bytes)
        emit(0xdb, Register.lane, Register.bytes, offset: bucket.clock, immediate: 0)
        emitJump(0x05, to: exceeded)
        place(taken)
        emit(0xdb, Register.lane, Register.packets, offset: bucket.lease, immediate: 0)
        place(enough)
    }

    /// r0 = the bucket's clock, which is lifted to now where it is idle (compare and exchange, 0xf1);
    /// where another processor was first, it has done the same.
    private mutating func emitLift(_ bucket: Bucket) {
        let lifted = makeLabel()
        emit(0x79, Register.result, Register.lane, offset: bucket.clock)
        emitJump(0x3d, Register.result, Register.now, to: lifted)
        emit(0xbf, Register.scratch4, Register.now)
        emit(0xdb, Register.lane, Register.scratch4, offset: bucket.clock, immediate: 0xf1)
        emit(0xbf, Register.result, Register.now)
        place(lifted)
    }

    /// r3 = what the units in r2 cost.
    private mutating func emitCost(_ bucket: Bucket) {
        emit(0x79, Register.bytes, Register.lane, offset: bucket.cost)
        emit(0x2f, Register.bytes, Register.packets)
        if bucket.scale > 0 { emit(0x77, Register.bytes, immediate: bucket.scale) }
    }

    /// Adds the frame to two counters of the lane.
    private mutating func emitCount(at offset: Int16) {
        emit(0xdb, Register.lane, Register.packets, offset: offset, immediate: 0)
        emit(0xdb, Register.lane, Register.bytes, offset: offset + 8, immediate: 0)
    }
}
