// Whether what a VM sends goes past the objects that limit it: the port's own counters held against
// what the limits saw.
// Invariants: one measurement proves nothing (the two counters are not read at one moment); a
// counter that began anew is a new baseline; a port that hardly moves says nothing either way.

/// Fed with both counters at each measurement of a limited port.
public struct BypassWatch: Hashable, Sendable {
    /// Whether three measurements in a row, in each of which the port moved, saw less than half of
    /// it. Ends with the first that saw half.
    public private(set) var isBypassed = false
    /// Measurements in a row that saw less than half.
    private var missed = 0
    private var last: Pair?

    /// Fewer packets of the port between two measurements say nothing.
    private static let leastPackets: UInt64 = 100
    /// So many measurements in a row make it sure.
    private static let measurements = 3

    private struct Pair: Hashable, Sendable {
        var offered: DeliveredCounters
        var seen: DeliveredCounters
    }

    /// Nothing measured yet.
    public init() {}

    /// Takes what the port received from the VM (`offered`) and what the limits saw of it, dropped
    /// or not. Half of the packets or half of the bytes is enough: traffic control counts a GSO
    /// frame of a VM as no packet, and a short frame without its 14 bytes of Ethernet.
    public mutating func take(offered: DeliveredCounters, seen: DeliveredCounters) {
        let pair = Pair(offered: offered, seen: seen)
        defer { last = pair }
        guard let last, let moved = offered.since(last.offered), let saw = seen.since(last.seen),
            moved.packets >= Self.leastPackets
        else { return }
        if saw.packets >= moved.packets / 2 || saw.bytes >= moved.bytes / 2 {
            missed = 0
            isBypassed = false
        } else {
            missed = min(missed + 1, Self.measurements)
            isBypassed = isBypassed || missed == Self.measurements
        }
    }
}

extension DeliveredCounters {
    /// Nil where a counter went back.
    fileprivate func since(_ earlier: DeliveredCounters) -> DeliveredCounters? {
        guard packets >= earlier.packets, bytes >= earlier.bytes else { return nil }
        return DeliveredCounters(
            packets: packets - earlier.packets, bytes: bytes - earlier.bytes)
    }
}
