// What arrived at one place, frame by frame, with the time of each.
// Invariants: at most `capacity` frames are kept, the oldest go first; a question about a time that
// is no longer kept is an error, never a wrong number.

internal import Synchronization

/// What arrived in a window of time.
public struct Tally: Hashable, Sendable {
    /// Packets as they would stand on a wire: a TSO frame counts as all it stands for.
    public var packets: Int
    /// Bytes with Ethernet headers, as `Frame.bytes`.
    public var bytes: Int
    /// The window.
    public var window: ClosedRange<Moment>

    /// Packets in a second, on average over the window.
    public var packetsPerSecond: Double { Double(packets) / seconds }
    /// Bits in a second, on average over the window.
    public var bitsPerSecond: Double { Double(bytes) * 8 / seconds }

    private var seconds: Double { max(1e-9, (window.upperBound - window.lowerBound).inSeconds) }
}

/// How long stamped frames were under way.
public struct Delays: Hashable, Sendable {
    /// How many were measured.
    public var count: Int
    /// The shortest.
    public var shortest: Duration
    /// Half of them were at most this long.
    public var median: Duration
    /// 99 of 100 were at most this long.
    public var percentile99: Duration
    /// The longest.
    public var longest: Duration
}

/// The frames that arrived at one place.
public final class Ledger: Sendable {
    private struct Kept {
        var frames: [Frame] = []
        var oldest = 0
        var evicted = 0
    }

    private let capacity: Int
    private let kept = Mutex(Kept())

    init(capacity: Int) {
        self.capacity = capacity
        kept.withLock { $0.frames.reserveCapacity(capacity) }
    }

    func add(_ frame: Frame) {
        kept.withLock { kept in
            if kept.frames.count < capacity {
                kept.frames.append(frame)
            } else {
                kept.frames[kept.oldest] = frame
                kept.oldest = (kept.oldest + 1) % capacity
                kept.evicted += 1
            }
        }
    }

    /// All frames that are kept and meant, in order, within the window.
    ///
    /// - Throws: `LabError` where frames of that window are no longer kept.
    public func frames(
        _ filter: FrameFilter = FrameFilter(), during window: ClosedRange<Moment>
    ) throws(LabError) -> [Frame] {
        var found: [Frame] = []
        try visit(window) { if filter.matches($0) { found.append($0) } }
        return found
    }

    /// Counts the frames that are meant, within the window.
    ///
    /// - Throws: `LabError` where frames of that window are no longer kept.
    public func delivered(
        _ filter: FrameFilter = FrameFilter(), during window: ClosedRange<Moment>
    ) throws(LabError) -> Tally {
        var tally = Tally(packets: 0, bytes: 0, window: window)
        try visit(window) { frame in
            guard filter.matches(frame) else { return }
            tally.packets += Int(frame.packets)
            tally.bytes += Int(frame.bytes)
        }
        return tally
    }

    /// Counts the frames of one sender, within the window.
    ///
    /// - Throws: `LabError` where frames of that window are no longer kept.
    public func delivered(
        from source: MACAddress, during window: ClosedRange<Moment>
    ) throws(LabError) -> Tally {
        try delivered(FrameFilter(from: source), during: window)
    }

    /// One-way delays of the stamped frames that are meant and arrived within the window.
    ///
    /// - Returns: nil where there was none.
    /// - Throws: `LabError` where frames of that window are no longer kept.
    public func delays(
        _ filter: FrameFilter = FrameFilter(), during window: ClosedRange<Moment>
    ) throws(LabError) -> Delays? {
        var delays: [Int64] = []
        try visit(window) { frame in
            guard let sent = frame.sent, filter.matches(frame) else { return }
            delays.append((frame.arrived - sent).nanoseconds)
        }
        delays.sort()
        guard let first = delays.first, let last = delays.last else { return nil }
        return Delays(
            count: delays.count, shortest: .nanoseconds(first),
            median: .nanoseconds(delays[delays.count / 2]),
            percentile99: .nanoseconds(delays[delays.count * 99 / 100]),
            longest: .nanoseconds(last))
    }

    private func visit(
        _ window: ClosedRange<Moment>, _ body: (Frame) -> Void
    ) throws(LabError) {
        let isKept = kept.withLock { kept in
            let count = kept.frames.count
            func frame(_ position: Int) -> Frame { kept.frames[(kept.oldest + position) % count] }
            guard count > 0 else { return true }
            if kept.evicted > 0, window.lowerBound < frame(0).arrived { return false }
            // Frames stand in the order of their arrival: find the first of the window by halves.
            var low = 0
            var high = count
            while low < high {
                let middle = (low + high) / 2
                if frame(middle).arrived < window.lowerBound {
                    low = middle + 1
                } else {
                    high = middle
                }
            }
            for position in low..<count {
                let next = frame(position)
                guard next.arrived <= window.upperBound else { break }
                body(next)
            }
            return true
        }
        guard isKept else { throw LabError("read the ledger", detail: "the window is not kept") }
    }
}
