// The trees in a real kernel, under real packets: what passes, what a change costs, what is left
// after, with each policer that the kernel has.
import CBench
import Lab
import LabTesting
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

private func cap(_ packets: UInt64, bytes: UInt64 = 250) -> Cap {
    Cap(packets: PacketRate(perSecond: packets), bits: BitRate(bytesPerSecond: packets * bytes))
}

private func limits(
    _ rung: Rung, from packets: UInt64, delay: Duration? = nil, bothWays: Bool = false
) -> Limits {
    let limit = Limit(cap: cap(packets), delay: delay)
    return Limits(
        rung: rung, incident: 1, from: limit, to: bothWays ? limit : nil, lane: Policy().lane)
}

/// The policers that this kernel has.
private let policers: [Policer] = {
    let parts = KernelParts.current
    return Policer.allCases.filter { policer in
        switch policer {
        case .actPolice: parts.lacking([.police]).isEmpty
        case .bpf: parts.lacking([.bpf]).isEmpty
        case .ifb: parts.lacking([.htb]).isEmpty
        }
    }
}()

@Suite(.serialized) struct KernelTreeTests {
    /// A hypervisor with one VM that floods, and traffic control over it.
    private struct Scene: ~Copyable {
        let host: Host
        let vm: Station
        let port: ControlledPort
        var control: KernelTrafficControl

        init(_ policer: Policer? = nil, hook: HookChoice = .auto) throws {
            let host = try Host()
            let vm = try host.start(vm: 1)
            control = try KernelTrafficControl.open(
                TrafficControlSettings(policer: policer, hook: hook))
            self.host = host
            self.vm = vm
            port = ControlledPort(
                index: vm.index, name: PortName(vm.name), mtu: 1_500, isOnOpenVSwitch: false)
        }

        /// What the port's limits let through until some moment of these.
        mutating func look() throws -> (counts: Measured, when: ClosedRange<Moment>) {
            let begin = Moment.now
            let counts = try control.measure(port) { _ in nil }
            return (counts, begin...Moment.now)
        }

        func passed(_ window: ClosedRange<Moment>) throws -> Double {
            try host.uplink.received.delivered(from: vm.mac, during: window).packetsPerSecond
        }
    }

    /// Guards against: a policer that holds another rate than it was given, at small and large
    /// frames; and the measurement that is shown to the operator.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: policers, [60, 250, 1_400])
    func policersHoldPacketsAndBytes(_ policer: Policer, _ size: Int) async throws {
        try await Namespace.run {
            var scene = try Scene(policer)
            // Calibrated at 250 bytes: the bytes allow 179 packets of 1,400, the packets 1,000.
            try scene.control.apply(limits(.police, from: 1_000), to: scene.port)
            let flood = try scene.vm.flood(
                Flood(to: Host.outside, packetsPerSecond: 10_000, frameBytes: size))
            measure(for: .milliseconds(1_500))
            // A look may wait for the kernel's lock, at whichever end of it the counters are read.
            let (before, began) = try scene.look()
            let window = measure(for: .seconds(2))
            let (after, ended) = try scene.look()
            let rate = try scene.passed(window)
            flood.stop()
            let wanted = min(1_000, 250_000 / Double(size))
            report("\(policer.rawValue), \(size) bytes: \(rate) pps of \(wanted)")
            #expect(abs(rate - wanted) <= wanted * 0.05)
            let packets = (after.from?.packets ?? 0) - (before.from?.packets ?? 0)
            let least = (ended.lowerBound - began.upperBound).inSeconds
            let most = (ended.upperBound - began.lowerBound).inSeconds
            #expect(Double(packets) >= wanted * 0.9 * least)
            #expect(Double(packets) <= wanted * 1.1 * most)
        }
    }

