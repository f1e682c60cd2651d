// `sluiced undo`: everything of ours out of the kernel, without a running daemon.
internal import ArgumentParser
internal import Daemon
internal import LinuxSystem
internal import Settings

struct UndoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "undo",
        abstract: "Take everything of the daemon's out of the kernel, while it does not run.",
        discussion: """
            Finds filters, queues and ifbs of the daemon's on every interface, by the marks that \
            they bear, takes them out, sets links up that it took down, and deletes its journal. \
            Needs neither the daemon nor the journal nor a configuration. Nobody else's object is \
            touched; another owner's root qdisc whose place was taken by configuration is put back \
            from the journal.
            Exit status: 0 nothing of the daemon's is left, 1 something could not be taken out or a \
            daemon runs, 64 a wrong command line.
            """)

    @Option(
        name: [.short, .long],
        help: "The configuration file, for the places of the socket and the journal.",
        completion: .file())
    var config = Settings.Configuration.defaultPath

    @Flag(help: "Go on where a daemon runs, which puts back what it holds.")
    var force = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let report: UndoReport
        do throws(ServiceError) {
            report = try Undo.run(configuration: config, isForced: force)
        } catch {
            StandardError.write("\(error)\n")
            throw ExitCode(1)
        }
        if json {
            print(report.json)
        } else {
            for name in report.cleaned {
                print("\(name): taken out" + (report.notes[name].map { "; \($0)" } ?? ""))
            }
            if report.cleaned.isEmpty { print("nothing of the daemon's was there") }
        }
        for (index, sentence) in report.failed.sorted(by: { $0.key < $1.key }) {
            StandardError.write("sluiced: \(index) is not clean: \(sentence)\n")
        }
        if !report.failed.isEmpty { throw ExitCode(1) }
    }
}
