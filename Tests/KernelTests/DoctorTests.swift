// `sluicectl doctor` on a real kernel: what it finds of a host, and its ladder on a throw-away port.
import Doctor
import FoundationEssentials
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct DoctorTests {
    private static func program() throws -> String { try DaemonProcess.binary("sluicectl") }

    private static func selfTest(_ config: String) throws -> (Lab.ExitStatus, SelfTestReport) {
        let (status, output) = try Tool.status(
            try program(), ["doctor", "--self-test", "--json", "--config", config],
            within: .seconds(60))
        return (status, try JSONDecoder().decode(SelfTestReport.self, from: Data(output.utf8)))
    }

    private static func examine(_ arguments: [String]) throws -> (Lab.ExitStatus, Examination) {
        let (status, output) = try Tool.status(try program(), ["doctor", "--json"] + arguments)
        return (status, try JSONDecoder().decode(Examination.self, from: Data(output.utf8)))
    }

    /// The network namespaces of all threads that there are.
    private static func namespaces() -> Set<String> {
        let files = FileManager.default
        var found: Set<String> = []
        for pid in (try? files.contentsOfDirectory(atPath: "/proc")) ?? [] where Int32(pid) != nil {
            for thread in (try? files.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? [] {
                let path = "/proc/\(pid)/task/\(thread)/ns/net"
                if let name = try? files.destinationOfSymbolicLink(atPath: path) {
                    found.insert(name)
                }
            }
        }
        return found
    }

    /// Guards against: a rung that is told to hold and does not, or the other way; a part that the
    /// kernel lacks and that is not named; a limit that cuts the management lane; and anything that is
    /// left behind, here or in the network of its own.
    @Test(.needs(.ifb, .tbf, .htb, .clsact)) func everyRungHolds() async throws {
        try await Namespace.run {
            let before = try Snapshot()
            let folder = try ScratchFolder()
            let (status, report) = try Self.selfTest(try folder.write("", to: "sluiced.toml"))
            for rung in report.rungs {
                let asked = rung.asked?.packetsPerSecond ?? -1
                let measured = rung.measured?.packetsPerSecond ?? -1
                let text =
                    "\(rung.rung) \(rung.direction) by \(rung.heldBy ?? "-"): \(measured) of \(asked) "
                    + "pps, 60-byte frames \(rung.smallFrames?.packetsPerSecond ?? 0), lane "
                    + "\(rung.lanePassed ?? 0) of \(rung.laneSent ?? 0): \(rung.verdict.rawValue)"
                Lab.Program.write("figure: \(text)\n")
                #expect(rung.verdict == .holds, "\(text)")
                #expect(abs(measured - asked) <= asked * 0.1, "\(text)")
            }
            #expect(status == .exited(0) && report.isPassed)
            #expect(
                report.rungs.map { "\($0.rung) \($0.direction)" } == [
                    "police from", "shape from", "shape to", "tighten from", "tighten to",
                    "shutdown from",
                ])
            #expect(report.left == [])
            let kernel = KernelParts.current
            let hasPolice = kernel.lacking([.police]).isEmpty
            #expect((report.rungs.first?.heldBy == "act_police") == hasPolice)
            #expect(report.kernelNotes.contains { $0.hasPrefix("no act_police") } == !hasPolice)
            let hasNetem = kernel.lacking([.netem]).isEmpty
            #expect((report.rungs[1].heldBy ?? "").contains("netem") == hasNetem)
            let touched = try Snapshot().difference(from: before)
            #expect(touched == [])
        }
    }

    /// Guards against: a refused rung that is told as one that holds, and an exit status that says so.
    @Test(.needs(.ifb, .tbf, .htb, .clsact)) func aPolicerThatIsNotThereIsNamed() async throws {
        try await Namespace.run {
            let folder = try ScratchFolder()
            let file = try folder.write("[police]\nengine = \"act_police\"\n", to: "sluiced.toml")
            let (status, report) = try Self.selfTest(file)
            guard !KernelParts.current.lacking([.police]).isEmpty else {
                #expect(status == .exited(0) && report.isPassed)
                return
            }
            #expect(status == .exited(1) && !report.isPassed)
            #expect(report.rungs.count == 3)
            for rung in report.rungs {
                #expect(rung.verdict == .refused && rung.heldBy == nil)
                #expect(rung.problem?.contains("act_police") == true)
            }
            let (_, text) = try Tool.status(
                try Self.program(), ["doctor", "--self-test", "--config", file])
            #expect(text.contains("refused: ") && text.contains("not as asked: police from"))
        }
    }

    /// Guards against: interfaces, limits or a namespace that outlive a self-test that was ended in its
    /// middle, by control-C or by force.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: [2, 9] as [Int32])
    func endedInItsMiddleItLeavesNothing(_ signal: Int32) async throws {
        try await Namespace.run {
            let before = try Snapshot()
            let known = Self.namespaces()
            let test = try RunningTool(
                try Self.program(), ["doctor", "--self-test", "--config", "/nonexistent"])
            let files = FileManager.default
            let threads = "/proc/\(test.pid)/task"
            var own = ""
            try Lab.wait(for: "a rung in a network of its own", within: .seconds(20)) {
                for thread in (try? files.contentsOfDirectory(atPath: threads)) ?? [] {
                    let path = "\(threads)/\(thread)"
                    guard
                        let name = try? files.destinationOfSymbolicLink(atPath: "\(path)/ns/net"),
                        !known.contains(name)
                    else { continue }
                    own = name
                    return (try? readFile("\(path)/net/dev").contains("ifb-f")) == true
                }
                return false
            }
            #expect(Self.namespaces().contains(own))
            test.signal(signal)
            #expect(test.wait(within: .seconds(5)) == .signalled(signal))
            #expect(!Self.namespaces().contains(own))
            let touched = try Snapshot.settledDifference(from: before)
            #expect(touched == [])
        }
    }

    /// Guards against: a self-test that cannot run and is told as passed.
    @Test func withoutRightsItIsNoSelfTest() async throws {
        try await Namespace.run {
            let program = try Self.program()
            let (status, text) = try Identity.stranger.perform { () throws(LabError) in
                try Tool.status(program, ["doctor", "--self-test", "--config", "/nonexistent"])
            }
            #expect(status == .exited(2) && text.contains("as root"), "\(text)")

            let folder = try ScratchFolder()
            let file = try folder.write("[police]\nengine = 7\n", to: "sluiced.toml")
            let (refused, mistake) = try Tool.status(
                program, ["doctor", "--self-test", "--config", file])
            #expect(refused == .exited(2) && mistake.contains("sluiced.toml:2:"), "\(mistake)")
        }
    }
}