    /// Guards against: processors that spend one token twice, and frames that are counted by none.
    @Test(.needs(.ifb, .tbf, .clsact, .bpf)) func processorsShareTheBuckets() async throws {
        try await Namespace.run {
            var scene = try Scene(.bpf)
            // Far below what comes, and far above it.
            for rate: UInt64 in [5_000, 50_000_000] {
                // The bytes are not what limits.
                let limit = Limit(cap: cap(rate, bytes: 2_500))
                let limits = Limits(
                    rung: .police, incident: 1, from: limit, to: nil, lane: Policy().lane)
                let begin = Moment.now
                try scene.control.apply(limits, to: scene.port)
                let before = try scene.control.measure(scene.port) { _ in nil }
                let floods = try (0..<4).map { _ in
                    try scene.vm.flood(
                        Flood(
                            to: Host.outside, packetsPerSecond: 5_000_000, duration: .seconds(60),
                            count: 20_000))
                }
                let sent = floods.reduce(0) { $0 + $1.finish() }
                let after = try scene.control.measure(scene.port) { _ in nil }
                let seconds = (Moment.now - begin).inSeconds
                let passed = (after.from?.packets ?? 0) - (before.from?.packets ?? 0)
                let seen = (after.fromSeen?.packets ?? 0) - (before.fromSeen?.packets ?? 0)
                #expect(sent == 80_000 && Int(seen) == sent)
                let allowed = min(Double(sent), Double(rate / 10) + Double(rate) * seconds)
                report("\(passed) of \(sent) passed in \(seconds) s, at most \(allowed) may")
                #expect(Double(passed) <= allowed + 1)
                #expect(Double(passed) >= min(allowed, Double(rate / 10)))
            }
        }
    }

    /// Guards against: an instant without limits while one rung follows another or the same is
    /// applied again, and bursts that a rewrite hands out anew.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: policers)
    func changesUnderLoadLeaveNoGap(_ policer: Policer) async throws {
        try await Namespace.run {
            var scene = try Scene(policer)
            let police = limits(.police, from: 1_000)
            let shape = limits(.shape, from: 1_000, delay: .milliseconds(200), bothWays: true)
            let tight = limits(.tighten, from: 250, delay: .milliseconds(400), bothWays: true)
            try scene.control.apply(police, to: scene.port)
            let flood = try scene.vm.flood(Flood(to: Host.outside, packetsPerSecond: 10_000))
            measure(for: .milliseconds(1_500))

            // The same again, 20 times in 4 s.
            var begin = Moment.now
            for _ in 0..<20 {
                try scene.control.apply(police, to: scene.port)
                #expect(scene.control.repair([scene.port], puttingBack: true).isEmpty)
                measure(for: .milliseconds(200))
            }
            let again = try scene.passed(begin...Moment.now)
            report("\(policer.rawValue), applied 20 times: \(again) pps of 1000")
            #expect(again <= 1_050 && again >= 950)

            // To the shaper: what the ifb delays comes later, never more.
            try scene.control.apply(shape, to: scene.port)
            measure(for: .milliseconds(1_500))
            begin = Moment.now
            measure(for: .seconds(1))
            try scene.control.apply(tight, to: scene.port)
            measure(for: .seconds(2))
            let end = Moment.now
            let allowed = 1_000 + 2 * 250
            // What was queued before the change leaves at the old rate or the new one.
            let queued = 204
            let passed = try scene.host.uplink.received.delivered(
                from: scene.vm.mac, during: begin...end
            ).packets
            report("\(policer.rawValue), tightened: \(passed) packets of \(allowed) + \(queued)")
            #expect(Double(passed) <= Double(allowed + queued) * 1.05)
            let steady = try scene.passed(measure(for: .seconds(2)))
            report("\(policer.rawValue), tightened: \(steady) pps of 250")
            #expect(steady <= 250 * 1.05 && steady >= 250 * 0.9)

            // And back, down the ladder.
            begin = Moment.now
            try scene.control.apply(police, to: scene.port)
            measure(for: .seconds(2))
            let down = try scene.host.uplink.received.delivered(
                from: scene.vm.mac, during: begin...Moment.now
            ).packets
            report("\(policer.rawValue), back to police: \(down) packets in 2 s of 2000")
            // A new policer starts with its burst.
            #expect(down <= 2_000 + 100 + 105)
            flood.stop()
            try scene.control.apply(nil, to: scene.port)
        }
    }

    /// What was there before us.
    enum Foreign: String, CaseIterable, Sendable {
        case nothing, ingress, clsact, ingressWithFilter, clsactWithFilters

