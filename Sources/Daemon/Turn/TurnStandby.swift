// What was read beside a turn that waited for the kernel, taken as the polls that it is.
//
// A gap of more than three polls would void what a flood did before it (Engine.sample), and it would
// have its whole time once more. So each of these is sampled and decided at its own moment, before what
// is read by now. What is decided is carried out after all of them, and a rung begins when it stands: what
// was sent before is no evidence for the next one.
internal import LinkCounters
package import Mitigation
internal import Netlink
internal import Recording
internal import TrafficControl

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// Takes the polls that were read beside turns, where there are any, and does what they ask for.
    /// Whoever is about to tell the turn of another moment calls it first.
    package mutating func catchUp(clock: () -> Instant) {
        guard decideMissed(before: clock) else { return }
        let now = clock()
        carryOut(now: now, clock: clock)
        commit(now: clock())
    }

    /// Decides on the polls that were read beside turns, before others that came at `moment`; false
    /// where there are none.
    mutating func decideMissed(before moment: () -> Instant) -> Bool {
        let missed = machine.takeStandbyPolls()
        guard !missed.isEmpty else { return false }
        let now = moment()
        // Who held the lock had it for the interfaces: what was read by a name that another port may have
        // had meanwhile does not count.
        listChanges(now: now)
        guard knowsInterfaces else { return true }
        survey(now: now)
        let ports = table.portsByName(except: leaving)
        // Nothing is measured twice in half a poll's time.
        let least = engine.policy.pollInterval / 2
        for poll in missed {
            guard poll.at > engine.polled.advanced(by: least), poll.at.advanced(by: least) < now
            else { continue }
            let samples = poll.interfaces.compactMap { interface in
                ports[interface.name].map { slot in
                    PortSample(slot, table.counters(interface.counters, of: slot), at: poll.at)
                }
            }
            guard !samples.isEmpty else { continue }
            engine.sample(samples.span)
            engine.finishPoll(now: poll.at, into: &actions)
            polls += 1
            counts.standbyPolls += 1
        }
        return true
    }
}
