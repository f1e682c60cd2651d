// What a turn leaves for those beside it: what is to be told, and machines to stop.
package import ControlAPI
package import LinkCounters
package import Mitigation
package import Settings
package import TrafficControl

/// A virtual machine is to be stopped: its link is down.
package struct StopOrder: Hashable, Sendable {
    /// Which interface.
    package var port: PortID
    /// The port, as its name was matched.
    package var match: PortMatch
    /// The incident.
    package var incident: UInt32
}

/// What a turn leaves for those beside it.
package struct TurnOutput: Sendable {
    /// What a former daemon had to tell and may not have told.
    package var untold: [AlertLine] = []
    /// What the engine told.
    package var events: [Event] = []
    /// Virtual machines to stop.
    package var stops: [StopOrder] = []
    /// What the turn itself has to tell: a repair, a failed poll.
    package var notes: [TurnNote] = []

    /// Nothing yet.
    package init() {}

    /// Nothing at all.
    package var isEmpty: Bool {
        untold.isEmpty && events.isEmpty && stops.isEmpty && notes.isEmpty
    }
}

/// What was found at start.
package struct Adoption: Hashable, Sendable {
    /// How many ports go on, by rung.
    package var rungs: [Rung: Int] = [:]
    /// Of those, how many nothing is remembered of: found in the kernel alone.
    package var unremembered = 0
    /// How many incidents ended with their port while no daemon ran.
    package var gone = 0

    /// Nothing found.
    package var isEmpty: Bool { rungs.isEmpty && gone == 0 }
}

/// What the turn itself has to tell.
package enum TurnNote: Hashable, Sendable {
    /// Somebody had taken out what limits a port; it was put back. The port, and what was missing.
    case repaired(PortName, String)
    /// What limits a port is missing and cannot be put back, or cannot be looked at.
    case damaged(PortName, String)
    /// Somebody keeps taking out what limits a port: what, and for how many seconds it is left so.
    case contested(PortName, String, seconds: Int)
    /// A redirect that led nowhere was taken out while the rest is left to whoever took it out.
    case redirectTakenOut(PortName, String)
    /// What of others makes a port's limits ineffective, or is skipped by them: a sentence.
    case advised(PortName, String)
    /// Another host's memory of a port came: its rung, and whether it waits for the port.
    case imported(PortName, Rung, isWaiting: Bool)
    /// What gets through a port's limits is more than may (true), or no longer: what, of how much.
    case cap(PortName, Direction, Bool, Load, Cap)
    /// What an operator said of a port has ended in time.
    case orderOver(PortName, PortOrder)
    /// A port's guards are not as they are said: why.
    case guardsFailed(PortName, String)
    /// A port's guards refused frames, or would have: all that they counted, how many of these were not
    /// told yet, and in how many seconds; nil for the first ones.
    case guardsRefused(
        PortName, Guards.Mode, GuardCounts, packets: UInt64, seconds: Int?)
    /// The counters could not be read.
    case pollFailed(String)
    /// Counters come from elsewhere than before.
    case counters(CounterSource)
    /// The interfaces could not be listed.
    case linksFailed(String)
    /// What goes on after a start.
    case adopted(Adoption)
    /// The kernel's objects could not be looked at, at start.
    case surveyFailed(String)
    /// The journal could not be written: a crash would now lose clocks, never limits.
    case journalFailed(String)
    /// The journal is written again.
    case journalWorks
}
