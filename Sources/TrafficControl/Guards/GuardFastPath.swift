// The head of an eBPF guard: what nearly every honest frame is (untagged, TCP or UDP from the
// port's first Ethernet address, unfragmented, no options) passes at once (DirectReads).
//
// Invariant: what passes here would pass in the program behind it; all else goes there.
import LinuxSystem

private typealias Register = DirectRegister

struct GuardFastPath: DirectReads {
    var instructions: [BPFInstruction] = []
    var slowJumps: [Int] = []
    /// The jumps to where a frame passes.
    private(set) var passJumps: [Int] = []
    private let policy: GuardPolicy

    /// As many prefixes of a family are looked at here.
    private static let mostPrefixes = 8

    /// r6 is the context.
    init(_ policy: GuardPolicy) {
        self.policy = policy
        // A management leg carries little, and only answers.
        guard policy.networks == nil else { return }
        emitData()
        emitRoom(42)
        emitSourceMAC()
        emitLoad(.half, 12)
        let version6 = jump(0x16, immediate: Self.half(UInt16(EtherType.version6)))
        slow(0x56, immediate: Self.half(UInt16(EtherType.version4)))
        emitVersion4()
        land(version6)
        if policy.version6 == .refused { slow(0x05) } else { emitVersion6() }
    }

    private mutating func emitSourceMAC() {
        guard let mac = policy.macs.first else { return }
        emitLoad(.word, 6)
        slow(0x56, immediate: Self.word(UInt32(mac.number >> 16)))
        emitLoad(.half, 10)
        slow(0x56, immediate: Self.half(UInt16(truncatingIfNeeded: mac.number)))
    }

    private mutating func emitVersion4() {
        if policy.checksVersion4 {
            var owned: [Int] = []
            for prefix in policy.prefixes4.filter({ $0.owners & 1 != 0 })
                .prefix(Self.mostPrefixes).map(\.prefix)
            {
                emitLoad(.word, 26)
                if prefix.length < 32 { emitMask(prefix.mask) }
                owned.append(jump(0x16, immediate: Self.word(prefix.address)))
            }
            slow(0x05)
            // The verifier refuses what nothing leads to.
            guard !owned.isEmpty else { return }
            for jump in owned { land(jump) }
        }
        guard policy.refusesDHCPServer else {
            pass(0x05)
            return
        }
        emitLoad(.byte, 23)
        pass(0x16, immediate: Int32(InternetProtocol.tcp))
        slow(0x56, immediate: Int32(InternetProtocol.udp))
        emitLoad(.byte, 14)
        slow(0x56, immediate: 0x45)
        emitLoad(.half, 20)
        slow(0x46, immediate: Self.half(0x3fff))
        emitLength(at: 16, atLeast: 28, header: 14)
        emitPorts(at: 34, server: 67, client: 68)
    }

    private mutating func emitVersion6() {
        emitRoom(62)
        if policy.version6 == .checked {
            var owned: [Int] = []
            for prefix in policy.prefixes6.filter({ $0.owners & 1 != 0 })
                .prefix(Self.mostPrefixes).map(\.prefix)
            {
                var others: [Int] = []
                for (index, word) in prefix.words.enumerated() {
                    emitLoad(.word, Int16(22 + 4 * index))
                    if word.mask != .max { emitMask(word.mask) }
                    others.append(jump(0x56, immediate: Self.word(word.value)))
                }
                owned.append(jump(0x05))
                for jump in others { land(jump) }
            }
            slow(0x05)
            // The verifier refuses what nothing leads to.
            guard !owned.isEmpty else { return }
            for jump in owned { land(jump) }
        }
        emitLoad(.byte, 20)
        pass(0x16, immediate: Int32(InternetProtocol.tcp))
        slow(0x56, immediate: Int32(InternetProtocol.udp))
        emitLength(at: 18, atLeast: 8, header: 54)
        emitPorts(at: 54, server: 547, client: 546)
    }

    /// The packet's own length, which must be within the frame.
    private mutating func emitLength(at offset: Int16, atLeast least: Int32, header: Int32) {
        emitLoad(.half, offset)
        emit(0xdc, Register.value, immediate: 16)  // from network order
        slow(0xa6, immediate: least)
        emit(0x04, Register.value, immediate: header)
        emit(0x61, Register.other, Register.context, offset: SocketBufferField.length)
        slow(0x2e, source: Register.other)
    }

    private mutating func emitPorts(at offset: Int16, server: UInt16, client: UInt16) {
        if policy.refusesDHCPServer {
            emitLoad(.half, offset)
            slow(0x16, immediate: Self.half(server))
            emitLoad(.half, offset + 2)
            slow(0x16, immediate: Self.half(client))
        }
        pass(0x05)
    }

    // MARK: Instructions

    private mutating func emitMask(_ mask: UInt32) {
        emit(0x54, Register.value, immediate: Self.word(mask))
    }

    private mutating func pass(_ code: UInt8, immediate: Int32 = 0) {
        passJumps.append(jump(code, immediate: immediate))
    }
}
