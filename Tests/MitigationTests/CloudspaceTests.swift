// A flood's way over the host, and who is limited along with the VM: the operators' decision table.

import Mitigation
import Testing

/// A cloudspace's ports on one host: two VMs, the VTEP, the router's legs, and the backend.
private struct Cloud {
    let stage: Stage
    let vms: [PortID]
    let vtep: PortID
    let inner: PortID
    let outer: PortID
    let management: PortID
    let backend: PortID

    init(_ policy: Policy = Stage.policy, defaultRouteOnInner: Bool = false) {
        let stage = Stage(policy)
        self.stage = stage
        vms = (1...2).map { stage.add($0, .vm, name: "vm-\($0)-00df", netid: 0xdf) }
        vtep = stage.add(3, .vtep, name: "vx-00df", netid: 0xdf)
        inner = stage.add(
            4, .router, name: "spc-00df", netid: 0xdf, carriesDefaultRoute: defaultRouteOnInner)
        outer = stage.add(5, .router, name: "pub-00df", netid: 0xdf)
        management = stage.add(6, .router, name: "gwm-00df", netid: 0xdf)
        backend = stage.add(7, .backend, name: "vxbackend")
        stage.run(2)
    }

    /// The router takes and sends so many packets a second.
    func route(_ packets: UInt64) {
        stage.loads[inner] = .flooded(packets)
        stage.loads[outer] = .flood(packets)
    }

    /// The first VM floods through the router.
    func flood() {
        stage.loads[vms[0]] = .flood(20_000)
        route(20_000)
    }

    /// Neither it nor the router carries much any more.
    func calm() {
        stage.loads[vms[0]] = .quiet
        route(20)
    }

    func limits(_ id: PortID) -> Limits? { stage.view(id)?.limits }

    /// The ports with something of ours on them, by name.
    var limited: [String] {
        stage.engine.slots.map { stage.engine.view($0) }.filter { $0.limits != nil }
            .map { "\($0.port.name)" }
    }

    var path: FloodPath? {
        stage.events.compactMap { if case .path(let path) = $0.kind { path } else { nil } }.last
    }
}

@Suite struct CloudspaceTests {
    /// Marks under which only VMs trip: what the router carries is above no mark of its own.
    private static var policy: Policy {
        var policy = Stage.policy
        for portClass in [PortClass.router, .vtep, .backend] { policy.marks[portClass] = nil }
        return policy
    }

