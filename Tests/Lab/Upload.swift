// A TCP upload at line speed: what a healthy VM does that has much to say and listens to losses.

internal import CLab
internal import Glibc
internal import Synchronization

/// A TCP connection in which the client sends as fast as the connection takes it.
public final class Upload: Sendable {
    private let bytes = SharedCount()
    private let alive = Flag(true)
    private let worker: Worker

    /// Connects from `client` to `port` of `server` and starts to send.
    ///
    /// - Throws: `LabError` where a side has no guest inside, or no connection came about in 10 s.
    public init(
        from client: Station, to server: Station, port: UInt16 = 5_001
    ) throws(LabError) {
        let sockets = try SocketPair(from: client, to: server, port: port)
        worker = try Worker("upload") { [bytes, alive] signal in
            let buffers = Buffers()
            var polled = [
                pollfd(fd: sockets.client.number, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: sockets.server.number, events: Int16(POLLIN), revents: 0),
                pollfd(fd: signal.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            while !signal.isRaised, buffers.move(sockets, counting: bytes) {
                _ = unsafe poll(&polled, nfds_t(polled.count), 1_000)
            }
            alive.value.store(false, ordering: .releasing)
        }
    }

    /// Bytes that the server has received so far.
    public var receivedBytes: Int { bytes.value.load(ordering: .acquiring) }

    /// Whether the connection stands; false after an error of either side, and after `stop`.
    public var isAlive: Bool { alive.value.load(ordering: .acquiring) }

    /// Closes the connection.
    ///
    /// - Returns: the bytes that the server received.
    @discardableResult
    public func stop() -> Int {
        worker.stop()
        return receivedBytes
    }
}

private final class SharedCount: Sendable {
    let value = Atomic<Int>(0)
}

private final class Buffers {
    private let zeros = [UInt8](repeating: 0, count: 1 << 17)
    private var sink = [UInt8](repeating: 0, count: 1 << 17)

    /// Sends what fits and takes what is there.
    ///
    /// - Returns: false where the connection broke.
    func move(_ sockets: borrowing SocketPair, counting bytes: SharedCount) -> Bool {
        let sent = unsafe send(
            sockets.client.number, zeros, zeros.count, Int32(MSG_NOSIGNAL))
        guard sent > 0 || errno == EAGAIN else { return false }
        let received = unsafe recv(sockets.server.number, &sink, sink.count, 0)
        guard received > 0 else { return received < 0 && errno == EAGAIN }
        bytes.value.add(received, ordering: .acquiringAndReleasing)
        return true
    }
}
