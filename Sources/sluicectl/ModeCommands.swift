// `sluicectl observe`, `arm`, `reload`: whether decisions are carried out, and by which rules.

import ArgumentParser
import ControlAPI
import Mitigation

/// What a word on classes takes.
struct ModeOptions: ParsableArguments {
    @Argument(
        help: "These classes: vm, router, vtep, backend.",
        completion: .list(PortClass.allCases.map(\.rawValue)))
    var classes: [String] = []

    @Flag(help: "Every class.")
    var all = false

    @Flag(help: "Take back what was said: the configuration's mode holds again.")
    var undo = false

    @Flag(help: "The daemon's last answer as it came: a line of JSON.")
    var json = false

    @OptionGroup var why: ReasonOption
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if classes.isEmpty == !all { throw ValidationError("name one class or more, or --all") }
    }

    /// Says it of each class.
    func say(_ mode: Mode) throws {
        try reporting { () throws(ControlClientError) in
            var body: [UInt8] = []
            for name in all ? [nil] : classes.map(Optional.some) {
                let request = ModeRequest(
                    portClass: name, mode: undo ? ModeRequest.configured : mode.rawValue,
                    reason: why.reason)
                body = try connection.client.post("/v1/mode", request)
            }
            guard !json else { return Terminal.write(body) }
            let reply = try connection.client.decode(ModeReply.self, from: body)
            Terminal.print(StatusReport.modes(reply.classes))
        }
    }
}

struct ObserveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "observe",
        abstract: "Decide and tell, and limit no port of these classes from now on.",
        discussion: """
            What stands comes down by calm; `sluicectl release --all` takes it out at once. Over \
            restarts and reloads, until `sluicectl arm`, or --undo. Exit status: 0 done, 1 the daemon \
            says no, 2 it cannot be reached.
            """)

    @OptionGroup var options: ModeOptions

    func run() throws { try options.say(.observe) }
}

struct ArmCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "arm",
        abstract: "Carry out what is decided about ports of these classes from now on.",
        discussion: """
            Also where the configuration says observe. Over restarts and reloads, until `sluicectl \
            observe`, or --undo. Exit status: 0 done, 1 the daemon says no, 2 it cannot be reached.
            """)

    @OptionGroup var options: ModeOptions

    func run() throws { try options.say(.enforce) }
}

struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Read the configuration again: as a whole, or not at all.",
        discussion: """
            Every clock, rung and strike is kept. Says what is wrong with a file that is refused, and \
            what of it waits for a restart. Exit status: 0 in force, 1 refused, 2 the daemon cannot be \
            reached.
            """)

    @Flag(help: "The daemon's answer as it came: a line of JSON.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try reporting { () throws(ControlClientError) in
            let body = try connection.client.post("/v1/reload", [String: String]())
            guard !json else { return Terminal.write(body) }
            let reply = try connection.client.decode(ReloadReply.self, from: body)
            Terminal.print(["\(reply.file) is in force" + (reply.note.map { "; \($0)" } ?? "")])
        }
    }
}
