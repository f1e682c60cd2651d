// Whether a limit holds: what got through it, held against what may pass.
// Invariants: one measurement proves nothing (counters and clocks are not read at one moment, and a
// burst is let through at first); what is let through by a lane of its own is not counted here.

/// Fed with each measurement of a limited direction.
public struct CapWatch: Hashable, Sendable {
    /// Whether three measurements in a row let through more than a quarter over the cap. Ends with the
    /// first that did not.
    public private(set) var isExceeded = false
    private var over = 0

    /// So much over the cap is within what bursts and clocks explain.
    private static let tolerance = 1.25
    /// So many measurements in a row make it sure.
    private static let measurements = 3

    /// Nothing measured yet.
    public init() {}

    /// Takes what got through, a second; nil: it is not known, and proves nothing.
    ///
    /// - Returns: whether `isExceeded` changed.
    public mutating func take(
        packetsPerSecond: Double?, bitsPerSecond: Double?, cap: Cap
    ) -> Bool {
        guard let packetsPerSecond, let bitsPerSecond else { return false }
        let isOver =
            packetsPerSecond > Double(cap.packets.perSecond) * Self.tolerance
            || bitsPerSecond > Double(cap.bits.bitsPerSecond) * Self.tolerance
        over = isOver ? min(over + 1, Self.measurements) : 0
        let was = isExceeded
        isExceeded = isOver && (isExceeded || over == Self.measurements)
        return was != isExceeded
    }
}
