// `sluicectl replay`: the decision over what was recorded.

import ArgumentParser
import ControlAPI
import FoundationEssentials
import LinuxSystem
import Mitigation
import Recording
import SystemPackage

struct ReplayCommand: ParsableCommand {
    /// Where the daemon records where nothing else is said.
    static let defaultSource = "/var/lib/sluice/record"

    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Run the decision over what was recorded, with this configuration or another.",
        discussion: """
            Without --config, the configuration that was in force then: it must tell what was told \
            then, event for event. With --config, which ports it would have limited, when and how far. \
            What the kernel then answered is taken as done, and the offered load as it was: a sender \
            that backs off when it is limited would have sent less.

            Also reads tables, which begin with time,port,rx_packets,rx_bytes,tx_packets,tx_bytes \
            (counters of the host's interfaces) or time,port,pps_from,bps_from,pps_to,bps_to (rates), \
            with times in seconds since 1970; and the folders of collectd's csv plugin. The classes of \
            their ports are those of --config, or the built-in ones.

            Exit status: 0 as it was recorded, or with --config, 1 it differs, 2 it cannot be read, 64 \
            wrong usage.
            """)

    @Option(
        help: ArgumentHelp(
            "A recording, a folder of them, a table, or collectd's folder.",
            valueName: "path"), completion: .file())
    var from = ReplayCommand.defaultSource

    @Option(name: [.short, .long], help: "Another configuration file.", completion: .file())
    var config: String?

    @Option(
        help: ArgumentHelp(
            "Only what was told then or later: 2026-11-26T08:50:00Z, or seconds since 1970.",
            valueName: "time"))
    var since: WallMoment?

    @Option(help: ArgumentHelp("Only what was told before.", valueName: "time"))
    var until: WallMoment?

    @Option(
        help: ArgumentHelp("Draw what limited ports offered, as SVG.", valueName: "file"),
        completion: .file())
    var plot: String?

    @Flag(help: "One JSON object.")
    var json = false

    func validate() throws {
        guard let since, let until, since.seconds > until.seconds else { return }
        throw ValidationError("--since is later than --until")
    }

    func run() throws {
        let source: ReplaySource
        let report: ReplayReport
        let isExact: Bool
        do throws(ReplayError) {
            source = try ReplaySource(path: from)
            let rules = try ReplayRules(path: config, interval: source.interval)
            isExact = rules.configuration == nil
            report = try Self.report(
                source, rules,
                window: (since?.seconds ?? -.infinity)...(until?.seconds ?? .infinity))
            if let plot { try draw(report, source, rules, to: plot) }
        } catch {
            Terminal.complain("sluicectl: \(error)")
            throw ExitCode(ReplayError.exitStatus)
        }
        for note in report.notes { Terminal.complain("sluicectl: note: \(note)") }
        if json {
            Terminal.printJSON(report)
        } else {
            Terminal.print(report.lines(isExact: isExact))
        }
        if isExact, report.same == false { throw ExitCode(1) }
    }

    static func report(
        _ source: ReplaySource, _ rules: ReplayRules, window: ClosedRange<Double>
    ) throws(ReplayError) -> ReplayReport {
        var notes: [String] = []
        var replay = Replayer(
            answers: rules.configuration == nil ? .recorded : .assumed, policy: rules.policy,
            classify: rules.classify)
        try source.read({ replay.take($0) }, note: { notes.append($0) })
        replay.finish()
        guard replay.pollCount > 0 else {
            let why =
                replay.isPolicyUnknown
                ? "its configuration is not one of this version: name --config"
                : "it holds no polls"
            throw ReplayError(
                description: ([source.path + ": " + why] + notes).joined(separator: "; "))
        }
        return ReplayReport(
            replay, window: window, isExact: rules.configuration == nil,
            isCompared: source.interval == nil, notes: notes)
    }

    private func draw(
        _ report: ReplayReport, _ source: ReplaySource, _ rules: ReplayRules, to path: String
    ) throws(ReplayError) {
        var loads = PlottedLoads(report)
        try source.read({ loads.take($0) }, note: { _ in })
        let picture = ReplayPlot(report: report, loads: loads).draw()
        do throws(Errno) {
            try AtomicFile(path: path).replace(Array(picture.utf8), isDurable: false)
        } catch {
            throw ReplayError(description: "cannot write \(path): \(error)")
        }
    }
}

/// `2026-11-26T08:50:00Z`, or seconds since 1970.
struct WallMoment: ExpressibleByArgument {
    var seconds: Double

    init?(argument: String) {
        if let seconds = Double(argument), seconds.isFinite {
            self.seconds = seconds
        } else if let date = try? Date(argument, strategy: .iso8601) {
            seconds = date.timeIntervalSince1970
        } else {
            return nil
        }
    }
}
