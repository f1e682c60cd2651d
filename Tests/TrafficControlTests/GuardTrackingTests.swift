// The management guard that follows connections: what the network opened works both ways, and nothing
// that pretends to belong to it.
import Lab
import LabTesting
import Mitigation
import Testing

@testable import TrafficControl

@Suite(.serialized) struct GuardTrackingTests {
    private static let own = GuardIdentity.vm
    private static let leg = ManagementGuard(
        mac: own.mac, addresses: [AddressPrefix4(own.address4)],
        networks: [AddressPrefix4(0x0a00_0000, length: 16)])

    /// A segment of no connection, from the router to the machine outside.
    private static func segment(_ flags: UInt8, tags: [UInt16] = []) -> [UInt8] {
        let segment = Packet.version4(
            6, from: own.address4, Packet.tcp(22, 40_123, flags: flags))
        return GuardFrame.version4(segment, from: own.mac).bytes(tags: tags, length: 300)
    }

    /// ACK, SYN and ACK, PSH and ACK, FIN and ACK, RST and ACK, RST, FIN.
    private static let strays: [UInt8] = [0x10, 0x12, 0x18, 0x11, 0x14, 0x04, 0x01]

    private static func refused(_ scene: inout GuardScene) throws -> UInt64 {
        try scene.control.guardCounts(of: scene.port).reasons[.connection]?.packets ?? 0
    }

