// The programs as an operator meets them.
import Lab
import Testing

@Suite struct CommandLineTests {
    static let broken = [
        ("unknown key", "[trip]\nsustian = \"1s\"\n", ":2:", "sustain"),
        ("unknown section", "[tripp]\nsustain = \"1s\"\n", ":1:", "trip"),
        ("missing unit", "[target]\npackets = 10000\n", ":2:", "pps"),
        ("wrong unit", "[shape]\ndelay = \"200mbit\"\n", ":2:", "ms"),
        ("wrong type", "[lane]\ntcp_ports = \"22\"\n", ":2:", "tcp_ports"),
        ("out of range", "[poll]\ninterval = \"1ms\"\n", ":2:", "20"),
        ("contradiction", "[calm]\ntime = \"10min\"\nlimit = \"1min\"\n", "calm", "limit"),
        ("unknown word", "mode = \"enforced\"\n", ":1:", "enforce"),
        ("syntax", "[police\ndwell = \"60s\"\n", ":1:", "]"),
        ("bad pattern", "[class.vm]\nnames = [\"vm-<nmu>\"]\n", ":2:", "<num>"),
    ]

    /// Guards against: a broken file that starts a daemon, or one whose error does not say where and
    /// what to do.
    @Test(arguments: broken.indices) func brokenConfigurationNeverStarts(_ index: Int) async throws
    {
        let (name, text, place, cure) = Self.broken[index]
        try await Namespace.run {
            let folder = try ScratchFolder()
            let file = try folder.write(text, to: "sluiced.toml")
            for mode in ["--check-config", "--foreground"] {
                let program = try DaemonProcess.binary("sluiced")
                let (status, output) = try Tool.status(program, [mode, "--config", file])
                #expect(status == .exited(78), "\(name) \(mode)")
                #expect(output.contains(file) && output.contains(place), "\(name): \(output)")
                #expect(output.contains(cure), "\(name): \(output)")
                if mode == "--check-config" { report("\(name): \(output)") }
            }
        }
    }

    /// Guards against: a program that does not say what it is.
    @Test(arguments: ["sluiced", "sluicectl"]) func helpAndVersion(_ name: String) throws {
        let program = try DaemonProcess.binary(name)
        #expect(try Tool.run(program, "--help").contains("USAGE: \(name)"))
        #expect(try Tool.run(program, "--version").contains("."))
    }

    /// Guards against: an unreachable daemon that reads like an empty one.
    @Test func unreachableDaemonIsSaid() throws {
        let program = try DaemonProcess.binary("sluicectl")
        let (status, output) = try Tool.status(program, ["status", "--socket", "/nonexistent"])
        #expect(status == .exited(2))
        #expect(output.contains("/nonexistent"))
    }
}
