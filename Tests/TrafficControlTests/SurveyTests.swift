// What a daemon that starts makes of what stands in the kernel: adopts what it understands, takes out
// what it does not, and never leaves a redirect that leads nowhere.
import Lab
import LabTesting
import LinuxSystem
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

@Suite(.serialized) struct SurveyTests {
    private static let lane = Policy().lane

    private static func limits(_ rung: Rung, _ packets: UInt64, delay: Duration?) -> Limits {
        let cap = Cap(
            packets: PacketRate(perSecond: packets), bits: BitRate(bytesPerSecond: packets * 250))
        let limit = Limit(cap: cap, delay: delay)
        return Limits(
            rung: rung, incident: 9, from: limit, to: delay == nil ? nil : limit, lane: lane)
    }

    private static let police = limits(.police, 1_000, delay: nil)
    private static let shape = limits(.shape, 1_000, delay: .milliseconds(200))
    private static let tighten = limits(.tighten, 250, delay: .milliseconds(400))

    /// A VM whose port is limited by a daemon that has ended since.
    private struct Remains {
        let host: Host
        let vm: Station
        let port: ControlledPort
        let before: Snapshot

        init(_ rungs: [Limits]) throws {
            host = try Host()
            vm = try host.start(vm: 1)
            port = ControlledPort(index: vm.index, name: PortName(vm.name), mtu: 1_500)
            before = try Snapshot()
            var control = try KernelTrafficControl.open(TrafficControlSettings())
            for limits in rungs { try control.apply(limits, to: port) }
        }

        /// Whether a packet of the VM still gets out.
        func reaches() throws -> Bool {
            let begin = Moment.now
            let flood = try vm.flood(
                Flood(to: Host.outside, packetsPerSecond: 100, duration: .seconds(2)))
            defer { flood.stop() }
            do {
                try wait(for: "a packet", within: .seconds(2)) {
                    try host.uplink.received.delivered(from: vm.mac, during: begin...Moment.now)
                        .packets > 0
                }
                return true
            } catch {
                return false
            }
        }
    }

