// The real daemon in the place of another owner's root: through a crash, and out by `sluiced undo`.
import ControlAPI
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct ForeignRootTests {
    /// A stage on which the VM is flooded from outside behind another owner's root, until it is shaped.
    private struct Victim: ~Copyable {
        let stage: Stage
        let vm: Station
        let before: Snapshot
        let flood: FloodRun

        init(isReplacing: Bool = true) throws {
            let stage = try Stage(
                settings: """
                    [victim]
                    response = "shape"
                    [tc]
                    replace_foreign_root = \(isReplacing)

                    """)
            let vm = try stage.startWatched(vm: 1)
            for line in [
                "qdisc add dev \(vm.name) root handle 1: htb default 1",
                "class add dev \(vm.name) parent 1: classid 1:1 htb rate 500mbit burst 150k",
                "qdisc add dev \(vm.name) parent 1:1 handle 2: pfifo limit 900",
                "qdisc add dev \(vm.name) ingress",
            ] {
                try Tool.run("tc", line.split(separator: " ").map { String($0) })
            }
            let before = try Snapshot.settled()
            let flood = try stage.host.uplink.flood(
                Flood(
                    to: vm.endpoint, packetsPerSecond: Stage.floodRate, duration: .seconds(60)))
            self.stage = stage
            self.vm = vm
            self.before = before
            self.flood = flood
        }

        func rootIsOurs() throws -> Bool {
            try Tool.run("tc", "qdisc", "show", "dev", vm.name).contains("htb 7a01: root")
        }

        func waitUntilReplaced() throws {
            try stage.wait(for: "shape", of: vm.name, within: .seconds(10))
            #expect(try rootIsOurs())
        }

        func undo() throws -> (Lab.ExitStatus, String) {
            try Tool.status(
                DaemonProcess.binary("sluiced"),
                ["undo", "--config", stage.folder.file("sluiced.toml")])
        }
    }

    /// Guards against: a victim that is not limited behind another owner's root though it was asked
    /// for, a crash that forgets that root, and anything of it that is not as it was when the flood
    /// is over.
    @Test(.needs(.ifb, .tbf, .htb)) func aVictimIsLimitedThroughACrash() async throws {
        try await Namespace.run {
            let victim = try Victim()
            try victim.waitUntilReplaced()
            let port = try #require(try victim.stage.daemon.port(victim.vm.name))
            #expect(port.advisories.isEmpty)
            measure(for: .milliseconds(1_500))
            let window = measure(for: .seconds(2))
            let passed = try victim.vm.received.delivered(
                from: victim.stage.host.uplink.mac, during: window)
            report("to the VM, in the place of another's root: \(passed.packetsPerSecond) pps")
            #expect(isWithin(0.05, of: Double(Stage.target), passed.packetsPerSecond))
            victim.stage.daemon.kill()
            let successor = try DaemonProcess(
                in: victim.stage.folder, config: victim.stage.folder.file("sluiced.toml"),
                socket: victim.stage.daemon.socket)
            try Lab.wait(for: "the rung", within: .seconds(5)) {
                try successor.port(victim.vm.name)?.rung == "shape"
            }
            #expect(try victim.rootIsOurs())
            victim.flood.stop()
            try Lab.wait(for: "calm", within: .seconds(20)) {
                try successor.port(victim.vm.name)?.rung == "normal"
            }
            let left = try Snapshot.settledDifference(from: victim.before)
            #expect(left == [])
            _ = try successor.stop()
        }
    }

    /// Guards against: an undo that leaves another owner without his root though the journal has it,
    /// and one that says nothing where it has not.
    @Test(.needs(.ifb, .tbf, .htb), arguments: [true, false])
    func undoPutsItBack(_ hasJournal: Bool) async throws {
        try await Namespace.run {
            let victim = try Victim()
            try victim.waitUntilReplaced()
            victim.stage.daemon.kill()
            if !hasJournal {
                for folder in ["run", "state"] {
                    let file = victim.stage.folder.file(folder) + "/journal.json"
                    try Tool.run("rm", "-f", file)
                }
            }
            let (status, text) = try victim.undo()
            victim.flood.stop()
            #expect(status == .exited(0))
            #expect(text.contains("\(victim.vm.name): taken out"))
            #expect(text.contains("the kernel's default is left there") == !hasJournal)
            if hasJournal {
                let left = try Snapshot.settledDifference(from: victim.before)
                #expect(left == [])
            } else {
                #expect(try Snapshot().difference(from: victim.before) != [])
            }
            #expect(try !victim.rootIsOurs())
        }
    }

    /// Guards against: a root that is replaced though nobody asked for it, and a victim that is not
    /// limited without a word.
    @Test(.needs(.ifb, .tbf, .htb)) func unaskedItIsLeftAndSaid() async throws {
        try await Namespace.run {
            let victim = try Victim(isReplacing: false)
            try victim.stage.daemon.line(with: "replace_foreign_root", within: .seconds(10))
            victim.flood.stop()
            let left = try Snapshot.settledDifference(from: victim.before)
            #expect(left == [])
        }
    }
}
