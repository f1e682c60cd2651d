// The real daemon as a child of a test: started, made ready, asked, stopped or killed.
// Invariants: the lab is its notify socket, so that ready means ready; every line it logs is kept,
// up to a limit; it is dead by the time its owner is gone.

internal import CLab
public import ControlAPI
internal import Glibc
internal import Synchronization

/// A running `sluiced`.
public final class DaemonProcess: Sendable {
    private static let linesKept = 10_000

    /// The control socket.
    public let socket: String
    private let child: ChildProcess
    private let reader: Worker
    private let said = Said()

    /// Starts `sluiced --foreground --config FILE` in the caller's namespaces and waits until it
    /// says READY=1.
    ///
    /// - Parameters:
    ///   - folder: where the notify socket is made.
    ///   - config: the configuration file.
    ///   - socket: the control socket that the configuration names.
    ///   - wrapper: what runs it, the program's path last; empty: it runs by itself.
    /// - Throws: `LabError` with the daemon's last lines where it ends or is not ready in time.
    public init(
        in folder: borrowing ScratchFolder, config: String, socket: String,
        options: [String] = [], under wrapper: [String] = [],
        readyWithin limit: Duration = .seconds(20)
    ) throws(LabError) {
        self.socket = socket
        let path = folder.file("notify.\(Moment.now.nanoseconds)")
        let ends = try Ends(notify: path)
        let command = wrapper.isEmpty ? [try Self.binary("sluiced")] : wrapper
        child = try ChildProcess(
            command[0], command.dropFirst() + ["--foreground", "--config", config] + options,
            environment: [
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LIBDISPATCH_LOG=NO",
                "NOTIFY_SOCKET=\(path)",
            ], output: ends.pipe.writeEnd, errors: ends.pipe.writeEnd)
        ends.pipe.closeWriteEnd()
        reader = try Self.startReading(ends, into: said)
        let deadline = Moment.now + limit
        while !said.states.contains("READY=1") {
            let ended = child.wait(within: .milliseconds(5))
            guard ended == nil, Moment.now < deadline else {
                let why = ended.map { "\($0)" } ?? "not ready within \(limit)"
                throw LabError("start sluiced", detail: ([why] + lines.suffix(20)).joined("\n"))
            }
        }
    }

    deinit { kill() }

    /// The path of one of the package's programs: in SLUICE_BIN_DIR, else beside the running one.
    ///
    /// - Throws: `LabError` where there is none.
    public static func binary(_ name: String) throws(LabError) -> String {
        let own = Program.path.split(separator: "/").dropLast().map { "/\($0)" }.joined()
        let folder = Program.environment("SLUICE_BIN_DIR") ?? own
        let path = "\(folder)/\(name)"
        guard unsafe access(path, X_OK) == 0 else { throw LabError("find \(path)", errno: errno) }
        return path
    }

    /// The daemon's process id.
    public var pid: Int32 { child.pid }

    /// What it wrote on standard output and error so far, the newest 10,000 lines.
    public var lines: [String] { said.lines }

    /// What it told the service manager so far: `READY=1`, `STOPPING=1`, `STATUS=...`.
    public var states: [String] { said.states }

    /// Waits for a line that contains `text`.
    ///
    /// - Returns: the first one.
    /// - Throws: `LabError` with the daemon's last lines where none comes in time.
    @discardableResult
    public func line(with text: String, within limit: Duration) throws -> String {
        do {
            try wait(for: "a line with \(text)", within: limit) {
                lines.contains { $0.contains(text) }
            }
        } catch {
            throw LabError("\(error)", detail: lines.suffix(20).joined("\n"))
        }
        return lines.first { $0.contains(text) } ?? ""
    }

    /// `GET /v1/status`.
    ///
    /// - Throws: `LabError` where nobody answers or the answer is not that of the contract.
    public func status() throws(LabError) -> Status {
        try ControlClient(path: socket).status()
    }

    /// One port of `GET /v1/status`.
    ///
    /// - Returns: nil where the daemon does not watch it.
    /// - Throws: `LabError` where nobody answers or the answer is not that of the contract.
    public func port(_ name: String) throws(LabError) -> PortStatus? {
        try status().ports.first { $0.name == name }
    }

