// A TCP session like somebody's terminal over ssh: a few bytes at a time, echoed by the server.
// Invariant: the n-th message of `messageBytes` is answered when n times as many bytes came back.

internal import CLab
internal import Glibc
internal import Synchronization

/// A TCP session in which the client sends a few bytes at a steady pace and the server echoes them.
public final class EchoSession: Sendable {
    private static let messageBytes = 48

    private let record = ExchangeRecord()
    private let alive: Flag
    private let worker: Worker

    /// Connects from `client` to `port` of `server` (its own TCP server, 22 as sshd's) and starts
    /// to talk.
    ///
    /// - Throws: `LabError` where a side has no guest inside, or no connection came about in 10 s.
    public init(
        from client: Station, to server: Station, port: UInt16 = 22,
        every interval: Duration = .milliseconds(100)
    ) throws(LabError) {
        let sockets = try SocketPair(from: client, to: server, port: port)
        let alive = Flag(true)
        self.alive = alive
        worker = try Worker("echo") { [record] signal in
            var session = Session(sockets: sockets, record: record, interval: interval)
            session.run(until: signal)
            alive.value.store(false, ordering: .releasing)
        }
    }

    /// Whether the connection stands; false after an error of either side, and after `stop`.
    public var isAlive: Bool { alive.value.load(ordering: .acquiring) }

    /// What came of the messages sent in a window of time.
    public func summary(during window: ClosedRange<Moment>) -> Exchanges { record.summary(window) }

    /// Closes the connection.
    public func stop() { worker.stop() }

    private struct Session {
        let sockets: SocketPair
        let record: ExchangeRecord
        let interval: Duration
        private let message = [UInt8](repeating: 0x78, count: messageBytes)
        private var buffer = [UInt8](repeating: 0, count: 4096)
        private var outstanding: [Int] = []
        private var echoedBytes = 0

        init(sockets: SocketPair, record: ExchangeRecord, interval: Duration) {
            self.sockets = sockets
            self.record = record
            self.interval = interval
        }

        mutating func run(until signal: StopSignal) {
            var next = Moment.now
            while !signal.isRaised {
                if Moment.now >= next {
                    guard ask() else { return }
                    next = next + interval
                }
                let left = max(0, (next - .now).nanoseconds / 1_000_000 + 1)
                sockets.wait(signal, milliseconds: Int32(left))
                guard echo(), takeEcho() else { return }
            }
        }

        /// The client's message. A full socket buffer leaves it unsent, and thereby unanswered.
        private mutating func ask() -> Bool {
            let now = Moment.now
            let count = unsafe send(
                sockets.client.number, message, message.count, Int32(MSG_NOSIGNAL))
            let number = record.ask(at: now)
            guard count == message.count else { return count < 0 && errno == EAGAIN }
            outstanding.append(number)
            return true
        }

        /// The server's half.
        private mutating func echo() -> Bool {
            let count = unsafe recv(sockets.server.number, &buffer, buffer.count, 0)
            guard count > 0 else { return count < 0 && errno == EAGAIN }
            let sent = unsafe send(
                sockets.server.number, buffer, count, Int32(MSG_NOSIGNAL))
            return sent == count
        }

        private mutating func takeEcho() -> Bool {
            let count = unsafe recv(sockets.client.number, &buffer, buffer.count, 0)
            guard count > 0 else { return count < 0 && errno == EAGAIN }
            let now = Moment.now
            echoedBytes += count
            while echoedBytes >= messageBytes, !outstanding.isEmpty {
                echoedBytes -= messageBytes
                record.answer(outstanding.removeFirst(), at: now)
            }
            return true
        }
    }
}

/// A yes or no that threads share.
final class Flag: Sendable {
    let value: Atomic<Bool>

    init(_ value: Bool) { self.value = Atomic(value) }
}
