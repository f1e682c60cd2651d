// What operators ask of the turn.
//
// Invariants: a word is in the book, and with the next write in the journal, before it has an effect
// in the kernel; a port that comes finds what was said of its name.
package import ControlAPI
package import Mitigation
internal import Recording

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// Takes out what is on a port (escaped name), or on all. What was held is held no longer.
    package mutating func release(_ request: ReleaseRequest, now: Instant) -> ReleaseReply {
        var reply = ReleaseReply(released: [], failed: [:])
        let ports = table.watched.sorted { $0.value.port.id < $1.value.port.id }
        for (slot, port) in ports {
            let name = port.port.name.description
            guard request.all == true || request.port == name else { continue }
            if orders.word(on: port.port.name)?.order == .hold {
                _ = orders.takeBack(port.port.name)
                hasChanged = true
                obey(slot, now: now)
            }
            guard engine.release(port.port.id, now: now, into: &actions) else {
                if request.port == name { reply.failed[name] = "nothing of ours is on it" }
                continue
            }
            carryOut(now: now)
            let view = engine.view(slot)
            if view.rung == .normal {
                reply.released.append(name)
            } else {
                reply.failed[name] = view.problem ?? "not confirmed yet"
            }
        }
        if let name = request.port,
            !ports.contains(where: { $0.value.port.name.description == name })
        {
            reply.failed[name] = "no such port is watched"
        }
        commit(now: now)
        return reply
    }

    // MARK: Single ports

    /// The port stays where it is, or is left alone; for a time, or until another word.
    ///
    /// - Parameter until: nil: until another word.
    package mutating func order(
        _ order: PortOrder, _ name: String, until: Instant?, word: Word, now: Instant
    ) -> ControlReply {
        guard let slot = slot(named: name), let port = table.watched[slot]?.port else {
            return .unwatched(name)
        }
        let rung = engine.view(slot).rung
        if order == .hold, rung == .normal {
            return .problem(
                409,
                Problem(
                    error: "the port \(name) is on normal, where there is nothing to hold",
                    cure: "sluicectl exempt \(name) leaves it alone, sluicectl escalate \(name) "
                        + "limits it"))
        }
        let said = PortWord(name: port.name, order: order, until: until, word: word)
        guard orders.say(said) else {
            return .problem(
                409,
                Problem(
                    error: "there are orders for \(OrderBook.capacity) ports",
                    cure: "take some back: sluicectl enable PORT"))
        }
        return tellOrder(slot, name, now: now)
    }

    /// The rules decide on the port again.
    package mutating func takeBackOrder(_ name: String, now: Instant) -> ControlReply {
        guard let wanted = PortName(escaped: name) else { return .unwatched(name) }
        let known = slot(of: wanted)
        guard orders.takeBack(wanted) != nil else {
            guard known != nil else { return .unwatched(name) }
            return .problem(
                409,
                Problem(
                    error: "the port \(name) is neither held nor exempt",
                    cure: "sluicectl status shows which ports are"))
        }
        guard let slot = known else {
            hasChanged = true
            commit(now: now)
            return .ordered(OrderReply(port: name, rung: "\(Rung.normal)", order: nil))
        }
        return tellOrder(slot, name, now: now)
    }

    /// One rung up.
    package mutating func escalate(_ name: String, now: Instant) -> ControlReply {
        guard let slot = slot(named: name), let port = table.watched[slot]?.port else {
            return .unwatched(name)
        }
        if let refusal = engine.escalate(port.id, now: now, into: &actions) {
            return .problem(409, Self.problem(refusal, name))
        }
        carryOut(now: now)
        return tellOrder(slot, name, now: now)
    }

    private mutating func tellOrder(
        _ slot: Engine.Slot, _ name: String, now: Instant
    ) -> ControlReply {
        hasChanged = true
        obey(slot, now: now)
        commit(now: now)
        let view = engine.view(slot)
        var problem = view.problem
        if problem == nil, isJournalBroken {
            problem = "it is in force, but a restart forgets it: the journal cannot be written"
        }
        return .ordered(
            OrderReply(
                port: name, rung: "\(view.rung)", order: orderStatus(of: view.port.name, now: now),
                problem: problem))
    }

    private static func problem(_ refusal: EscalationRefusal, _ name: String) -> Problem {
        switch refusal {
        case .unknownPort: Problem(error: "no port \(name) is watched")
        case .observed:
            Problem(
                error: "the port \(name) is only observed",
                cure:
                    "arm its class (sluicectl arm CLASS), or take its exemption back (sluicectl enable)"
            )
        case .busy:
            Problem(
                error: "the kernel's last answer on the port \(name) is not in yet",
                cure: "look at sluicectl explain \(name), then ask again")
        case .highest(let rung):
            Problem(
                error: "the port \(name) is on \(rung), and may go no higher",
                cure: "ladder.highest and the port's class decide that")
        }
    }

    /// The engine learns what was said of a port's name.
    mutating func obey(_ slot: Engine.Slot, now: Instant) {
        guard let port = table.watched[slot]?.port else { return }
        engine.order(port.id, orders.word(on: port.name)?.order, now: now, into: &actions)
        carryOut(now: now)
    }

    /// What has ended in time.
    mutating func endOrders(now: Instant) {
        for ended in orders.takeEnded(now: now) {
            output.notes.append(.orderOver(ended.name, ended.order))
            hasChanged = true
            if let slot = slot(of: ended.name) { obey(slot, now: now) }
        }
    }

    /// What is in force of what was said of a port.
    func orderStatus(of name: PortName, now: Instant) -> OrderStatus? {
        orders.word(on: name).map { said in
            OrderStatus(
                order: said.order.rawValue,
                secondsLeft: said.until.map {
                    $0 > now ? Double($0.since(now).wholeNanoseconds) / 1e9 : 0
                }, reason: said.word.reason, user: said.word.user, saidAt: said.word.saidAt)
        }
    }

    // MARK: Classes

    /// Decisions about these classes are carried out, or not; nil: as the configuration says.
    package mutating func order(
        _ mode: Mode?, of classes: [PortClass], word: Word, now: Instant
    ) -> ModeReply {
        for portClass in classes {
            orders.say(mode.map { ClassWord(portClass, $0, word: word) }, of: portClass)
        }
        hasChanged = true
        engine.replace(policy: orders.applied(to: configured), now: now)
        commit(now: now)
        return ModeReply(classes: classModes)
    }

    /// The mode that holds for every class; `mixed` where they differ.
    package var mode: String {
        let modes = Set(PortClass.allCases.map { engine.policy.mode(of: $0) })
        guard let mode = modes.first, modes.count == 1 else { return "mixed" }
        return mode.rawValue
    }

    /// Each class's mode, and who says so.
    package var classModes: [ClassMode] {
        PortClass.allCases.map { portClass in
            let said = orders.word(on: portClass)
            return ClassMode(
                portClass: portClass.rawValue, mode: engine.policy.mode(of: portClass).rawValue,
                origin: said == nil ? "configuration" : "operator", user: said?.word.user,
                reason: said?.word.reason, saidAt: said?.word.saidAt)
        }
    }
}
