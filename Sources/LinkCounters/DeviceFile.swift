// The counters of every interface from /proc/net/dev: by name, and a dozen times as dear as netlink, but
// the kernel takes no lock for it (dev_seq_start of net/core/net-procfs.c: RCU alone).
//
// Invariant: any content gives interfaces; a line that is none is left out.
internal import LinuxSystem
public import Netlink
internal import SystemPackage

/// An interface's name as a key: at most 15 bytes.
public struct DeviceName: Hashable, Sendable {
    private var first: UInt64 = 0
    private var second: UInt64 = 0

    /// Nil where the kernel gives no such name.
    public init?(_ bytes: some Collection<UInt8>) {
        guard (1...15).contains(bytes.count) else { return nil }
        for (place, byte) in bytes.enumerated() {
            let bits = UInt64(byte) << UInt64(place % 8 * 8)
            if place < 8 { first |= bits } else { second |= bits }
        }
    }
}

/// An interface and its counters, by name.
public struct NamedCounters: Hashable, Sendable {
    /// Its name.
    public var name: DeviceName
    /// Its counters.
    public var counters: LinkStatistics

    /// An interface of this name with these counters.
    public init(_ name: DeviceName, _ counters: LinkStatistics) {
        self.name = name
        self.counters = counters
    }
}

/// Reads /proc/net/dev.
public enum DeviceFile {
    private static let path = "/proc/thread-self/net/dev"
    private static let largest = 64 << 20

    /// What it says now, of the network namespace of the calling thread; nil where it cannot be read.
    public static func read() -> [NamedCounters]? {
        (try? WholeInput.read(path: path, limit: largest)).map(parse)
    }

    /// The interfaces of a content: `NAME: BYTES PACKETS …` received, and from the ninth number on sent.
    public static func parse(_ content: [UInt8]) -> [NamedCounters] {
        var found: [NamedCounters] = []
        for line in content.split(separator: UInt8(ascii: "\n")) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")),
                let name = DeviceName(line[..<colon].drop { $0 == UInt8(ascii: " ") })
            else { continue }
            var numbers = InlineArray<10, UInt64>(repeating: 0)
            var count = 0
            for word in line[(colon + 1)...].split(separator: UInt8(ascii: " ")) {
                guard count < numbers.count, let number = Self.number(word) else { break }
                numbers[count] = number
                count += 1
            }
            guard count == numbers.count else { continue }
            found.append(
                NamedCounters(
                    name,
                    LinkStatistics(
                        rxPackets: numbers[1], txPackets: numbers[9], rxBytes: numbers[0],
                        txBytes: numbers[8])))
        }
        return found
    }

    private static func number(_ word: ArraySlice<UInt8>) -> UInt64? {
        var number: UInt64 = 0
        for byte in word {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            let (tens, isOver) = number.multipliedReportingOverflow(by: 10)
            let (sum, isBeyond) = tens.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            guard !isOver, !isBeyond else { return nil }
            number = sum
        }
        return word.isEmpty ? nil : number
    }
}
