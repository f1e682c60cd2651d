// A throw-away pair of interfaces in the caller's network namespace: a port, and the VM's end of it,
// with a flood between them and a count of what comes through.
//
//   what the VM sends:      sender at the far end  -> [ingress of the port: our limits] -> receiver
//   what is sent to the VM: sender at the port -> [its egress: our limits] -> receiver at the far end
//
// Invariants: a flood is bounded in time and in frames; one thread does all of it.
internal import Glibc
internal import LinuxSystem
internal import Mitigation
internal import Netlink
internal import SystemPackage
internal import TrafficControl

/// What is sent, each way.
struct TestFlood: Hashable, Sendable {
    /// Frames a second, the management lane's not among them.
    var packetsPerSecond: Int
    /// Of each frame, Ethernet header included.
    var bytes: Int
    /// What passes before it is counted: bursts and queues come to rest.
    var settling: Duration
    /// How long it is counted.
    var counting: Duration
}

/// What was sent and what came through, one way.
struct TestCount: Hashable, Sendable {
    /// Frames that the interface took while it was counted.
    var sent = 0
    /// Frames of the management lane that it took, from first to last.
    var laneSent = 0
    /// Those of them that came through.
    var lanePassed = 0
    /// What came through while it was counted, the lane's not among it.
    var delivered = Delivered()
    /// How long it was counted, in seconds.
    var seconds = 0.0
}

/// The pair.
struct TestPair {
    /// A late wake-up is made good for no longer than this: a flood, not a burst.
    private static let longestCatchUp = 0.05
    private static let lanePacketsPerSecond = 50.0
    private static let laneBytes = 74
    private static let name = "doctor0"

    /// The port's end.
    let port: ControlledPort
    private let server: UInt16
    private let ways: [Mitigation.Direction: Way]

    /// One way through the pair.
    private final class Way {
        let sender: PacketSender
        var receiver: PacketReceiver
        var due = 0
        var laneDue = 0
        var isCounting = false
        var count = TestCount()

        init(from source: Int32, to target: Int32) throws(Errno) {
            sender = try PacketSender(interface: source)
            receiver = try PacketReceiver(interface: target, type: TestFrame.type)
        }

        /// Sends what is due after this time, in seconds.
        func send(_ flood: TestFlood, at passed: Double, _ frame: [UInt8], _ laneFrame: [UInt8]) {
            let rate = Double(flood.packetsPerSecond)
            due = max(due, Int((passed - longestCatchUp) * rate))
            while Double(due) < passed * rate {
                due += 1
                if sender.send(frame), isCounting { count.sent += 1 }
            }
            while Double(laneDue) < passed * lanePacketsPerSecond {
                laneDue += 1
                if sender.send(laneFrame) { count.laneSent += 1 }
            }
        }

        /// Takes what has come through, and gives how many frames of ours that were.
        @discardableResult
        func take() -> Int {
            var taken = 0
            receiver.take { head, length in
                guard let frame = TestFrame(head: head) else { return }
                taken += 1
                if frame == .lane {
                    count.lanePassed += 1
                } else if isCounting {
                    count.delivered.packets += 1
                    count.delivered.bytes += length
                }
            }
            return taken
        }
    }

    /// Makes it, up, in the caller's network namespace.
    ///
    /// - Parameter server: a TCP port of the management lane.
    /// - Throws: `SelfTestError` with what the kernel refused.
    static func make(server: UInt16) throws(SelfTestError) -> TestPair {
        let (near, far, mtu) = try link()
        do throws(Errno) {
            return TestPair(
                port: ControlledPort(index: near, name: PortName(name), mtu: mtu), server: server,
                ways: [.from: try Way(from: far, to: near), .to: try Way(from: near, to: far)])
        } catch {
            throw SelfTestError("packets cannot be sent: \(error)")
        }
    }

    private static func link() throws(SelfTestError) -> (near: Int32, far: Int32, mtu: UInt32) {
        do throws(NetlinkError) {
            var socket = try RouteSocket.open()
            let (near, far) = try socket.createPair(name: name, other: "doctor1")
            for end in [near, far] { try socket.setLink(end, up: true) }
            return (near, far, try socket.link(index: near)?.mtu ?? 1_500)
        } catch {
            throw SelfTestError("a pair of interfaces cannot be had: \(error)")
        }
    }

    /// Waits until nothing more comes out of the queues, at most two seconds: what waits there of one
    /// flood would be counted in the next.
    func drain() {
        let end = MonotonicClock.nanoseconds + 2_000_000_000
        var quietSince = MonotonicClock.nanoseconds
        while true {
            usleep(5_000)
            let now = MonotonicClock.nanoseconds
            guard now < end, now - quietSince < 100_000_000 else { return }
            for way in ways.values where way.take() > 0 { quietSince = now }
        }
    }

    /// Floods it in these directions at once, and counts.
    func flood(
        _ flood: TestFlood, _ directions: [Mitigation.Direction]
    ) -> [Mitigation.Direction: TestCount] {
        let running = directions.compactMap { direction in
            ways[direction].map { way in
                let isFrom = direction == .from
                return (
                    way: way,
                    frame: TestFrame.flood.bytes(server, isFromVM: isFrom, count: flood.bytes),
                    lane: TestFrame.lane.bytes(server, isFromVM: isFrom, count: Self.laneBytes)
                )
            }
        }
        let start = MonotonicClock.nanoseconds
        var countedFrom = start
        let settled = start + flood.settling.wholeNanoseconds
        let end = settled + flood.counting.wholeNanoseconds
        var isCounting = false
        for way in running.map(\.way) {
            way.take()
            (way.count, way.due, way.laneDue) = (TestCount(), 0, 0)
        }
        var now = start
        while now < end {
            for (way, frame, lane) in running {
                way.send(flood, at: Double(now - start) / 1e9, frame, lane)
                way.take()
            }
            if !isCounting, now >= settled {
                isCounting = true
                countedFrom = MonotonicClock.nanoseconds
                for way in running.map(\.way) { way.isCounting = true }
            }
            usleep(1_000)
            now = MonotonicClock.nanoseconds
        }
        for way in running.map(\.way) {
            way.take()
            way.isCounting = false
            way.count.seconds = Double(MonotonicClock.nanoseconds - countedFrom) / 1e9
        }
        // The last of the lane's are on their way.
        usleep(50_000)
        for way in running.map(\.way) { way.take() }
        return Dictionary(
            uniqueKeysWithValues: directions.compactMap { direction in
                ways[direction].map { (direction, $0.count) }
            })
    }
}
