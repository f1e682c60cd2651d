// What the end-to-end tests share: a hypervisor in a namespace of its own, the real daemon on it,
// and the numbers they are held to.
import ControlAPI
import Lab
import Testing

/// A hypervisor with the real `sluiced` on it. Made inside `Namespace.run`.
struct Stage: ~Copyable {
    /// What the VMs may send when limited: packets a second.
    static let target = 1_000
    /// Of 20,000 packets a second this is a little less than a fifth: the fast path's five times.
    static let mark = 3_900
    /// The flood of the acceptance: packets a second, of 250 bytes.
    static let floodRate = 20_000

    let folder: ScratchFolder
    let host: Host
    let daemon: DaemonProcess

    /// Starts a hypervisor, then `prepare` on it, then the daemon with short dwells; `mark` is packets
    /// a second, `settings` are lines of TOML that come after, `control` those of the section that
    /// names the socket.
    init(
        outside: Station.Inside = .sink, police: Int = 60, shape: Int = 60, tighten: Int = 60,
        calm: Int = 2, mark: Int = Stage.mark, settings: String = "", mode: String = "enforce",
        control: String = "",
        prepare: (Host) throws -> Void = { _ in }
    ) throws {
        let folder = try ScratchFolder()
        let host = try Host(outside: outside)
        try prepare(host)
        let socket = folder.file("sluiced.sock")
        let config = try folder.write(
            Self.configuration(
                socket: socket, journal: folder.path, police: police, shape: shape,
                tighten: tighten, calm: calm, mark: mark, mode: mode, control: control) + settings,
            to: "sluiced.toml")
        daemon = try DaemonProcess(in: folder, config: config, socket: socket)
        self.folder = folder
        self.host = host
    }

    /// A configuration with short dwells and the stage's marks; `journal` is the folder of both
    /// places, where they are not the usual ones.
    static func configuration(
        socket: String, journal: String? = nil, police: Int = 60, shape: Int = 60,
        tighten: Int = 60, calm: Int = 2, mark: Int = Stage.mark, mode: String = "enforce",
        control: String = ""
    ) -> String {
        let places = journal.map { "runtime = \"\($0)/run\"\ndirectory = \"\($0)/state\"" } ?? ""
        return """
            mode = "\(mode)"
            [poll]
            grace = "0s"
            [target]
            packets = "\(target)pps"
            [calm]
            time = "\(calm)s"
            limit = "60s"
            [class.vm]
            from = { packets = "\(mark)pps", bits = "400mbit" }
            to = { packets = "\(mark)pps", bits = "400mbit" }
            [control]
            socket = "\(socket)"
            \(control)
            [journal]
            \(places)
            [shape]
            dwell = "\(shape)s"
            [tighten]
            dwell = "\(tighten)s"
            [police]
            dwell = "\(police)s"

            """
    }

    /// Starts another daemon after the first has ended, over what that one left.
    func startAgain() throws -> DaemonProcess {
        try DaemonProcess(
            in: folder, config: folder.file("sluiced.toml"), socket: daemon.socket)
    }

    /// Starts a VM, and waits until the daemon watches its port.
    func startWatched(vm number: UInt16) throws -> Station {
        let vm = try host.start(vm: number)
        try Lab.wait(for: "the port", within: .seconds(5)) {
            try daemon.port(vm.name) != nil
        }
        return vm
    }

    /// Waits until a port has reached a rung; gives the moment at which the daemon told.
    @discardableResult
    func wait(for rung: String, of port: String, within limit: Duration) throws -> Moment {
        try daemon.line(with: "port=\(port) ", within: limit)
        try Lab.wait(for: "\(port) on \(rung)", within: limit) {
            daemon.lines.contains { $0.contains("port=\(port) ") && $0.contains(" to=\(rung) ") }
        }
        return .now
    }

    /// The rungs that a port was told to have reached, in order.
    func rungs(of port: String) -> [String] {
        daemon.lines.filter { $0.contains("event=move ") && $0.contains("port=\(port) ") }
            .compactMap { line in
                line.split(separator: " ").first { $0.hasPrefix("to=") }.map {
                    String($0.dropFirst(3))
                }
            }
    }
}

/// Whether `measured` is within `share` of `wanted`.
func isWithin(_ share: Double, of wanted: Double, _ measured: Double) -> Bool {
    abs(measured - wanted) <= wanted * share
}

/// A figure for the record of a run.
func report(_ figure: String) {
    Program.write("figure: \(figure)\n")
}

extension Duration {
    /// In milliseconds.
    var milliseconds: Double {
        Double(components.seconds) * 1e3 + Double(components.attoseconds) / 1e15
    }
}
