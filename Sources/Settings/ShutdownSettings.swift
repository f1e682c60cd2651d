// How a virtual machine is stopped: a program of the operator's, gently and then hard.
// Invariant: arguments never pass a shell, and no placeholder is expanded into an option.

import Mitigation

/// How a virtual machine is stopped once its link is down.
package struct ShutdownSettings: Hashable, Sendable {
    /// Whether the last rung exists; where not, tighten is the highest.
    package var isEnabled = true
    /// The program and its arguments.
    package var hook = ShutdownHook()

    /// The defaults.
    package init() {}
}

/// A program that stops a virtual machine. Arguments may hold `{port}`, `{domain}`, `{netid}` and
/// `{num}`.
package struct ShutdownHook: Hashable, Sendable {
    /// Asks the virtual machine to stop: program, then arguments. Empty: this step is left out.
    package var gentle = ["virsh", "shutdown", "{domain}"]
    /// Stops it: program, then arguments. Empty: this step is left out.
    package var hard = ["virsh", "destroy", "{domain}"]
    /// What `{domain}` stands for.
    package var domain = "vm-{num}"
    /// The time between gentle and hard.
    package var wait: Duration = .seconds(30)
    /// A program that runs longer is killed.
    package var timeout: Duration = .seconds(10)

    /// The defaults.
    package init() {}

    /// The placeholders that an argument may hold.
    package static let placeholders = ["port", "domain", "netid", "num"]

    /// Why a command cannot be made for a port.
    package enum ExpansionError: Error, Hashable, Sendable, CustomStringConvertible {
        /// The port's pattern has no such part.
        case missing(placeholder: String, argument: String)
        /// The argument would begin with `-` and be read as an option.
        case option(argument: String)

        /// One sentence.
        package var description: String {
            switch self {
            case .missing(let placeholder, let argument):
                "the port's name gives no {\(placeholder)} for the argument \"\(argument)\""
            case .option(let argument):
                "the argument \"\(argument)\" would begin with - and be read as an option"
            }
        }
    }

    /// One of the commands with its placeholders filled in.
    ///
    /// - Parameters:
    ///   - template: `gentle` or `hard`.
    ///   - match: the port as `PortNames.match` found it.
    /// - Returns: the program, then its arguments, as bytes, since a port's name need not be text;
    ///   empty where `template` is.
    /// - Throws: `ExpansionError` where the port's name does not give what the template needs.
    package func command(
        _ template: [String], for match: PortMatch
    ) throws(ExpansionError) -> [[UInt8]] {
        var values: [String: [UInt8]] = ["port": match.name.bytes]
        values["netid"] = match.netidText.map { Array($0.utf8) }
        values["num"] = match.numText.map { Array($0.utf8) }
        if template.contains(where: { Self.placeholders(in: $0).contains("domain") }) {
            values["domain"] = try Self.expand(domain, values)
        }
        var command: [[UInt8]] = []
        for argument in template {
            let expanded = try Self.expand(argument, values)
            if expanded.first == UInt8(ascii: "-"), argument.utf8.first != UInt8(ascii: "-") {
                throw .option(argument: argument)
            }
            command.append(expanded)
        }
        return command
    }

    /// The names between braces in a template, in their order, known or not.
    package static func placeholders(in template: String) -> [String] {
        var names: [String] = []
        var rest = template[...]
        while let open = rest.firstIndex(of: "{") {
            rest = rest[rest.index(after: open)...]
            guard let close = rest.firstIndex(of: "}") else { break }
            names.append(String(rest[..<close]))
            rest = rest[rest.index(after: close)...]
        }
        return names
    }

    /// What is put in is not looked at again: a port may be called `{domain}`.
    private static func expand(
        _ template: String, _ values: [String: [UInt8]]
    ) throws(ExpansionError) -> [UInt8] {
        var expanded: [UInt8] = []
        var rest = template[...]
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            expanded += rest[..<open].utf8
            let name = String(rest[rest.index(after: open)..<close])
            guard let value = values[name] else {
                throw .missing(placeholder: name, argument: template)
            }
            expanded += value
            rest = rest[rest.index(after: close)...]
        }
        return expanded + rest.utf8
    }
}
