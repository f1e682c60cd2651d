// What becomes of a VM's tap while it is limited: gone and back, renamed, moved, unplugged, its number
// given to another, and a thousand of them.
import ControlAPI
import Daemon
import Lab
import LabTesting
import Mitigation
import Testing

@Suite(.serialized) struct LifeTests {
    private static let address = "52:54:00:00:00:01"

    /// Guards against: ifbs that outlive their tap, and a VM that gets rid of its strikes by a restart
    /// with a new interface of the same name and address, which it has only a moment later.
    @Test(.needs(.ifb, .tbf, .clsact)) func aTapThatComesBackKeepsItsStrikes() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 1)
            let first = try start(stage)
            try flood(first, .seconds(30))
            try stage.wait(for: "shape", of: first.name, within: .seconds(10))
            first.close()
            try stage.daemon.line(with: "event=vanished ", within: .seconds(5))
            try Lab.wait(for: "no ifb", within: .seconds(5)) { try ifbs() == [] }
            #expect(stage.daemon.lines.count { $0.contains("event=vanished ") } == 1)

            let second = try start(stage)
            #expect(second.index != first.index)
            #expect(try stage.daemon.port(second.name)?.rung == "normal")
            try flood(second, .seconds(30))
            try Lab.wait(for: "another shape", within: .seconds(10)) {
                try stage.daemon.port(second.name)?.rung == "shape"
            }
            #expect(try memory(stage).incident?.strikes == 1)
            second.close()

            // Another machine that got the name.
            let stranger = try stage.startWatched(vm: 1)
            try flood(stranger, .seconds(30))
            try Lab.wait(for: "its police", within: .seconds(10)) {
                try stage.daemon.port(stranger.name)?.rung == "police"
            }
            try Lab.wait(for: "its memory", within: .seconds(5)) {
                try memory(stage).incident?.rung == .police
            }
            #expect(try memory(stage).incident?.strikes == 0)
            stranger.close()
            try Lab.wait(for: "no ifb", within: .seconds(5)) { try ifbs() == [] }
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: a link that flaps, or is renamed, out of its limits; limits that stay on one
    /// that is no port any more, or go with it to where nobody looks after them.
    @Test(.needs(.ifb, .tbf, .clsact)) func unpluggedRenamedAndMoved() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 1)
            let rogue = try start(stage)
            let run = try flood(rogue, .seconds(60))
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))

            let carrier = "/sys/class/net/\(rogue.name)/carrier"
            try writeFile("0", to: carrier)
            try expectPolls(stage, 5)
            try writeFile("1", to: carrier)
            try expectHeld(stage, rogue, as: rogue.name)

            try renameLink(Array(rogue.name.utf8), to: Array("vm-9-00aa".utf8))
            try Lab.wait(for: "the new name", within: .seconds(5)) {
                try stage.daemon.port("vm-9-00aa")?.rung == "shape"
            }
            try expectHeld(stage, rogue, as: "vm-9-00aa")
            #expect(try stage.daemon.port(rogue.name) == nil)

            let elsewhere = try Namespace()
            try Tool.run("ip", "link", "set", "vm-9-00aa", "netns", elsewhere.path)
            try stage.daemon.line(with: "event=vanished ", within: .seconds(5))
            try Lab.wait(for: "no ifb", within: .seconds(5)) { try ifbs() == [] }
            let there = try elsewhere.perform { () throws(LabError) in
                try Tool.run("tc", "qdisc", "show", "dev", "vm-9-00aa")
            }
            #expect(!there.contains("ingress") && !there.contains("7a01"), "\(there)")
            run.stop()
            rogue.close()

            let other = try stage.startWatched(vm: 2)
            try flood(other, .seconds(30))
            try stage.wait(for: "shape", of: other.name, within: .seconds(10))
            try renameLink(Array(other.name.utf8), to: Array("unclaimed".utf8))
            try Lab.wait(for: "nothing of ours", within: .seconds(5)) {
                let hooks = try Tool.run("tc", "qdisc", "show", "dev", "unclaimed")
                return try ifbs() == [] && !hooks.contains("ffff:")
            }
            #expect(try stage.daemon.status().ports == [])
            other.close()
            _ = try stage.daemon.stop()
        }
    }

    /// Guards against: another VM that gets the number of a limited one, and with it the limits or
    /// the strikes; while the daemon runs and looks late, and while it does not run.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: [true, false])
    func anotherOfTheSameNumberInheritsNothing(_ isRunning: Bool) async throws {
        try await Namespace.run {
            let stage = try Stage(police: 1)
            let rogue = try start(stage)
            let number = "\(rogue.index)"
            try flood(rogue, .seconds(30))
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))
            if isRunning { stage.daemon.signal(19) } else { stage.daemon.kill() }
            rogue.close()
            try Tool.run(
                "ip", "link", "add", "vm-5-00bb", "index", number, "type", "veth", "peer", "name",
                "inside")
            try Tool.run("ip", "link", "set", "vm-5-00bb", "up")
            let queues = try Tool.run("tc", "qdisc", "show")
            #expect(queues.contains("ifb-f\(number)"), "the case is made: \(queues)")
            if isRunning { stage.daemon.signal(18) }
            let daemon = isRunning ? stage.daemon : try stage.startAgain()
            try Lab.wait(for: "no ifb", within: .seconds(5)) { try ifbs() == [] }
            let heir = try #require(try daemon.port("vm-5-00bb"))
            #expect(heir.index == rogue.index && heir.rung == "normal" && heir.cap == nil)
            let hooks = try Tool.run("tc", "qdisc", "show", "dev", "vm-5-00bb")
            #expect(!hooks.contains("ffff:"), "\(hooks)")
            let told = isRunning ? "event=vanished " : "event=adopted ports=0 gone=1"
            try daemon.line(with: told, within: .seconds(5))
            let document = try journal(stage)
            #expect(document.state.ports == [])
            #expect(document.state.departed.map { "\($0.name)" } == [rogue.name])
            _ = try daemon.stop()
        }
    }

    /// Guards against: descriptors, ifbs or memory that grow with each tap that came and went.
    @Test(.needs(.ifb, .tbf, .clsact)) func aThousandTapsLeaveNothing() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 1)
            let rogue = try stage.startWatched(vm: 200)
            try flood(rogue, .seconds(110))
            try stage.wait(for: "shape", of: rogue.name, within: .seconds(10))
            let numbers = 1...100
            let add = numbers.map { "tuntap add dev vm-\($0)-00cc mode tap\n" }.joined()
            let delete = numbers.map { "link del vm-\($0)-00cc\n" }.joined()
            let (adding, deleting) = (
                try stage.folder.write(add, to: "add"), try stage.folder.write(delete, to: "del")
            )
            var figures: [Figures] = []
            for _ in 0..<10 {
                try Tool.run("ip", "-batch", adding)
                try Lab.wait(for: "a hundred ports", within: .seconds(10)) {
                    try stage.daemon.status().ports.count == 101
                }
                try Tool.run("ip", "-batch", deleting)
                try Lab.wait(for: "one port", within: .seconds(10)) {
                    try stage.daemon.status().ports.count == 1
                }
                figures.append(try Figures(of: stage.daemon, settledTo: figures.first))
            }
            let (early, late) = (figures[1], figures[9])
            report("after 200 taps \(early), after 1,000 \(late)")
            #expect(late.descriptors == early.descriptors)
            #expect(late.ifbs == 1 && early.ifbs == 1)
            #expect(late.actions == early.actions)
            #expect(late.kilobytes <= early.kilobytes + 1_000)
            #expect(try stage.daemon.port(rogue.name)?.rung == "shape")
            _ = try stage.daemon.stop()
        }
    }

    // MARK: Parts

    private func start(_ stage: borrowing Stage) throws -> Station {
        let vm = try stage.startWatched(vm: 1)
        try Tool.run("ip", "link", "set", vm.name, "address", Self.address)
        return vm
    }

    @discardableResult
    private func flood(_ vm: Station, _ duration: Duration) throws -> FloodRun {
        try vm.flood(
            Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: duration))
    }

    private func expectPolls(_ stage: borrowing Stage, _ count: UInt64) throws {
        let polls = try stage.daemon.status().polls
        try Lab.wait(for: "\(count) polls", within: .seconds(5)) {
            try stage.daemon.status().polls >= polls + count
        }
    }

    /// The port is where it was, and lets no more through than its cap.
    private func expectHeld(
        _ stage: borrowing Stage, _ rogue: Station, as name: String
    ) throws {
        try expectPolls(stage, 10)
        #expect(try stage.daemon.port(name)?.rung == "shape")
        let tally = try stage.host.uplink.received.delivered(
            from: rogue.mac, during: measure(for: .seconds(1)))
        report("\(name): \(tally.packetsPerSecond) pps of \(Stage.target)")
        // What a busy machine's VM does not get out is no matter here.
        #expect(tally.packetsPerSecond <= Double(Stage.target) * 1.06)
        #expect(tally.packetsPerSecond >= Double(Stage.target) * 0.5)
    }

    private func journal(_ stage: borrowing Stage) throws -> JournalDocument {
        let text = try readFile(stage.folder.file("run") + "/journal.json")
        return try JournalDocument(bytes: Array(text.utf8))
    }

    private func memory(_ stage: borrowing Stage) throws -> PortMemory {
        try #require(try journal(stage).state.ports.first?.memory)
    }
}

