// Which interfaces are ports: what comes, goes, changes its name, and what somebody does to it.
internal import Mitigation
internal import Netlink
internal import Recording
internal import Settings
internal import TrafficControl

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    mutating func listChanges(now: Instant) {
        readRoutes(now: now)
        do throws(NetlinkError) {
            var changes: [HostChange] = []
            try machine.takeChanges { changes.append($0) }
            for change in changes { take(change, now: now) }
            unlisted = 0
        } catch {
            unlisted += 1
            counts.failedLists += 1
            output.notes.append(.linksFailed(error.description))
        }
    }

    private mutating func readRoutes(now: Instant) {
        guard routesReadAt.map({ now.since($0) >= Self.routesInterval }) ?? true else { return }
        routesReadAt = now
        // Kept as they were where they cannot be read.
        guard let routes = try? machine.defaultRouteInterfaces(), routes != defaultRoutes else {
            return
        }
        let changed = routes.symmetricDifference(defaultRoutes)
        defaultRoutes = routes
        for port in table.watched.values where changed.contains(port.port.id.index) {
            appear(port.link, now: now)
        }
    }

    private mutating func take(_ change: HostChange, now: Instant) {
        switch change {
        case .link(let link):
            disturb(link.index)
            appear(link, now: now)
        case .gone(let index):
            disturb(index)
            vanish(index, now: now)
        case .trafficControl(let index):
            disturb(index)
            if let slot = table.slot(of: index) { held[slot]?.noteChange(at: now) }
        case .all(let links):
            let present = Set(links.map(\.index))
            for index in table.indexes where !present.contains(index) { vanish(index, now: now) }
            for link in links {
                // Whatever came and went unseen: another address is another interface.
                if !table.isSame(link, byAddress: true) { replace(link.index, now: now) }
                appear(link, now: now)
            }
            // Whatever was done to them unseen.
            disturbed.formUnion(held.keys)
            hasListed = true
        }
    }

    /// Somebody, maybe we, did something to a port or to its ifb: it is looked at in this turn.
    private mutating func disturb(_ index: Int32) {
        guard !held.isEmpty else { return }
        let owner = table.ownerOfIFB(index) ?? index
        guard let slot = table.slot(of: owner), held[slot] != nil else { return }
        disturbed.insert(slot)
    }

    private mutating func appear(_ link: Link, now: Instant) {
        // Another interface at a known index: what stood on the old one is taken out, ifbs and all.
        if !table.isSame(link, byAddress: false) { replace(link.index, now: now) }
        // Until that is confirmed the index is the old port's: the new one must not inherit.
        guard !replaced.contains(link.index) else { return }
        leaving.remove(link.index)
        let match = names.match(PortName(bytes: link.name))
        let owner = ownerOfIFB(link)
        guard let match, owner == nil else {
            guard table.slot(of: link.index) == nil else { return leave(link.index, now: now) }
            table.note(link, owner: owner)
            return
        }
        let known = table.slot(of: link.index).flatMap { table.watched[$0] }
        let port = Port(
            id: known?.port.id ?? table.newID(link.index), name: match.name,
            portClass: match.portClass, netid: match.netid, mtu: link.mtu,
            carriesDefaultRoute: defaultRoutes.contains(link.index))
        let slot = engine.appear(port, now: now)
        let watched = WatchedPort(port: port, match: match, link: link)
        table.watch(watched, at: slot)
        wantGuards(at: slot)
        if known == nil, hasSurveyed, guarded[slot] != nil {
            hold(slot)
            held[slot]?.noteChange(at: now)
        }
        if known == nil { reclaim(watched, now: now) }
        // A tap is made first, and given its address a moment later.
        if known?.link.address != link.address { recall(watched, now: now) }
        obey(slot, now: now)
    }

    mutating func vanish(_ index: Int32, now: Instant) {
        leaving.remove(index)
        replaced.remove(index)
        guard let slot = table.slot(of: index) else {
            table.remove(index)
            return
        }
        if let memory = engine.memory(slot, now: now), let port = table.watched[slot] {
            keepStrikes(memory, of: port.port.name, port.link.address, now: now)
        }
        letGo(slot)
        guarded[slot] = nil
        guard let gone = table.remove(index) else { return }
        engine.vanish(gone.port.id, now: now, into: &actions)
        control.forget(gone.controlled)
        carryOut(now: now)
    }

    /// A port that no class claims any more, by a rename or a new configuration, is watched until
    /// what is on it is taken out: its redirect must not outlive its ifb.
    mutating func leave(_ index: Int32, now: Instant) {
        guard let slot = table.slot(of: index), let port = table.watched[slot] else { return }
        if engine.release(port.port.id, now: now, into: &actions) { carryOut(now: now) }
        let isUnguarded = dropGuards(at: slot, now: now)
        guard isUnguarded, isClear(slot, now: now) else {
            leaving.insert(index)
            return
        }
        // The interface that has its index now is not known yet.
        if replaced.contains(index) { machine.listAgain() }
        vanish(index, now: now)
        table.note(port.link, owner: nil)
    }

    /// Another interface has this index: the port leaves first.
    private mutating func replace(_ index: Int32, now: Instant) {
        leave(index, now: now)
        if leaving.contains(index) { replaced.insert(index) }
    }
}
