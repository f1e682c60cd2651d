// A hypervisor on which somebody else has traffic control of his own: what the tests of other owners
// share.
import Lab
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

/// The rungs that the tests climb.
enum TestRungs {
    static let lane = Policy().lane

    static func limits(
        _ rung: Rung, _ packets: UInt64, delay: Duration?, bothWays: Bool = false
    ) -> Limits {
        let cap = Cap(
            packets: PacketRate(perSecond: packets), bits: BitRate(bytesPerSecond: packets * 250))
        let limit = Limit(cap: cap, delay: delay)
        return Limits(
            rung: rung, incident: 3, from: limit, to: bothWays ? limit : nil, lane: lane)
    }

    static let police = limits(.police, 1_000, delay: nil)
    static let shape = limits(.shape, 1_000, delay: .milliseconds(200))
    static let tighten = limits(.tighten, 250, delay: .milliseconds(400))
    static let all = [police, shape, tighten]
}

/// What a VM of the scene sends, and what the host delivers of it.
struct OwnersScene: ~Copyable {
    /// The destination port of the frames that the other owner's rules drop.
    static let forbidden: UInt16 = 9_999
    /// Frames of 250 bytes that the VM floods with in a second.
    static let offered = 8_000

    let uplink: Station
    let vm: Station
    let port: ControlledPort
    var control: KernelTrafficControl

    /// A scene on these stations.
    init(
        _ vm: Station, uplink: Station, _ settings: TrafficControlSettings
    ) throws(TrafficControlError) {
        control = try KernelTrafficControl.open(settings)
        // As the daemon knows its ports.
        let link = try? control.socket.link(index: vm.index)
        port = ControlledPort(
            index: vm.index, name: PortName(vm.name), mtu: 1_500,
            isOnOpenVSwitch: link?.isOnOpenVSwitch)
        self.uplink = uplink
        self.vm = vm
    }

    /// Climbs rung by rung while the VM floods, holds each to its cap within 5%, and counts the
    /// forbidden frames that got through; comes down, and gives what is not as it was before. The
    /// forbidden are few, since those that conform are not delivered and count against the cap.
    mutating func climb(
        _ what: String, _ rungs: [Limits] = TestRungs.all, ceiling: Double? = nil,
        forbidding: Int = 8
    ) throws -> Climb {
        var climb = Climb()
        let before = try Snapshot.settled()
        let flood = try vm.flood(
            Flood(to: Host.outside, packetsPerSecond: Self.offered, duration: .seconds(60)))
        let forbidden = try vm.flood(
            Flood(
                to: Host.outside, packetsPerSecond: forbidding, duration: .seconds(60),
                destinationPort: Self.forbidden))
        for limits in rungs {
            try control.apply(limits, to: port)
            measure(for: .milliseconds(1_200))
            let cap = Double(limits.from?.cap.packets.perSecond ?? 0)
            let wanted = min(cap, ceiling ?? cap)
            let window = try passing(wanted)
            let passed = try uplink.received.delivered(from: vm.mac, during: window)
            report(
                "\(what), \(limits.rung): \(Int(passed.packetsPerSecond)) pps of \(Int(wanted)), "
                    + "by \(control.enforcement(of: port) ?? "-")")
            #expect(abs(passed.packetsPerSecond - wanted) <= wanted * 0.05, "\(what)")
            climb.forbidden += try uplink.received.delivered(
                FrameFilter(from: vm.mac, destinationPort: Self.forbidden), during: window
            ).packets
            climb.advisories += control.advisories(of: port)
            let again = repair()
            #expect(again == nil, "\(what)")
        }
        climb.isBypassed = try isBypassed()
        flood.stop()
        forbidden.stop()
        try control.apply(nil, to: port)
        #expect(control.advisories(of: port).isEmpty)
        climb.left = try Snapshot.settledDifference(from: before)
        return climb
    }

    /// A window of 1.5 s. In one in which less than 95% of `wanted` passed, the machine may have
    /// stood still, and with it the sender: the third such one proves that a limit is too tight.
    private func passing(_ wanted: Double) throws -> ClosedRange<Moment> {
        var window = measure(for: .milliseconds(1_500))
        for _ in 0..<2 {
            let passed = try uplink.received.delivered(from: vm.mac, during: window)
            if passed.packetsPerSecond >= wanted * 0.95 { break }
            window = measure(for: .milliseconds(1_500))
        }
        return window
    }

    /// Looks at the port, and puts back what is missing.
    mutating func repair() -> Repair? {
        control.repair([port], puttingBack: true)[port.index]
    }

    /// What came of a climb.
    struct Climb {
        /// Frames that the other owner drops and that were delivered nevertheless.
        var forbidden = 0
        /// Whether the counters say, on the last rung, that frames go past our limits.
        var isBypassed = false
        /// All that was advised on the way.
        var advisories: [String] = []
        /// Lines of the picture that are not as they were.
        var left: [String] = []
    }

    /// The port's own counters of what the VM sent.
    func offered() throws -> DeliveredCounters {
        var counters = DeliveredCounters()
        var poller = try StatisticsPoller.open()
        try poller.poll { index, statistics in
            guard index == port.index else { return }
            counters = DeliveredCounters(
                packets: statistics.rxPackets, bytes: statistics.rxBytes)
        }
        return counters
    }

    /// Whether three measurements of a third of a second say that frames go past the limits.
    mutating func isBypassed() throws -> Bool {
        var watch = BypassWatch()
        for round in 0...3 {
            if round > 0 { measure(for: .milliseconds(333)) }
            let offered = try offered()
            let seen = try control.measure(port) { _ in nil }.fromSeen
            watch.take(offered: offered, seen: try #require(seen))
        }
        return watch.isBypassed
    }
}

/// Runs `tc` with the words of a line, and `more` behind them as they are.
func tc(_ line: String, _ more: String...) throws(LabError) {
    try Tool.run("tc", line.split(separator: " ").map { String($0) } + more)
}

/// A figure for the record of a run.
func report(_ figure: String) { Program.write("figure: \(figure)\n") }
