// `sluicectl hold`, `exempt`, `disable`, `enable`, `escalate`: an operator's word on single ports.

import ArgumentParser
import ControlAPI

/// What every word on ports takes.
struct OrderOptions: ParsableArguments {
    @Argument(help: "These ports, named as status prints them.", completion: .ports)
    var ports: [String]

    @Flag(help: "The daemon's answer as it came: a line of JSON for each port.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    /// Says it of each port; exit status 1 where one of them is not as asked.
    func say(_ act: String, seconds: UInt64? = nil, reason: String? = nil) throws {
        var failed = false
        for port in ports {
            try reporting { () throws(ControlClientError) in
                let request = OrderRequest(port: port, seconds: seconds, reason: reason)
                do throws(ControlClientError) {
                    let body = try connection.client.post("/v1/\(act)", request)
                    if json { Terminal.write(body) }
                    let reply = try connection.client.decode(OrderReply.self, from: body)
                    if !json { Terminal.print([StatusReport.line(reply)]) }
                    if let problem = reply.problem {
                        Terminal.complain("sluicectl: \(port): \(problem)")
                        failed = true
                    }
                } catch {
                    // The other ports are still to be heard.
                    guard case .refused = error else { throw error }
                    Terminal.complain("sluicectl: \(error)")
                    failed = true
                }
            }
        }
        if failed { throw ExitCode(1) }
    }
}

/// Why, for whoever comes after.
struct ReasonOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Why: kept in the log, and shown in status while it holds. At most 200 characters.",
            valueName: "text"))
    var reason: String?
}

struct HoldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold",
        abstract: "Keep ports on the rung that they have: neither up nor down.",
        discussion: """
            For a port that is limited already. Over restarts, until its time is over, or \
            `sluicectl enable`, or `sluicectl release`. Exit status: 0 held, 1 the daemon says no, \
            2 it cannot be reached.
            """)

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("So long: 30s, 10m, 2h, 1d.", valueName: "duration"))
    var time = ShortDuration.hour

    @OptionGroup var why: ReasonOption
    @OptionGroup var order: OrderOptions

    func run() throws { try order.say("hold", seconds: time.whole, reason: why.reason) }
}

struct ExemptCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exempt",
        abstract: "Leave ports alone for a time, whatever they send.",
        discussion: """
            What stands on them is taken out. Their floods are told, marked `would`, and nothing is \
            limited. By name: a machine that is started anew is still exempt. Over restarts, until the \
            time is over or `sluicectl enable`. Exit status: 0 done, 1 the daemon says no, 2 it cannot \
            be reached.
            """)

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("So long: 30s, 10m, 2h, 1d; at most 90d.", valueName: "duration"))
    var time: ShortDuration

    @OptionGroup var why: ReasonOption
    @OptionGroup var order: OrderOptions

    func run() throws { try order.say("exempt", seconds: time.whole, reason: why.reason) }
}

struct DisableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable",
        abstract: "Leave ports alone until they are enabled: `exempt` without an end.",
        discussion: """
            Exit status: 0 done, 1 the daemon says no, 2 it cannot be reached.
            """)

    @OptionGroup var why: ReasonOption
    @OptionGroup var order: OrderOptions

    func run() throws { try order.say("disable", reason: why.reason) }
}

struct EnableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable",
        abstract: "Take back hold, exempt and disable: the rules decide on these ports again.",
        discussion: """
            Exit status: 0 done, 1 the daemon says no (there is nothing to take back), 2 it cannot be \
            reached.
            """)

    @OptionGroup var order: OrderOptions

    func run() throws { try order.say("enable") }
}

struct EscalateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "escalate",
        abstract: "One rung up, now, whatever the port sends.",
        discussion: """
            From normal it is policed, calibrated by what it sends now. It comes down by calm, as any \
            other; `sluicectl hold` keeps it there. The port's class and ladder.highest bound it; the \
            breaker does not. Exit status: 0 done, 1 the daemon says no, 2 it cannot be reached.
            """)

    @OptionGroup var why: ReasonOption
    @OptionGroup var order: OrderOptions

    func run() throws { try order.say("escalate", reason: why.reason) }
}

extension ShortDuration {
    /// What a hold is for where nothing is said.
    static let hour = ShortDuration(seconds: 3_600)

    /// In seconds.
    var whole: UInt64 { UInt64(seconds) }
}
