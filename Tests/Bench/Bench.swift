// `make bench`: what Sluice costs, against its floors and its peers, in private network namespaces.
import Lab

/// How the run is to be.
struct Setting: Sendable {
    /// Fewer rounds and smaller hosts: to see that it works, not to be believed.
    var isQuick = false
    /// The largest host, in links.
    var mostLinks = 10_000
    /// The peers' programs.
    var peers = Peers(folder: ".build/bench")
    /// Where parts of the report are kept.
    var output = ".build/bench/parts"
    /// The script that runs a command in User-Mode Linux.
    var fullKernel = "Tests/fullkernel/run"
}

@main
struct Bench {
    private static let usage = """
        usage: sluice-bench [--quick] [--peers FOLDER] [--output FOLDER] [SECTION ...]

        Measures, and writes Configs/doc/benchmarks.md, its picture, and the block of README.md.

          poll         a look at all counters, against the bare dump and the peers
          daemon       the running daemon: its share of a core, its memory
          reaction     a flood's first packet to its police tree, 200 floods a line
          programming  making and removing trees, against raw C, tc and pyroute2
          enforcement  a frame through each rung, against the bare path

          --quick      fewer rounds and smaller hosts
          --most       the largest host, in links (10000)
          --peers      where `make bench` unpacked the peers (.build/bench)
          --output     where the parts of the report are kept (.build/bench/parts)

        """

    private var setting = Setting()
    private var sections: [String] = []

    static func main() async {
        do {
            var bench = Bench()
            guard try bench.parse(CommandLine.arguments.dropFirst()) else {
                return Program.write(usage)
            }
            try await bench.run()
        } catch {
            Program.write("sluice-bench: \(error)\n")
            Program.exit(1)
        }
    }

    /// False where only help was asked for.
    private mutating func parse(_ arguments: ArraySlice<String>) throws -> Bool {
        var rest = arguments
        while let word = rest.popFirst() {
            switch word {
            case "--help", "-h": return false
            case "--quick": setting.isQuick = true
            case "--most":
                guard let most = rest.popFirst().flatMap({ Int($0) }), most >= 100 else {
                    throw LabError("--most asks for a number from 100 on")
                }
                setting.mostLinks = most
            case "--peers": setting.peers.folder = rest.popFirst() ?? setting.peers.folder
            case "--output": setting.output = rest.popFirst() ?? setting.output
            case let name where Self.known.contains(name): sections.append(name)
            default: throw LabError("unknown section or option \(word)\n\(Self.usage)")
            }
        }
        return true
    }

    private static let known = ["poll", "daemon", "reaction", "programming", "enforcement"]

    private func run() async throws {
        guard Program.isRoot else { throw LabError("only root may make namespaces") }
        let report = Report(folder: setting.output)
        var failed: [String] = []
        for section in sections.isEmpty ? Self.known : sections {
            let begin = Moment.now
            Program.write("\(section) ...\n")
            // What an earlier run found is not shown as this one's.
            if !Machine.isUserMode { try report.forget(section) }
            do {
                for part in try await parts(of: section) {
                    try report.keep(part)
                    Program.write(part.markdown)
                }
                if ["programming", "enforcement"].contains(section) {
                    try runOnFullKernel(section)
                }
            } catch {
                failed.append(section)
                try report.keep(
                    Part(
                        name: section, markdown: "## \(section)\n\nFailed: \(error)\n"))
                Program.write("\(section): \(error)\n")
            }
            Program.write("\(section): \((Moment.now - begin).inSeconds.fixed(0)) s\n\n")
        }
        // There the sources cannot be written: who started it reads the parts.
        guard !Machine.isUserMode else { return }
        try report.write(to: "Configs/doc/benchmarks.md", readme: "README.md")
        guard failed.isEmpty else { throw LabError("failed: \(failed.joined(separator: ", "))") }
    }

    /// Again in User-Mode Linux, where this kernel lacks what a policer is made of.
    private func runOnFullKernel(_ section: String) throws {
        guard !Machine.isUserMode, !KernelParts.current.lacking([.police, .netem]).isEmpty else {
            return
        }
        let words =
            ["--memory", "1024M", "--timeout", "400", "--writable", setting.output, "--"]
            + [Program.path, "--peers", setting.peers.folder, "--output", setting.output]
            + (setting.isQuick ? ["--quick"] : []) + [section]
        let (status, text) = try Tool.status(setting.fullKernel, words, within: .seconds(420))
        Program.write(text)
        guard status != .exited(0) else { return }
        let last = text.split(separator: "\n").last.map { String($0) } ?? "\(status)"
        let sentence = """
            ### \(section), on a complete kernel

            Not measured: User-Mode Linux on \(try Machine.sentence()) said "\(last)".

            """
        try Report(folder: setting.output).keep(Part(name: section + "-full", markdown: sentence))
    }

    private func parts(of section: String) async throws -> [Part] {
        switch section {
        case "poll":
            let poll = PollSection(setting: setting)
            let found = try await poll.run()
            try writeFile(found.plot, to: "Configs/doc/benchmarks.svg")
            return [found.part]
        case "daemon": return [try await DaemonSection(setting: setting).run()]
        case "reaction": return [try await ReactionSection(setting: setting).run()]
        case "programming": return [try await ProgrammingSection(setting: setting).run()]
        case "enforcement": return [try await EnforcementSection(setting: setting).run()]
        default: throw LabError("unknown section \(section)")
        }
    }
}