extension DoctorTests {
    /// The findings on a thing, as `state: fact; cure`.
    private static func told(_ examination: Examination, _ what: String) -> String {
        examination.findings.filter { $0.what == what }
            .map { "\($0.state.rawValue): \($0.fact); \($0.cure ?? "-")" }.joined(separator: "\n")
    }

    /// Guards against: a port that nobody limits and that is not told of, another owner's qdisc that is
    /// taken for ours or the kernel's, a missing daemon that looks like a healthy one, and a doctor who
    /// changes what he looks at.
    @Test(.needs(.clsact, .htb, .ingress)) func aHostWithoutADaemon() async throws {
        try await Namespace.run {
            let folder = try ScratchFolder()
            let host = try Host()
            let healthy = try host.start(vm: 1)
            let shaped = try host.start(vm: 2)
            try Tool.run("tc", "qdisc", "add", "dev", shaped.name, "root", "handle", "1:", "htb")
            try Tool.run("tc", "qdisc", "add", "dev", shaped.name, "ingress")
            let socket = folder.file("nobody.sock")
            let file = try folder.write("[control]\nsocket = \"\(socket)\"\n", to: "sluiced.toml")
            let before = try Snapshot()
            let (status, found) = try Self.examine(["--config", file])
            #expect(status == .exited(1) && found.hasProblem)
            #expect(Self.told(found, "uplink").hasPrefix("warning: a tap that no class claims"))
            #expect(Self.told(found, "uplink").contains("class.vm.names"))
            #expect(Self.told(found, shaped.name).contains("root: htb 1: is another owner's"))
            #expect(Self.told(found, shaped.name).contains("replace_foreign_root"))
            #expect(Self.told(found, shaped.name).contains("hook: ingress, another owner's"))
            #expect(Self.told(found, healthy.name) == "")
            #expect(Self.told(found, "class vm").hasPrefix("ok: 1 port: the kernel's default root"))
            #expect(Self.told(found, "sluiced").hasPrefix("problem: it does not answer: \(socket)"))
            #expect(Self.told(found, "socket").hasPrefix("problem: "))
            #expect(Self.told(found, "file").hasPrefix("ok: "))
            let police =
                KernelParts.current.lacking([.police]).isEmpty ? "ok: " : "note: no act_police"
            #expect(Self.told(found, "act_police").hasPrefix(police))

            try writeFile("[tc]\nreplace_foreign_root = true\nmode = 1\n", to: file)
            let (_, broken) = try Self.examine(["--config", file, "--socket", socket])
            #expect(Self.told(broken, "file").contains("sluiced.toml:3:"))
            let touched = try Snapshot().difference(from: before)
            #expect(touched == [])
        }
    }

