// The head of an eBPF policer: finds the lane of nearly every frame of a flood (untagged TCP or UDP
// behind a header without options, unfragmented or first) by direct reads.
//
// Invariant: a frame that gets a lane here has the same in FrameClassifier; all else goes there.
import LinuxSystem
import Mitigation

struct LaneFastPath: DirectReads {
    var instructions: [BPFInstruction] = []
    var slowJumps: [Int] = []
    /// The jumps to the lanes.
    private(set) var laneJumps: [(at: Int, to: FrameLane)] = []
    private let classifier: FrameClassifier

    /// r6 is the context.
    init(_ classifier: FrameClassifier) {
        self.classifier = classifier
        emitData()
        emitRoom(38)
        emitLoad(.half, 12)
        let version6 = jump(0x15, immediate: Self.half(UInt16(EtherType.version6)))
        slow(0x55, immediate: Self.half(UInt16(EtherType.version4)))
        emitLoad(.byte, 14)
        slow(0x55, immediate: 0x45)
        emitLoad(.half, 20)
        slow(0x45, immediate: Self.half(0x1fff))
        emitLoad(.byte, 23)
        emitPorts(at: 34, clientPort: classifier.direction == .from ? 68 : 67)
        land(version6)
        emitRoom(58)
        emitLoad(.byte, 20)
        emitPorts(at: 54, clientPort: classifier.direction == .from ? 546 : 547)
    }

    /// The protocol is loaded; the ports are at `offset`.
    private mutating func emitPorts(at offset: Int16, clientPort: UInt16) {
        let tcp = jump(0x15, immediate: Int32(InternetProtocol.tcp))
        slow(0x55, immediate: Int32(InternetProtocol.udp))
        // What may be DHCP is looked at there.
        emitLoad(.half, offset)
        slow(0x15, immediate: Self.half(clientPort))
        lane(.general, 0x05)
        land(tcp)
        if !classifier.tcpPorts.isEmpty {
            emitLoad(.half, offset + (classifier.direction == .from ? 0 : 2))
        }
        for port in classifier.tcpPorts { lane(.management, 0x15, immediate: Self.half(port)) }
        lane(.general, 0x05)
    }

    private mutating func lane(_ lane: FrameLane, _ code: UInt8, immediate: Int32 = 0) {
        laneJumps.append((jump(code, immediate: immediate), lane))
    }
}
