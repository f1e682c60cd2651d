// Guards with the real daemon: said by the configuration or by a file that an orchestrator drops in, in
// force on every rung, over a restart and after a wipe, and told.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct GuardTests {
    /// Guards against: a file that waits for a restart, a broken one that opens the port, guards that a
    /// rung, a restart or an operator's release takes out, and anything left when the file goes.
    @Test(.needs(.ifb, .tbf, .clsact)) func aFileIsInForceWhileItIsThere() async throws {
        try await Namespace.run {
            let scene = try Scene()
            let rogue = scene.rogue
            let before = try Snapshot.settled()
            #expect(try scene.forgedPassing() > 20)
            try scene.say(Scene.tenant(rogue))
            try scene.expectGuarded()
            try scene.stage.daemon.line(with: "event=guard-files changed=1", within: .seconds(5))

            // Its own flood is policed, then shaped; what it forges stays where it was.
            let flood = try rogue.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(60)))
            try scene.stage.wait(for: "shape", of: rogue.name, within: .seconds(20))
            try scene.expectGuarded()
            try scene.stage.daemon.request("POST", "/v1/release", body: #"{"all": true}"#)
            try scene.expectGuarded()
            flood.stop()

            try scene.say("profile = \"tenant\"\nmac = \"52:54:00\"")
            let refusal = try scene.stage.daemon.line(
                with: "event=guard-file-refused ", within: .seconds(5))
            #expect(refusal.contains("\(rogue.name).toml:2:7: error: mac: "))
            try scene.expectGuarded()

            // No daemon, and the next one: it reads the same file again, mended by now.
            try scene.say(Scene.tenant(rogue))
            try wait(for: "calm", within: .seconds(10)) {
                try scene.stage.daemon.port(rogue.name)?.rung == "normal"
            }
            _ = try scene.stage.daemon.stop()
            #expect(try scene.forgedPassing() == 0)
            let next = try scene.stage.startAgain()
            try wait(for: "the guards", within: .seconds(5)) {
                try next.port(rogue.name)?.guards?.inForce == true
            }
            #expect(try scene.forgedPassing() == 0)
            let status = try #require(try next.port(rogue.name)?.guards)
            #expect(status.profile == "tenant" && status.origin == "\(rogue.name).toml")

            try Tool.run("rm", scene.file)
            try wait(for: "no guards", within: .seconds(5)) {
                try next.port(rogue.name)?.guards == nil
            }
            try wait(for: "nothing of ours", within: .seconds(5)) {
                try Snapshot.settledDifference(from: before) == []
            }
            #expect(try scene.forgedPassing() > 20)
            _ = try next.stop()
        }
    }

    /// Guards against: a VM that comes and speaks before it is guarded, a forgery that is not told, one
    /// told again and again, and counters that `status` does not show.
    @Test(.needs(.ifb, .tbf, .clsact)) func aVMThatComesIsGuardedAndToldOf() async throws {
        try await Namespace.run {
            let scene = try Scene("[guard.\"vm-*\"]\nswitches = [\"no-ipv6\"]\n")
            let name = scene.rogue.name
            try wait(for: "the guards", within: .seconds(5)) {
                try scene.stage.daemon.port(name)?.guards?.inForce == true
            }
            let begin = Moment.now
            let late = try scene.stage.host.start(vm: 9)
            try wait(for: "the guards", within: .seconds(5)) {
                try scene.stage.daemon.port(late.name)?.guards?.inForce == true
            }
            report("guarded \(Moment.now - begin) after the VM came")
            #expect(Moment.now - begin < .seconds(2))
            let forbidden = try late.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: 100, traffic: .udp6, duration: .seconds(60)
                ))
            let told = try scene.stage.daemon.line(
                with: "event=guards-refused ", within: .seconds(15))
            #expect(told.contains("port=\(late.name) ") && told.contains("ipv6:"))
            try wait(for: "the count", within: .seconds(15)) {
                try scene.stage.daemon.port(late.name)?.guards?.refusedPackets["ipv6"] ?? 0 > 200
            }
            forbidden.stop()
            #expect(
                scene.stage.daemon.lines.count { $0.contains("event=guards-refused ") } == 1)
            #expect(
                try scene.stage.host.uplink.received.delivered(
                    from: late.mac, during: begin...Moment.now
                ).packets == 0)
            let listed = try Tool.run(
                DaemonProcess.binary("sluicectl"), "guards", "--socket", scene.stage.daemon.socket)
            #expect(listed.contains("no-ipv6") && listed.contains("guard.\"vm-*\""))
            _ = try scene.stage.daemon.stop()
        }
    }

    /// Guards against: a wipe after which the port stays open, a monitor that drops, and many forged
    /// machines that look like one.
    @Test(.needs(.ifb, .tbf, .clsact)) func whatIsWipedComesBack() async throws {
        try await Namespace.run {
            let scene = try Scene()
            try scene.say(Scene.tenant(scene.rogue))
            try scene.expectGuarded()
            try Tool.run("tc", "qdisc", "del", "dev", scene.rogue.name, "ingress")
            let begin = Moment.now
            try scene.stage.daemon.line(with: "event=repaired ", within: .seconds(5))
            report("put back \(Moment.now - begin) after a wipe")
            #expect(Moment.now - begin < .seconds(2))
            #expect(try scene.forgedPassing() == 0)

            try scene.say("mode = \"monitor\"\n" + Scene.tenant(scene.rogue))
            try wait(for: "the monitor", within: .seconds(5)) {
                let guards = try scene.stage.daemon.port(scene.rogue.name)?.guards
                return guards?.mode == "monitor" && guards?.inForce == true
            }
            #expect(try scene.forgedPassing() > 20)
            try scene.stage.daemon.line(
                with: "event=would-guards-refused port=\(scene.rogue.name) ", within: .seconds(15))

            let parts = KernelParts.current
            let areCounted =
                parts.lacking([.actBPF]).isEmpty || !parts.lacking([.gact]).isEmpty
            for number in UInt16(67)..<71 { try scene.forge(10, as: Endpoint(number: number)) }
            try wait(for: "the sources", within: .seconds(10)) {
                let sources = try scene.stage.daemon.port(scene.rogue.name)?.guards?.sourceMACs
                return areCounted ? (3...9).contains(sources ?? 0) : sources == nil
            }
            _ = try scene.stage.daemon.stop()
        }
    }
}

