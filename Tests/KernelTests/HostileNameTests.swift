// Interfaces whose names were made to do harm: on real links, through trip, police, shutdown and
// release, to the log, the socket, sluicectl and the hook's arguments.
import ControlAPI
import FoundationEssentials
import Lab
import LabTesting
import Testing

@Suite(.serialized) struct HostileNameTests {
    /// What the kernel takes; `%` and blanks it does not.
    static let names: [[UInt8]] =
        [
            #"vm-"quote""#, "vm-';id;'", "$(id)", "`id`", "--help", #"vm-\x41"#, "vm-A", "vm-a=b,c",
            "vm-\u{1b}[31mred", "{domain}", "vm-\u{e9}", "vm-e\u{301}",
        ].map { Array($0.utf8) } + [Array("vm-".utf8) + [0xff, 0xfe, 0x01, 0x7f, 0x9b]]

    /// Guards against: a byte of a name that we take for impossible, or allow for in vain: which
    /// ones the kernel refuses.
    @Test func bytesThatTheKernelTakes() async throws {
        try await Namespace.run {
            let station = try Station(name: "t", endpoint: Endpoint(number: 1), inside: .nobody)
            var present = Array(station.name.utf8)
            var refused: [UInt8] = []
            for byte in UInt8.min.advanced(by: 1)...UInt8.max {
                let name = [0x78, byte, 0x79]
                do throws(LabError) {
                    try renameLink(present, to: name)
                    present = name
                } catch {
                    refused.append(byte)
                }
            }
            report("bytes that no interface's name may hold: \(refused)")
            #expect(refused == [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x25, 0x2f, 0x3a, 0xa0])
        }
    }

    /// As the daemon prints a name: what is not graphic ASCII, and `\` and `"`, as `\xNN`.
    private static func escaped(_ name: [UInt8]) -> String {
        name.map { byte in
            let isPlain = (0x21..<0x7f).contains(byte) && byte != 0x5c && byte != 0x22
            return isPlain
                ? String(UnicodeScalar(byte)) : #"\x"# + (byte < 16 ? "0" : "") + hex(byte)
        }.joined()
    }

    private static func hex(_ byte: UInt8) -> String { String(byte, radix: 16) }

    /// A daemon that climbs at once, and a hook that leaves its arguments in hexadecimal.
    private static func start(_ folder: borrowing ScratchFolder) throws -> DaemonProcess {
        let hook = try folder.write(
            "printf '%s\\0' \"$@\" | od -An -v -tx1 | tr -d ' \\n' >\(folder.path)/argv.$$\n",
            to: "hook")
        let config = try folder.write(
            """
            [poll]
            grace = "0s"
            [trip]
            sustain = "500ms"
            [target]
            packets = "200pps"
            [police]
            dwell = "1s"
            [shape]
            dwell = "1s"
            [tighten]
            dwell = "1s"
            [shutdown.hook]
            gentle = ["/bin/sh", "\(hook)", "{port}", "x{port}"]
            hard = "none"
            [breaker]
            share = "100%"
            shutdowns = 100
            [class.vm]
            names = ["vm-*", "$(*", "`*", "--*", "{*"]
            from = { packets = "1000pps" }
            [journal]
            runtime = "\(folder.file("run"))"
            directory = "\(folder.file("state"))"
            [control]
            socket = "\(folder.file("sluiced.sock"))"
            """, to: "sluiced.toml")
        return try DaemonProcess(
            in: folder, config: config, socket: folder.file("sluiced.sock"))
    }

