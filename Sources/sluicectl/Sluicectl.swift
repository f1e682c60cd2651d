// sluicectl: the operator's hand on the daemon.
// Exit status: 0 done; 1 the daemon says no; 2 the daemon cannot be reached; 64 wrong usage.

import ArgumentParser
import ControlAPI

/// What the program does.
package func runSluicectl() { Sluicectl.main() }

struct Sluicectl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluicectl",
        abstract: "Look at the ports that sluiced watches, release them, move them to other hosts.",
        discussion: """
            Exit status: 0 done, 1 the daemon says no, 2 it cannot be reached, 64 wrong usage.
            """,
        version: Product.version,
        subcommands: [
            StatusCommand.self, PortsCommand.self, TopCommand.self, ExplainCommand.self,
            EventsCommand.self,
            IncidentCommand.self, EvidenceCommand.self, ClassesCommand.self,
            GuardsCommand.self, MetricsCommand.self, ReleaseCommand.self, HoldCommand.self,
            ExemptCommand.self, DisableCommand.self, EnableCommand.self, EscalateCommand.self,
            ObserveCommand.self, ArmCommand.self, ReloadCommand.self, ExportCommand.self,
            ImportCommand.self, ReplayCommand.self, SuggestCommand.self, ConfigCommand.self,
            DoctorCommand.self,
        ])
}

/// What every subcommand takes.
struct ConnectionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The daemon's socket.", valueName: "path"))
    var socket = Product.defaultSocket

    /// A client for the socket.
    var client: ControlClient { ControlClient(socket: socket) }
}

extension CompletionKind {
    /// The ports that the daemon watches. Beside an argument of no completion zsh offers no options.
    static var ports: CompletionKind {
        .shellCommand("sluicectl classes 2>/dev/null | sed '1d; s/ .*//'")
    }
}

/// Runs a subcommand's work and turns what went wrong into a sentence and an exit status.
func reporting(_ work: () throws(ControlClientError) -> Void) throws(ExitCode) {
    do throws(ControlClientError) {
        try work()
    } catch {
        Terminal.complain("sluicectl: \(error)")
        throw ExitCode(error.exitStatus)
    }
}
