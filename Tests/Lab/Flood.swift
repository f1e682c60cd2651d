// What a flood is made of, and the thread that sends it.
// Invariants: exact in the long run (the n-th packet is due at n / rate after the start); bounded
// in time or count, always; ended by the time `stop` returns.

internal import CLab
internal import Glibc
internal import Synchronization

/// A stream of equal packets at a steady pace.
public struct Flood: Hashable, Sendable {
    /// What the packets are.
    public enum Traffic: Hashable, Sendable {
        /// UDP over IPv4.
        case udp4
        /// UDP over IPv6.
        case udp6
        /// TCP segments (ACK, PSH) over IPv4.
        case tcp4
        /// TCP segments (ACK, PSH) over IPv6.
        case tcp6
        /// Later fragments of IPv4 whose first bytes read as the ports.
        case fragments4
        /// Later fragments of IPv6 whose first bytes read as the ports.
        case fragments6
        /// TSO frames over IPv4: `frameBytes` up to 65,549 long, to be cut into this many bytes.
        case segments(of: UInt16)
        /// ICMP echo requests.
        case icmp4
        /// ARP requests for the destination's address.
        case arp

        var isTCP: Bool { protocolNumber == 6 }

        var protocolNumber: UInt8 {
            switch self {
            case .udp4, .udp6, .fragments4, .fragments6: 17
            case .tcp4, .tcp6, .segments: 6
            case .icmp4: 1
            case .arp: 0
            }
        }
    }

    /// A change of the frames' size on the way.
    public struct Resize: Hashable, Sendable {
        /// After this time from the first packet.
        public var after: Duration
        /// Frames are this long from then on.
        public var frameBytes: Int

        /// Frames of `frameBytes` from `after` on.
        public init(after: Duration, frameBytes: Int) {
            self.after = after
            self.frameBytes = frameBytes
        }
    }

    /// Where the packets go.
    public var to: Endpoint
    /// Frames in a second.
    public var packetsPerSecond: Int
    /// Bytes of a frame, Ethernet header included, check sequence not; from 60 on.
    public var frameBytes: Int
    /// What the packets are.
    public var traffic: Traffic
    /// The longest it may take.
    public var duration: Duration
    /// The most packets it may send; nil: what the duration gives.
    public var count: Int?
    /// TCP or UDP source port.
    public var sourcePort: UInt16
    /// TCP or UDP destination port.
    public var destinationPort: UInt16
    /// VLAN ids, the outer one first (802.1ad where there are two).
    public var tags: [UInt16]
    /// Changes of size, the earliest first.
    public var resizes: [Resize]

    /// A flood to `to`.
    public init(
        to: Endpoint, packetsPerSecond: Int, frameBytes: Int = 250, traffic: Traffic = .udp4,
        duration: Duration = .seconds(120), count: Int? = nil, sourcePort: UInt16 = 40_000,
        destinationPort: UInt16 = 7_777, tags: [UInt16] = [], resizes: [Resize] = []
    ) {
        self.to = to
        self.packetsPerSecond = packetsPerSecond
        self.frameBytes = frameBytes
        self.traffic = traffic
        self.duration = duration
        self.count = count
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.tags = tags
        self.resizes = resizes
    }
}

/// A flood under way.
public final class FloodRun: Sendable {
    /// The flood.
    public let flood: Flood
    private let counters: Counters
    private let worker: Worker

    init(_ flood: Flood, from source: Endpoint, through tap: Tap) throws(LabError) {
        self.flood = flood
        let counters = Counters()
        self.counters = counters
        worker = try Worker("flood") { signal in
            var sender = Sender(flood, from: source, through: tap, counting: counters)
            sender.run(until: signal)
        }
    }

    /// Frames that the tap took so far.
    public var sent: Int { counters.sent.load(ordering: .acquiring) }

    /// Frames that the tap refused so far, as it does when the link is down.
    public var refused: Int { counters.refused.load(ordering: .acquiring) }

    /// The processor time that sending took (CLOCK_THREAD_CPUTIME_ID), the way of each frame through
    /// the host included; known when the flood is over. Unlike a rate it does not tell of what else
    /// the machine does.
    public var processorTime: Duration {
        .nanoseconds(counters.processorNanoseconds.load(ordering: .acquiring))
    }