/// The ifbs of the namespace.
func ifbs() throws -> [String] {
    try Tool.run("ip", "-brief", "link", "show", "type", "ifb").split(separator: "\n")
        .compactMap { $0.split(separator: " ").first.map { String($0) } }
}

/// What must not grow while a daemon runs.
struct Figures: CustomStringConvertible {
    var descriptors: Int
    var kilobytes: Int
    var ifbs: Int
    var actions: Int

    /// As they are now.
    init(of daemon: DaemonProcess) throws {
        descriptors = try Tool.run("ls", "/proc/\(daemon.pid)/fd").split(separator: "\n").count
        kilobytes = try Lab.kilobytes("VmRSS", ofProcess: "\(daemon.pid)")
        ifbs = try KernelTests.ifbs().count
        actions = ["police", "mirred"].reduce(0) { sum, kind in
            let text = (try? Tool.run("tc", "actions", "list", "action", kind)) ?? ""
            return sum + text.split(separator: "\n").count { $0.contains("action order") }
        }
    }

    /// As they are once nothing of the last step is under way: a connection that the daemon has yet
    /// to see closed, an action that the kernel frees behind its filter (`tcf_queue_work`).
    ///
    /// - Parameter before: what they are held to; nil: these are the first, the least of a second.
    /// - Returns: the last ones read, which differ from `before` only if they stay so for 10 s.
    init(of daemon: DaemonProcess, settledTo before: Figures?) throws {
        self = try Figures(of: daemon)
        guard let before else {
            let end = Moment.now + .seconds(1)
            while Moment.now < end {
                let now = try Figures(of: daemon)
                descriptors = min(descriptors, now.descriptors)
                actions = min(actions, now.actions)
            }
            return
        }
        try? Lab.wait(for: "the same again", within: .seconds(10)) {
            self = try Figures(of: daemon)
            return counts(as: before)
        }
    }

    /// Everything but the memory is the same.
    func counts(as other: Figures) -> Bool {
        (descriptors, ifbs, actions) == (other.descriptors, other.ifbs, other.actions)
    }

    var description: String {
        "\(descriptors) descriptors, \(kilobytes) kB, \(ifbs) ifbs, \(actions) actions"
    }
}
