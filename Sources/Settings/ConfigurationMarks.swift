// Reads the classes' names and marks, and the marks of single ports.
// Invariant: a mark that is left out is that of the class; `off` is the only way to have none.

import Mitigation
import TOML

extension ConfigurationReader {
    /// `[class.vm]` and its like, then `[port."NAME"]`.
    func readMarks(_ root: TableReader, _ configuration: inout Configuration) {
        let classes = root.table("class")
        var given: [(NamePattern, String, PortClass, Position)] = []
        for portClass in PortClass.allCases {
            let table = classes.table(portClass.rawValue)
            if let texts = table.texts("names", example: #"["vm-<num>-<netid>"]"#) {
                configuration.names.patterns[portClass] = []
                for (text, position) in texts {
                    do throws(NamePattern.Refusal) {
                        let pattern = try NamePattern(text)
                        configuration.names.patterns[portClass, default: []].append(pattern)
                        given.append((pattern, text, portClass, position))
                    } catch {
                        let sentence = "\"\(text)\": \(error.sentence)"
                        table.report("names", sentence, cure: error.cure, at: position)
                    }
                }
            }
            table.note(
                "names",
                quoting: configuration.names.patterns[portClass, default: []].map(\.description))
            var mode: Mode?
            table.word("mode", into: &mode, of: Mode.allCases.map { ($0.rawValue, $0) })
            configuration.policy.modes[portClass] = mode
            readMarks(table, &configuration.policy.marks[portClass, default: Marks()])
        }
        refuseDuplicates(given, configuration.names)
        for (key, position, table) in root.table("port").allTables() {
            readPort(key, position, table, &configuration)
        }
    }

    private func readMarks(_ table: TableReader, _ marks: inout Marks) {
        readMark(table.table("from"), &marks.from)
        readMark(table.table("to"), &marks.to)
    }

    func readMark(_ table: TableReader, _ mark: inout Mark) {
        var packets = mark.packets?.perSecond
        var bits = mark.bits?.bitsPerSecond
        table.rate("packets", .packetRate, into: &packets)
        table.rate("bits", .bitRate, into: &bits)
        mark = Mark(
            packets: packets.map(PacketRate.init(perSecond:)),
            bits: bits.map(BitRate.init(bitsPerSecond:)))
    }

    private func readPort(
        _ key: String, _ position: Position, _ table: TableReader,
        _ configuration: inout Configuration
    ) {
        var marks = Marks()
        defer { if marks == Marks() { readMarks(table, &marks) } }
        guard let match = claim("port", key, configuration.names, at: position) else { return }
        marks = configuration.policy.marks[match.portClass] ?? Marks()
        readMarks(table, &marks)
        configuration.policy.portMarks[match.name] = marks
    }

    /// The port that a section's key names; nil, and reported, where no class claims it.
    func claim(
        _ section: String, _ key: String, orElse: String = "", _ names: PortNames,
        at position: Position
    ) -> PortMatch? {
        guard let name = PortName(escaped: key) else {
            problems.report(
                "\(section).\"\(key)\" is no interface's name",
                cure: "write 1 to 15 bytes as `sluicectl status` prints them\(orElse)",
                at: position)
            return nil
        }
        guard let match = names.match(name) else {
            problems.report(
                "\(section).\"\(key)\": no class claims this name, so that it is never looked at",
                cure: "add a pattern for it to a class's names", at: position)
            return nil
        }
        return match
    }

    /// The same pattern twice, in one class or in two: the later one would never be used.
    private func refuseDuplicates(
        _ given: [(NamePattern, String, PortClass, Position)], _ names: PortNames
    ) {
        for (index, (pattern, text, portClass, position)) in given.enumerated() {
            let key = "class.\(portClass.rawValue).names"
            let earlier = given[..<index].first { $0.0 == pattern }?.2
            let byDefault = PortClass.allCases.first { other in
                problems.places["class.\(other.rawValue).names"] == nil
                    && names.patterns[other]?.contains(pattern) == true
            }
            guard let owner = earlier ?? byDefault else { continue }
            problems.report(
                "\(key): \"\(text)\" stands in class \(owner.rawValue) already",
                cure: "take one of them out", at: position)
        }
    }
}
