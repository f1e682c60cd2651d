// The daemon's command line.
internal import ArgumentParser
internal import ControlAPI
internal import Daemon
internal import LinuxSystem

@main
struct Sluiced: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluiced",
        abstract: "Keeps virtual machines on this hypervisor from being the source of a flood.",
        discussion: """
            Watches every port's counters, and climbs a ladder on a flooding one: police, shape, \
            tighten, shut down. When the flood ends, it climbs down and leaves the port as it was.

            Signals: TERM stops and leaves mitigations in place (sluicectl release --all takes them \
            out), HUP reads the configuration again.
            Exit status: 0 stopped, 1 a configuration that is refused or a part that cannot start, \
            64 a wrong command line.
            """,
        version: Product.version)

    @Option(name: [.short, .long], help: "The configuration file.")
    var config = Daemon.Configuration.defaultPath

    @Flag(help: "Check the configuration file, say what is wrong with it, and exit.")
    var checkConfig = false

    @Flag(help: "Log to standard error instead of syslog.")
    var foreground = false

    mutating func run() throws {
        if checkConfig {
            do throws(ConfigurationError) {
                _ = try Daemon.Configuration.load(path: config)
            } catch {
                StandardError.write("\(error)\n")
                throw ExitCode(1)
            }
            print("\(config): ok")
            return
        }
        do throws(ServiceError) {
            try Service.run(
                ServiceOptions(
                    configuration: config, logsToStandardError: foreground,
                    version: Product.version, environment: Environment.all))
        } catch {
            StandardError.write("\(error)\n")
            throw ExitCode(1)
        }
    }
}
