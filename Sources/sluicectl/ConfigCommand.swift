// `sluicectl config`: what holds of each key of the configuration, for all or for one port, and who
// says so.

import ArgumentParser
import ControlAPI
import Mitigation
import Settings

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract:
            "Check the configuration; what holds of each key, for one port too, and who says so.",
        discussion: """
            Reads the file itself: what it says is in force once the daemon has read it (`sluicectl \
            reload`). With a port, also what operators said to the daemon, where it answers. BY is the \
            file's line, `built in`, or an operator.

            Exit status: 0 done, 1 the file is refused or no class claims the port, 64 wrong usage.
            """)

    @Argument(help: "Only what holds for this port.", completion: .ports)
    var port: String?

    @Option(name: [.short, .long], help: "The configuration file.", completion: .file())
    var config = Settings.Configuration.defaultPath

    @Flag(help: "Only what is not as built in, by the file or an operator.")
    var changed = false

    @Flag(help: "Say nothing but what is wrong.")
    var check = false

    @Flag(help: "A JSON array of key, value and by.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        let explained: ExplainedConfiguration
        do throws(ConfigurationError) {
            explained = try ExplainedConfiguration(path: config)
        } catch {
            for problem in error.problems { Terminal.complain("\(problem)") }
            throw ExitCode(1)
        }
        guard !check else { return }
        var rows = explained.values.map { ConfigRow($0, file: config) }
        if let port {
            guard let name = PortName(escaped: port), let values = explained.values(for: name)
            else {
                Terminal.complain(
                    "sluicectl: no class of \(config) claims \(port): it is never looked at; "
                        + "class.*.names say which names are claimed")
                throw ExitCode(1)
            }
            rows = values.map { ConfigRow($0, file: config) }
            if let entry = explained.configuration.guards.entry(for: name) {
                rows.append(
                    ConfigRow(key: "guards", value: entry.mode, by: entry.origin))
            }
            said(of: port, in: &rows)
        }
        if changed {
            let builtIn = try? ExplainedConfiguration(parsing: [], file: "built in").values
            let usual = Set((builtIn ?? []).map { ConfigRow($0, file: config).keyAndValue })
            rows.removeAll { usual.contains($0.keyAndValue) }
        }
        if json {
            Terminal.printJSON(rows)
        } else if rows.isEmpty {
            Terminal.print(["nothing differs from what is built in"])
        } else {
            Terminal.print(
                StatusReport.aligned(
                    [["KEY", "VALUE", "BY"]] + rows.map { [$0.key, $0.value, $0.by] }))
        }
    }

    /// What operators said goes before what the file says.
    private func said(of port: String, in rows: inout [ConfigRow]) {
        let status: Status
        do throws(ControlClientError) {
            status = try connection.client.status()
        } catch {
            return Terminal.complain("sluicectl: note: without what operators said: \(error)")
        }
        guard let found = status.ports.first(where: { $0.name == port }) else { return }
        if let guards = found.guards, !rows.contains(where: { $0.by == guards.origin }) {
            rows.removeAll { $0.key == "guards" }
            rows.append(ConfigRow(key: "guards", value: guards.mode, by: guards.origin))
        }
        let mode = status.classes.first { $0.portClass == found.portClass }
        if let mode, mode.origin == "operator" {
            rows.removeAll { $0.key == "mode" || $0.key.hasSuffix(".mode") }
            rows.insert(
                ConfigRow(
                    key: "mode", value: "\"\(mode.mode)\"",
                    by: ConfigRow.operator(mode.user, mode.reason)), at: 0)
        }
        if let order = found.order {
            rows.insert(
                ConfigRow(
                    key: "order", value: order.order,
                    by: ConfigRow.operator(order.user, order.reason)), at: 0)
        }
    }
}

/// A line of the table.
struct ConfigRow: Encodable, Hashable {
    static let builtIn = "built in"

    /// The key's full path.
    var key: String
    /// As it would be written.
    var value: String
    /// Who says so.
    var by: String

    fileprivate var keyAndValue: String { "\(key) = \(value)" }

    static func `operator`(_ user: UInt32?, _ reason: String?) -> String {
        "operator" + (user.map { ", uid \($0)" } ?? "") + (reason.map { ": \($0)" } ?? "")
    }
}

extension ConfigRow {
    /// A value of a file.
    init(_ value: EffectiveValue, file: String) {
        self.init(
            key: value.key, value: value.value,
            by: value.line.map { "\(file):\($0)" } ?? Self.builtIn)
    }
}
