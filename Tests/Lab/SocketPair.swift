// Both ends of one TCP connection between the guests of two stations.

internal import CLab
internal import Glibc

/// Both ends of one TCP connection; each stays in the namespace that it was made in.
final class SocketPair: Sendable {
    let client: Descriptor
    let server: Descriptor

    /// Asks for a connection from `client` to `port` of `server` and accepts it, within 10 s.
    ///
    /// - Throws: `LabError` where a side has no guest, or no connection comes about.
    init(from client: Station, to server: Station, port: UInt16) throws(LabError) {
        let what = "connect \(client.name) to port \(port) of \(server.name)"
        guard let near = client.guest, let far = server.guest else {
            throw LabError(what, detail: "both need a guest inside")
        }
        let address = server.endpoint.address4.bytes
        let listening = try Descriptor(
            try far.namespace.perform { () throws(LabError) in
                try checked(clab_tcp_listen(port), what)
            }, what)
        self.client = try Descriptor(
            try near.namespace.perform { () throws(LabError) in
                try checked(unsafe clab_tcp_connect(address, port), what)
            }, what)
        var polled = pollfd(fd: listening.number, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&polled, 1, 10_000) > 0 else {
            throw LabError(what, errno: ETIMEDOUT)
        }
        self.server = try Descriptor(clab_tcp_accept(listening.number), what)
        for end in [self.client.number, self.server.number] {
            try checked(clab_tcp_set_nodelay(end), what)
        }
    }

    /// Waits until one end can be read or the signal is raised.
    func wait(_ signal: StopSignal, milliseconds: Int32) {
        var polled = [client.number, server.number, signal.descriptor].map { descriptor in
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        }
        _ = unsafe poll(&polled, nfds_t(polled.count), milliseconds)
    }
}
