// The daemon's command line.
internal import ArgumentParser
internal import ControlAPI

@main
struct Sluiced: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluiced",
        abstract: "Keeps virtual machines on this hypervisor from being the source of a flood.",
        version: Product.version, subcommands: [RunCommand.self, UndoCommand.self],
        defaultSubcommand: RunCommand.self)
}
