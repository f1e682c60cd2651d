// Classic BPF as the kernel runs it (Documentation/networking/filter.rst), for tests.
import Netlink

enum ClassicInterpreter {
    /// What the program returns; nil where it loads beyond the frame, which the kernel takes for 0,
    /// where it reads memory that it has not written, or where it has no end.
    static func run(_ program: [ClassicInstruction], _ frame: [UInt8]) -> UInt32? {
        var a: UInt32 = 0
        var x: UInt32 = 0
        var memory = [UInt32?](repeating: nil, count: 16)
        var pc = 0
        func load(_ at: Int, _ count: Int) -> UInt32? {
            guard at >= 0, at + count <= frame.count else { return nil }
            return frame[at..<at + count].reduce(0) { $0 << 8 | UInt32($1) }
        }
        while pc < program.count {
            let i = program[pc]
            pc += 1
            switch i.code {
            case 0x20, 0x28, 0x30, 0x40, 0x48, 0x50:
                let size = [0x00: 4, 0x08: 2, 0x10: 1][i.code & 0x18] ?? 0
                let base = i.code & 0x40 != 0 ? Int(x) : 0
                guard let value = load(base + Int(i.k), size) else { return nil }
                a = value
            case 0x60, 0x61:
                guard let value = memory[Int(i.k)] else { return nil }
                if i.code == 0x60 { a = value } else { x = value }
            case 0xb1:
                guard let value = load(Int(i.k), 1) else { return nil }
                x = (value & 0xf) * 4
            case 0x00: a = i.k
            case 0x01: x = i.k
            case 0x02: memory[Int(i.k)] = a
            case 0x03: memory[Int(i.k)] = x
            case 0x80: a = UInt32(frame.count)
            case 0x07: x = a
            case 0x87: a = x
            case 0x04: a = a &+ i.k
            case 0x0c: a = a &+ x
            case 0x1c: a = a &- x
            case 0x54: a &= i.k
            case 0x64: a <<= i.k
            case 0x74: a >>= i.k
            case 0x24: a = a &* i.k
            case 0xac: a ^= x
            case 0x15: pc += Int(a == i.k ? i.jt : i.jf)
            case 0x1d: pc += Int(a == x ? i.jt : i.jf)
            case 0x45: pc += Int(a & i.k != 0 ? i.jt : i.jf)
            case 0x35: pc += Int(a >= i.k ? i.jt : i.jf)
            case 0x3d: pc += Int(a >= x ? i.jt : i.jf)
            case 0x05: pc += Int(i.k)
            case 0x06: return i.k
            default: return nil
            }
        }
        return nil
    }
}