    /// Guards against: a healthy daemon that is told as none, limits of ours that are not known as ours,
    /// a file that the daemon does not run and is told to, and rights that are not there and are not
    /// told.
    @Test(.needs(.ifb, .tbf, .clsact)) func aHostWithADaemon() async throws {
        try await Namespace.run {
            let stage = try Stage(police: 60, calm: 60)
            let config = stage.folder.file("sluiced.toml")
            // The recording stands in the test's folder, as the journal does.
            let text =
                try readFile(config)
                + "[recording]\ndirectory = \"\(stage.folder.path)/record\"\n"
            _ = try stage.daemon.stop()
            try writeFile(text, to: config)
            let daemon = try stage.startAgain()
            let rogue = try stage.host.start(vm: 1)
            let flood = try rogue.flood(
                Flood(to: Host.outside, packetsPerSecond: Stage.floodRate, duration: .seconds(20)))
            try daemon.line(with: "to=police", within: .seconds(10))
            flood.stop()
            try Lab.wait(for: "the recording", within: .seconds(20)) {
                let (_, found) = try Self.examine(["--config", config])
                return Self.told(found, "in force").hasPrefix("ok: ")
            }
            let (status, found) = try Self.examine(["--config", config])
            let daemonText = Self.told(found, "sluiced")
            #expect(status == .exited(0), "\(found.findings.filter { $0.state == .problem })")
            #expect(daemonText.hasPrefix("ok: ") && daemonText.contains("1 port, 1 held"))
            #expect(Self.told(found, rogue.name).contains("hook: ingress, ours"))
            #expect(Self.told(found, "breaker").hasPrefix("ok: closed: share 1 of "))
            for what in ["socket", "state", "journal", "journal, on disk", "recording"] {
                #expect(Self.told(found, what).hasPrefix("ok: "), "\(Self.told(found, what))")
            }

            try writeFile(text + "# another\n", to: config)
            let (_, other) = try Self.examine(["--config", config])
            #expect(Self.told(other, "in force").hasPrefix("warning: "))
            daemon.signal(1)
            try daemon.line(with: "event=reloaded", within: .seconds(5))
            try Lab.wait(for: "the other text", within: .seconds(20)) {
                let (_, again) = try Self.examine(["--config", config])
                return Self.told(again, "in force").hasPrefix("ok: ")
            }

            try Tool.run("chmod", "0755", stage.folder.path)
            let stranger = try Self.strangersView(config)
            #expect(Self.told(stranger, "parts").hasPrefix("note: not looked at"))
            #expect(Self.told(stranger, "sluiced").hasPrefix("note: it does not answer us"))
            #expect(Self.told(stranger, "recording").hasPrefix("note: "))
            #expect(Self.told(stranger, rogue.name).contains("hook: ingress, ours"))
            _ = try daemon.stop()
        }
    }

    private static func strangersView(_ config: String) throws -> Examination {
        let program = try program()
        let (status, output) = try Identity.stranger.perform { () throws(LabError) in
            try Tool.status(program, ["doctor", "--json", "--config", config])
        }
        #expect(status == .exited(0), "\(output)")
        return try JSONDecoder().decode(Examination.self, from: Data(output.utf8))
    }
}
