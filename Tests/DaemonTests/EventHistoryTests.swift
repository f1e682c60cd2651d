// What is kept of what was told.
import ControlAPI
import LinuxSystem
import NIOHTTP1
import Testing

@testable import Daemon

@Suite struct EventHistoryTests {
    private static func history(_ count: Int) -> EventHistory {
        let history = EventHistory(startedAt: 7)
        for number in 1...count {
            history.add(AlertLine(.notice, [("event", "a"), ("n", "\(number)")]), at: 1)
        }
        return history
    }

    /// Guards against: a line that is left out, given twice, or given under another's number, before
    /// and after the oldest ones are overwritten.
    @Test(arguments: [1, 5, EventHistory.capacity, EventHistory.capacity * 2 + 7])
    func allLinesInTheirOrder(_ count: Int) {
        let history = Self.history(count)
        let kept = min(count, EventHistory.capacity)
        var read: [ToldLine] = []
        var after: UInt64 = 0
        var lost: UInt64 = 0
        repeat {
            let reply = history.reply(to: EventsRequest(after: after, limit: 100))
            #expect(reply.last == UInt64(count) && reply.events.count <= 100)
            lost += reply.lost
            read += reply.events
            after = reply.events.last?.number ?? UInt64(count)
        } while after < UInt64(count)
        #expect(read.map(\.number) == Array(UInt64(count - kept + 1)...UInt64(count)))
        #expect(read.allSatisfy { $0["n"] == "\($0.number)" })
        #expect(lost == UInt64(count - kept))
    }

    /// Guards against: a reader of the daemon before this one that is told nothing, and numbers that
    /// trap.
    @Test func strangeNumbers() {
        let history = Self.history(3)
        #expect(history.reply(to: EventsRequest(after: 9)).events.count == 3)
        #expect(history.reply(to: EventsRequest(after: .max)).events.count == 3)
        #expect(history.reply(to: EventsRequest(after: 3)).events == [])
        #expect(history.reply(to: EventsRequest(after: 0, limit: 0)).events == [])
        let empty = EventsReply(startedAt: 7, events: [], last: 0, lost: 0)
        #expect(EventHistory(startedAt: 7).reply(to: EventsRequest()) == empty)
    }

    /// Guards against: queries that are taken for others, and rights that are not asked for.
    @Test func routes() {
        func route(_ uri: String, _ access: ControlAccess = .read) -> ControlRoute {
            ControlRouter(
                access: access, actor: ControlActor(user: 1, process: 2), version: "1"
            ).route(method: .GET, uri: uri, body: [])
        }
        #expect(route("/v1/events") == .events(EventsRequest()))
        #expect(
            route("/v1/events?after=7&limit=2") == .events(EventsRequest(after: 7, limit: 2)))
        #expect(route("/v1/events?after=7&follow=true") == .listen(after: 7))
        #expect(route("/v1/incidents") == .incidents(nil))
        #expect(route("/v1/incidents/12") == .incidents(12))
        let wrong = [
            "after=-1", "limit=1001", "after", "since=1", "after=1&x=2", "after=1=2", "follow",
            "follow=1",
        ]
        for query in wrong {
            guard case .refuse(400, let problem) = route("/v1/events?\(query)") else {
                Issue.record("\(query) is taken")
                continue
            }
            #expect(problem.cure?.contains("after=NUMBER") == true)
        }
        #expect(route("/v1/ports/vm%2D1/explain") == .ask(.explain("vm-1")))
        #expect(route("/v1/metrics") == .ask(.metrics))
        for uri in ["/v1/events", "/v1/metrics", "/v1/ports/a/explain"] {
            guard case .refuse(403, _) = route(uri, .none) else {
                Issue.record("\(uri) is for everybody")
                continue
            }
        }
        guard case .refuse(404, _) = route("/v1/ports/a/explode") else {
            Issue.record("a part that is not there is found")
            return
        }
    }
}
