// Clients of the control socket that mean no good, each kind on threads of its own.
// Invariant: bounded in connections and in memory; all of them are closed by the time `stop` returns.

internal import CLab
internal import Glibc
internal import Synchronization

/// What a hostile client does, again and again until it is stopped.
public enum Hostility: String, Hashable, CaseIterable, Sendable {
    /// Connects and says nothing.
    case waits
    /// Sends a request's bytes, one a second on each connection.
    case trickles
    /// Sends a head that never ends.
    case endlessHeaders = "endless headers"
    /// Opens 10,000 connections and holds what it gets.
    case crowds
    /// Asks for everything, and for one port after the other, as fast as it is answered.
    case asksForEverything = "asks for everything"
    /// Asks for everything a hundred times in one go and reads no answer.
    case neverReads = "never reads"
}

/// A hostile client at work.
public final class HostileClient: Sendable {
    /// What it does.
    public let hostility: Hostility
    private let tally = ConnectionCount()
    private let workers: [Worker]

    /// How many connections it had, or, where it reads, how many answers.
    public var count: Int { tally.count.load(ordering: .relaxed) }

    /// Starts one.
    ///
    /// - Parameters:
    ///   - socket: whom it speaks to.
    ///   - identity: as whom; nil: as the caller.
    ///   - port: a name that it asks for beside everything.
    /// - Throws: `LabError` where there are no threads or descriptors to be had.
    public init(
        _ hostility: Hostility, socket: String, as identity: Identity? = nil, port: String = "x"
    ) throws(LabError) {
        self.hostility = hostility
        try checked(clab_allow_descriptors(12_000), "allow 12,000 descriptors")
        var workers: [Worker] = []
        let tally = tally
        for _ in 0..<(hostility == .asksForEverything ? 4 : 1) {
            workers.append(
                try Worker("hostile") { signal in
                    do throws(LabError) { try identity?.become() } catch { return }
                    let attack = Attack(socket: socket, port: port, signal: signal, tally: tally)
                    while !signal.isRaised { attack.act(hostility) }
                })
        }
        self.workers = workers
    }

    deinit { stop() }

    /// Stops it; its connections are closed after this.
    public func stop() { workers.forEach { $0.stop() } }
}

private final class ConnectionCount: Sendable {
    let count = Atomic<Int>(0)

    func add() { count.add(1, ordering: .relaxed) }
}

/// One thread's work.
private struct Attack {
    let socket: String
    let port: String
    let signal: StopSignal
    let tally: ConnectionCount

    func act(_ hostility: Hostility) {
        switch hostility {
        case .waits: holding(100) { _ in pause(.seconds(1)) }
        case .trickles: holding(16, trickle)
        case .endlessHeaders: holding(1, sendHeaders)
        case .crowds: holding(10_000) { _ in pause(.milliseconds(500)) }
        case .asksForEverything: holding(1, ask)
        case .neverReads:
            holding(32) { connections in
                connections.forEach { send(Self.requests(100, "/v1/status"), to: $0) }
                pause(.seconds(6))
            }
        }
    }

    private func pause(_ time: Duration) { signal.wait(until: .now + time) }

    /// Opens up to `most` connections, and closes what it got.
    private func holding(_ most: Int, _ body: ([Int32]) -> Void) {
        var connections: [Int32] = []
        while connections.count < most, !signal.isRaised {
            let number = unsafe clab_unix_connect_stream(socket, 50)
            guard number >= 0 else {
                // The backlog is full, or this process has no more descriptors.
                if connections.isEmpty { pause(.milliseconds(10)) }
                break
            }
            tally.add()
            connections.append(number)
        }
        body(connections)
        connections.forEach { _ = close($0) }
    }

    /// False where the other side has closed.
    @discardableResult
    private func send(_ text: String, to connection: Int32) -> Bool {
        let bytes = Array(text.utf8)
        return unsafe Glibc.send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    private func trickle(_ connections: [Int32]) {
        for character in "GET /v1/status HTTP/1.1" where !signal.isRaised {
            let left = connections.filter { send(String(character), to: $0) }
            guard !left.isEmpty else { return }
            pause(.seconds(1))
        }
    }

    private func sendHeaders(_ connections: [Int32]) {
        for connection in connections {
            guard send("GET /v1/status HTTP/1.1\r\n", to: connection) else { continue }
            let line = "X-a: \(String(repeating: "b", count: 1_000))\r\n"
            while !signal.isRaised, send(line, to: connection) {}
        }
    }

    private func ask(_ connections: [Int32]) {
        let text =
            Self.requests(4, "/v1/status") + Self.requests(200, "/v1/ports/\(port)")
            + "GET /v1/health HTTP/1.1\r\nConnection: close\r\n\r\n"
        var chunk = [UInt8](repeating: 0, count: 65_536)
        for connection in connections where send(text, to: connection) {
            while !signal.isRaised, unsafe recv(connection, &chunk, chunk.count, 0) > 0 {
                tally.add()
            }
        }
    }

    private static func requests(_ count: Int, _ path: String) -> String {
        String(repeating: "GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n", count: count)
    }
}
