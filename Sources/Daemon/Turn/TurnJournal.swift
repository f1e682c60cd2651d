// The turn's memory: what it writes before and after a change, and what it goes on with after a start.
package import Mitigation
internal import Netlink
internal import Recording
internal import Settings
internal import TrafficControl

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    // MARK: Writing

    /// All that is remembered now.
    package func journalState(now: Instant) -> JournalState {
        var state = JournalState()
        state.engine = engine.memory
        for slot in engine.slots {
            guard let memory = engine.memory(slot, now: now), let port = table.watched[slot] else {
                continue
            }
            state.ports.append(
                PortRecord(
                    index: port.port.id.index, name: port.port.name, address: port.link.address,
                    kind: port.link.kind, origin: held[slot]?.origin,
                    advisories: held[slot]?.advisories ?? [], memory: memory))
        }
        let limited = limitedIndexes
        state.ports += unsettled.filter { !limited.contains($0.index) }
        state.ports.sort { $0.index < $1.index }
        state.departed = departed.remaining(now: now)
        state.orders = orders.isEmpty ? nil : orders
        state.untold = output.untold + output.events.map(AlertLine.init)
        state.stops = output.stops.map(\.port.index)
        return state
    }

    /// Writes the journal. Where it cannot be written that is told once, and nothing waits for it: a
    /// limit that is not remembered is better than none.
    mutating func write(now: Instant) {
        let state: JournalState
        if let former = remembered {
            // Not before it has been taken up: it would be lost. But what operators say counts at once.
            guard former.orders ?? OrderBook() != orders else { return }
            remembered?.orders = orders
            state = remembered ?? former
        } else {
            state = journalState(now: now)
        }
        writtenAt = now
        do throws(JournalError) {
            try journal.write(state, now: now)
            if isJournalBroken { output.notes.append(.journalWorks) }
            isJournalBroken = false
            hasChanged = false
        } catch {
            counts.failedJournals += 1
            if !isJournalBroken { output.notes.append(.journalFailed(error.description)) }
            isJournalBroken = true
        }
    }

    /// What happened in this turn is written before it is told; and while a port is limited, its
    /// clocks now and then.
    mutating func commit(now: Instant) {
        let isDue = writtenAt.map { now.since($0) >= Self.journalInterval } ?? true
        let mustWrite = isJournalBroken ? isDue : hasChanged
        guard mustWrite || (isDue && engine.mitigatedCount > 0) else { return }
        write(now: now)
    }

    /// What `output` held has been told: it is not told again after a crash.
    package mutating func wasTold(now: Instant) {
        let mustWrite = !output.events.isEmpty || !output.untold.isEmpty || !output.stops.isEmpty
        output = TurnOutput()
        if mustWrite { write(now: now) }
    }

    /// The clocks as they are, for a successor: the last thing before the daemon ends.
    package mutating func writeLast(now: Instant) { write(now: now) }

    /// The interfaces of the ports that are known to be limited.
    private var limitedIndexes: Set<Int32> {
        Set(held.filter(\.value.isLimited).keys.compactMap { table.watched[$0]?.port.id.index })
    }

    // MARK: Going on

    /// Goes on with what is remembered and with what stands; what could not be looked at is looked at
    /// again in a second. Only with the interfaces listed: an ifb whose port is not known yet would
    /// else be taken for nobody's.
    mutating func survey(now: Instant) {
        guard hasListed, !hasSurveyed else { return }
        if let last = surveyedAt, now.since(last) < Self.measureInterval { return }
        surveyedAt = now
        if let state = remembered { restore(state, now: now) }
        let ports = table.watched.values.map(\.controlled).sorted { $0.index < $1.index }
        let known = limitedIndexes
        do throws(TrafficControlError) {
            let survey = try control.survey(ports, lane: engine.policy.lane, except: known)
            var failed = survey.failed
            for each in survey.found {
                guard inherited.contains(each.port.index) else {
                    adopt(each, now: now)
                    continue
                }
                if let problem = takeOut(each) { failed[each.port.index] = problem }
            }
            for name in survey.defaulted {
                output.notes.append(.advised(name, Survey.defaultedSentence))
            }
            // What is known was not looked at: it may be guarded, too.
            takeOverGuards(on: survey.guarded.union(known))
            hasSurveyed = failed.isEmpty
            if hasSurveyed { unsettled = [] }
            counts.failedLooks += UInt64(failed.count)
            for (index, sentence) in failed.sorted(by: { $0.key < $1.key }) {
                output.notes.append(.surveyFailed("interface \(index): \(sentence)"))
            }
        } catch {
            counts.failedLooks += 1
            output.notes.append(.surveyFailed(error.description))
        }
        if hasSurveyed, !adoption.isEmpty { output.notes.append(.adopted(adoption)) }
        hasChanged = true
    }

    /// Limits that stand, and of which nothing is remembered.
    private mutating func adopt(_ found: Found, now: Instant) {
        guard let slot = table.slot(of: found.port.index) else { return }
        // We only take down the link of a port that is tightened.
        let isDown = found.limits.rung == .tighten && table.watched[slot]?.link.isUp == false
        guard engine.adopt(slot, found.limits, linkIsDown: isDown, now: now) else { return }
        limit(slot, origin: nil)
        adoption.rungs[engine.view(slot).rung, default: 0] += 1
        adoption.unremembered += 1
    }

    /// Limits that were meant for another interface, which had this index before. Answers with what
    /// stood in the way; then they are found again.
    private mutating func takeOut(_ found: Found) -> String? {
        do throws(TrafficControlError) {
            try control.apply(nil, to: found.port)
            inherited.remove(found.port.index)
            unsettled.removeAll { $0.index == found.port.index }
            return nil
        } catch {
            return error.description
        }
    }

    private mutating func restore(_ state: JournalState, now: Instant) {
        remembered = nil
        engine.restore(state.engine, now: now)
        for record in state.departed { departed.keep(record, now: now) }
        for record in state.ports { restore(record, now: now) }
        for port in table.watched.values { recall(port, now: now) }
        output.untold += state.untold
        for index in state.stops {
            guard let slot = table.slot(of: index), let port = table.watched[slot],
                engine.view(slot).rung == .shutDown
            else { continue }
            output.stops.append(
                StopOrder(
                    port: port.port.id, match: port.match,
                    incident: engine.view(slot).incident ?? 0))
        }
        // Last: what is taken out now is announced with all that is remembered.
        for (slot, port) in table.watched
        where orders.word(on: port.port.name) != nil { obey(slot, now: now) }
    }

    private mutating func restore(_ record: PortRecord, now: Instant) {
        guard let slot = table.slot(of: record.index), let port = table.watched[slot],
            port.link.kind == record.kind, port.link.address == record.address
        else {
            if table.slot(of: record.index) != nil {
                if record.memory.incident?.isEnforced == true { inherited.insert(record.index) }
            } else if let origin = record.origin {
                // No class claims it any more: ours is taken out by the survey.
                let port = ControlledPort(index: record.index, name: record.name, mtu: 0)
                control.hold(origin, for: port)
            }
            unsettled.append(record)
            if record.memory.incident?.wasMitigated == true { adoption.gone += 1 }
            keepStrikes(record.memory, of: record.name, record.address, now: now)
            return
        }
        restore(
            record.memory, at: slot, origin: record.origin, advisories: record.advisories, now: now)
    }

    /// A port that some class claims again before all that stands has been looked at.
    mutating func reclaim(_ port: WatchedPort, now: Instant) {
        guard let place = unsettled.firstIndex(where: { $0.index == port.port.id.index }),
            unsettled[place].kind == port.link.kind,
            unsettled[place].address == port.link.address
        else { return }
        let record = unsettled.remove(at: place)
        if record.memory.incident?.wasMitigated == true { adoption.gone -= 1 }
        restore(record, now: now)
    }

    /// A port goes on with what is remembered of it.
    mutating func restore(
        _ memory: PortMemory, at slot: Engine.Slot, origin: PortOrigin?, advisories: [String],
        now: Instant
    ) {
        guard let port = table.watched[slot] else { return }
        engine.restore(slot, memory, now: now)
        if let origin { control.hold(origin, for: port.controlled) }
        let view = engine.view(slot)
        guard view.incident != nil, view.mode == .enforce,
            view.rung > .normal || memory.incident?.asked != nil
        else { return }
        limit(slot, origin: origin, advisories: advisories)
        if view.rung > .normal { adoption.rungs[view.rung, default: 0] += 1 }
    }

    /// A port that has come: what is remembered of the one that it was.
    mutating func recall(_ port: WatchedPort, now: Instant) {
        guard let memory = departed.take(port.port.name, port.link.address, now: now) else {
            return
        }
        take(memory, for: port, now: now)
    }

    /// What outlives a port.
    mutating func keepStrikes(
        _ memory: PortMemory, of name: PortName, _ address: [UInt8], now: Instant
    ) {
        let forgiveness = engine.policy.forgiveness
        guard let rest = memory.outlived(now: now, forgiveness: forgiveness),
            let until = rest.relapseUntil
        else { return }
        departed.keep(
            DepartedRecord(name: name, address: address, until: until, memory: rest), now: now)
        hasChanged = true
    }

    /// There are limits of ours on a port, or there will be.
    mutating func limit(_ slot: Engine.Slot, origin: PortOrigin?, advisories: [String] = []) {
        hold(slot, advisories: advisories)
        held[slot]?.limit(origin: origin)
    }

    /// There is something of ours on a port, or there will be.
    mutating func hold(_ slot: Engine.Slot, advisories: [String] = []) {
        guard held[slot] == nil else { return }
        held[slot] = HeldPort(
            advisories: advisories, repairs: RepairBudget(perMinute: settings.repairsPerMinute))
    }

    /// There are no limits of ours on a port any more.
    mutating func unlimit(_ slot: Engine.Slot) {
        guard guarded[slot] != nil else { return letGo(slot) }
        held[slot]?.unlimit()
    }

    /// There is nothing of ours on a port any more.
    mutating func letGo(_ slot: Engine.Slot) {
        held[slot] = nil
        disturbed.remove(slot)
    }
}