    /// Guards against: a name that ends a line or a text, is taken for another one, for a format, an
    /// option or a command, or cannot be named to release it.
    @Test(.needs(.ifb, .tbf, .clsact)) func namesDoNoHarm() async throws {
        try await Namespace.run {
            let folder = try ScratchFolder()
            let stations = try Self.names.enumerated().map { number, name in
                let station = try Station(
                    name: "t\(number)", endpoint: Endpoint(number: UInt16(number + 1)),
                    inside: .nobody)
                try renameLink(Array(station.name.utf8), to: name)
                return station
            }
            let daemon = try Self.start(folder)
            let floods = try stations.map {
                try $0.flood(
                    Flood(to: Host.outside, packetsPerSecond: 1_500, duration: .seconds(40)))
            }
            try wait(for: "all to be shut down", within: .seconds(40)) {
                try daemon.status().ports.allSatisfy { $0.rung == "shutdown" }
            }
            floods.forEach { $0.stop() }
            try wait(for: "all hooks", within: .seconds(10)) {
                daemon.lines.filter { $0.contains("event=stop ") }.count == Self.names.count
            }
            try Self.expectLog(daemon)
            try Self.expectArguments(folder)
            try Self.expectStatus(daemon, stations)
            try Self.expectRelease(daemon)
            _ = try daemon.stop()
            stations.forEach { $0.close() }
        }
    }

    /// Each name's first move in one line, printable, with the name as one field. (Of later moves
    /// some are counted and not told: a flood of lines is one a second.)
    private static func expectLog(_ daemon: DaemonProcess) throws {
        for line in daemon.lines {
            #expect(line.utf8.allSatisfy { (0x20..<0x7f).contains($0) }, "\(Array(line.utf8))")
        }
        for name in names {
            let text = escaped(name)
            let field = text.contains("=") ? "port=\"\(text)\" " : "port=\(text) "
            let lines = daemon.lines.filter {
                $0.contains(" \(field)") && $0.contains(" to=police ")
            }
            #expect(lines.count == 1, "\(text)")
        }
    }

    /// What each hook was given; `--help` is none's first argument, since it would be an option.
    private static func expectArguments(_ folder: borrowing ScratchFolder) throws {
        let files = try Tool.run("ls", folder.path).split(separator: "\n")
            .filter { $0.hasPrefix("argv.") }
        let given = try files.map { try readFile(folder.file(String($0))) }
        let wanted = names.filter { $0.first != UInt8(ascii: "-") }.map { name in
            (name + [0, 0x78] + name + [0]).map { ($0 < 16 ? "0" : "") + hex($0) }.joined()
        }
        #expect(Set(given) == Set(wanted))
        #expect(given.count == wanted.count)
    }

    /// Every port under its own name and index, in the list and asked for alone.
    private static func expectStatus(_ daemon: DaemonProcess, _ stations: [Station]) throws {
        let ports = try daemon.status().ports
        for (name, station) in zip(names, stations) {
            let text = escaped(name)
            let found = ports.filter { $0.name.utf8.elementsEqual(text.utf8) }
            #expect(found.map(\.index) == [station.index], "\(text)")
            let path = text.utf8.map { "%" + hex($0) }.joined()
            let alone = try daemon.request("GET", "/v1/ports/\(path)")
            let port = try JSONDecoder().decode(PortStatus.self, from: Data(alone.utf8))
            #expect(port.index == station.index && port.name == text)
        }
        let program = try DaemonProcess.binary("sluicectl")
        let table = try Tool.run(program, "status", "--socket", daemon.socket)
        #expect(table.utf8.allSatisfy { $0 == 0x0a || (0x20..<0x7f).contains($0) })
        for name in names { #expect(table.contains("\n\(escaped(name)) ")) }
    }

    /// Each is released by the name that was shown, and it alone.
    private static func expectRelease(_ daemon: DaemonProcess) throws {
        let program = try DaemonProcess.binary("sluicectl")
        for (number, name) in names.enumerated() {
            let text = escaped(name)
            let output = try Tool.run(
                program, "release", "--socket", daemon.socket, "--", text)
            #expect(output == "released \(text)\n")
            let held = try daemon.status().mitigated
            #expect(held == names.count - number - 1)
        }
    }
}
