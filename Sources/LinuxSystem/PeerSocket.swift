// A connected Unix stream socket with a time-out on every call.

internal import CLinux
internal import Glibc
public import SystemPackage

/// A connected Unix stream socket. Every call ends after the time-out at the latest.
public struct PeerSocket: ~Copyable {
    private let descriptor: Int32

    /// Connects to a path: socket(2), connect(2), with SO_SNDTIMEO and SO_RCVTIMEO.
    ///
    /// - Parameters:
    ///   - path: at most 107 bytes.
    ///   - timeout: of connecting, and of each later send and receive.
    /// - Throws: ENOENT or ECONNREFUSED where nobody serves it, EACCES where we may not, EAGAIN
    ///   where the time-out passed, ENAMETOOLONG.
    public static func connect(path: String, timeout: Duration) throws(Errno) -> PeerSocket {
        let milliseconds = UInt32(
            clamping: timeout.components.seconds * 1000
                + timeout.components.attoseconds / 1_000_000_000_000_000)
        return PeerSocket(
            descriptor: try checked(unsafe sluice_peer_connect(path, max(1, milliseconds))))
    }

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { _ = close(descriptor) }

    /// Who listens at the other end, as the kernel saw it at listen(2): see `PeerCredentials`.
    public func credentials() throws(Errno) -> PeerCredentials {
        try PeerCredentials(ofPeerAt: FileDescriptor(rawValue: descriptor))
    }

    /// Sends all these bytes: send(2) with MSG_NOSIGNAL.
    ///
    /// - Throws: EPIPE or ECONNRESET where the peer closed, EAGAIN where the time-out passed.
    public func send(_ bytes: some Sequence<UInt8>) throws(Errno) {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes { buffer in
                unsafe Glibc.send(
                    descriptor, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw Errno(rawValue: errno)
            }
            rest = rest.dropFirst(count)
        }
    }

    /// Says that nothing more will be sent: shutdown(2) with SHUT_WR.
    public func finishSending() throws(Errno) {
        guard Glibc.shutdown(descriptor, Int32(SHUT_WR)) == 0 else { throw Errno(rawValue: errno) }
    }

    /// What has arrived, at most `limit` bytes, waiting for the first: recv(2).
    ///
    /// - Returns: 1 to `limit` bytes; none where the peer closed.
    /// - Throws: EAGAIN where the time-out passed, ECONNRESET.
    public func receive(atMost limit: Int = 65_536) throws(Errno) -> [UInt8] {
        while true {
            var code: Int32 = 0
            let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
                let received = unsafe recv(descriptor, buffer.baseAddress, limit, 0)
                code = received < 0 ? errno : 0
                count = max(0, received)
            }
            if code == 0 { return bytes }
            guard code == EINTR else { throw Errno(rawValue: code) }
        }
    }
}
