// Reads a configuration file, section by section in the file's order. Configs/sluiced.toml
// documents every key.
// Invariants: what the file leaves out keeps its default; all mistakes are reported at once; a
// `Configuration` comes out only where there is none.

import Mitigation
import TOML
import TrafficControl

extension Configuration {
    /// The configuration of this text.
    ///
    /// - Parameters:
    ///   - bytes: TOML, at most 1 MiB.
    ///   - file: its name, for the errors.
    /// - Throws: `ConfigurationError` with every mistake; a syntax error stands alone, as nothing
    ///   behind it can be read.
    package init(parsing bytes: [UInt8], file: String) throws(ConfigurationError) {
        let entries: [Entry]
        do throws(SyntaxError) {
            entries = try TOML.parse(bytes)
        } catch {
            throw ConfigurationError(error, file: file)
        }
        let problems = ProblemList(file: file)
        self = ConfigurationReader(entries: entries, problems: problems).read()
        if let error = problems.error { throw error }
    }

    /// The full path of every key that a file may hold, ports' own sections aside.
    package static var knownKeys: [String] {
        let problems = ProblemList(file: "")
        _ = ConfigurationReader(entries: [], problems: problems).read()
        return problems.knownKeys
    }
}

/// Reads one file.
struct ConfigurationReader {
    let problems: ProblemList
    private let root: TableReader

    init(entries: [Entry], problems: ProblemList) {
        self.problems = problems
        root = TableReader(path: "", entries: entries, problems: problems)
    }

    func read() -> Configuration {
        var configuration = Configuration()
        root.word("mode", into: &configuration.policy.mode)
        readPoll(&configuration)
        readTrip(&configuration.policy)
        readRungs(&configuration)
        readShutdown(&configuration.shutdown, &configuration.policy)
        readLadder(&configuration)
        readLane(&configuration.policy.lane)
        readBreaker(&configuration.policy)
        readCloudspace(&configuration.policy)
        readMarks(root, &configuration)
        readGuards(root, &configuration)
        readControl(&configuration)
        root.finish()
        checkTimes(configuration.policy)
        checkMarks(configuration)
        checkHook(configuration)
        return configuration
    }

    private func readPoll(_ configuration: inout Configuration) {
        let poll = root.table("poll")
        poll.duration(
            "interval", into: &configuration.policy.pollInterval,
            in: .milliseconds(20) ... .seconds(2))
        poll.duration("grace", into: &configuration.policy.grace, in: .zero ... .seconds(3600))
        poll.word(
            "counters", into: &configuration.usesBPFCounters,
            of: [("auto", true), ("netlink", false)])
    }

    private func readTrip(_ policy: inout Policy) {
        let trip = root.table("trip")
        trip.duration("sustain", into: &policy.sustain, in: .milliseconds(20) ... .seconds(640))
        trip.duration(
            "fast_sustain", into: &policy.fastSustain, in: .milliseconds(20) ... .seconds(640))
        trip.integer("fast_factor", into: &policy.fastFactor, in: 1...1000)
    }

    private func readRungs(_ configuration: inout Configuration) {
        let dwell = Duration.milliseconds(100) ... .seconds(86_400)
        let target = root.table("target")
        target.rate("packets", .packetRate, into: &configuration.policy.target.perSecond)
        let police = root.table("police")
        police.duration("dwell", into: &configuration.policy.policeDwell, in: dwell)
        let policers = Policer.allCases.map { ($0.rawValue, Policer?.some($0)) }
        police.word(
            "engine", into: &configuration.enforcement.policer, of: [("auto", nil)] + policers)
        let shape = root.table("shape")
        shape.duration("dwell", into: &configuration.policy.shapeDwell, in: dwell)
        shape.duration(
            "delay", into: &configuration.policy.delay, in: .milliseconds(1) ... .seconds(10))
        let tighten = root.table("tighten")
        tighten.duration("dwell", into: &configuration.policy.tightenDwell, in: dwell)
        tighten.integer("divisor", into: &configuration.policy.tightenDivisor, in: 2...100)
    }

    private func readShutdown(_ settings: inout ShutdownSettings, _ policy: inout Policy) {
        let shutdown = root.table("shutdown")
        shutdown.boolean("enabled", into: &settings.isEnabled)
        shutdown.duration("probe", into: &policy.probe, in: .seconds(1) ... .seconds(604_800))
        let hook = shutdown.table("hook")
        readCommand(hook, "gentle", &settings.hook.gentle)
        readCommand(hook, "hard", &settings.hook.hard)
        hook.duration("wait", into: &settings.hook.wait, in: .zero ... .seconds(3600))
        hook.duration("timeout", into: &settings.hook.timeout, in: .seconds(1) ... .seconds(600))
        if let (template, position) = hook.text("domain") {
            let places = ["port", "netid", "num"]
            checkTemplate(hook, "domain", template, at: position, placeholders: places)
            settings.hook.domain = template
        }
        hook.note("domain", quoting: settings.hook.domain)
    }

