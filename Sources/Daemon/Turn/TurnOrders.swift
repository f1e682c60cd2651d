// What operators ask of the turn.
package import ControlAPI
package import Mitigation

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// Takes out what is on a port (escaped name), or on all.
    package mutating func release(_ request: ReleaseRequest, now: Instant) -> ReleaseReply {
        var reply = ReleaseReply(released: [], failed: [:])
        let ports = table.watched.sorted { $0.value.port.id < $1.value.port.id }
        for (slot, port) in ports {
            let name = port.port.name.description
            guard request.all == true || request.port == name else { continue }
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
}
