// How many Ethernet sources a port forges: the estimate, and the buckets that it is made of.
import Lab
import LabTesting
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

@Suite(.serialized) struct GuardSourceTests {
    private static func frame(from number: UInt64) -> [UInt8] {
        GuardFrame(0x88b5, [], from: HardwareAddress(0x0200_0000_0000 + number)).bytes(length: 64)
    }

    /// The bucket that takes a frame: the first action that does not give it to the next one.
    private static func bucket(_ frame: [UInt8], _ mode: Guards.Mode) -> Int? {
        let pipe = UInt32(bitPattern: Verdict.pipe.rawValue)
        return (0..<GuardSources.actions).first {
            let program = GuardSources.program(ofAction: $0, mode)
            return ClassicInterpreter.run(program, frame) != pipe
        }
    }

    /// Guards against: an estimate that takes neighbouring addresses for few or for many, over 200
    /// sets of each size.
    @Test func neighboursAreToldApart() throws {
        // By the number of sources: the least and the most that may be told.
        let bounds = [(1, 1...1), (2, 1...2), (5, 2...6), (20, 10...40), (40, 18...54)]
        for (count, bound) in bounds {
            var sum = 0
            for set in 0..<200 {
                let hit = try (0..<count).map { number in
                    try #require(
                        Self.bucket(Self.frame(from: UInt64(set * 2_024_192 + number)), .enforce))
                }
                let told = GuardSources.estimate(hit: Set(hit).count, of: GuardSources.actions)
                #expect(bound.contains(told), "\(count) sources, set \(set)")
                sum += told
            }
            let mean = Double(sum) / 200
            #expect(abs(mean - Double(count)) <= 0.1 * Double(count), "\(count): \(mean)")
        }
    }

    /// Guards against: a frame that no action takes, one that a monitor takes elsewhere, and a
    /// verdict that drops nothing or drops what is only watched.
    @Test func everyFrameHasOneBucket() {
        for number in 0..<500 {
            let frame = Self.frame(from: UInt64(number))
            let bucket = Self.bucket(frame, .enforce)
            #expect(bucket != nil && bucket == Self.bucket(frame, .monitor))
            guard let bucket else { continue }
            for mode in Guards.Mode.allCases {
                let program = GuardSources.program(ofAction: bucket, mode)
                #expect(ClassicInterpreter.run(program, frame) == (mode == .enforce ? 2 : .max))
            }
        }
    }

    /// Guards against: sources counted where there are none, and a most that is no number.
    @Test func estimatesHaveABeginningAndAnEnd() {
        #expect(GuardSources.estimate(hit: 0, of: 16) == 0)
        #expect((1...3).map { GuardSources.estimate(hit: $0, of: 16) } == [1, 2, 3])
        #expect(GuardSources.estimate(hit: 16, of: 16) == 54)
        #expect(GuardSources.estimate(hit: 99, of: 64) == 304)
    }

    /// What is told of so many sources, by the number of buckets: within these bounds.
    private static func bound(_ count: Int, _ enforcer: GuardEnforcer) -> ClosedRange<Int> {
        switch (count, enforcer) {
        case (1, _): 1...1
        case (2, _): 1...2
        case (5, _): 3...6
        case (_, .actGact): 18...54
        case (_, .bpf): 28...56
        }
    }

    /// Guards against: many Ethernet sources on one port that look like one, and one that looks
    /// like many; a monitor that keeps frames from the limits while it tells them apart; an honest
    /// source that counts.
    @Test(
        .needs(.clsact, .ifb), arguments: GuardScene.enforcers, Guards.Mode.allCases)
    func forgedSourcesAreCounted(_ enforcer: GuardEnforcer, _ mode: Guards.Mode) async throws {
        try await Namespace.run {
            var scene = try GuardScene(enforcer)
            let before = try Snapshot()
            let cap = Cap(
                packets: PacketRate(perSecond: 1_000_000),
                bits: BitRate(bytesPerSecond: 1_000_000_000))
            let limits = Limits(
                rung: .police, incident: 1, from: Limit(cap: cap), to: nil, lane: Policy().lane)
            var guards = GuardTable.tenant.guards
            guards.mode = mode
            let honest = try #require(GuardTable.tenant.rows.first { $0.refused == nil })
            var told: [String] = []
            for count in [1, 2, 5, 40] {
                try scene.control.setGuards(guards, on: scene.port)
                try scene.control.apply(limits, to: scene.port)
                try scene.vm.send(honest.frame.bytes(length: 100))
                var counts = try scene.control.guardCounts(of: scene.port)
                #expect(counts.reasons.isEmpty && counts.sourceMACs == 0)
                let seen = try scene.control.measure(scene.port) { _ in nil }.fromSeen?.packets ?? 0
                for _ in 0..<3 {
                    for number in 0..<count {
                        try scene.vm.send(Self.frame(from: UInt64(256 + number)))
                    }
                }
                counts = try scene.control.guardCounts(of: scene.port)
                #expect(counts.reasons.mapValues(\.packets) == [.sourceMAC: UInt64(3 * count)])
                let sources = try #require(counts.sourceMACs)
                #expect(Self.bound(count, enforcer).contains(sources), "\(count)")
                told.append("\(count) as \(sources)")
                // Each came to the limits, or was dropped by the guard and is known to them.
                let after =
                    try scene.control.measure(scene.port) { _ in nil }.fromSeen?.packets ?? 0
                #expect(after - seen == UInt64(3 * count))
                #expect(scene.control.repair([scene.port], puttingBack: true).isEmpty)
                try scene.control.apply(nil, to: scene.port)
                try scene.control.setGuards(nil, on: scene.port)
                #expect(try Snapshot.settledDifference(from: before) == [])
            }
            report("\(enforcer.rawValue), \(mode): \(told.joined(separator: ", "))")
        }
    }

    /// Guards against: a number that is told where nothing tells sources apart.
    @Test func withoutBucketsTheNumberIsUnknown() {
        var plain = ActionRecord(kind: "gact", verdictCode: Verdict.drop.rawValue)
        #expect(GuardSources.estimate(from: [plain]) == 0)
        plain.statistics.packets = 3
        #expect(GuardSources.estimate(from: [plain]) == nil)
        #expect(GuardSources.estimate(from: []) == 0)
    }

    /// Guards against: a kernel without the action that is taken to have it, or the other way, and
    /// one of which the notes say nothing.
    @Test(.needs(.clsact, .ifb, .gact)) func theActionIsFoundByTrying() async throws {
        try await Namespace.run {
            let control = try KernelTrafficControl.open(TrafficControlSettings())
            let isThere = KernelParts.current.lacking([.actBPF]).isEmpty
            #expect(control.parts.hasActBPF == isThere)
            #expect(control.parts.notes.contains { $0.contains("act_bpf") } == !isThere)
        }
    }
}
