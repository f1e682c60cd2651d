// The mailbox between the socket's thread and the turn's.

import ControlAPI
import Synchronization
import Testing

@testable import Daemon

/// Counts on many threads.
private final class Counter: Sendable {
    private let number = Atomic<Int>(0)
    var value: Int { number.load(ordering: .relaxed) }
    func count() { number.add(1, ordering: .relaxed) }
}

@Suite struct ControlMailboxTests {
    /// Guards against: requests in another order, one that is handed out twice, or a wake for none.
    @Test func order() {
        let wakes = Counter()
        let mailbox = Mailbox(capacity: 3) { wakes.count() }
        var seen: [ControlRequest] = []
        #expect(!mailbox.drain { request, _ in seen.append(request) })
        #expect(mailbox.submit(.port("a")) { _ in })
        #expect(mailbox.submit(.port("b")) { _ in })
        #expect(mailbox.submit(.port("c")) { _ in })
        #expect(!mailbox.submit(.port("d")) { _ in })
        #expect(!mailbox.drain { request, _ in seen.append(request) })
        #expect(seen == [.port("a"), .port("b"), .port("c")])
        #expect(!mailbox.drain { request, _ in seen.append(request) })
        #expect(seen.count == 3)
        #expect(mailbox.submit(.port("e")) { _ in })
        #expect(wakes.value == 4)
    }

    /// Guards against: a deadlock where the answer leads to the next request.
    @Test func submitWhileDraining() {
        let mailbox = Mailbox(wake: {})
        #expect(mailbox.submit(.status) { _ in _ = mailbox.submit(.health) { _ in } })
        var seen: [ControlRequest] = []
        for _ in 0..<2 {
            _ = mailbox.drain { request, reply in
                seen.append(request)
                reply(.healthy)
            }
        }
        #expect(seen == [.status, .health])
    }

    /// Guards against: a request that is lost between two threads.
    @Test func manyThreads() async {
        let mailbox = Mailbox(capacity: 16, wake: {})
        let answered = Counter()
        await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var taken = 0
                    while taken < 500 {
                        let isTaken = mailbox.submit(.health) { _ in
                            answered.count()
                        }
                        if isTaken { taken += 1 } else { await Task.yield() }
                    }
                    return taken
                }
            }
            while answered.value < 2000 {
                _ = mailbox.drain { _, reply in reply(.healthy) }
                await Task.yield()
            }
            var sum = 0
            for await taken in group { sum += taken }
            #expect(sum == 2000)
        }
        #expect(answered.value == 2000)
    }

    /// Guards against: an answer that overwrites the one that was given.
    @Test func firstAnswerCounts() throws {
        let box = ReplyBox(bell: try ReplyBell())
        #expect(box.take() == nil)
        box.fill(.healthy)
        box.fill(.status(ControlHarness.status))
        #expect(box.take() == .healthy)
        #expect(box.take() == nil)
        box.fill(.healthy)
        #expect(box.take() == nil)
    }
}
