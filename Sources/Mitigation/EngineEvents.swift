// The events that the engine tells.
// Invariant: an event carries the port's name and the incident as they are when it is told.

extension Engine {
    /// Tells each direction's move, and the end of an alert with it.
    mutating func tellMoves(
        _ index: Int, from former: Ladder.Rungs, _ reason: Reason, mode: Mode? = nil,
        _ now: Instant, into actions: inout [Action]
    ) {
        let rungs = ladders[index].rungs
        var told = reason
        if former.from != rungs.from {
            told.direction = .from
            tell(
                .moved(from: former.from, to: rungs.from), index, told, mode: mode, now,
                into: &actions)
        }
        if former.to != rungs.to {
            told.direction = .to
            tell(
                .moved(from: former.to, to: rungs.to), index, told, mode: mode, now,
                into: &actions)
        }
        for direction in Direction.allCases
        where ladders[index][direction].isAlarmed && ladders[index][direction].rung == .normal {
            let before = direction == .from ? former.from : former.to
            guard before > .normal else { continue }
            told.direction = direction
            alarm(index, direction, false, told, now, into: &actions)
        }
    }

    mutating func alarm(
        _ index: Int, _ direction: Direction, _ isOn: Bool, _ reason: Reason, _ now: Instant,
        into actions: inout [Action]
    ) {
        let isWatched = records[ladders[index].slot]?.ceiling == .normal
        guard ladders[index].alarm(direction, isOn, isWatched: isWatched) else { return }
        tell(
            ladders[index].isWatched ? .watched(isOn) : .victim(isOn), index, reason,
            mode: mode(of: ladders[index].slot), now, into: &actions)
    }

    mutating func tell(
        _ kind: Event.Kind, _ index: Int, _ reason: Reason?, mode: Mode? = nil, _ now: Instant,
        into actions: inout [Action]
    ) {
        let ladder = ladders[index]
        guard let port = records[ladder.slot]?.port else { return }
        lastEvent &+= 1
        let event = Event(
            sequence: lastEvent, kind: kind, at: now, port: port.id, name: port.name,
            incident: ladder.incident,
            reason: reason, mode: mode ?? (ladder.isEnforced ? .enforce : .observe))
        actions.append(.tell(event))
    }
}