    /// Guards against: a rung that is forgotten (a restart would then tighten a tightened port by
    /// another factor of four), a cap that is misread, and a rewrite of what stands.
    @Test(.needs(.ifb, .tbf, .clsact)) func adoptsEveryRung() async throws {
        let hasNetem = KernelParts.current.lacking([.netem]).isEmpty
        for rungs in [[Self.police], [Self.police, Self.shape], [Self.shape, Self.tighten]] {
            try await Namespace.run {
                let remains = try Remains(rungs)
                let standing = try Snapshot.settled()
                var control = try KernelTrafficControl.open(TrafficControlSettings())
                let survey = try control.survey([remains.port], lane: Self.lane, except: [])
                let found = try #require(survey.found.first)
                let wanted = try #require(rungs.last)
                #expect(found.limits.rung == wanted.rung)
                #expect(found.limits.incident == 9)
                let cap = try #require(found.limits.from?.cap)
                let asked = try #require(wanted.from?.cap)
                let packets = Double(cap.packets.perSecond) / Double(asked.packets.perSecond)
                #expect(packets > 0.97 && packets < 1.03)
                let bits = Double(cap.bits.bitsPerSecond) / Double(asked.bits.bitsPerSecond)
                #expect(bits > 0.99 && bits < 1.01)
                if hasNetem { #expect(found.limits.from?.delay == wanted.from?.delay) }
                let difference = try Snapshot().difference(from: standing)
                #expect(difference == [])
                try control.apply(nil, to: remains.port)
                let left = try Snapshot.settledDifference(from: remains.before)
                #expect(left == [])
            }
        }
    }

    /// Guards against: an eBPF policer of another version, whose words a later daemon misreads, or
    /// with which it lets go of the port's limits.
    @Test(.needs(.ifb, .tbf, .clsact, .bpf)) func anotherVersionsBucketsAreReplaced() async throws {
        try await Namespace.run {
            let remains = try Remains([])
            let port = remains.port
            let settings = TrafficControlSettings(policer: .bpf)
            var control = try KernelTrafficControl.open(settings)
            let police = try #require(Self.police.from)
            let lanes = [Self.lane.management, Self.lane.neighbour, police.cap]
                .map { TokenBucketLimits($0) }
            let limits = try BPFArray(
                name: "sluice_limits", valueSize: lanes.count * lanes[0].words.count * 8)
            try limits.write(lanes.flatMap(\.words))
            let program = try FormerProgram(limits: limits.descriptor).load()
            let tag = Tag(index: port.index, incident: 9, rung: .police, ownsHook: true)
            try control.socket.add(
                .clsact, to: port.index, parent: .ingress, handle: .ingressQdisc)
            try control.socket.put(
                Filter(
                    parent: .clsactIngress, preference: FrameLane.management.preference,
                    handle: Ownership.filterHandle,
                    match: .extendedBPF(
                        descriptor: program.descriptor,
                        name: tag.name(tcpPorts: Self.lane.tcpPorts)), actions: []),
                on: port.index)
            let former = try control.socket.filters(of: port.index, parent: .clsactIngress)
                .compactMap(\.bpfProgramID)
            #expect(former.count == 1)

            let survey = try control.survey([port], lane: Self.lane, except: [])
            let found = try #require(survey.found.first)
            #expect(found.limits.rung == .police && found.limits.from == police)
            #expect(throws: TrafficControlError.self) { try control.measure(port) { _ in nil } }
            try control.apply(found.limits, to: port)
            let programs = try control.socket.filters(of: port.index, parent: .clsactIngress)
                .compactMap(\.bpfProgramID)
            #expect(programs.count == 1 && programs != former)
            #expect(try remains.reaches())
            #expect(try (control.measure(port) { _ in nil }.from?.packets ?? 0) > 0)
            try control.apply(nil, to: port)
            #expect(try Snapshot.settledDifference(from: remains.before) == [])
        }
    }

    /// Guards against: a VM that stays cut off because its redirect outlived its ifb.
    @Test(.needs(.ifb, .tbf, .clsact)) func aRedirectToNowhereIsTakenOut() async throws {
        try await Namespace.run {
            let remains = try Remains([Self.shape])
            try Tool.run("ip", "link", "delete", "ifb-f\(remains.port.index)")
            #expect(try !remains.reaches())
            var control = try KernelTrafficControl.open(TrafficControlSettings())
            let survey = try control.survey([remains.port], lane: Self.lane, except: [])
            #expect(survey.found.isEmpty && survey.failed.isEmpty)
            #expect(try remains.reaches())
            let left = try Snapshot.settledDifference(from: remains.before)
            #expect(left == [])
        }
    }

    /// Guards against: ifbs deleted below the redirects of a port that is not watched any more.
    @Test(.needs(.ifb, .tbf, .clsact)) func anUnwatchedPortIsFreedWhole() async throws {
        try await Namespace.run {
            let remains = try Remains([Self.shape])
            var control = try KernelTrafficControl.open(TrafficControlSettings())
            let survey = try control.survey([], lane: Self.lane, except: [])
            #expect(survey.found.isEmpty && survey.failed.isEmpty)
            #expect(try remains.reaches())
            let left = try Snapshot.settledDifference(from: remains.before)
            #expect(left == [])
        }
    }

    /// Guards against: an ifb that outlives its port.
    @Test(.needs(.ifb, .tbf, .clsact)) func whatBelongsToNoPortIsCollected() async throws {
        try await Namespace.run {
            let remains = try Remains([Self.shape])
            remains.vm.close()
            var control = try KernelTrafficControl.open(TrafficControlSettings())
            _ = try control.survey([], lane: Self.lane, except: [])
            #expect(try !Tool.run("ip", "-oneline", "link").contains("ifb-f"))
        }
    }

    /// Guards against: an ifb whose maker ended before it had its alias, which then blocks the name.
    @Test(.needs(.ifb, .tbf, .clsact)) func anUnfinishedIFBDoesNotBlock() async throws {
        try await Namespace.run {
            let host = try Host()
            let vm = try host.start(vm: 1)
            let port = ControlledPort(index: vm.index, name: PortName(vm.name), mtu: 1_500)
            for name in ["ifb-probe", "ifb-f\(vm.index)"] {
                try Tool.run("ip", "link", "add", name, "type", "ifb")
            }
            var control = try KernelTrafficControl.open(TrafficControlSettings())
            #expect(control.parts.hasIFB)
            try control.apply(Self.shape, to: port)
            #expect(control.repair([port], puttingBack: true).isEmpty)
            try control.apply(nil, to: port)
        }
    }

    /// Guards against: an alert that says "shaped" of a victim for whom nothing could be done.
    @Test(.needs(.ifb, .tbf, .clsact, .htb)) func aForeignRootIsSaid() async throws {
        try await Namespace.run {
            let host = try Host()
            let vm = try host.start(vm: 1)
            let port = ControlledPort(index: vm.index, name: PortName(vm.name), mtu: 1_500)
            try Tool.run("tc", "qdisc", "add", "dev", vm.name, "root", "handle", "1:", "htb")
            let before = try Snapshot()
            var control = try KernelTrafficControl.open(TrafficControlSettings(hook: .ingress))
            let victim = Limits(
                rung: .shape, incident: 1, from: nil, to: Self.shape.to, lane: Self.lane)
            let error = #expect(throws: TrafficControlError.self) {
                try control.apply(victim, to: port)
            }
            #expect(error?.description.contains("another owner's") == true)
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
        }
    }
}

/// What a policer was while each port had a program of its own, but for what it did.
private struct FormerProgram: BPFAssembly {
    var instructions: [BPFInstruction] = []

    init(limits: Int32) {
        emitMapValue(1, map: limits, offset: 0)
        emit(0xb4, 0, immediate: -1)  // TC_ACT_UNSPEC
        emit(0x95)
    }

    func load() throws(BPFError) -> BPFClassifier {
        try BPFClassifier(name: Ownership.programName, instructions)
    }
}
