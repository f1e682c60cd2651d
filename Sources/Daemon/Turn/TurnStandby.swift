// What was read beside a turn that waited for the kernel, taken as the polls that it is.
//
// A gap of more than three polls would void what a flood did before it (Engine.sample), and it would
// have its whole time once more. So each of these is sampled and decided at its own moment, before what
// is read by now. What is decided is carried out after all of them, at the moment at which it is: a limit
// that did not stand yet held nothing back, and what was sent without it is no evidence for the next rung.
internal import LinkCounters
package import Mitigation
internal import Netlink
internal import Recording
internal import TrafficControl

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// Takes the polls that were read beside turns, where there are any. Whoever is about to tell the
    /// turn of another moment calls it first.
    package mutating func catchUp(now: @autoclosure () -> Instant) {
        let missed = machine.takeStandbyPolls()
        guard !missed.isEmpty else { return }
        // Nothing is measured twice in half a poll's time.
        let least = engine.policy.pollInterval / 2
        let now = now()
        let slots = table.slotsByName(except: leaving)
        for poll in missed {
            guard poll.at > engine.polled.advanced(by: least), poll.at.advanced(by: least) < now
            else { continue }
            let samples = table.samples(poll, slots)
            guard !samples.isEmpty else { continue }
            engine.sample(samples.span)
            engine.finishPoll(now: poll.at, into: &actions)
            polls += 1
            counts.standbyPolls += 1
        }
        carryOut(now: now)
    }
}

extension PortTable {
    /// The watched ports by name, but for these interfaces.
    func slotsByName(except indexes: Set<Int32>) -> [DeviceName: Engine.Slot] {
        var slots: [DeviceName: Engine.Slot] = [:]
        for (slot, port) in watched where !indexes.contains(port.port.id.index) {
            if let name = DeviceName(port.link.name) { slots[name] = slot }
        }
        return slots
    }

    /// What a poll says of these ports.
    func samples(_ poll: StandbyPoll, _ slots: [DeviceName: Engine.Slot]) -> [PortSample] {
        poll.interfaces.compactMap { interface in
            slots[interface.name].map { slot in
                PortSample(slot, counters(interface.counters, of: slot), at: poll.at)
            }
        }
    }
}
