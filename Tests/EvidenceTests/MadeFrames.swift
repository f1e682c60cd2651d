// Frames as machines send them, made byte by byte.
import Evidence

/// A frame that is being made: each part behind the one before.
struct MadeFrame {
    private(set) var bytes: [UInt8] = []

    /// An Ethernet header up to the type.
    init(to: UInt64 = 0x5254_00ff_fffe, from: UInt64 = 0x5254_0000_0001) {
        put(to, 6)
        put(from, 6)
    }

    /// A number in network order.
    mutating func put(_ number: UInt64, _ count: Int) {
        for place in (0..<count).reversed() {
            bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(8 * place)))
        }
    }

    func with(_ number: UInt64, _ count: Int) -> MadeFrame {
        var frame = self
        frame.put(number, count)
        return frame
    }

    /// An 802.1Q tag, or another one.
    func tagged(_ id: UInt64, type: UInt64 = 0x8100) -> MadeFrame { with(type, 2).with(id, 2) }

    /// EtherType and IPv4 header.
    func version4(
        from: UInt64 = 0x0a00_0001, to: UInt64, protocol number: UInt64, fragment: UInt64 = 0x4000,
        options: Int = 0
    ) -> MadeFrame {
        var frame = with(0x0800, 2).with(UInt64(0x45 + options / 4), 1).with(0, 1).with(0, 2)
            .with(0, 2).with(fragment, 2).with(64, 1).with(number, 1).with(0, 2).with(from, 4)
            .with(to, 4)
        for _ in 0..<options { frame.put(1, 1) }
        return frame
    }

    /// EtherType and IPv6 header.
    func version6(from: (UInt64, UInt64), to: (UInt64, UInt64), next: UInt64) -> MadeFrame {
        with(0x86dd, 2).with(0x6000_0000, 4).with(0, 2).with(next, 1).with(64, 1)
            .with(from.0, 8).with(from.1, 8).with(to.0, 8).with(to.1, 8)
    }

    func udp(to port: UInt64) -> MadeFrame { with(40_000, 2).with(port, 2).with(8, 2).with(0, 2) }

    func tcp(to port: UInt64, flags: UInt64) -> MadeFrame {
        with(40_000, 2).with(port, 2).with(1, 4).with(0, 4).with(0x50, 1).with(flags, 1)
            .with(0xffff, 2).with(0, 4)
    }

    func arp(from: UInt64, asksFor target: UInt64) -> MadeFrame {
        with(0x0806, 2).with(0x0001_0800_0604_0001, 8).with(0x5254_0000_0001, 6).with(from, 4)
            .with(0, 6).with(target, 4)
    }

    /// As the wire has it, so long.
    func packet(length: UInt32 = 64, at nanoseconds: UInt64 = 0) -> SampledPacket {
        let padded = bytes + [UInt8](repeating: 0, count: max(0, 60 - bytes.count))
        return SampledPacket(nanoseconds: nanoseconds, length: length, bytes: padded)
    }
}