    @Test(
        "Guards against a flood through the router of which only the VM is limited, and against a router whose load is another one",
        arguments: [
            (20_000, true), (15_100, true), (24_900, true), (14_900, false), (25_100, false),
            (20, false),
        ] as [(UInt64, Bool)])
    func routerOrVTEP(_ routed: UInt64, _ isRouted: Bool) throws {
        let cloud = Cloud(Self.policy)
        cloud.stage.loads[cloud.vms[0]] = .flood(20_000)
        cloud.stage.loads[cloud.vtep] = .flooded(isRouted ? 20 : 20_000)
        cloud.route(routed)
        cloud.stage.run(until: { $0.rung(cloud.vms[0]) == .police }, limit: 3)
        cloud.stage.run(0.2)
        let vm = try #require(cloud.limits(cloud.vms[0]))
        let companion = isRouted ? cloud.inner : cloud.vtep
        let held = try #require(cloud.limits(companion))
        let cap = try #require(vm.from).cap
        #expect(held.from == nil && held.to == Limit(cap: cap))
        #expect(held.rung == .police && held.incident == vm.incident)
        let legs = isRouted ? ["spc-00df", "pub-00df"] : ["vx-00df"]
        #expect(cloud.limited == ["vm-1-00df", legs[0]])
        let path = try #require(cloud.path)
        #expect(path.legs.map { "\($0.name)" } == ["vm-1-00df"] + legs)
        #expect(path.description == (["vm-1-00df"] + legs).joined(separator: " -> "))
        #expect("\(path.companion?.description ?? "")" == legs[0])
        let shares = path.legs.map { Double($0.load.packets.perSecond) }
        let wanted = [20_000.0] + (isRouted ? [Double(routed), Double(routed)] : [20_000])
        for (share, load) in zip(shares, wanted) { #expect(abs(share - load) <= load * 0.02) }
        let view = try #require(cloud.stage.view(companion))
        #expect(view.limitedFor == [PortName("vm-1-00df")] && view.toRung == .police)
        #expect(!view.isVictim)
        #expect(cloud.stage.view(cloud.vms[0])?.path == path)
    }

    @Test("Guards against what a router sent that is forgotten at each word of its link")
    func noticesChangeNothing() throws {
        let cloud = Cloud(Self.policy)
        cloud.flood()
        for _ in 0..<30 where cloud.stage.rung(cloud.vms[0]) != .police {
            cloud.stage.poll()
            for id in cloud.vms + [cloud.inner, cloud.outer] {
                let port = try #require(cloud.stage.view(id)?.port)
                cloud.stage.engine.appear(port, now: cloud.stage.now)
            }
        }
        #expect(cloud.path?.description == "vm-1-00df -> spc-00df -> pub-00df")
    }

    @Test("Guards against a companion's limit that outlives the incident that called for it")
    func endsWithItsIncident() {
        let cloud = Cloud(Self.policy)
        cloud.flood()
        cloud.stage.run(until: { $0.rung(cloud.vms[0]) == .shape }, limit: 10)
        // It is policed while the VM is shaped, and what it carries is no evidence of anything.
        #expect(cloud.stage.view(cloud.inner)?.toRung == .police)
        cloud.calm()
        cloud.stage.run(until: { $0.rung(cloud.vms[0]) == .normal }, limit: 30)
        cloud.stage.run(0.2)
        #expect(cloud.limited.isEmpty)
        #expect(cloud.stage.view(cloud.inner)?.incident == nil)
        let moves = cloud.stage.events.filter { $0.port == cloud.inner }
        #expect(moves.count == 2 && moves.allSatisfy { $0.reason?.rule == .companion })
        // No strike: a flood of its own is its first.
        cloud.stage.loads[cloud.inner] = .flood(20_000)
        cloud.stage.run(3)
        #expect(cloud.stage.view(cloud.inner)?.strikes == 0)
    }

    @Test("Guards against other VMs that are held back on account of one that is shut down")
    func endsWithAShutdown() {
        let cloud = Cloud(Self.policy)
        cloud.flood()
        cloud.stage.run(until: { $0.rung(cloud.vms[0]) == .tighten }, limit: 30)
        #expect(cloud.stage.view(cloud.inner)?.toRung == .police)
        cloud.stage.run(until: { $0.rung(cloud.vms[0]) == .shutDown }, limit: 30)
        cloud.stage.run(0.2)
        #expect(cloud.limits(cloud.inner) == nil)
        #expect(cloud.stage.view(cloud.inner)?.incident == nil)
        // On its way up and out it calls for nobody.
        cloud.calm()
        _ = cloud.stage.release(cloud.vms[0])
        cloud.stage.run(0.5)
        #expect(cloud.limited.isEmpty)
        #expect(cloud.stage.events.count { $0.port == cloud.inner } == 2)
    }

    @Test("Guards against two VMs that hide behind each other's share of what the router sends")
    func twoAtOnce() throws {
        let cloud = Cloud(Self.policy)
        for vm in cloud.vms { cloud.stage.loads[vm] = .flood(20_000) }
        cloud.route(40_000)
        cloud.stage.run(until: { $0.rung(cloud.vms[1]) == .police }, limit: 3)
        cloud.stage.run(0.2)
        #expect(cloud.limited == ["vm-1-00df", "vm-2-00df", "spc-00df"])
        let one = try #require(cloud.limits(cloud.vms[0])?.from?.cap)
        let both = try #require(cloud.limits(cloud.inner)?.to?.cap)
        #expect(both.packets.perSecond == 2 * one.packets.perSecond)
        #expect(cloud.stage.view(cloud.inner)?.limitedFor.count == 2)
        // One of them is left: the companion is held to what that one may send.
        cloud.stage.loads[cloud.vms[0]] = .quiet
        cloud.stage.run(until: { $0.rung(cloud.vms[0]) == .normal }, limit: 60)
        cloud.stage.run(0.2)
        #expect(cloud.limits(cloud.inner)?.to?.cap == one)
    }

    @Test("Guards against a backend, or the host's own way out, that is limited on a VM's account")
    func someAreSpared() {
        let cloud = Cloud(Self.policy, defaultRouteOnInner: true)
        cloud.stage.loads[cloud.vms[0]] = .flood(20_000)
        cloud.stage.loads[cloud.backend] = .flood(20_000)
        cloud.route(20_000)
        cloud.stage.run(5)
        #expect(cloud.limited == ["vm-1-00df"])
        #expect(cloud.path?.companion == nil && cloud.path?.legs.count == 3)
    }

    @Test("Guards against a companion that is programmed in observe mode, or not told")
    func observed() {
        var policy = Self.policy
        policy.mode = .observe
        let cloud = Cloud(policy)
        cloud.flood()
        cloud.stage.run(3)
        #expect(cloud.stage.asked.isEmpty)
        let told = cloud.stage.events.filter { $0.port == cloud.inner }
        #expect(told.map(\.kind) == [.moved(from: .normal, to: .police)])
        #expect(told.allSatisfy { $0.mode == .observe })
    }

    @Test("Guards against a refused companion that is asked for in each poll or holds up the VM")
    func refused() {
        let cloud = Cloud(Self.policy)
        let inner = cloud.inner
        cloud.stage.answer = { action in
            if case .limit(inner, _) = action { return .refused("no") }
            return .done
        }
        cloud.flood()
        cloud.stage.run(until: { $0.rung(cloud.vms[0]) == .shape }, limit: 10)
        let asked = cloud.stage.asked.filter { $0.action.port == inner }
        #expect((2...4).contains(asked.count))
        #expect(cloud.stage.events.count { $0.port == inner } == 1)
        cloud.stage.loads[cloud.vms[0]] = .quiet
        cloud.stage.run(until: { $0.rung(cloud.vms[0]) == .normal }, limit: 30)
        cloud.stage.run(0.2)
        #expect(cloud.stage.view(inner)?.incident == nil)
    }

    @Test("Guards against a companion that comes back under an operator's hand")
    func released() {
        let cloud = Cloud(Self.policy)
        cloud.flood()
        cloud.stage.run(2)
        #expect(cloud.limited.count == 2)
        var actions: [Action] = []
        let isReleased = cloud.stage.engine.release(
            cloud.inner, now: cloud.stage.now, into: &actions)
        #expect(isReleased)
        cloud.stage.process(actions)
        cloud.stage.run(2)
        #expect(cloud.limited == ["vm-1-00df"])
    }

    @Test("Guards against a router that comes again, or a restart, and is not limited any more")
    func goesOn() throws {
        let cloud = Cloud(Self.policy)
        cloud.flood()
        cloud.stage.run(2)
        var actions: [Action] = []
        cloud.stage.engine.vanish(cloud.inner, now: cloud.stage.now, into: &actions)
        cloud.stage.loads[cloud.inner] = nil
        let again = cloud.stage.add(
            4, .router, name: "spc-00df", generation: 2, netid: 0xdf)
        cloud.stage.run(0.3)
        #expect(cloud.limits(again)?.to != nil)

        let successor = Cloud(Self.policy)
        for (old, new) in [(cloud.vms[0], successor.vms[0]), (again, successor.inner)] {
            let memory = cloud.stage.engine.memory(
                try #require(cloud.stage.engine.slot(of: old)), now: cloud.stage.now)
            successor.stage.engine.restore(
                try #require(successor.stage.engine.slot(of: new)), try #require(memory),
                now: successor.stage.now)
        }
        successor.stage.loads[successor.vms[0]] = .flood(20_000)
        successor.stage.run(1)
        #expect(successor.limited == ["vm-1-00df", "spc-00df"])
        #expect(!successor.stage.asked.contains { $0.action == .limit(successor.inner, nil) })
        // And where the VM is gone meanwhile, so is the companion's limit.
        successor.stage.engine.vanish(
            successor.vms[0], now: successor.stage.now, into: &actions)
        successor.stage.loads[successor.vms[0]] = nil
        successor.stage.run(0.3)
        #expect(successor.limited.isEmpty)
    }

    @Test("Guards against a companion that uses up what the breaker leaves for VMs")
    func breaker() {
        var policy = Self.policy
        policy.breakerMinimum = 1
        policy.breakerShare = 0
        let cloud = Cloud(policy)
        for vm in cloud.vms { cloud.stage.loads[vm] = .flood(20_000) }
        cloud.route(40_000)
        cloud.stage.run(3)
        #expect(cloud.stage.rung(cloud.vms[0]) == .police)
        #expect(cloud.stage.rung(cloud.vms[1]) == .police)
    }

    @Test("Guards against a companion whose own flood is not seen beside what it is held to")
    func victimToo() throws {
        var policy = Stage.policy
        policy.victim = .shape
        let cloud = Cloud(policy)
        cloud.flood()
        cloud.stage.run(until: { $0.view(cloud.inner)?.toRung == .shape }, limit: 5)
        let vm = try #require(cloud.limits(cloud.vms[0])?.from?.cap)
        let held = try #require(cloud.limits(cloud.inner)?.to)
        #expect(held.cap.packets <= vm.packets && held.delay != nil)
        cloud.calm()
        cloud.stage.run(60)
        #expect(cloud.limited.isEmpty)
    }
}

@Suite struct GroupTests {
    /// `count` VMs of one cloudspace whose sum may be 10,000 packets or 100 Mbit/s.
    private static func group(_ loads: [Load], mark: Mark? = nil) -> (Stage, [PortID]) {
        var policy = Stage.policy
        policy.groupMark =
            mark
            ?? Mark(
                packets: PacketRate(perSecond: 10_000), bits: BitRate(bitsPerSecond: 100_000_000))
        let stage = Stage(policy)
        let ids = loads.indices.map {
            stage.add(Int32($0 + 1), .vm, name: "vm-\($0 + 1)-00df", netid: 0xdf)
        }
        stage.run(2)
        for (id, load) in zip(ids, loads) { stage.loads[id] = load }
        return (stage, ids)
    }

    @Test(
        "Guards against VMs that flood together below their marks, and one limited that need not be",
        arguments: [
            ([6_000, 5_000, 20], [0]), ([5_000, 6_000, 4_000], [1, 0]), ([9_000, 900], []),
            ([4_000, 4_000, 4_000, 4_000], [0, 1, 2, 3]), ([9_900, 1_000], [0]),
            ([1_900, 1_900, 1_900, 1_900, 1_900, 1_900], []),
        ] as [([UInt64], [Int])])
    func fewestLargest(_ loads: [UInt64], _ chosen: [Int]) {
        let (stage, ids) = Self.group(loads.map { .flood($0) })
        stage.run(2)
        let held = ids.indices.filter { stage.rung(ids[$0]) == .police }
        #expect(held == chosen.sorted())
        let trips = stage.events.filter { $0.reason?.rule == .group }
        #expect(trips.count == chosen.count)
        #expect(Set(trips.map(\.incident)).count == min(chosen.count, 1), "one incident")
        let sum = loads.reduce(0, +)
        for trip in trips {
            let measured = Double(trip.reason?.measured.packets.perSecond ?? 0)
            #expect(abs(measured - Double(sum)) <= Double(sum) * 0.02)
            #expect(trip.reason?.against.packets.perSecond == 10_000)
        }
        stage.run(3)
        #expect(ids.indices.filter { stage.rung(ids[$0]) != .normal } == chosen.sorted())
    }

    @Test("Guards against a flood in bits that is counted in packets")
    func inBits() {
        let (stage, ids) = Self.group([.flood(4_000, size: 1_500), .flood(5_000, size: 1_450)])
        stage.run(2)
        #expect(stage.rung(ids[1]) == .police && stage.rung(ids[0]) == .normal)
    }

    @Test("Guards against calm that is taken for the group's where only one VM is quiet")
    func calmIsTheGroups() {
        let (stage, ids) = Self.group([.flood(4_900), .flood(4_800), .flood(4_700)])
        stage.run(2)
        #expect(stage.rung(ids[0]) == .police)
        // Below its own low mark, and the group is not.
        stage.run(6)
        #expect(stage.rung(ids[0]) != .normal)
        for id in ids { stage.loads[id] = .flood(1_000) }
        stage.run(40)
        #expect(ids.allSatisfy { stage.rung($0) == .normal })
    }

    @Test(
        "Guards against a VM that stays limited on account of a sum that is no more",
        arguments: [true, false])
    func endsWithItsSum(_ othersGo: Bool) {
        let (stage, ids) = Self.group([.flood(4_900), .flood(4_800), .flood(4_700)])
        stage.run(2)
        #expect(stage.rung(ids[0]) == .police)
        if othersGo {
            for id in ids.dropFirst() { stage.vanish(id) }
        } else {
            var policy = stage.engine.policy
            policy.groupMark = Mark()
            stage.engine.replace(policy: policy, now: stage.now)
        }
        stage.loads[ids[0]] = .quiet
        stage.run(40)
        #expect(stage.rung(ids[0]) == .normal)
    }

    @Test("Guards against another cloudspace's VMs in the sum, and a sum without a mark")
    func othersAreNot() {
        let (stage, ids) = Self.group([.flood(9_000)])
        let other = stage.add(9, .vm, name: "vm-9-00e0", netid: 0xe0)
        let none = stage.add(10, .vm, name: "tap10")
        stage.loads[other] = .flood(9_000)
        stage.loads[none] = .flood(9_000)
        stage.run(5)
        #expect((ids + [other, none]).allSatisfy { stage.rung($0) == .normal })
        let (quiet, all) = Self.group([.flood(9_000), .flood(9_000)], mark: Mark())
        quiet.run(5)
        #expect(all.allSatisfy { quiet.rung($0) == .normal })
    }
}
