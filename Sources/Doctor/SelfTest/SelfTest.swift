// The ladder on a throw-away pair of interfaces: the daemon's own traffic control, set, flooded and
// measured rung by rung.
//
// Invariants: all of it is in a network namespace of this process, which ends with it however it ends;
// the host's interfaces are never touched; a rung that the kernel refuses is named and never passed;
// a flood is bounded (1.8 s and 6,500 frames each way, for a rung).
internal import LinuxSystem
internal import Mitigation
internal import Netlink
internal import SystemPackage
package import TrafficControl

/// Why there is no self-test.
package struct SelfTestError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A sentence with its cure.
    package var description: String

    init(_ description: String) { self.description = description }
}

/// Runs the ladder.
package struct SelfTest: ~Copyable {
    /// What may pass at first: what the virtual kernels of the tests carry four times of.
    private static let cap = Cap(
        packets: PacketRate(perSecond: 1_000), bits: BitRate(bytesPerSecond: 1_000 * frameBytes))
    private static let frameBytes: UInt64 = 250
    private static let smallestBytes = 60
    private static let offered = 4 * Int(cap.packets.perSecond)
    /// How long bursts are spent and queues are filled, beside the delay.
    private static let settling = Duration.milliseconds(200)
    private static let counting = Duration.milliseconds(500)
    /// Queued by their number, small frames come in batches of a delay's length: so many whole delays.
    private static let countingSmall = Duration.milliseconds(400)

    private let lane: Lane
    private let pair: TestPair
    private var control: KernelTrafficControl
    private var report: SelfTestReport

    /// Floods a throw-away pair through every rung, in a network namespace that the calling thread
    /// enters and never leaves: nothing else of this process may use the network afterwards.
    ///
    /// - Parameters:
    ///   - settings: how the daemon holds its limits.
    ///   - tcpPorts: of the management lane.
    /// - Throws: `SelfTestError` where nothing can be tried.
    package static func run(
        _ settings: TrafficControlSettings, tcpPorts: [UInt16]
    ) throws(SelfTestError) -> SelfTestReport {
        do throws(Errno) {
            try PrivateNetwork.enter()
        } catch {
            throw SelfTestError(
                "a network of its own cannot be had: \(error); run the self-test as root")
        }
        var lane = Policy().lane
        lane.tcpPorts = tcpPorts.isEmpty ? lane.tcpPorts : tcpPorts
        let pair = try TestPair.make(server: lane.tcpPorts.first ?? 22)
        let before = try picture()
        var test: SelfTest
        do throws(TrafficControlError) {
            test = SelfTest(
                lane: lane, pair: pair, control: try KernelTrafficControl.open(settings))
        } catch {
            return refused("\(error)")
        }
        test.climb()
        test.comeDown()
        test.report.left = try picture().difference(from: before)
        return test.report
    }

    private static func picture() throws(SelfTestError) -> KernelPicture {
        do throws(NetlinkError) {
            return try KernelPicture.take()
        } catch {
            throw SelfTestError("what stands is not known: \(error)")
        }
    }

    private init(lane: Lane, pair: TestPair, control: consuming KernelTrafficControl) {
        report = SelfTestReport(kernel: RunningKernel.release, kernelNotes: control.parts.notes)
        self.lane = lane
        self.pair = pair
        self.control = control
    }

    /// No rung can be had.
    private static func refused(_ sentence: String) -> SelfTestReport {
        var report = SelfTestReport(kernel: RunningKernel.release, kernelNotes: [sentence])
        report.rungs = [.police, .shape, .tighten].map {
            RungResult(rung: $0, direction: .from, verdict: .refused, problem: sentence)
        }
        return report
    }

    // MARK: The rungs

    private mutating func climb() {
        for rung in [Rung.police, .shape, .tighten] { attempt(rung) }
        shutDown()
    }

    /// What the ladder holds on a rung: what the VM sends is policed, above that both ways shaped; the
    /// tighter one a quarter of the rate, with twice the delay.
    private func limits(_ rung: Rung) -> Limits {
        let policy = Policy()
        var cap = Self.cap
        if rung == .tighten {
            cap.packets = PacketRate(perSecond: cap.packets.perSecond / policy.tightenDivisor)
            cap.bits = BitRate(bitsPerSecond: cap.bits.bitsPerSecond / policy.tightenDivisor)
        }
        let delay: Duration? =
            switch rung {
            case .police: nil
            case .tighten: policy.delay * 2
            default: policy.delay
            }
        let limit = Limit(cap: cap, delay: delay)
        return Limits(
            rung: rung, incident: 1, from: limit, to: delay == nil ? nil : limit, lane: lane)
    }

    private mutating func attempt(_ rung: Rung) {
        let limits = limits(rung)
        let directions = limits.to == nil ? [Direction.from] : [.from, .to]
        do throws(TrafficControlError) {
            try control.apply(limits, to: pair.port)
        } catch {
            report.rungs += directions.map {
                RungResult(rung: rung, direction: $0, verdict: .refused, problem: "\(error)")
            }
            return
        }
        var results = measure(limits, directions)
        pair.drain()
        if !results.allSatisfy({ $0.verdict == .holds }) {
            // A busy machine has one more chance; that it took one is said.
            let first = results
            results = measure(limits, directions)
            pair.drain()
            for (place, result) in first.enumerated() where result.verdict != .holds {
                results[place].firstTry = result.problem ?? result.verdict.rawValue
            }
        }
        report.rungs += results
    }

    private mutating func measure(_ limits: Limits, _ directions: [Direction]) -> [RungResult] {
        let delay = limits.from?.delay ?? .zero
        let even = pair.flood(
            TestFlood(
                packetsPerSecond: Self.offered, bytes: Int(Self.frameBytes),
                settling: delay + Self.settling, counting: Self.counting),
            directions)
        let cap = limits.from?.cap ?? Self.cap
        let small = pair.flood(
            TestFlood(
                packetsPerSecond: 2 * Int(cap.packets.perSecond), bytes: Self.smallestBytes,
                settling: Self.settling, counting: Self.countingSmall),
            directions)
        let heldBy = control.enforcement(of: pair.port)
        return directions.map { direction in
            var result = RungResult(
                rung: limits.rung, direction: direction, heldBy: heldBy, verdict: .unsure)
            let limit = direction == .from ? limits.from : limits.to
            guard let even = even[direction], let small = small[direction], let limit else {
                return result
            }
            result.asked = TestLoad(limit.cap)
            result.offered = Delivered(
                packets: even.sent, bytes: even.sent * Int(Self.frameBytes)
            ).load(over: even.seconds)
            result.measured = even.delivered.load(over: even.seconds)
            result.smallFrames = small.delivered.load(over: small.seconds)
            result.laneSent = even.laneSent + small.laneSent
            result.lanePassed = even.lanePassed + small.lanePassed
            result.judge()
            return result
        }
    }

    /// The link down: nothing gets through; then up again.
    private mutating func shutDown() {
        var result = RungResult(
            rung: .shutDown, direction: .from, heldBy: "the link", verdict: .holds)
        do throws(TrafficControlError) {
            try control.setLink(pair.port, up: false)
            let flood = TestFlood(
                packetsPerSecond: Self.offered, bytes: Int(Self.frameBytes), settling: .zero,
                counting: Self.countingSmall)
            let count = pair.flood(flood, [.from])[.from] ?? TestCount()
            try control.setLink(pair.port, up: true)
            let passed = count.delivered.packets + count.lanePassed
            result.asked = TestLoad(packetsPerSecond: 0, bitsPerSecond: 0)
            result.measured = count.delivered.load(over: max(count.seconds, 1e-3))
            if passed > 0 {
                result.verdict = .leaks
                result.problem = "\(passed) frames come through a link that is down"
            }
        } catch {
            result.verdict = .refused
            result.problem = "\(error)"
        }
        report.rungs.append(result)
    }

    private mutating func comeDown() {
        do throws(TrafficControlError) {
            try control.apply(nil, to: pair.port)
        } catch {
            report.releaseProblem = "\(error)"
        }
    }
}