    /// A program with its arguments, or `"none"`.
    private func readCommand(_ hook: TableReader, _ key: String, _ command: inout [String]) {
        defer {
            if command.isEmpty { hook.note(key, quoting: "none") }
            if !command.isEmpty { hook.note(key, quoting: command) }
        }
        if hook.isText(key) {
            var isNone = false
            hook.word(key, into: &isNone, of: [("none", true)])
            if isNone { command = [] }
            return
        }
        guard let texts = hook.texts(key, example: #"["virsh", "shutdown", "{domain}"]"#) else {
            return
        }
        guard let (program, position) = texts.first, !program.isEmpty else {
            let position = texts.first?.position ?? problems.places[hook.path(key)] ?? .start
            let cure = "name the program first, or write \"none\" to leave this step out"
            return hook.report(key, "there is no program", cure: cure, at: position)
        }
        if program.contains("{") {
            let sentence = "the program \"\(program)\" would depend on a port's name"
            hook.report(key, sentence, cure: "use placeholders in arguments only", at: position)
        }
        for (text, position) in texts.dropFirst() {
            checkTemplate(
                hook, key, text, at: position, placeholders: ShutdownHook.placeholders)
        }
        command = texts.map(\.text)
    }

    private func checkTemplate(
        _ table: TableReader, _ key: String, _ template: String, at position: Position,
        placeholders: [String]
    ) {
        if template.utf8.contains(0) {
            table.report(key, "it holds a NUL", cure: "take it out", at: position)
        }
        for name in ShutdownHook.placeholders(in: template) where !placeholders.contains(name) {
            let meant = suggestion(for: name, among: placeholders).map { "did you mean {\($0)}?" }
            table.report(
                key, "there is no placeholder {\(name)}",
                cure: meant ?? "write \(listed(placeholders.map { "{\($0)}" }))", at: position)
        }
    }

    private func readLadder(_ configuration: inout Configuration) {
        let rungs: [Rung] = [.shutDown, .tighten, .shape, .police]
        let ladder = root.table("ladder")
        ladder.word(
            "highest", into: &configuration.policy.highestRung,
            of: rungs.map { ($0.description, $0) })
        if !configuration.shutdown.isEnabled, configuration.policy.highestRung == .shutDown {
            configuration.policy.highestRung = .tighten
            if problems.places["ladder.highest"] != nil {
                problems.contradiction(
                    ["ladder.highest"], "\"shutdown\" contradicts shutdown.enabled = false",
                    cure: "write \"tighten\", or enable shutdown")
            }
        }
        let still = root.table("still")
        still.word("rule", into: &configuration.policy.stillFlooding)
        still.factor(
            "unresponsive_factor", into: &configuration.policy.unresponsiveFactor, in: 1.01...100)
        still.share("saturated_share", into: &configuration.policy.saturatedShare, in: 50...100)
        let calm = root.table("calm")
        let day = Duration.milliseconds(100) ... .seconds(86_400)
        calm.share("low", into: &configuration.policy.lowShare, in: 1...99)
        calm.duration("time", into: &configuration.policy.calm, in: day)
        calm.duration("limit", into: &configuration.policy.calmLimit, in: day)
        calm.duration(
            "forgiveness", into: &configuration.policy.forgiveness, in: .zero ... .seconds(604_800))
        root.table("victim").word("response", into: &configuration.policy.victim)
    }

    private func readLane(_ lane: inout Lane) {
        let table = root.table("lane")
        if let ports = table.integers("tcp_ports", example: "[22, 3389]") {
            if ports.count > 16 {
                table.report(
                    "tcp_ports", "holds \(ports.count) ports", cure: "write at most 16",
                    at: ports[16].position)
            }
            lane.tcpPorts = []
            for (number, position) in ports {
                guard let port = UInt16(exactly: number), port > 0 else {
                    let sentence = "\(number) is no TCP port"
                    table.report("tcp_ports", sentence, cure: "write 1 to 65535", at: position)
                    continue
                }
                if lane.tcpPorts.contains(port) {
                    let sentence = "\(port) stands there twice"
                    table.report("tcp_ports", sentence, cure: "take one out", at: position)
                }
                lane.tcpPorts.append(port)
            }
        }
        table.note("tcp_ports", "\(lane.tcpPorts)")
        table.rate("packets", .packetRate, into: &lane.management.packets.perSecond)
        table.rate("bits", .bitRate, into: &lane.management.bits.bitsPerSecond)
        table.rate("neighbour_packets", .packetRate, into: &lane.neighbour.packets.perSecond)
        table.rate("neighbour_bits", .bitRate, into: &lane.neighbour.bits.bitsPerSecond)
    }

