// The control socket against slow, hostile and absent clients. Nothing here sleeps: each test waits
// for the socket's end.

import ControlAPI
import LinuxSystem
import Seeded
import Synchronization
import SystemPackage
import Testing

@testable import Daemon

@Suite struct ControlBoundsTests {
    private func limits(
        deadline: Duration = .seconds(5), idle: Duration = .seconds(30)
    ) -> ControlLimits {
        var limits = ControlLimits()
        limits.deadline = deadline
        limits.idle = idle
        return limits
    }

    /// Sends again and again until the server has closed; true where it did so within `most`.
    private func trickle(_ peer: borrowing PeerSocket, _ bytes: [UInt8], most: Int) -> Bool {
        for _ in 0..<most {
            do throws(Errno) {
                try peer.send(bytes)
            } catch {
                return true
            }
        }
        return false
    }

    /// Guards against: a client that puts the deadline off by a byte now and then.
    @Test func slowClient() throws {
        let harness = try ControlHarness(limits: limits(deadline: .milliseconds(150)))
        let clock = ContinuousClock()
        let start = clock.now
        let peer = try PeerSocket.connect(path: harness.path, timeout: .milliseconds(20))
        var answer: [UInt8] = []
        var sent = 0
        let request = Array("GET /v1/status HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".utf8)
        // One byte for each 20 ms in which nothing comes back.
        while true {
            do throws(Errno) {
                if sent < request.count { try peer.send([request[sent]]) }
                sent += 1
                let chunk = try peer.receive()
                if chunk.isEmpty { break }
                answer += chunk
            } catch .wouldBlock {
                continue
            } catch {
                break
            }
        }
        let taken = clock.now - start
        #expect(Answer(String(decoding: answer, as: UTF8.self)).status == 408)
        #expect(sent > 2 && sent < request.count)
        #expect(taken > .milliseconds(140) && taken < .seconds(3))
        #expect(try harness.ask("GET", "/v1/health").status == 200)
    }

    /// Guards against: a connection that says nothing and stays for ever.
    @Test func idleClient() throws {
        let harness = try ControlHarness(limits: limits(idle: .milliseconds(50)))
        let peer = try harness.connect()
        let text = try ControlHarness.everything(from: peer)
        #expect(text.isEmpty)
    }

    /// Guards against: a turn that never answers holding a client, and its late answer a trap.
    @Test func lateTurn() throws {
        let harness = try ControlHarness(
            limits: limits(deadline: .milliseconds(50)), answer: { _ in nil })
        let answer = try harness.ask("GET", "/v1/status")
        #expect(answer.status == 504)
        let owed = harness.owed
        #expect(owed.count == 1)
        for reply in owed {
            reply(.healthy)
            reply(.healthy)
        }
        #expect(try harness.ask("GET", "/v1/version").status == 200)
    }

