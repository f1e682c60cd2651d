// A port's memory on its way from and to another host.
//
// Invariants: what comes from another host is bounded by this host's rules before it is kept: its
// lane, its forgiveness, its mode; what cannot be taken changes nothing; what waits for its port is in
// the journal; a port that has an incident of its own keeps it.
internal import ControlAPI
package import Mitigation
internal import Netlink
internal import Recording
internal import Settings
internal import TrafficControl

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// What is remembered of a port (escaped name) that is here, or is gone with its strikes: nothing
    /// where nothing is.
    package func export(_ name: String, now: Instant) -> ControlReply {
        for (slot, port) in table.watched where port.port.name.description == name {
            return .export(
                PortDocument(
                    name: port.port.name, address: port.link.address, exportedAt: now,
                    memory: engine.memory(slot, now: now) ?? PortMemory()))
        }
        if let name = PortName(escaped: name), let record = departed.record(of: name, now: now) {
            return .export(
                PortDocument(
                    name: record.name, address: record.address, exportedAt: now,
                    memory: record.memory))
        }
        return .problem(
            404,
            Problem(
                error: "no port \(name) is watched, and none is remembered",
                cure: "sluicectl status --all lists the watched ports"))
    }

    /// Takes what another host remembers of a port: at once where the port is here, else when it
    /// appears under that name and address, within the forgiveness time.
    package mutating func importPort(_ document: PortDocument, now: Instant) -> ControlReply {
        guard let match = names.match(document.name) else {
            return .problem(
                409,
                Problem(
                    error: "no class claims a port of the name \(document.name)",
                    cure: "the keys class.*.names of the configuration say what is a port"))
        }
        let memory = bounded(
            document.memory.moved(from: document.exportedAt, to: now), of: match.portClass, now: now
        )
        var rung = memory.incident?.rung ?? .normal
        var waits = false
        if let slot = slot(of: document.name), let port = table.watched[slot] {
            if let problem = refusal(of: document, for: port) { return .problem(409, problem) }
            rung = take(memory, for: port, now: now)
            obey(slot, now: now)
        } else if memory != PortMemory() {
            waits = true
            let until = now.advanced(by: engine.policy.forgiveness)
            departed.keep(
                DepartedRecord(
                    name: document.name, address: document.address,
                    until: max(until, memory.relapseUntil ?? until), memory: memory), now: now)
            output.notes.append(.imported(document.name, rung, isWaiting: true))
            hasChanged = true
        }
        commit(now: now)
        return .imported(
            ImportReply(port: "\(document.name)", rung: "\(rung)", waits: waits))
    }

    /// A port goes on with a memory of former times, or of another host, as far as this host's rules let
    /// it climb. Gives the rung that it goes on with.
    @discardableResult
    mutating func take(_ memory: PortMemory, for port: WatchedPort, now: Instant) -> Rung {
        guard let slot = table.slot(of: port.port.id.index) else { return .normal }
        var memory = memory.bounded(by: engine.ceiling(of: port.port))
        // An incident of its own goes before another one's.
        if engine.view(slot).incident != nil { memory.incident = nil }
        // The number of an incident is this host's own.
        let number = engine.memory.lastIncident
        memory.incident?.number = number == .max ? 1 : number + 1
        if let number = memory.incident?.number { memory.incident?.limits?.incident = number }
        // Nothing of ours stands on it: whoever takes it out again has to know what did.
        let origin = memory.incident == nil ? nil : try? control.origin(of: port.controlled)
        restore(memory, at: slot, origin: origin, advisories: [], now: now)
        if let incident = memory.incident {
            output.notes.append(.imported(port.port.name, incident.rung, isWaiting: false))
        }
        hasChanged = true
        return memory.incident?.rung ?? .normal
    }

    private func refusal(of document: PortDocument, for port: WatchedPort) -> Problem? {
        let name = port.port.name
        guard document.address.isEmpty || document.address == port.link.address else {
            return Problem(
                error: "address: the port \(name) here has another link-layer address",
                cure: "it may be another machine; where it is the same, set \"address\": []")
        }
        guard let slot = table.slot(of: port.port.id.index),
            let incident = engine.view(slot).incident
        else { return nil }
        return Problem(
            error: "the port \(name) has the incident \(incident) here",
            cure: "sluicectl release \(name), then import again; or leave it as it is")
    }

    /// What this host's rules leave of it.
    private func bounded(
        _ memory: PortMemory, of portClass: PortClass, now: Instant
    ) -> PortMemory {
        var memory = memory
        let latest = now.advanced(by: engine.policy.forgiveness)
        memory.relapseUntil = memory.relapseUntil.map { min($0, latest) }
        memory.incident?.limits?.lane = engine.policy.lane
        // An observing host programs nothing, whatever the other one did.
        if engine.policy.mode(of: portClass) == .observe { memory.incident?.isEnforced = false }
        return memory
    }
}