        func make(on name: String) throws {
            let hook = self == .ingress || self == .ingressWithFilter ? "ingress" : "clsact"
            guard self != .nothing else { return }
            try Tool.run("tc", "qdisc", "add", "dev", name, hook)
            let filters: [String] =
                switch self {
                case .ingressWithFilter: ["ingress"]
                case .clsactWithFilters: ["ingress", "egress"]
                default: []
                }
            for side in filters {
                try Tool.run(
                    "tc",
                    [
                        "filter", "add", "dev", name, side, "pref", "49152", "protocol", "ip",
                        "u32", "match", "ip", "dport", "9", "0xffff", "action", "mirred",
                        "egress", "redirect", "dev", name,
                    ])
            }
        }
    }

    /// What is beside the first policer of the kernel, and the least and the most of it beside the others.
    private static let neighbourhoods: [(Foreign, Policer)] = policers.flatMap { policer in
        Foreign.allCases.filter {
            policer == policers.first || $0 == .nothing || $0 == .clsactWithFilters
        }.map { ($0, policer) }
    }

    /// Guards against: anything of ours left behind, and anything of another owner changed, by any
    /// rung, policer and hook.
    @Test(.needs(.ifb, .tbf, .clsact, .mirred), arguments: neighbourhoods)
    func releaseLeavesWhatWasThere(_ foreign: Foreign, _ policer: Policer) async throws {
        try await Namespace.run {
            for hook in foreign == .nothing ? [HookChoice.ingress, .clsact] : [.auto] {
                var scene = try Scene(policer, hook: hook)
                try foreign.make(on: scene.vm.name)
                let before = try Snapshot()
                let rungs = [
                    limits(.police, from: 1_000),
                    limits(.shape, from: 1_000, delay: .milliseconds(200), bothWays: true),
                    limits(.tighten, from: 250, delay: .milliseconds(400), bothWays: true),
                ]
                for last in 1...rungs.count {
                    for rung in rungs.prefix(last) {
                        try scene.control.apply(rung, to: scene.port)
                    }
                    #expect(try Snapshot() != before)
                    try scene.control.apply(nil, to: scene.port)
                    let difference = try Snapshot.settledDifference(from: before)
                    #expect(difference == [], "\(foreign), \(policer), after \(last) rungs")
                }
                scene.vm.close()
                try Tool.run("ip", "link", "delete", Host.bridge)
                scene.host.uplink.close()
            }
        }
    }

    /// Guards against: an `ingress` on a port of Open vSwitch, which deletes it at every carrier event,
    /// where only the port's last report said whose it is.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: [nil, false, true] as [Bool?])
    func theHookIsForTheSwitch(_ isOnOpenVSwitch: Bool?) async throws {
        try await Namespace.run {
            var scene = try Scene()
            var port = scene.port
            port.isOnOpenVSwitch = isOnOpenVSwitch
            try scene.control.apply(limits(.police, from: 1_000), to: port)
            let hook = try Tool.run("tc", "qdisc", "show", "dev", scene.vm.name)
            #expect(hook.contains("qdisc clsact") == (isOnOpenVSwitch == true))
            #expect(hook.contains("qdisc ingress") == (isOnOpenVSwitch != true))
            scene.vm.close()
        }
    }

    /// Guards against: limits that somebody else deleted and that stay deleted.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: policers)
    func whatIsMissingIsPutBack(_ policer: Policer) async throws {
        try await Namespace.run {
            var scene = try Scene(policer)
            let shape = limits(.shape, from: 1_000, delay: .milliseconds(200), bothWays: true)
            try scene.control.apply(shape, to: scene.port)
            let name = scene.vm.name
            let wipes: [[String]] = [
                ["tc", "qdisc", "del", "dev", name, "ingress"],
                ["tc", "qdisc", "del", "dev", name, "root"],
                ["ip", "link", "set", "dev", "ifb-f\(scene.port.index)", "down"],
                ["ip", "link", "del", "dev", "ifb-f\(scene.port.index)"],
            ]
            for wipe in wipes {
                try Tool.run(wipe[0], Array(wipe.dropFirst()))
                let repair = scene.control.repair([scene.port], puttingBack: true)[scene.port.index]
                guard case .putBack = repair else {
                    Issue.record("\(wipe): \(String(describing: repair))")
                    continue
                }
                #expect(scene.control.repair([scene.port], puttingBack: true).isEmpty, "\(wipe)")
            }
            try scene.control.apply(nil, to: scene.port)
        }
    }

