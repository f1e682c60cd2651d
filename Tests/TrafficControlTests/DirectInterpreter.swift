// The head of an eBPF program as the kernel runs it, for tests: direct reads, masks and jumps.
import LinuxSystem

@testable import TrafficControl

enum DirectInterpreter {
    /// Which jump leads out of the head, by its index; nil where the head has no end, reads beyond
    /// the room it asked for, or has an instruction that is none of a head's.
    ///
    /// The frame lies in one piece up to `linear`.
    static func run(_ head: LaneFastPath, _ frame: [UInt8], linear: Int) -> Int? {
        let leaving = Set(head.slowJumps + head.laneJumps.map(\.at))
        var registers = [Int](repeating: 0, count: 11)
        var room = 0
        var pc = 0
        while pc < head.instructions.count {
            let i = head.instructions[pc]
            let (to, from) = (Int(i.destination), Int(i.source))
            let at = registers[from] + Int(i.offset)
            let value = registers[to]
            var isTaken = false
            switch i.code {
            case 0x61 where i.offset == SocketBufferField.data: registers[to] = 0
            case 0x61 where i.offset == SocketBufferField.dataEnd: registers[to] = linear
            case 0xbf: registers[to] = registers[from]
            case 0x07: registers[to] += Int(i.immediate)
            case 0x2d:
                isTaken = value > registers[from]
                if !isTaken { room = value }
            case 0x71, 0x69:
                guard at + (i.code == 0x71 ? 1 : 2) <= room else { return nil }
                // As a machine whose lowest byte is first loads it.
                registers[to] = Int(frame[at]) | (i.code == 0x69 ? Int(frame[at + 1]) << 8 : 0)
            case 0x15: isTaken = value == Int(i.immediate)
            case 0x55: isTaken = value != Int(i.immediate)
            case 0x45: isTaken = value & Int(i.immediate) != 0
            case 0x05: isTaken = true
            default: return nil
            }
            if isTaken, leaving.contains(pc) { return pc }
            pc += 1 + (isTaken ? Int(i.offset) : 0)
        }
        return nil
    }
}
