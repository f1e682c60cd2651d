// Senders that try to get around the limits: other protocols, tags, fragments, GSO, the lane's own
// ports, and a change of packet size after calibration.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct EvasionTests {
    /// A way to send.
    struct Evasion: Sendable, CustomTestStringConvertible {
        var name: String
        var traffic: Flood.Traffic = .udp4
        var tags: [UInt16] = []
        var frameBytes = 250
        var sourcePort: UInt16 = 40_000
        var rate = Stage.floodRate
        /// The most packets a second that may pass; nil: bytes bound it, at the flood's average.
        var most = Double(Stage.target)
        var testDescription: String { name }
    }

    /// Two that flood at the same time.
    struct Pair: Sendable, CustomTestStringConvertible {
        var evasions: ArraySlice<Evasion>
        var testDescription: String { evasions.map(\.name).joined(separator: "; ") }
    }

    static let pairs = stride(from: 0, to: evasions.count, by: 2).map {
        Pair(evasions: evasions[$0..<min($0 + 2, evasions.count)])
    }

    static let evasions = [
        Evasion(name: "IPv6", traffic: .udp6),
        Evasion(name: "one tag", tags: [100]),
        Evasion(name: "two tags", tags: [100, 200]),
        Evasion(name: "later fragments", traffic: .fragments4),
        Evasion(name: "later IPv6 fragments", traffic: .fragments6),
        Evasion(name: "TCP to a port that is not the lane's", traffic: .tcp4),
        Evasion(name: "from port 22", traffic: .tcp4, sourcePort: 22, most: 200),
        Evasion(
            name: "from port 22, IPv6, tagged", traffic: .tcp6, tags: [7], sourcePort: 22, most: 200
        ),
        Evasion(name: "UDP from port 22", sourcePort: 22),
        Evasion(name: "ARP", traffic: .arp, frameBytes: 60, most: 50),
        Evasion(name: "ICMP", traffic: .icmp4, most: 50),
    ]

    /// Guards against: a kind of frame that no limit sees, and a lane that is a hole.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: pairs)
    func everyFrameIsHeld(_ pair: Pair) async throws {
        try await Namespace.run {
            let stage = try Stage(police: 5, shape: 60)
            let rogues = try pair.evasions.indices.map { place in
                try stage.host.start(vm: UInt16(place + 1))
            }
            let floods = try zip(pair.evasions, rogues).map { evasion, rogue in
                try rogue.flood(
                    Flood(
                        to: Host.outside, packetsPerSecond: evasion.rate,
                        frameBytes: evasion.frameBytes, traffic: evasion.traffic,
                        duration: .seconds(30), sourcePort: evasion.sourcePort,
                        tags: evasion.tags))
            }
            for rung in ["police", "shape"] {
                for rogue in rogues {
                    try stage.wait(for: rung, of: rogue.name, within: .seconds(15))
                }
                measure(for: .milliseconds(1_500))
                let window = measure(for: .seconds(2))
                for (evasion, rogue) in zip(pair.evasions, rogues) {
                    let tally = try stage.host.uplink.received.delivered(
                        from: rogue.mac, during: window)
                    report("\(evasion.name), \(rung): \(tally.packetsPerSecond) of \(evasion.most)")
                    #expect(tally.packetsPerSecond <= evasion.most * 1.05)
                    #expect(tally.packetsPerSecond >= evasion.most * 0.5)
                }
            }
            for flood in floods { flood.stop() }
            #expect(!stage.daemon.lines.contains { $0.contains("event=cap-exceeded") })
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: a 64 KB frame that counts as one packet, and a policer with a burst below it
    /// that passes none.
    @Test(.needs(.ifb, .tbf, .clsact)) func largeSegmentedFramesAreHeld() async throws {
        try await Namespace.run {
            // 1,000 frames of 64 KB are 524 Mbit/s: the mark in bits trips.
            let stage = try Stage(outside: .guest, police: 5, shape: 60)
            let rogue = try stage.host.start(vm: 1, inside: .guest)
            let flood = try rogue.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: 1_000, frameBytes: 65_000,
                    traffic: .segments(of: 1_448), duration: .seconds(30)))
            for rung in ["police", "shape"] {
                try stage.wait(for: rung, of: rogue.name, within: .seconds(15))
                measure(for: .milliseconds(1_500))
                let window = measure(for: .seconds(2))
                let tally = try stage.host.uplink.received.delivered(
                    FrameFilter(from: rogue.mac, kind: .tcp), during: window)
                let port = try #require(try stage.daemon.port(rogue.name))
                let cap = try #require(port.cap?.from)
                report(
                    "GSO, \(rung): \(tally.bitsPerSecond) of \(cap.bitsPerSecond) bit/s, "
                        + "\(tally.packetsPerSecond) of \(cap.packetsPerSecond) pps")
                #expect(tally.bitsPerSecond <= cap.bitsPerSecond * 1.1)
                #expect(tally.bitsPerSecond > 0)
            }
            flood.stop()
            #expect(!stage.daemon.lines.contains { $0.contains("event=cap-exceeded") })
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: a sender that calibrates with large packets and then sends small ones within
    /// the bytes it was given.
    @Test(.needs(.ifb, .tbf, .clsact)) func smallerPacketsDoNotGetThrough() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 5, shape: 60)
            let rogue = try stage.host.start(vm: 1)
            let flood = try rogue.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: Stage.floodRate, frameBytes: 1_400,
                    duration: .seconds(30),
                    resizes: [Flood.Resize(after: .milliseconds(1_500), frameBytes: 60)]))
            for rung in ["police", "shape"] {
                try stage.wait(for: rung, of: rogue.name, within: .seconds(15))
                measure(for: .milliseconds(3_000))
                let window = measure(for: .seconds(1))
                let tally = try stage.host.uplink.received.delivered(
                    from: rogue.mac, during: window)
                report("1,400 to 60 bytes, \(rung): \(tally.packetsPerSecond) of \(Stage.target)")
                #expect(tally.bytes <= tally.packets * 100)
                #expect(tally.packetsPerSecond <= Double(Stage.target) * 1.05)
            }
            flood.stop()
            #expect(!stage.daemon.lines.contains { $0.contains("event=cap-exceeded") })
            _ = try stage.daemon.stop()
        }
    }
}