    /// Guards against: requests that ask for what the kernel tells anyway, and a change that is believed
    /// though a look at everything finds something else.
    @Test(.needs(.ifb, .tbf, .clsact), arguments: policers)
    func fewRequestsMakeATree(_ policer: Policer) async throws {
        try await Namespace.run {
            var scene = try Scene(policer)
            let before = try Snapshot()
            let delay = Duration.milliseconds(200)
            let changes: [(String, Limits?, questions: UInt64)] = [
                ("police", limits(.police, from: 1_000), policer == .ifb ? 7 : 2),
                ("police less", limits(.police, from: 500), 10),
                ("shape", limits(.shape, from: 1_000, delay: delay), 10),
                ("tighten", limits(.tighten, from: 250, delay: delay * 2), 10),
                ("release", nil, 12),
            ]
            for (title, wanted, bound) in changes {
                let made = cbench_netlink_changes()
                let asked = cbench_netlink_questions()
                try scene.control.apply(wanted, to: scene.port)
                let questions = cbench_netlink_questions() - asked
                report(
                    "\(title), \(policer.rawValue): \(cbench_netlink_changes() - made) changes, "
                        + "\(questions) questions")
                #expect(questions <= bound, "\(title)")
                #expect(scene.control.repair([scene.port], puttingBack: true).isEmpty, "\(title)")
            }
            #expect(try Snapshot.settledDifference(from: before) == [])
        }
    }

    /// Guards against: a port that the kernel no longer has reported as refused or limited.
    @Test(.needs(.ifb, .tbf, .clsact)) func aGonePortIsGone() async throws {
        try await Namespace.run {
            var scene = try Scene()
            try scene.control.apply(limits(.police, from: 1_000), to: scene.port)
            scene.vm.close()
            #expect(throws: TrafficControlError.gone) {
                try scene.control.apply(limits(.police, from: 500), to: scene.port)
            }
            scene.control.forget(scene.port)
        }
    }

    /// Guards against: a refused object that leaves a port with less than it had.
    @Test(.needs(.ifb, .tbf, .clsact)) func aRefusalKeepsWhatStood() async throws {
        try await Namespace.run {
            var scene = try Scene()
            // Somebody holds the name of the ifb that the shaper needs.
            try Tool.run(
                "ip", "link", "add", "ifb-f\(scene.port.index)", "type", "bridge")
            try scene.control.apply(limits(.police, from: 1_000), to: scene.port)
            let policed = try Snapshot.settled()
            let shape = limits(.shape, from: 1_000, delay: .milliseconds(200))
            let error = #expect(throws: TrafficControlError.self) {
                try scene.control.apply(shape, to: scene.port)
            }
            report("refused: \(error?.description ?? "-")")
            #expect(error?.description.contains("exists") == true)
            #expect(try Snapshot().difference(from: policed) == [])
        }
    }

    /// Guards against: filters that went to the kernel together with one that it refused, and stay; and
    /// anything changed of who is in the way.
    @Test(.needs(.ifb, .tbf, .clsact, .u32), arguments: policers)
    func whatWentAlongWithARefusalGoes(_ policer: Policer) async throws {
        try await Namespace.run {
            var scene = try Scene(policer, hook: .clsact)
            let name = scene.vm.name
            try scene.control.apply(
                limits(.police, from: 1_000, bothWays: true), to: scene.port)
            let first = try scene.control.socket.filters(
                of: scene.port.index, parent: .clsactIngress
            ).filter { $0.handle != 0 }.map(\.preference).min()
            try scene.control.apply(nil, to: scene.port)
            // Two kinds of filters cannot stand at one preference.
            try Tool.run("tc", "qdisc", "add", "dev", name, "clsact")
            try Tool.run(
                "tc", "filter", "add", "dev", name, "ingress", "pref", "\(try #require(first))",
                "protocol", "ip", "u32", "match", "ip", "dport", "9", "0xffff")
            let before = try Snapshot.settled()
            let error = #expect(throws: TrafficControlError.self) {
                try scene.control.apply(
                    limits(.police, from: 1_000, bothWays: true), to: scene.port)
            }
            report("\(policer.rawValue), refused: \(error?.description ?? "-")")
            #expect(error?.description.contains("put filter") == true)
            let left = try Snapshot.settledDifference(from: before)
            #expect(left == [])
            #expect(scene.control.enforcement(of: scene.port) == nil)
        }
    }
}