    /// One request of the control socket.
    ///
    /// - Returns: the body of the answer.
    /// - Throws: `LabError` where nobody answers within 5 s or the answer is not 2xx.
    @discardableResult
    public func request(
        _ method: String, _ target: String, body: String = ""
    ) throws(LabError) -> String {
        try ControlClient(path: socket).request(method, target, body: body)
    }

    /// Asks it to end by SIGTERM, or by another signal, and waits.
    ///
    /// - Throws: `LabError` with its last lines where it does not end in time.
    @discardableResult
    public func stop(within limit: Duration = .seconds(10)) throws(LabError) -> ExitStatus {
        child.signal(SIGTERM)
        guard let status = child.wait(within: limit) else {
            throw LabError("stop sluiced", detail: lines.suffix(20).joined("\n"))
        }
        reader.stop()
        return status
    }

    /// Sends it a signal such as SIGHUP and goes on.
    public func signal(_ number: Int32) { child.signal(number) }

    /// Ends it by SIGKILL, as a crash would, and waits.
    public func kill() {
        child.signal(SIGKILL)
        _ = child.wait(within: .seconds(10))
        reader.stop()
    }

    private static func startReading(
        _ ends: Ends, into said: Said
    ) throws(LabError) -> Worker {
        try Worker("daemon") { signal in
            while !signal.isRaised {
                signal.wait(
                    until: .now + .seconds(1), or: [ends.pipe.readEnd, ends.notify.number])
                guard ends.read(into: said) else { break }
            }
            _ = ends.read(into: said)
        }
    }

    private final class Ends: Sendable {
        let pipe: Pipe
        let notify: Descriptor

        init(notify path: String) throws(LabError) {
            notify = try Descriptor(unsafe clab_unix_bind_datagram(path), "bind \(path)")
            pipe = try Pipe()
        }

        /// Takes all that is there.
        ///
        /// - Returns: false where the daemon has closed its end.
        func read(into said: Said) -> Bool {
            var chunk = [UInt8](repeating: 0, count: 16_384)
            while true {
                let count = unsafe recv(notify.number, &chunk, chunk.count, 0)
                guard count > 0 else { break }
                said.tell(chunk[..<count])
            }
            while true {
                let count = unsafe Glibc.read(pipe.readEnd, &chunk, chunk.count)
                guard count > 0 else { return count < 0 && errno == EAGAIN }
                said.write(chunk[..<count])
            }
        }
    }

    private final class Said: Sendable {
        private struct State {
            var lines: [String] = []
            var states: [String] = []
            var partial: [UInt8] = []
        }
        private let state = Mutex(State())

        var lines: [String] { state.withLock(\.lines) }
        var states: [String] { state.withLock(\.states) }

        func write(_ bytes: ArraySlice<UInt8>) {
            state.withLock { state in
                state.partial += bytes
                while let end = state.partial.firstIndex(of: UInt8(ascii: "\n")) {
                    state.lines.append(String(decoding: state.partial[..<end], as: UTF8.self))
                    state.partial.removeSubrange(...end)
                }
                state.lines.removeFirst(max(0, state.lines.count - linesKept))
            }
        }

        func tell(_ bytes: ArraySlice<UInt8>) {
            let told = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
            state.withLock { state in
                state.states += told.map { String($0) }
                state.states.removeFirst(max(0, state.states.count - linesKept))
            }
        }
    }
}

/// A pipe whose ends are closed one after the other.
private final class Pipe: Sendable {
    private let read: Descriptor
    private let write: Mutex<Int32>

    init() throws(LabError) {
        var ends: [Int32] = [-1, -1]
        try checked(unsafe clab_pipe(&ends), "make a pipe")
        read = try Descriptor(ends[0], "pipe")
        write = Mutex(ends[1])
    }

    deinit { closeWriteEnd() }

    var readEnd: Int32 { read.number }
    var writeEnd: Int32 { write.withLock { $0 } }

    func closeWriteEnd() {
        write.withLock { number in
            if number >= 0 { _ = close(number) }
            number = -1
        }
    }
}
