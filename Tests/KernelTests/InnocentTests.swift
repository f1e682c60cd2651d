// What must go on while a port is limited, and who must never be driven up.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct InnocentTests {
    /// Guards against: an owner who cannot reach the machine to mend it, a lease or a neighbour entry
    /// that expires, and a neighbour who pays for another's flood.
    @Test(.needs(.ifb, .tbf, .clsact)) func managementLaneStaysOpen() async throws {
        try await Namespace.run {
            let stage = try Stage(outside: .guest, police: 6, shape: 60)
            let rogue = try stage.host.start(vm: 1, inside: .guest)
            let neighbour = try stage.host.start(vm: 2, netid: 0xab)
            let uplink = stage.host.uplink
            let session = try EchoSession(from: uplink, to: rogue)
            let arp = try ARPProbe(from: uplink, for: rogue.endpoint)
            let leases = try LeaseRenewals(from: rogue, to: uplink)
            let quiet = try neighbour.flood(
                Flood(to: Host.outside, packetsPerSecond: 200, duration: .seconds(60)))
            let begin = Moment.now
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(60)))
            for rung in ["police", "shape"] {
                try stage.wait(for: rung, of: rogue.name, within: .seconds(15))
                let window = measure(for: .seconds(5))
                let talk = session.summary(during: window)
                report("\(rung): ssh \(talk.answered)/\(talk.asked), stall \(talk.longestStall)")
                #expect(talk.asked > 20)
                #expect(talk.longestStall <= .seconds(1))
                let questions = try arp.summary(during: window)
                report("\(rung): ARP \(questions.answered)/\(questions.asked)")
                #expect(questions.answered >= questions.asked - 1)
                let renewals = leases.summary(during: window)
                report("\(rung): DHCP \(renewals.answered)/\(renewals.asked)")
                #expect(renewals.asked >= 8)
                #expect(renewals.answered >= renewals.asked - 1)
            }
            #expect(session.isAlive)
            flood.stop()
            let sent = quiet.stop()
            var delivered = 0
            try wait(for: "the neighbour's \(sent) packets", within: .seconds(3)) {
                let filter = FrameFilter(from: neighbour.mac, kind: .udp)
                let window = begin - .seconds(1)...Moment.now
                delivered = try uplink.received.delivered(filter, during: window).packets
                return delivered >= sent
            }
            report("the neighbour: \(delivered) of \(sent)")
            #expect(delivered == sent)
            #expect(stage.rungs(of: neighbour.name) == [])
            for each in [session.stop, arp.stop, leases.stop] { each() }
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: a healthy sender that is punished for its own success. It fills the line, is
    /// policed by its bytes, backs off, and stays there.
    @Test(.needs(.ifb, .tbf, .clsact)) func uploadIsNeverDrivenAbovePolice() async throws {
        try await Namespace.run {
            let stage = try Stage(outside: .guest, police: 2, calm: 60)
            let sender = try stage.host.start(vm: 1, inside: .guest)
            let upload = try Upload(from: sender, to: stage.host.uplink)
            // Marks are 3,900 packets and 400 Mbit/s: line speed is above one of them.
            measure(for: .seconds(12))
            let rungs = stage.rungs(of: sender.name)
            report("upload: rungs \(rungs), \(upload.receivedBytes) bytes received")
            #expect(rungs.allSatisfy { $0 == "police" })
            #expect(upload.isAlive)
            upload.stop()
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: punishing the one who is attacked.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: ["alert", "shape"])
    func victimIsNeverAboveShape(_ response: String) async throws {
        try await Namespace.run {
            let stage = try Stage(
                police: 1, shape: 1, tighten: 1, settings: "[victim]\nresponse = \"\(response)\"\n")
            let victim = try stage.host.start(vm: 1)
            let flood = try stage.host.uplink.flood(
                Flood(
                    to: victim.endpoint, packetsPerSecond: Stage.floodRate, duration: .seconds(30)))
            try stage.daemon.line(with: "event=victim ", within: .seconds(5))
            measure(for: .seconds(6))
            let rungs = stage.rungs(of: victim.name)
            report("victim, \(response): rungs \(rungs)")
            #expect(rungs == (response == "alert" ? [] : ["shape"]))
            #expect(try stage.daemon.port(victim.name)?.isVictim == true)
            #expect(try victim.isUp())
            flood.stop()
            try stage.daemon.line(with: "event=victim-over ", within: .seconds(15))
            _ = try stage.daemon.stop()
        }
    }
}