    /// Guards against: an answer for a client that left going to the next one, or trapping.
    @Test func clientLeavesBeforeTheReply() throws {
        let harness = try ControlHarness(answer: { $0 == .status ? nil : .healthy })
        do {
            let peer = try harness.connect()
            try peer.send("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
            // Answered behind the first on the same loop: the turn has taken the first by then.
            while harness.owed.isEmpty {
                #expect(try harness.ask("GET", "/v1/health").status == 200)
            }
        }
        #expect(try harness.ask("GET", "/v1/health").status == 200)
        for reply in harness.owed { reply(.status(ControlHarness.status)) }
        #expect(try harness.ask("GET", "/v1/health").body == "{\"healthy\":true}\n")
    }

    /// Guards against: a head without end that fills the memory.
    @Test func endlessHeaders() throws {
        let harness = try ControlHarness()
        let peer = try harness.connect()
        try peer.send("GET /v1/status HTTP/1.1\r\n".utf8)
        let line = Array("x-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".utf8)
        let isCut = trickle(peer, line, most: 100_000)
        #expect(isCut)
        let status = Answer(try ControlHarness.everything(from: peer)).status
        #expect(status == 431)
        #expect(harness.takenCount == 0)
    }

    /// Guards against: a request line without end.
    @Test func endlessPath() throws {
        let harness = try ControlHarness()
        let peer = try harness.connect()
        try peer.send("GET /".utf8)
        let isCut = trickle(peer, [UInt8](repeating: 0x61, count: 1000), most: 10_000)
        #expect(isCut)
        let text = try ControlHarness.everything(from: peer)
        #expect(Answer(text).status == 431)
    }

    /// Guards against: a body without end, announced or not.
    @Test func largeBody() throws {
        let harness = try ControlHarness()
        let announced = try harness.connect()
        try announced.send(
            "POST /v1/release HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n".utf8)
        let refused = try ControlHarness.everything(from: announced)
        #expect(Answer(refused).status == 413)
        let chunked = try harness.connect()
        try chunked.send(
            "POST /v1/release HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
        let chunk = Array("400\r\n".utf8) + [UInt8](repeating: 0x20, count: 1024) + [0x0d, 0x0a]
        let isCut = trickle(chunked, chunk, most: 10_000)
        #expect(isCut)
        let cut = try ControlHarness.everything(from: chunked)
        #expect(Answer(cut).status == 413)
        #expect(harness.takenCount == 0)
    }

    /// Guards against: bytes that are no HTTP taken for a request, or as a reason to trap. Seeded.
    @Test func garbage() throws {
        let harness = try ControlHarness(limits: limits(deadline: .milliseconds(500)))
        var random = SplitMix(seed: 7)
        let seeds = [
            "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /v1/release HTTP/1.1\r\nContent-Length: 13\r\n\r\n{\"all\": true}",
            "POST /v1/release HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        ]
        for round in 0..<150 {
            var bytes = Array(seeds[round % 3].utf8)
            for _ in 0..<(1 + random.next() % 4) {
                let at = Int(random.next() % UInt64(bytes.count))
                bytes[at] = UInt8(truncatingIfNeeded: random.next())
            }
            let peer = try harness.connect()
            _ = trickle(peer, bytes, most: 1)
            _ = try? peer.finishSending()
            _ = try ControlHarness.everything(from: peer)
        }
        let peer = try harness.connect()
        try peer.send([0x16, 0x03, 0x01, 0x00, 0xa5])
        let text = try ControlHarness.everything(from: peer)
        #expect(Answer(text).status == 400)
        #expect(try harness.ask("GET", "/v1/health").status == 200)
    }

    /// Guards against: clients that shut others out for longer than they are there.
    @Test func tooManyConnections() throws {
        let harness = try ControlHarness(maximumConnections: 2)
        func accepted() throws -> PeerSocket {
            let peer = try harness.connect()
            try peer.send("GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
            let text = String(decoding: try peer.receive(), as: UTF8.self)
            #expect(Answer(text).status == 200)
            return peer
        }
        let first = try accepted()
        do {
            let second = try accepted()
            let third = try ControlHarness.everything(from: harness.connect())
            #expect(third.isEmpty)
            let fourth = try ControlHarness.everything(from: harness.connect())
            #expect(fourth.isEmpty)
            try second.finishSending()
            let rest = try ControlHarness.everything(from: second)
            #expect(rest.isEmpty)
        }
        // The second is gone for the server too, since the server has closed it.
        #expect(try harness.ask("GET", "/v1/health").status == 200)
        try first.finishSending()
        let rest = try ControlHarness.everything(from: first)
        #expect(rest.isEmpty)
    }

    /// Guards against: a client that does not read its answer and holds the connection.
    @Test func clientThatDoesNotRead() throws {
        var large = ControlHarness.status
        large.kernelNotes = [String](repeating: String(repeating: "x", count: 1000), count: 4000)
        let status = large
        let harness = try ControlHarness(
            limits: limits(deadline: .milliseconds(100)), maximumConnections: 1,
            answer: { $0 == .status ? .status(status) : .healthy })
        let peer = try harness.connect()
        try peer.send("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
        // The only connection: others are shut out until the deadline has cut it.
        var answer = try? harness.ask("GET", "/v1/health")
        while answer?.status != 200 { answer = try? harness.ask("GET", "/v1/health") }
        let text = try ControlHarness.everything(from: peer)
        #expect(text.utf8.count > 1000 && text.utf8.count < 4_000_000)
    }

    /// Guards against: requests without bound waiting for a turn that does not come.
    @Test func mailboxFull() throws {
        let harness = try ControlHarness(
            limits: limits(deadline: .milliseconds(300)), capacity: 1, drains: false)
        let waiting = try harness.connect()
        try waiting.send("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
        // Whichever came second is refused at once, the first at its deadline.
        let second = try harness.ask("GET", "/v1/status")
        let first = Answer(try ControlHarness.everything(from: waiting))
        #expect(Set([first.status, second.status]) == [503, 504])
        #expect(try harness.ask("GET", "/v1/version").status == 200)
        harness.takeAll()
        #expect(harness.takenCount == 1)
    }
}
