// Questions asked at a steady pace and when each was answered: the record behind the sessions.
// Invariant: bounded; what is too old is forgotten, the newest `capacity` exchanges are kept.

internal import Synchronization

/// What came of the questions that were asked in a window of time.
public struct Exchanges: Hashable, Sendable {
    /// Questions asked in the window.
    public var asked: Int
    /// Those of them that were answered, at whatever time.
    public var answered: Int
    /// The longest time from a question of the window to its answer.
    public var longestRoundTrip: Duration
    /// The longest time within the window in which no answer arrived, from its begin to its end.
    public var longestStall: Duration
}

/// A record of questions and answers, each with its time.
final class ExchangeRecord: Sendable {
    private struct Exchange {
        var asked: Moment
        var answered: Moment?
    }
    private struct State {
        var exchanges: [Exchange] = []
        var forgotten = 0
    }
    private static let capacity = 1 << 16
    private let state = Mutex(State())

    /// Notes a question.
    ///
    /// - Returns: its number, to name in `answer`.
    func ask(at moment: Moment) -> Int {
        state.withLock { state in
            if state.exchanges.count == Self.capacity {
                state.exchanges.removeFirst(Self.capacity / 2)
                state.forgotten += Self.capacity / 2
            }
            state.exchanges.append(Exchange(asked: moment))
            return state.forgotten + state.exchanges.count - 1
        }
    }

    /// Notes the first answer to a question.
    func answer(_ number: Int, at moment: Moment) {
        state.withLock { state in
            let position = number - state.forgotten
            guard state.exchanges.indices.contains(position) else { return }
            if state.exchanges[position].answered == nil {
                state.exchanges[position].answered = moment
            }
        }
    }

    var answered: Int { state.withLock { $0.exchanges.count(where: { $0.answered != nil }) } }

    func summary(_ window: ClosedRange<Moment>) -> Exchanges {
        let exchanges = state.withLock { $0.exchanges }
        let asked = exchanges.filter { window.contains($0.asked) }
        let trips = asked.compactMap { one in one.answered.map { $0 - one.asked } }
        let arrivals = exchanges.compactMap(\.answered).filter(window.contains).sorted()
        let edges = [window.lowerBound] + arrivals + [window.upperBound]
        let gaps = zip(edges, edges.dropFirst()).map { $1 - $0 }
        return Exchanges(
            asked: asked.count, answered: trips.count, longestRoundTrip: trips.max() ?? .zero,
            longestStall: gaps.max() ?? .zero)
    }
}
