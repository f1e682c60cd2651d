// `sluicectl import`: goes on with what another host remembers of a port.

import ArgumentParser
import ControlAPI
import LinuxSystem
import SystemPackage

struct ImportCommand: ParsableCommand {
    /// The daemon takes no longer body.
    private static let longest = 64 * 1024

    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Go on with what another host remembers of a port (sluicectl export).",
        discussion: """
            Where the port is here, it is limited at once; else what is remembered waits for it, for \
            the forgiveness time, and is taken up when it appears under its name and address. What \
            is refused changes nothing.

            Exit status: 0 taken, 1 the daemon says no, 2 the file or the daemon cannot be reached, 64 \
            wrong usage.
            """)

    @Argument(
        help: "The file that export wrote; standard input where none is named.",
        completion: .file())
    var file: String?

    @Flag(help: "The daemon's answer as it came: a line of JSON.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        let document = try read()
        try reporting { () throws(ControlClientError) in
            let client = connection.client
            let body = try client.post("/v1/import", body: document)
            let reply = try client.decode(ImportReply.self, from: body)
            guard !json else { return Terminal.write(body) }
            Terminal.print([
                reply.waits
                    ? "\(reply.port) is not here yet: \(reply.rung) waits for it"
                    : "\(reply.port) goes on: \(reply.rung)"
            ])
        }
    }

    private func read() throws(ExitCode) -> [UInt8] {
        do throws(Errno) {
            return try WholeInput.read(path: file, limit: Self.longest)
        } catch {
            let name = file ?? "standard input"
            Terminal.complain(
                error == .fileTooLarge
                    ? "sluicectl: \(name) is too long for a port's memory: name what export wrote"
                    : "sluicectl: cannot read \(name): \(error)")
            throw ExitCode(2)
        }
    }
}