    private func readBreaker(_ policy: inout Policy) {
        let breaker = root.table("breaker")
        breaker.share("share", into: &policy.breakerShare, in: 1...100)
        breaker.integer("minimum", into: &policy.breakerMinimum, in: 0...1_000_000)
        breaker.integer("shutdowns", into: &policy.breakerShutdowns, in: 1...1_000_000)
    }

    private func readCloudspace(_ policy: inout Policy) {
        let cloudspace = root.table("cloudspace")
        cloudspace.boolean("companions", into: &policy.companions)
        cloudspace.share("tolerance", into: &policy.pathTolerance, in: 1...100)
        readMark(cloudspace.table("together"), &policy.groupMark)
    }

    private func readControl(_ configuration: inout Configuration) {
        let hook = root.table("tc")
        hook.word("hook", into: &configuration.enforcement.hook)
        hook.boolean(
            "replace_foreign_root", into: &configuration.enforcement.replacesForeignRoot)
        hook.integer(
            "repairs_per_minute", into: &configuration.turn.repairsPerMinute, in: 1...600)
        let journal = root.table("journal")
        folder(journal, "directory", into: &configuration.journal.directory)
        folder(journal, "runtime", into: &configuration.journal.runtime)
        if configuration.journal.runtime == configuration.journal.directory {
            problems.contradiction(
                ["journal.directory", "journal.runtime"],
                "both are \"\(configuration.journal.directory)\", where one file would stand for two",
                cure: "write a folder in memory for runtime, and one on disk for directory")
        }
        readRecording(&configuration)
        readEvidence(&configuration)
        let control = root.table("control")
        if let (path, position) = control.text("socket") {
            if !path.hasPrefix("/") || path.hasSuffix("/") || path.utf8.contains(0) {
                let cure = "write the whole path, as in \"/run/sluice/sluiced.sock\""
                control.report("socket", "\"\(path)\" is no file's path", cure: cure, at: position)
            } else if path.utf8.count > 90 {
                let sentence = "the path has \(path.utf8.count) bytes"
                control.report("socket", sentence, cure: "write at most 90", at: position)
            }
            configuration.control.socket = path
        }
        control.note("socket", quoting: configuration.control.socket)
        configuration.control.readers = group(control, "group")
        configuration.control.operators = group(control, "operators")
        control.integer(
            "max_connections", into: &configuration.control.maximumConnections, in: 1...1024)
        root.table("syslog").word("facility", into: &configuration.syslog.facility)
    }

    private func readRecording(_ configuration: inout Configuration) {
        let recording = root.table("recording")
        configuration.recording.directory = configuration.journal.directory + "/record"
        recording.boolean("enabled", into: &configuration.recording.isEnabled)
        folder(recording, "directory", into: &configuration.recording.directory)
        recording.duration(
            "interval", into: &configuration.recording.interval,
            in: .seconds(1) ... .seconds(3_600))
        recording.size(
            "quota", into: &configuration.recording.quota, in: 1_000_000...10_000_000_000_000)
    }

    private func readEvidence(_ configuration: inout Configuration) {
        let evidence = root.table("evidence")
        configuration.evidence.directory = configuration.journal.directory + "/evidence"
        evidence.boolean("enabled", into: &configuration.evidence.isEnabled)
        evidence.size(
            "quota", into: &configuration.evidence.quota, in: 1_000_000...10_000_000_000_000)
    }

    func folder(_ table: TableReader, _ key: String, into value: inout String) {
        defer { table.note(key, quoting: value) }
        guard let (path, position) = table.text(key) else { return }
        if !path.hasPrefix("/") || path.hasSuffix("/") || path.utf8.contains(0) {
            let cure = "write the whole path, without a / at its end, as in \"\(value)\""
            table.report(key, "\"\(path)\" is no folder's path", cure: cure, at: position)
        } else if path.utf8.count > 4_000 {
            let sentence = "the path has \(path.utf8.count) bytes"
            table.report(key, sentence, cure: "write at most 4000", at: position)
        }
        value = path
    }

    private func group(_ control: TableReader, _ key: String) -> String? {
        guard let (name, position) = control.text(key) else {
            control.note(key, "none")
            return nil
        }
        control.note(key, quoting: name)
        let isPlain = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x3a && $0 != 0x2c }
        if name.isEmpty || name.utf8.count > 32 || !isPlain {
            let cure = "write a group of /etc/group, or take the key out"
            control.report(key, "\"\(name)\" is no group's name", cure: cure, at: position)
        }
        return name
    }
}
