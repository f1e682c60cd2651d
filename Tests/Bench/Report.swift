// What a section found, and the files that show it: Configs/doc/benchmarks.md, its picture, and a block
// of README.md. Each section's part is kept in the output folder, so that one section can be run again
// without the others.
import Lab

/// A table of Markdown.
struct Table: Sendable {
    var columns: [String]
    var rows: [[String]] = []

    init(_ columns: String...) { self.columns = columns }

    mutating func add(_ cells: String...) { rows.append(cells) }

    var markdown: String {
        let head = [columns, columns.map { _ in "---" }]
        return (head + rows).map { "| \($0.joined(separator: " | ")) |\n" }.joined()
    }
}

/// A section's part of the report.
struct Part: Sendable {
    /// The section's name.
    var name: String
    /// Its text, from its heading on.
    var markdown: String
    /// Its rows of the README's table: what, the figure, and what it is held against.
    var headlines: [[String]] = []
}

/// The report's files.
struct Report {
    /// All parts, in their order.
    static let parts = [
        "poll", "daemon", "reaction", "programming", "programming-full", "enforcement",
        "enforcement-full",
    ]
    private static let begin = "<!-- bench -->"
    private static let end = "<!-- /bench -->"

    /// Where parts are kept.
    var folder: String

    /// Forgets the parts of a section.
    func forget(_ section: String) throws {
        for name in [section, section + "-full"] {
            try Tool.run("rm", "-f", "\(folder)/\(name).md", "\(folder)/\(name).head")
        }
    }

    /// Keeps a part.
    func keep(_ part: Part) throws {
        try Tool.run("mkdir", "-p", folder)
        try writeFile(part.markdown, to: "\(folder)/\(part.name).md")
        let rows = part.headlines.map { "| \($0.joined(separator: " | ")) |\n" }.joined()
        try writeFile(rows, to: "\(folder)/\(part.name).head")
    }

    /// Writes the report of all parts that are kept, and the README's block.
    func write(to document: String, readme: String) throws {
        let bodies = Self.parts.compactMap { try? readFile("\(folder)/\($0).md") }
        let heads = Self.parts.compactMap { try? readFile("\(folder)/\($0).head") }.joined()
        try writeFile(Self.preface + bodies.joined(separator: "\n"), to: document)
        let block = """
            \(Self.begin)
            | what | measured | held against |
            | --- | --- | --- |
            \(heads)
            ![The cost of a look at all counters](Configs/doc/benchmarks.svg)

            By `make bench`, on \(try Machine.sentence()).
            [Configs/doc/benchmarks.md](Configs/doc/benchmarks.md) has all of it, with the spread.
            \(Self.end)
            """
        let text = try readFile(readme)
        guard let first = text.range(of: Self.begin), let last = text.range(of: Self.end),
            first.upperBound <= last.lowerBound
        else { throw LabError("\(readme) has no block between \(Self.begin) and \(Self.end)") }
        try writeFile(
            String(text[..<first.lowerBound]) + block + String(text[last.upperBound...]),
            to: readme)
    }

    private static let preface = """
        # Benchmarks

        Written by `make bench`; do not edit. A figure is a ratio of two things that took turns in one
        run, the median with the quartiles behind it; an absolute time is this machine's, and stands
        beside its ratio only. Everything runs in private network namespaces and leaves nothing.


        """
}

extension String {
    /// Where a text stands in this one, the first time.
    func range(of text: String) -> Range<String.Index>? {
        var from = startIndex
        while from < endIndex {
            if self[from...].hasPrefix(text) { return from..<index(from, offsetBy: text.count) }
            from = index(after: from)
        }
        return nil
    }
}

/// The machine that a part was measured on.
enum Machine {
    /// Whether this is User-Mode Linux.
    static var isUserMode: Bool { Program.isInVirtualKernel }

    /// `Linux 6.18, 2 x Intel(R) Xeon(R), 24 GB, on 2026-11-27`
    static func sentence() throws -> String {
        let release = KernelParts.current.release
        let lines = try readFile("/proc/cpuinfo").split(separator: "\n")
        let models = lines.filter { $0.hasPrefix("model name") }
        let model = models.first?.split(separator: ":").last.map { String($0.drop { $0 == " " }) }
        let memory = try readFile("/proc/meminfo").split(separator: "\n").first ?? ""
        let kilobytes = memory.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        let day = try Tool.run("date", "-u", "+%F").filter { $0 != "\n" }
        return "\(isUserMode ? "User-Mode " : "")Linux \(release), \(max(1, models.count)) x "
            + "\(model ?? "an unnamed processor"), \(((Double(kilobytes) / 1e6)).fixed(0)) GB, "
            + "on \(day)"
    }
}