    /// When the first packet was sent; nil before.
    public var firstPacket: Moment? {
        let value = counters.first.load(ordering: .acquiring)
        return value == 0 ? nil : Moment(nanoseconds: value)
    }

    /// Whether all was sent or the time is up.
    public var isOver: Bool { counters.isOver.load(ordering: .acquiring) }

    /// Ends the flood.
    ///
    /// - Returns: the frames that the tap took.
    @discardableResult
    public func stop() -> Int {
        worker.stop()
        return sent
    }

    /// Waits until all is sent or the time is up.
    ///
    /// - Returns: the frames that the tap took.
    @discardableResult
    public func finish() -> Int {
        worker.join()
        return sent
    }
}

private final class Counters: Sendable {
    let sent = Atomic<Int>(0)
    let refused = Atomic<Int>(0)
    let first = Atomic<UInt64>(0)
    let isOver = Atomic<Bool>(false)
    let processorNanoseconds = Atomic<Int>(0)
}

private struct Sender {
    /// Packets are sent in bursts of what is due at the end of each slot.
    private static let slot = Duration.milliseconds(2)
    /// A late wake-up is made good at no more than this much of the rate at once.
    private static let longestBurst = Duration.milliseconds(50)
    private static let framesPerLook = 8

    private let flood: Flood
    private let source: Endpoint
    private let tap: Tap
    private let counters: Counters
    private var packet: FrameWriter
    private var resizes: ArraySlice<Flood.Resize>
    private var done = 0

    init(_ flood: Flood, from source: Endpoint, through tap: Tap, counting counters: Counters) {
        self.flood = flood
        self.source = source
        self.tap = tap
        self.counters = counters
        packet = FrameWriter(flood, from: source, frameBytes: flood.frameBytes)
        resizes = flood.resizes[...]
    }

    mutating func run(until signal: StopSignal) {
        let before = Moment.processorNanoseconds
        defer {
            counters.processorNanoseconds.store(
                Moment.processorNanoseconds - before, ordering: .releasing)
            counters.isOver.store(true, ordering: .releasing)
        }
        let start = Moment.now
        counters.first.store(start.nanoseconds, ordering: .releasing)
        let rate = Double(flood.packetsPerSecond)
        let most = flood.count ?? Int(rate * flood.duration.inSeconds)
        let largestBurst = max(1, Int(rate * Self.longestBurst.inSeconds))
        var wake = start
        while !signal.isRaised, done < most {
            let passed = Moment.now - start
            guard passed < flood.duration + .seconds(1) else { return }
            resize(at: passed)
            // The first packet is due at once.
            let due = min(most, Int(passed.inSeconds * rate) + 1)
            send(min(due - done, largestBurst))
            wake = max(wake + Self.slot, start + .nanoseconds(Int64(Double(done) / rate * 1e9)))
            // In small steps, so that a slow flood stops at once too.
            if due - done < largestBurst { min(wake, .now + Self.longestBurst).sleep() }
        }
    }

    private mutating func resize(at passed: Duration) {
        guard let next = resizes.first, passed >= next.after else { return }
        resizes.removeFirst()
        packet = FrameWriter(flood, from: source, frameBytes: next.frameBytes)
    }

    private mutating func send(_ count: Int) {
        guard count > 0 else { return }
        var bytes = packet.bytes
        var taken = 0
        for number in 0..<count {
            if number % Self.framesPerLook == 0, let offset = packet.stampOffset {
                let stamp = Moment.now.nanoseconds.bigEndian
                unsafe bytes.withUnsafeMutableBytes {
                    unsafe $0.storeBytes(of: stamp, toByteOffset: offset, as: UInt64.self)
                }
            }
            if unsafe bytes.withUnsafeBytes({ unsafe tap.write($0) }) { taken += 1 }
        }
        done += count
        counters.sent.add(taken, ordering: .acquiringAndReleasing)
        counters.refused.add(count - taken, ordering: .acquiringAndReleasing)
    }
}
