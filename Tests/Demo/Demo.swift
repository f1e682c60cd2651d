// `make demo`: a rogue VM floods, and the real daemon climbs the ladder, on real packets, in a
// sandbox of private namespaces, on this kernel where it has all parts, else in User-Mode Linux.

import Lab

@main
struct Demo {
    private static let parts: [KernelPart] = [
        .police, .mirred, .netem, .tbf, .ifb, .ingress, .clsact, .bpfClassifier,
    ]
    /// Why the kernel is another one, told by the process that started it.
    private static let reasonVariable = "SLUICE_DEMO_REASON"

    /// The script that runs a command in User-Mode Linux.
    private var fullKernel = "Tests/fullkernel/run"
    /// The folder for the picture.
    private var output = ".build/demo"

    static func main() async {
        do {
            var demo = Demo()
            try demo.parse(CommandLine.arguments.dropFirst())
            try await demo.run()
        } catch let interrupted as Interrupted {
            end("\ninterrupted: nothing is left behind", status: 128 + interrupted.signal)
        } catch {
            end("sluice-demo: \(error)", status: 1)
        }
    }

    private static func end(_ message: String, status: Int32) -> Never {
        Program.write(message + "\n")
        Program.exit(status)
    }

    private mutating func parse(_ arguments: ArraySlice<String>) throws {
        var rest = arguments
        while let option = rest.popFirst() {
            guard let value = rest.popFirst() else {
                throw LabError("usage: sluice-demo [--full-kernel SCRIPT] [--output FOLDER]")
            }
            switch option {
            case "--full-kernel": fullKernel = value
            case "--output": output = value
            default: throw LabError("unknown option \(option)")
            }
        }
    }

    private func run() async throws {
        try Tool.run("mkdir", "-p", output)
        let isInside = Program.isInVirtualKernel
        let lacking = KernelParts.current.lacking(Self.parts).map(\.rawValue)
        if !lacking.isEmpty, !isInside { try startFullKernel(lacking) }
        guard lacking.isEmpty else {
            throw LabError("this kernel lacks \(lacking.joined(separator: ", "))")
        }
        let release = KernelParts.current.release
        let reason = Program.environment(Self.reasonVariable).map { ": \($0)" } ?? ""
        let kernel = isInside ? "User-Mode Linux \(release)" : "this kernel, \(release)"
        Program.write("Sluice demo on \(kernel)\(reason)\n")
        try Program.catchSignals()
        let usesColour = Program.isDrawing
        let output = output
        try await Namespace.run {
            try Self.play(kernel: kernel, usesColour: usesColour, output: output)
        }
    }

    /// Starts this program again in User-Mode Linux, in place of this one.
    private func startFullKernel(_ lacking: [String]) throws -> Never {
        let reason =
            Program.isRoot
            ? "\(KernelParts.current.release) here lacks \(lacking.joined(separator: ", "))"
            : "only root may make namespaces on \(KernelParts.current.release)"
        Program.write("Starting User-Mode Linux: \(reason)\n")
        try Program.become(
            fullKernel,
            [
                "--memory", "512M", "--timeout", "170", "--writable", output, "--", Program.path,
                "--output", output,
            ],
            variables: [
                Self.reasonVariable: reason, "SLUICE_DRAWS": Program.isDrawing ? "1" : "0",
            ])
    }

    private static func play(kernel: String, usesColour: Bool, output: String) throws {
        let folder = try ScratchFolder()
        let sandbox = try Sandbox(in: folder)
        var story = Story(in: sandbox, on: Screen(isTerminal: usesColour), kernel: kernel)
        do {
            try story.tell()
        } catch {
            try? sandbox.close()
            throw error
        }
        let summary = try story.summary()
        try sandbox.close()
        let flood = Sandbox.floodPacketsPerSecond.grouped
        let plot = SVGPlot(
            run: story.run,
            title: "\(flood) packets a second from one VM, and what Sluice lets through",
            subtitle: "Measured on real packets, \(kernel). "
                + "Logarithmic scale; target 1 000 packets a second, dwells of 8 s.")
        let path = "\(output)/demo.svg"
        try writeFile(plot.draw(), to: path)
        Program.write("\n" + TerminalPlot(run: story.run, usesColour: usesColour).draw() + "\n")
        Program.write(summary.map { " \($0)\n" }.joined() + "\n picture: \(path)\n")
        guard story.isComplete else { throw LabError("not all of it was seen") }
    }
}
