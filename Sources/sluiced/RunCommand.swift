// `sluiced`, or `sluiced run`: the daemon.
internal import ArgumentParser
internal import ControlAPI
internal import Daemon
internal import LinuxSystem
internal import Settings

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run the daemon (the default).",
        discussion: """
            Watches every port's counters, and climbs a ladder on a flooding one: police, shape, \
            tighten, shut down. When the flood ends, it climbs down and leaves the port as it was.

            Signals: TERM stops and leaves mitigations in place, and the next start goes on with \
            them (sluicectl release --all before, or sluiced undo after, takes them out); HUP reads \
            the configuration again.
            Exit status: 0 stopped, 1 a part that cannot start, 64 a wrong command line, 78 a \
            configuration that is refused.
            """)

    /// EX_CONFIG of <sysexits.h>; the unit's RestartPreventExitStatus= names it.
    private static let refused = ExitCode(78)

    @Option(name: [.short, .long], help: "The configuration file.", completion: .file())
    var config = Settings.Configuration.defaultPath

    @Flag(
        help: "Check the configuration file and the files of guards, say what is wrong, and exit.")
    var checkConfig = false

    @Flag(help: "Log to standard error instead of syslog.")
    var foreground = false

    /// The file, and the files of guards beside it.
    private func check() throws {
        var problems: [String] = []
        do throws(ConfigurationError) {
            let configuration = try ConfigurationSource.loadHere(path: config).configuration
            var folder = GuardFolder(path: configuration.guardFolder)
            problems = folder.look()?.problems ?? []
        } catch {
            problems = ["\(error)"]
        }
        guard problems.isEmpty else {
            for problem in problems { StandardError.write("\(problem)\n") }
            throw Self.refused
        }
        print("\(config): ok")
    }

    func run() throws {
        if checkConfig {
            return try check()
        }
        do throws(ServiceError) {
            try Service.run(
                ServiceOptions(
                    configuration: config, logsToStandardError: foreground,
                    version: Product.version, environment: Environment.all))
        } catch {
            StandardError.write("\(error)\n")
            throw error.isRefusedConfiguration ? Self.refused : ExitCode(1)
        }
    }
}
