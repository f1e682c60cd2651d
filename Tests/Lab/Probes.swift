// What must go on while a port is limited: ARP answered, a DHCP lease renewed.

internal import CLab
internal import Glibc

/// Asks for a station's IPv4 address by ARP, from behind another station, at a steady pace.
public final class ARPProbe: Sendable {
    private let worker: Worker
    private let asker: Station
    private let target: Endpoint
    private let prober: Endpoint
    private let record = ExchangeRecord()

    /// Starts to ask. The questions come from addresses that nobody else uses, so that only the
    /// answers to them are counted.
    ///
    /// - Throws: `LabError` where no thread is to be had.
    public init(
        from asker: Station, for target: Endpoint, every interval: Duration = .milliseconds(250)
    ) throws(LabError) {
        self.asker = asker
        self.target = target
        let prober = Endpoint(number: 0xfffd, network: 0xfffd)
        self.prober = prober
        worker = try Worker("arp probe") { [record] signal in
            let question = FrameWriter(arpRequestFrom: prober, for: target.address4)
            var next = Moment.now
            while !signal.isRaised {
                _ = record.ask(at: .now)
                // A question that the tap refuses is one that stays without an answer.
                try? asker.put(question)
                next = next + interval
                signal.wait(until: next)
            }
        }
    }

    /// Questions asked, and answers that arrived, in a window of time; no round trips.
    ///
    /// - Throws: `LabError` where the station's ledger no longer has all of the window.
    public func summary(during window: ClosedRange<Moment>) throws(LabError) -> Exchanges {
        let filter = FrameFilter(from: target.mac, to: prober.mac, kind: .arp)
        let arrivals = try asker.received.frames(filter, during: window).map(\.arrived)
        let edges = [window.lowerBound] + arrivals + [window.upperBound]
        var summary = record.summary(window)
        summary.answered = arrivals.count
        summary.longestStall = zip(edges, edges.dropFirst()).map { $1 - $0 }.max() ?? .zero
        return summary
    }

    /// Asks no more.
    public func stop() { worker.stop() }
}

/// Renews a DHCP lease of a guest again and again: UDP from 68 to 67, unicast, and the answer back.
public final class LeaseRenewals: Sendable {
    private let record = ExchangeRecord()
    private let worker: Worker

    /// Starts to renew, from the guest of `client`, with a server in the guest of `server`.
    ///
    /// - Throws: `LabError` where a side has no guest inside.
    public init(
        from client: Station, to server: Station, every interval: Duration = .milliseconds(500)
    ) throws(LabError) {
        let what = "DHCP between \(client.name) and \(server.name)"
        guard let near = client.guest, let far = server.guest else {
            throw LabError(what, detail: "both need a guest inside")
        }
        let ends = try Ends(
            client: near.namespace.perform { () throws(LabError) in
                try checked(clab_udp_bind(68), what)
            },
            server: far.namespace.perform { () throws(LabError) in
                try checked(clab_udp_bind(67), what)
            }, serverAddress: server.endpoint.address4.bytes)
        worker = try Worker("dhcp") { [record] signal in
            ends.run(until: signal, every: interval, noting: record)
        }
    }

    /// What came of the requests sent in a window of time.
    public func summary(during window: ClosedRange<Moment>) -> Exchanges { record.summary(window) }

    /// Renews no more.
    public func stop() { worker.stop() }

    private final class Ends: Sendable {
        private let client: Descriptor
        private let server: Descriptor
        private let serverAddress: [UInt8]

        init(client: Int32, server: Int32, serverAddress: [UInt8]) throws(LabError) {
            self.client = try Descriptor(client, "client")
            self.server = try Descriptor(server, "server")
            self.serverAddress = serverAddress
        }

        func run(until signal: StopSignal, every interval: Duration, noting record: ExchangeRecord)
        {
            var buffer = [UInt8](repeating: 0, count: 1500)
            var next = Moment.now
            while !signal.isRaised {
                if Moment.now >= next {
                    // BOOTREQUEST over Ethernet; the transaction id is the exchange's number.
                    let number = record.ask(at: .now)
                    var request: [UInt8] = [1, 1, 6, 0]
                    for shift in [24, 16, 8, 0] { request.append(UInt8(number >> shift & 0xff)) }
                    request += [UInt8](repeating: 0, count: 300 - request.count)
                    _ = unsafe clab_udp_send(
                        client.number, request, request.count, serverAddress, 67)
                    next = next + interval
                }
                signal.wait(until: next, or: [client.number, server.number])
                while unsafe clab_udp_answer(server.number, &buffer, buffer.count, 2) > 0 {}
                while unsafe recv(client.number, &buffer, buffer.count, 0) >= 8 {
                    let number = buffer[4..<8].reduce(0) { $0 << 8 | Int($1) }
                    if buffer[0] == 2 { record.answer(number, at: .now) }
                }
            }
        }
    }
}

extension StopSignal {
    /// Waits until the moment has come, the signal is raised, or one of `others` can be read.
    func wait(until moment: Moment, or others: [Int32] = []) {
        var polled = ([descriptor] + others).map { number in
            pollfd(fd: number, events: Int16(POLLIN), revents: 0)
        }
        let left = max(0, (moment - .now).nanoseconds / 1_000_000 + 1)
        _ = unsafe poll(&polled, nfds_t(polled.count), Int32(left))
    }
}
