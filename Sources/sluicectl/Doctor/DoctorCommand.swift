// `sluicectl doctor`: what is well on this hypervisor, what is not, and what to do about it.

import ArgumentParser
import ControlAPI
import Doctor
import LinuxSystem
import Mitigation
import Netlink
import Settings
import SystemPackage

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Examine this hypervisor, or try every rung on a throw-away port.",
        discussion: """
            What the kernel has, who owns which qdiscs, which ports nobody limits, how the daemon is, \
            its socket, its journal and its configuration: a line for each finding, with its cure. \
            Nothing is changed; as another user than root, what cannot be looked at is said.

            With --self-test, as root: a throw-away pair of interfaces, in a network of its own that \
            ends with this command, is brought onto every rung by the daemon's own code and flooded, \
            some two seconds each; what was asked and what came through is printed. This may load \
            modules of the kernel.

            Exit status: 0 no problem, 1 a problem, or a rung that does not hold, 2 the self-test cannot \
            be run, 64 wrong usage.
            """)

    @Flag(help: "Flood a throw-away port through every rung, and measure what comes through.")
    var selfTest = false

    @Option(
        name: [.short, .long], help: "The daemon's configuration file.", completion: .file())
    var config = Configuration.defaultPath

    @Flag(help: "One JSON object.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        // libnl would obey them, and count in other units than the daemon.
        Environment.forget(NetlinkEnvironment.obeyed)
        if selfTest { return try runSelfTest() }
        let named = connection.socket == Product.defaultSocket ? nil : connection.socket
        let examination = Examination(
            Examiner(config: config, socket: named, ask: Self.ask).facts())
        if json {
            Terminal.printJSON(examination)
        } else {
            Terminal.print(DoctorReport.lines(examination))
        }
        guard !examination.hasProblem else { throw ExitCode(1) }
    }

    /// A daemon that answers nobody in this time does not answer.
    private static let patience = Duration.seconds(5)

    private static func ask(_ socket: String) -> DaemonLook {
        var client = ControlClient(socket: socket)
        client.timeout = patience
        do throws(ControlClientError) {
            let status = try client.status()
            let text = String(decoding: try client.get("/v1/metrics"), as: UTF8.self)
            return .answers(status, Metrics(text))
        } catch .unreachable(_, let errno) where errno == .permissionDenied {
            return .denied("\(socket): \(errno)")
        } catch .refused(403, let problem) {
            return .denied(problem.error)
        } catch .unreachable(_, let errno) {
            return .silent("\(socket): \(errno)")
        } catch {
            return .silent("\(error)")
        }
    }

    /// What the file says; the built-in ones where there is none.
    private func settings() throws -> Configuration {
        guard (try? WholeInput.read(path: config, limit: 1 << 20)) != nil else {
            Terminal.complain("sluicectl: \(config) cannot be read: by the built-in configuration")
            return Configuration()
        }
        do throws(ConfigurationError) {
            return try Configuration.load(path: config)
        } catch {
            Terminal.complain("sluicectl: \(error)")
            throw ExitCode(2)
        }
    }

    private func runSelfTest() throws {
        let configuration = try settings()
        let report: SelfTestReport
        do throws(SelfTestError) {
            report = try SelfTest.run(
                configuration.enforcement, tcpPorts: configuration.policy.lane.tcpPorts)
        } catch {
            Terminal.complain("sluicectl: \(error)")
            throw ExitCode(2)
        }
        if json { Terminal.printJSON(report) } else { Terminal.print(DoctorReport.lines(report)) }
        guard report.isPassed else { throw ExitCode(1) }
    }
}
