// What the turn shares with those beside it.
import LinuxSystem
import Mitigation
import Settings
import Synchronization
import Testing

@testable import Daemon

@Suite struct SharingTests {
    private static let port = PortID(index: 7, generation: 1)

    private static func output(stops: Bool = false, _ kinds: Event.Kind...) throws -> TurnOutput {
        var output = TurnOutput()
        if stops {
            let match = try #require(PortNames.default.match(PortName("vm-1-00aa")))
            output.stops = [StopOrder(port: port, match: match, incident: 3)]
        }
        output.events = kinds.map { kind in
            Event(
                sequence: 1, kind: kind, at: Instant(nanoseconds: 1), port: port,
                name: PortName("vm-1-00aa"), incident: 3, reason: nil, mode: .enforce)
        }
        return output
    }

    /// Guards against: a machine that is stopped hard after an operator let its port go, or one of the
    /// same name after it, since both came to be told at once.
    @Test func whoIsLetGoIsNotStopped() throws {
        let down = ShutPorts()
        #expect(down.follow(try Self.output(stops: true)).count == 1)
        down.publish()
        #expect(down.contains(Self.port))
        #expect(down.follow(try Self.output(.vanished(.shutDown))).isEmpty)
        down.publish()
        #expect(!down.contains(Self.port))
        #expect(down.follow(try Self.output(stops: true, .vanished(.shutDown))).isEmpty)
        down.publish()
        #expect(!down.contains(Self.port))
    }

    /// Guards against: a line of another thread that is lost, told twice, or that nobody is woken for;
    /// and ones without end.
    @Test func othersLinesAreTold() {
        let woken = Atomic<Int>(0)
        let tidings = Tidings { woken.add(1, ordering: .relaxed) }
        #expect(tidings.take().isEmpty)
        for number in 0..<300 { tidings.add(AlertLine(.info, [("event", "\(number)")])) }
        let told = tidings.take().map(\.text)
        #expect(told == (0..<256).map { "event=\($0)" })
        #expect(tidings.take().isEmpty && woken.load(ordering: .relaxed) == 300)
    }
}