/// A hypervisor, a daemon with a folder of guards, and a VM that forges.
private struct Scene: ~Copyable {
    let stage: Stage
    let rogue: Station

    init(_ settings: String = "") throws {
        let folder = try ScratchFolder()
        let place = "[guards]\ndirectory = \"\(folder.path)\"\n"
        let stage = try Stage(police: 1, shape: 3_600, settings: place + settings)
        rogue = try stage.startWatched(vm: 1)
        self.stage = stage
        self.folder = folder
    }

    private let folder: ScratchFolder

    /// The VM's own file.
    var file: String { folder.file("\(rogue.name).toml") }

    /// An orchestrator says so.
    func say(_ text: String) throws {
        try Tool.run("mv", try folder.write(text, to: ".new"), file)
    }

    /// A VM with its own addresses and nobody else's.
    static func tenant(_ vm: Station) -> String {
        """
        profile = "tenant"
        mac = "\(vm.mac)"
        ipv4 = "\(vm.endpoint.address4)"
        """
    }

    /// How many of a hundred frames with another machine's addresses pass, in a second.
    func forgedPassing() throws -> Int {
        let other = Endpoint(number: 66)
        let begin = Moment.now
        try forge(100, as: other)
        measure(for: .milliseconds(200))
        return try stage.host.uplink.received.delivered(
            from: other.mac, during: begin...Moment.now
        ).packets
    }

    /// So many frames of another machine, a hundred a second.
    func forge(_ count: Int, as other: Endpoint) throws {
        _ = try rogue.flood(
            Flood(to: Host.outside, packetsPerSecond: 100, duration: .seconds(5), count: count),
            as: other
        ).finish()
    }

    /// Nothing forged passes, and what is honest does.
    func expectGuarded() throws {
        try wait(for: "the guards", within: .seconds(5)) {
            try stage.daemon.port(rogue.name)?.guards?.inForce == true
        }
        #expect(try forgedPassing() == 0)
        let begin = Moment.now
        _ = try rogue.flood(
            Flood(to: Host.outside, packetsPerSecond: 50, duration: .seconds(5), count: 25)
        ).finish()
        let honest = try stage.host.uplink.received.delivered(
            from: rogue.mac, during: begin...Moment.now)
        #expect(honest.packets > 0)
    }
}
