// What was told as a stream, and over a restart of the daemon.

import ControlAPI
import Lab
import LinuxSystem
import Synchronization
import SystemPackage
import Testing

@testable import Daemon

@Suite(.serialized) struct EventStreamTests {
    private static func line(_ number: Int) -> AlertLine {
        AlertLine(.notice, [("event", "a"), ("n", "\(number)")])
    }

    private static func listen(
        _ harness: ControlHarness, after: Int = 0
    ) throws -> PeerSocket {
        let peer = try harness.connect()
        try peer.send(
            "GET /v1/events?follow=true&after=\(after) HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
        return peer
    }

    private static func read(
        _ peer: borrowing PeerSocket, until text: String
    ) throws -> String {
        var bytes: [UInt8] = []
        var isThere = false
        while !isThere {
            let chunk = try peer.receive()
            try #require(!chunk.isEmpty, "it ends before \(text)")
            // Only what is new: a reader that looks at all of it again each time is a slow one.
            let tail = bytes.suffix(text.utf8.count) + chunk
            isThere = String(decoding: tail, as: UTF8.self).contains(text)
            bytes += chunk
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Guards against: a listener that is not told what was told before, or not told at once what is
    /// told then, and one that is told another one's answer.
    @Test func listening() throws {
        let harness = try ControlHarness()
        let peer = try Self.listen(harness, after: 41)
        let head = try Self.read(peer, until: "event=path")
        #expect(head.contains("application/x-ndjson") && !head.contains("event=move"))
        for number in 43...300 {
            harness.history.add(Self.line(number), at: 3)
            let text = try Self.read(peer, until: "n=\(number)\"")
            #expect(!text.contains("n=\(number - 1)\""))
        }
        #expect(try harness.ask("GET", "/v1/health").status == 200)
        #expect(harness.takenCount == 1)
    }

    /// Guards against: listeners that leave no connection to those who ask, and a listener that has gone
    /// and still counts as one.
    @Test func notTooMany() throws {
        let harness = try ControlHarness(maximumConnections: 4)
        let first = try Self.listen(harness)
        _ = try Self.read(first, until: "event=path")
        do {
            let second = try Self.listen(harness)
            _ = try Self.read(second, until: "event=path")
            let third = try harness.ask("GET", "/v1/events?follow=true")
            #expect(third.status == 503 && third.body.contains("2 listen already"))
        }
        try Self.waitForRoom(harness)
    }

    private static func waitForRoom(_ harness: ControlHarness) throws {
        try wait(for: "an end of a listener", within: .seconds(5)) {
            let another = try listen(harness)
            return try another.receive().starts(with: Array("HTTP/1.1 200".utf8))
        }
    }

    /// Guards against: a listener that does not read and is kept for ever, or costs memory without a
    /// bound; and one that is told nothing of what it missed.
    @Test func slowListener() throws {
        var limits = ControlLimits()
        limits.deadline = .milliseconds(200)
        let harness = try ControlHarness(limits: limits, maximumConnections: 2)
        let slow = try Self.listen(harness)
        // More than the kernel and the server keep for it.
        let ballast = String(repeating: "x", count: 1_000)
        for number in 0..<20_000 {
            let line = AlertLine(.notice, [("event", "a"), ("x", ballast), ("n", "\(number)")])
            harness.history.add(line, at: 3)
        }
        harness.history.publish()
        try Self.waitForRoom(harness)
        let text = try ControlHarness.everything(from: slow)
        #expect(text.utf8.count < 1 << 20)
        #expect(!text.contains("n=19999"))
        try wait(for: "what it missed", within: .seconds(5)) {
            let late = try Self.listen(harness, after: 50)
            // Nothing, while the one before still counts.
            let told = try? Self.read(late, until: "n=19999")
            return told?.contains("{\"lost\":") == true
        }
    }

    /// Guards against: a listener that says something more, and is taken for another request.
    @Test func talkingListener() throws {
        let harness = try ControlHarness()
        let peer = try Self.listen(harness)
        _ = try Self.read(peer, until: "event=path")
        try peer.send("GET /v1/health HTTP/1.1\r\n\r\n".utf8)
        #expect(try !ControlHarness.everything(from: peer).contains("healthy"))
    }

    // MARK: - Over restarts

    private static func archive(_ folder: String, _ history: EventHistory) -> EventArchive {
        EventArchive(folder: folder, history: history) { _ in }
    }

    /// Guards against: lines that a restart forgets, numbers that begin anew or are given twice, and
    /// files without a bound.
    @Test func overRestarts() throws {
        let folder = try ScratchFolder()
        let path = folder.file("events")
        var told = 0
        for start in 0..<5 {
            let history = EventArchive.read(folder: path, now: 1_000 + Double(start))
            #expect(history.startedAt == 1_000)
            let before = history.reply(to: EventsRequest(limit: .max))
            #expect(before.last == UInt64(told))
            #expect(before.events.count == min(told, EventHistory.capacity))
            #expect(before.events.allSatisfy { $0["n"] == "\($0.number)" })
            let archive = Self.archive(path, history)
            for _ in 0..<900 {
                told += 1
                history.add(Self.line(told), at: 7.25)
            }
            archive.flush()
        }
        let files = try FolderEntry.list(path, suffix: ".log", most: 100)
        #expect(files.count == 2)
        let last = EventArchive.read(folder: path, now: 9).reply(to: EventsRequest(after: 4_499))
        #expect(
            last.events == [
                ToldLine(number: 4_500, at: 7.25, severity: "notice", line: "event=a n=4500")
            ])
    }

    /// Guards against: a file that was cut short or broken by a crash and costs more than its last line,
    /// and lines of another count between those of this one.
    @Test func brokenFiles() throws {
        let folder = try ScratchFolder()
        func write(_ name: String, _ text: String) throws {
            try AtomicFile(path: folder.file(name)).replace(Array(text.utf8), isDurable: false)
        }
        let (five, six) = ("# counted since 5.0\n", "# counted since 6.0\n")
        let second = "2 1.0 notice event=a n=2\n"
        try write("1.log", five + "1 1.0 notice event=a n=1\n" + second)
        try write("2.log", five + second + "3 1.5 alert event=a n=3\n4 1.")
        let both = EventArchive.read(folder: folder.path, now: 9)
        #expect(both.startedAt == 5)
        #expect(both.reply(to: EventsRequest()).events.map(\.number) == [1, 2, 3])
        try write("3.log", six + "1 1.0 notice event=b\n\u{0}\nx y z w\n9 1.0 notice b\n")
        // The count in between is missing: what is before it is left out.
        let third = EventArchive.read(folder: folder.path, now: 9)
        #expect(third.startedAt == 6)
        #expect(third.reply(to: EventsRequest()).events.map(\.number) == [9])
        try write("4.log", "nothing\n")
        try write("5.log", "")
        #expect(EventArchive.read(folder: folder.path, now: 9).startedAt == 9)
    }

    /// Guards against: a disk that does not do, and is told at every line or never, or loses what is
    /// told meanwhile.
    @Test func noFolder() throws {
        let folder = try ScratchFolder()
        let lines = Mutex<[String]>([])
        let history = EventHistory(startedAt: 7)
        let path = folder.file("state/events")
        let archive = EventArchive(folder: path, history: history) { line in
            lines.withLock { $0.append(line.text) }
        }
        for number in 1...3 { history.add(Self.line(number), at: 7) }
        archive.flush()
        #expect(lines.withLock { $0 }.count == 1)
        #expect(lines.withLock { $0 }.first?.contains("event=events-not-kept") == true)
        try FolderEntry.makeFolder(folder.file("state"))
        history.add(Self.line(4), at: 7)
        archive.flush()
        #expect(lines.withLock { $0 }.last == "event=events-kept")
        #expect(EventArchive.read(folder: path, now: 9).reply(to: EventsRequest()).last == 4)
    }
}
