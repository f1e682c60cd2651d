// The guards of ports: set when a port comes and when others are said, looked at, counted.
//
// Invariants: guards stand whatever the rung and the mode of the ladder; they are set only where what
// stands on a port is known; a port that came a moment ago is left to whoever sets it up, as after
// every change of his, so that none of his commands fails over ours.
package import Mitigation
internal import Recording
package import Settings
internal import TrafficControl

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// Each guarded port is counted this often, where they are few; a few in each turn.
    private static var guardRound: Duration { .seconds(2) }
    /// And this often it is looked whether they stand, in case a notification was lost.
    private static var lookRound: Duration { .seconds(30) }

    // MARK: What is wanted

    /// Other guards are said.
    package mutating func replace(guards: GuardBook, now: Instant) {
        book = guards
        for slot in table.watched.slots { wantGuards(at: slot) }
    }

    /// A port's guards are looked up anew: it came, has another name, or others are said.
    mutating func wantGuards(at slot: Engine.Slot) {
        guard let port = table.watched[slot] else { return }
        let entry = book.entry(for: port.port.name)
        guard guarded[slot] != nil else {
            guard entry != nil else { return }
            guarded[slot] = PortGuards(entry, isAdopted: !hasSurveyed)
            return
        }
        guarded[slot]?.want(entry)
    }

    /// At start: guards of a former daemon that nobody wants any more go.
    mutating func takeOverGuards(on indexes: Set<Int32>) {
        for index in indexes {
            guard let slot = table.slot(of: index), guarded[slot] == nil else { continue }
            guarded[slot] = PortGuards(nil, isAdopted: true)
        }
    }

    // MARK: Setting

    /// Brings ports to the guards that they shall have: as many as half a poll has time for.
    mutating func setGuards(now: Instant, clock: () -> Instant) {
        guard hasSurveyed, !guarded.isEmpty else { return }
        // In every turn, and nearly always none: nothing is copied for it.
        var due: [Engine.Slot] = []
        for (slot, guards) in guarded where guards.isDue(at: now) { due.append(slot) }
        let limit = now.advanced(by: engine.policy.pollInterval / 2)
        for slot in due.sorted()
        where held[slot]?.isChanging(at: now) != true && !isBesideDoubt(slot, now: now) {
            setGuards(at: slot, now: now)
            guard clock() < limit else { return }
        }
    }

    /// What limits stand is not known: what is put beside them must wait.
    private func isBesideDoubt(_ slot: Engine.Slot, now: Instant) -> Bool {
        held[slot]?.isLimited == true && isInDoubt(slot, now: now)
    }

    private mutating func setGuards(at slot: Engine.Slot, now: Instant) {
        guard let port = table.watched[slot], let wanted = guarded[slot]?.entry?.guards else {
            dropGuards(at: slot, now: now)
            return
        }
        // On an index that is another interface's by now nothing is put.
        guard !replaced.contains(port.port.id.index) else { return }
        do throws(TrafficControlError) {
            try control.setGuards(wanted, on: port.controlled)
            guarded[slot]?.stand()
            hold(slot)
        } catch {
            note(error, at: slot, port, now: now)
        }
    }

    /// What stands on a port goes. True: nothing stands any more.
    @discardableResult
    mutating func dropGuards(at slot: Engine.Slot, now: Instant) -> Bool {
        guard let guards = guarded[slot] else { return true }
        guard let port = table.watched[slot] else { return false }
        if guards.entry != nil { guarded[slot]?.want(nil) }
        guard guarded[slot]?.isDue(at: now) == true else { return false }
        do throws(TrafficControlError) {
            try control.setGuards(nil, on: port.controlled)
            guarded[slot] = nil
            if held[slot]?.isLimited == false { letGo(slot) }
            return true
        } catch {
            note(error, at: slot, port, now: now)
            return false
        }
    }

    private mutating func note(
        _ error: TrafficControlError, at slot: Engine.Slot, _ port: WatchedPort, now: Instant
    ) {
        // A port that is gone is told by the links.
        guard error != .gone else { return }
        counts.failedGuards += 1
        guard guarded[slot]?.fail(error.description, now: now) == true else { return }
        output.notes.append(.guardsFailed(port.port.name, error.description))
    }

    // MARK: Counting

    /// Counts a few guarded ports, and looks at them now and then.
    mutating func countGuards(now: Instant) {
        guard !guarded.isEmpty else { return }
        if uncounted.isEmpty {
            if let last = countedAt, now.since(last) < Self.guardRound { return }
            countedAt = now
            looksAtGuards = guardsLookedAt.map { now.since($0) >= Self.lookRound } ?? true
            if looksAtGuards { guardsLookedAt = now }
            uncounted = guarded.filter(\.value.isInForce).keys.sorted()
        }
        let step = min(Self.lookedAtInAStep, share(of: guarded.count, in: Self.guardRound))
        for slot in uncounted.suffix(step) {
            guard let port = table.watched[slot], guarded[slot]?.isInForce == true else { continue }
            if looksAtGuards { disturbed.insert(slot) }
            guard let counts = try? control.guardCounts(of: port.controlled) else { continue }
            if let report = guarded[slot]?.take(counts, now: now) {
                output.notes.append(
                    .guardsRefused(
                        port.port.name, guarded[slot]?.entry?.guards.mode ?? .enforce, counts,
                        packets: report.packets,
                        seconds: report.since.map { Int(now.since($0).components.seconds) }))
            }
            if held[slot]?.isLimited == false { advise(port, at: slot) }
        }
        uncounted.removeLast(min(step, uncounted.count))
    }
}