    /// Guards against: a management network that does not get in; a router that opens a connection,
    /// or gets out with what looks like a part of one; a guard that is not put back, not taken out,
    /// or written anew where it stands.
    @Test(.needs(.clsact, .ifb, .gact, .flower, .connections))
    func onlyWhatTheNetworkOpenedGoesOut() async throws {
        try await Namespace.run {
            var scene = try GuardScene(.actGact, outside: .guest, inside: .guest, hook: .clsact)
            let before = try Snapshot()
            let guards = Guards(profile: .management(Self.leg))
            try scene.control.setGuards(guards, on: scene.port)
            #expect(scene.control.advisories(of: scene.port).isEmpty)
            let standing = try Snapshot.settled()
            let session = try EchoSession(from: scene.host.uplink, to: scene.vm)
            let exchanges = session.summary(during: measure(for: .seconds(1)))
            #expect(exchanges.answered > 5 && exchanges.answered >= exchanges.asked - 1)

            let counted = try Self.refused(&scene)
            let begin = Moment.now
            for tags: [UInt16] in [[], [0x8100], [0x88a8, 0x8100]] {
                for flags in Self.strays { try scene.vm.send(Self.segment(flags, tags: tags)) }
            }
            let strays = UInt64(3 * Self.strays.count)
            let counts = try scene.control.guardCounts(of: scene.port).reasons
            // Behind two tags no connection can be looked up.
            #expect(counts[.unreadable]?.packets == strays / 3)
            #expect(try Self.refused(&scene) == counted + strays / 3 * 2)
            #expect(throws: LabError.self) {
                _ = try EchoSession(from: scene.vm, to: scene.host.uplink, port: 2_222)
            }
            let frames = try scene.host.uplink.received.frames(during: begin...Moment.now)
            #expect(!frames.contains { (300...308).contains($0.bytes) })
            #expect(!frames.contains { $0.destinationPort == 2_222 })
            #expect(session.isAlive)

            // A later process finds the same, and the session goes on.
            var next = try KernelTrafficControl.open(TrafficControlSettings(hook: .clsact))
            #expect(
                try next.survey([scene.port], lane: Policy().lane, except: []).guarded
                    == [scene.port.index])
            try next.setGuards(guards, on: scene.port)
            #expect(try Snapshot.settledDifference(from: standing) == [])
            for parent in ["egress", "ingress"] {
                try Tool.run("tc", "filter", "del", "dev", scene.vm.name, parent)
                let repairs = next.repair([scene.port], puttingBack: true)
                guard case .putBack? = repairs[scene.port.index] else {
                    Issue.record("what was at \(parent) is not put back")
                    continue
                }
                #expect(next.repair([scene.port], puttingBack: true).isEmpty)
            }
            let later = session.summary(during: measure(for: .seconds(1)))
            #expect(session.isAlive && later.answered > 5)
            session.stop()
            try next.setGuards(nil, on: scene.port)
            #expect(try Snapshot.settledDifference(from: before) == [])
            report(
                "act_ct: \(exchanges.answered) of \(exchanges.asked) answered, "
                    + "0 of \(strays) strays passed")
        }
    }

    /// Guards against: a session that stood before the guard and is cut off by it.
    @Test(.needs(.clsact, .ifb, .gact, .flower, .connections))
    func aSessionThatStoodGoesOn() async throws {
        try await Namespace.run {
            var scene = try GuardScene(.actGact, outside: .guest, inside: .guest, hook: .clsact)
            let session = try EchoSession(from: scene.host.uplink, to: scene.vm)
            #expect(session.summary(during: measure(for: .milliseconds(500))).answered > 2)
            let guards = Guards(profile: .management(Self.leg))
            try scene.control.setGuards(guards, on: scene.port)
            try wait(for: "an answer behind the guard", within: .seconds(10)) {
                session.summary(during: measure(for: .milliseconds(500))).answered > 2
            }
            #expect(session.isAlive)
            session.stop()
        }
    }

    /// Guards against: a frame of the management table that is no part of a connection and passes,
    /// or a neighbour's question or answer that is lost.
    @Test(.needs(.clsact, .ifb, .gact, .flower, .connections), arguments: Guards.Mode.allCases)
    func theTableHolds(_ mode: Guards.Mode) async throws {
        try await Namespace.run {
            var scene = try GuardScene(.actGact, hook: .clsact)
            var table = GuardTable.management
            table.guards.mode = mode
            // A look-up takes the padding off a frame: what tells rows apart is in the packet here.
            for number in table.rows.indices {
                let row = table.rows[number]
                guard row.refused == nil, row.frame.type == 0x0800 else { continue }
                let total = table.length(of: number) - 14
                let padding = [UInt8](repeating: 0, count: total - row.frame.payload.count)
                table.rows[number].frame.payload += padding
                table.rows[number].frame.payload.replaceSubrange(2..<4, with: big(UInt16(total)))
            }
            try scene.control.setGuards(table.guards, on: scene.port)
            let marker = table.rows.first { $0.refused == nil && $0.frame.type == 0x0806 }
            let arrived = try scene.send(table, marker: marker)
            var refused: [GuardReason: UInt64] = [:]
            for (number, row) in table.rows.enumerated() {
                for tags in GuardScene.tags {
                    var reason = row.refused
                    if reason != .sourceMAC, tags.count > 1 { reason = .unreadable }
                    if reason == nil, row.frame.type == 0x0800 { reason = .connection }
                    if let reason { refused[reason, default: 0] += 1 }
                    let length = table.length(of: number) + 4 * tags.count
                    let count = arrived[number / GuardTable.batch].count { $0 == length }
                    // A bridge keeps these to itself.
                    let isKept = row.frame.destination.number >> 4 == 0x0180_c200_000
                    let wanted = reason == nil || mode == .monitor && !isKept ? 1 : 0
                    #expect(count == wanted, "\(row.name), \(tags.count) tags")
                }
            }
            let counts = try scene.control.guardCounts(of: scene.port)
            #expect(counts.reasons.mapValues(\.packets) == refused)
            report(
                "act_ct, \(mode): \(table.rows.count * GuardScene.tags.count) frames sent, "
                    + "\(refused.values.reduce(0, +)) counted as refused")
        }
    }

    /// Guards against: a port whose hook has one direction only, where guards of connections are
    /// refused, or nobody is told that they do not stand.
    @Test(.needs(.clsact, .ifb, .gact, .flower, .connections))
    func anIngressIsToldAndHeldWithoutThem() async throws {
        try await Namespace.run {
            var scene = try GuardScene(.actGact, hook: .ingress)
            let guards = Guards(profile: .management(Self.leg))
            try scene.control.setGuards(guards, on: scene.port)
            #expect(
                scene.control.advisories(of: scene.port).contains { $0.contains("clsact") })
            try scene.vm.send(Self.segment(0x02))
            #expect(try Self.refused(&scene) == 1)
            #expect(scene.control.repair([scene.port], puttingBack: true).isEmpty)
        }
    }

    /// Guards against: a kernel without the parts that is taken to have them, or the other way, and
    /// one of which the notes say nothing.
    @Test(.needs(.clsact, .ifb)) func thePartsAreFoundByTrying() async throws {
        try await Namespace.run {
            let parts = try KernelTrafficControl.open(TrafficControlSettings()).parts
            let lacking = KernelParts.current.lacking([.flower, .connections])
            #expect(parts.followsConnections == lacking.isEmpty)
            #expect(parts.notes.contains { $0.contains("act_ct") } == !lacking.isEmpty)
        }
    }
}
