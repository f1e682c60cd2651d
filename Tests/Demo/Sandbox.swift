// The hypervisor of the demo: a rogue VM with an SSH server, a quiet neighbour, the world outside,
// and the real daemon with short dwells.
// Invariant: made and used on one thread, in a namespace of its own; closed whatever happened.

import ControlAPI
import Lab

final class Sandbox {
    /// What is asked of the daemon, and held against what is measured.
    static let targetPacketsPerSecond = 1_000
    static let floodPacketsPerSecond = 20_000
    static let frameBytes = 250

    private static let neighbourPacketsPerSecond = 100

    let host: Host
    let rogue: Station
    let neighbour: Station
    let daemon: DaemonProcess
    let session: EchoSession
    let before: Snapshot
    private let neighbourFlow: FloodRun
    private var floods: [FloodRun] = []
    /// The hook's request to stop the VM: a file, where `virsh` would tell libvirt.
    private let stopRequest: String

    init(in folder: borrowing ScratchFolder) throws {
        host = try Host(outside: .guest)
        rogue = try host.start(vm: 1, inside: .guest)
        neighbour = try host.start(vm: 2)
        stopRequest = folder.file("stop-vm-1")
        before = try Snapshot()
        let socket = folder.file("control")
        let config = try folder.write(
            Self.configuration(socket: socket, folder: folder.path), to: "sluiced.toml")
        daemon = try DaemonProcess(in: folder, config: config, socket: socket)
        session = try EchoSession(from: host.uplink, to: rogue)
        neighbourFlow = try neighbour.flood(
            Flood(
                to: host.uplink.endpoint, packetsPerSecond: Self.neighbourPacketsPerSecond,
                frameBytes: 300, duration: .seconds(300), destinationPort: 9_999))
    }

    /// The defaults of Configs/sluiced.toml, but for a tenth of the target and short times.
    private static func configuration(socket: String, folder: String) -> String {
        """
        [poll]
        grace = "1s"
        [target]
        packets = "\(targetPacketsPerSecond)pps"
        [police]
        dwell = "8s"
        [shape]
        dwell = "8s"
        [tighten]
        dwell = "8s"
        [shutdown.hook]
        gentle = ["/usr/bin/touch", "\(folder)/stop-{domain}"]
        wait = "10s"
        hard = ["/usr/bin/touch", "\(folder)/destroy-{domain}"]
        [calm]
        time = "3s"
        [class.vm]
        names = ["vm-<num>-<netid>"]
        from = { packets = "2500pps", bits = "1gbit" }
        [control]
        socket = "\(socket)"

        """
    }

    // MARK: What happens in it

    /// Frames of the floods that the rogue's tap took so far.
    var offered: Int { floods.reduce(0) { $0 + $1.sent } }

    /// Frames that the neighbour sent so far.
    var neighbourSent: Int { neighbourFlow.sent }

    func startFlood() throws -> FloodRun {
        let flood = try rogue.flood(
            Flood(
                to: host.uplink.endpoint, packetsPerSecond: Self.floodPacketsPerSecond,
                frameBytes: Self.frameBytes, duration: .seconds(90)))
        floods.append(flood)
        return flood
    }

    func stopFlood() { floods.last?.stop() }

    /// Whether the daemon's hook has asked for the VM's end.
    var isStopRequested: Bool { (try? readFile(stopRequest)) != nil }

    /// The rogue ends, as its domain does when the hook was obeyed.
    func stopRogue() { rogue.close() }

    func close() throws {
        session.stop()
        neighbourFlow.stop()
        stopFlood()
        try daemon.stop()
    }

    // MARK: What is measured in it

    static func flood(of station: Station) -> FrameFilter {
        FrameFilter(from: station.mac, kind: .udp)
    }

    func delivered(during window: ClosedRange<Moment>) throws -> Tally {
        try host.uplink.received.delivered(Self.flood(of: rogue), during: window)
    }

    func lane(during window: ClosedRange<Moment>) throws -> Tally {
        try host.uplink.received.delivered(
            FrameFilter(from: rogue.mac, kind: .tcp, sourcePort: 22), during: window)
    }

    func neighbourDelivered(during window: ClosedRange<Moment>) throws -> Tally {
        try host.uplink.received.delivered(Self.flood(of: neighbour), during: window)
    }
}
