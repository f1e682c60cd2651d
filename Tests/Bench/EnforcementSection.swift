// What a frame costs on its way through a port: each rung against the bare path, the layouts that a rung
// could have been made of, and a core's share at 400,000 frames a second.
import Lab
import Mitigation
import TrafficControl

struct EnforcementSection {
    var setting: Setting

    /// Something that stands on a port while its frames are timed.
    private struct Way {
        var title: String
        /// Limits by Sluice, or tc's commands with PORT for the port.
        var limits: Limits?
        var commands: [String] = []
    }

    private struct Findings: Sendable {
        var rungs: [[String]] = []
        var layouts: [[String]] = []
        var loads: [[String]] = []
        var policedLoad: String?
    }

    private static let isUML = Machine.isUserMode
    private static let bare = "bare: bridge and uplink"

    func run() async throws -> Part {
        let found = try await Namespace.run {
            var scene = try Scene()
            var found = Findings()
            found.rungs = try compare(Self.rungs, &scene)
            found.layouts = try compare(Self.layouts, &scene)
            if !Self.isUML { try load(&scene, &found) }
            return found
        }
        return try part(found)
    }

    /// A hypervisor with one VM, and traffic control over it.
    private struct Scene: ~Copyable {
        let host: Host
        let vm: Station
        let port: ControlledPort
        var control: KernelTrafficControl

        init() throws {
            let host = try Host()
            let vm = try host.start(vm: 1)
            control = try KernelTrafficControl.open(TrafficControlSettings())
            self.host = host
            self.vm = vm
            port = ControlledPort(index: vm.index, name: PortName(vm.name), mtu: 1_500)
        }

        mutating func put(_ way: Way) throws {
            if let limits = way.limits { try control.apply(limits, to: port) }
            for command in way.commands {
                let words = command.split(separator: " ").map {
                    $0 == "PORT" ? vm.name : String($0)
                }
                // A program of cls_bpf is one word.
                let quoted = words.map { $0 == "PROGRAM" ? EnforcementSection.dropAll : $0 }
                try Tool.run("tc", quoted)
            }
        }

        mutating func take(_ way: Way) throws {
            if way.limits != nil { try control.apply(nil, to: port) }
            if !way.commands.isEmpty {
                try Tool.run("tc", "qdisc", "del", "dev", vm.name, "ingress")
            }
        }

        /// What one frame costs its sender, which carries it through the host, in nanoseconds.
        func frame() throws -> Double { try isUML ? timeOfFrame() : processorTimeOfFrame() }

        /// CPU time, so that what others take away is not in it.
        private func processorTimeOfFrame() throws -> Double {
            let count = 3_000
            let flood = try vm.flood(
                Flood(
                    to: Host.outside, packetsPerSecond: 5_000_000, duration: .seconds(5),
                    count: count))
            guard flood.finish() == count else { throw LabError("frames were refused") }
            return flood.processorTime.inSeconds * 1e9 / Double(count)
        }

        /// Where CPU time is counted in ticks: the median of single frames.
        private func timeOfFrame() throws -> Double {
            let header = host.uplink.mac.bytes + vm.mac.bytes + [0x08, 0x00]
            // IPv4, 236 bytes, UDP.
            let packet: [UInt8] = [
                0x45, 0, 0, 236, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 255, 254,
            ]
            let frame = header + packet + [UInt8](repeating: 0, count: 216)
            var times: [Double] = []
            for _ in 0..<300 {
                let begin = Moment.now
                try vm.send(frame)
                times.append((Moment.now - begin).inSeconds * 1e9)
            }
            return Spread(times)?.median ?? 0
        }
    }

    // MARK: What is compared

    private static func limits(_ rung: Rung, _ packets: UInt64, delay: Duration? = nil) -> Limits {
        let cap = Cap(
            packets: PacketRate(perSecond: packets), bits: BitRate(bytesPerSecond: packets * 250))
        return Limits(
            rung: rung, incident: 1, from: Limit(cap: cap, delay: delay), to: nil,
            lane: Policy().lane)
    }

    private static let rungs = [
        Way(title: bare),
        Way(title: "police, all passes", limits: limits(.police, 4_000_000)),
        Way(title: "police, nearly all is dropped", limits: limits(.police, 1_000)),
        Way(
            title: "shape, all passes",
            limits: limits(.shape, 4_000_000, delay: .milliseconds(1))),
        Way(
            title: "shape, nearly all is dropped",
            limits: limits(.shape, 1_000, delay: .milliseconds(200))),
    ]

    /// Drops every frame: `ret #2` with direct action.
    fileprivate static let dropAll = "1,6 0 0 2,"
    private static let hook = "qdisc add dev PORT ingress"
    private static let filter = "filter add dev PORT parent ffff: protocol all pref 20"
    private static let police =
        "action police pkts_rate 1000 pkts_burst 100 conform-exceed drop/continue"

    /// One classifier of each kind with one act; the kernel may lack some.
    private static let layouts = [
        Way(title: bare),
        Way(
            title: "cls_bpf, classic, drops by itself",
            commands: [hook, "\(filter) bpf bytecode PROGRAM da"]),
        Way(title: "the police rung of Sluice, whole", limits: limits(.police, 1_000)),
        Way(
            title: "matchall and police", commands: [hook, "\(filter) matchall \(police)"]),
        Way(
            title: "u32 and police",
            commands: [hook, "\(filter) u32 match u32 0 0 \(police)"]),
        Way(title: "flower and police", commands: [hook, "\(filter) flower \(police)"]),
        Way(
            title: "cls_bpf, classic, and police",
            commands: [hook, "\(filter) bpf bytecode PROGRAM \(police)"]),
    ]

    // MARK: Measuring

    /// The rows of a table: title, cost against the bare path, packets a second, nanoseconds.
    private func compare(_ ways: [Way], _ scene: inout Scene) throws -> [[String]] {
        var costs = PairedCosts<String>()
        var absent: [String: String] = [:]
        let rounds = setting.isQuick ? 5 : Self.isUML ? 20 : 40
        // The first round warms up.
        for round in 0...rounds {
            var found: [String: Double] = [:]
            for way in turns(ways.filter { absent[$0.title] == nil }, round: round) {
                do {
                    try scene.put(way)
                } catch {
                    absent[way.title] = "not in this kernel"
                    try? scene.take(way)
                    continue
                }
                found[way.title] = try scene.frame()
                try scene.take(way)
            }
            if round > 0 { costs.add(found) }
        }
        return ways.map { way in
            guard absent[way.title] == nil, let cost = Spread(costs.costs(way.title)),
                // `ratios` are frames for frames: turned round, cost for cost.
                let ratio = Spread(costs.ratios(Self.bare, to: way.title))
            else { return [way.title, absent[way.title] ?? "not measured", "", ""] }
            return [
                way.title, ratio.ratio, Int(costs.rate(way.title)).grouped,
                Int(cost.median).grouped,
            ]
        }
    }

    /// The host's CPU at 400,000 frames of 250 bytes a second, or what it can.
    private func load(_ scene: inout Scene, _ found: inout Findings) throws {
        let ways = [
            Way(title: "unpoliced"), Way(title: "policed", limits: Self.limits(.police, 10_000)),
            Way(
                title: "shaped",
                limits: Self.limits(.shape, 10_000, delay: .milliseconds(200))),
        ]
        var rounds: [String: [(share: Double, rate: Double)]] = [:]
        for round in 0..<(setting.isQuick ? 1 : 6) {
            for way in turns(ways, round: round) {
                try scene.put(way)
                let flood = try scene.vm.flood(
                    Flood(
                        to: Host.outside, packetsPerSecond: 400_000, duration: .seconds(10)))
                measure(for: .milliseconds(300))
                let (sent, spent) = (flood.sent, try processorTime(of: "self"))
                let window = measure(for: .seconds(2))
                let seconds = (window.upperBound - window.lowerBound).inSeconds
                let share = (try processorTime(of: "self") - spent) / (seconds * 1e9)
                rounds[way.title, default: []].append(
                    (share, Double(flood.sent - sent) / seconds))
                flood.stop()
                try scene.take(way)
            }
        }
        let bare = rounds["unpoliced"] ?? []
        for way in ways {
            let those = rounds[way.title] ?? []
            guard let share = Spread(those.map(\.share)), let rate = Spread(those.map(\.rate)),
                let ratio = Spread(
                    zip(those, bare).map { ($0.share / $0.rate) / ($1.share / $1.rate) })
            else { continue }
            found.loads.append(
                [
                    way.title, ratio.ratio, Int(rate.median).grouped,
                    "\((share.median * 100).fixed(0)) %",
                ])
            if way.title == "policed" { found.policedLoad = ratio.ratio }
        }
    }

    // MARK: Telling

    private func part(_ found: Findings) throws -> Part {
        func table(_ rows: [[String]], _ columns: [String]) -> String {
            var table = Table()
            table.columns = columns
            table.rows = rows
            return table.markdown
        }
        let columns = ["cost of a frame, bare is 1", "frames/s of one sender", "ns"]
        let clock = Self.isUML ? "wall clock of single frames" : "CPU time of the sender"
        let loads =
            found.loads.isEmpty
            ? ""
            : """

            The host's CPU (sender, bridge and reader) at 400,000 frames of 250 bytes a second, or as
            many as it can, held to 10,000:

            \(table(
                found.loads,
                ["port", "CPU for a frame, unpoliced is 1", "frames/s offered", "of a core"]))
            """
        return Part(
            name: Self.isUML ? "enforcement-full" : "enforcement",
            markdown: """
                ## What a frame costs\(Self.isUML ? ", on a complete kernel" : "")

                On \(try Machine.sentence()). Frames of 250 bytes from a VM's tap through the port, a
                bridge and an uplink's tap; \(clock), in turns.

                \(table(found.rungs, ["rung"] + columns))
                What a rung's filter could be made of, one of each, with nearly every frame dropped. Ours
                is the classic program, and police: no kernel lacks the program, one matches IPv4, IPv6
                and a VLAN tag, and it is replaced in place without a gap, which matchall is not. Where
                act_police is missing, a token bucket in eBPF stands in.

                \(table(found.layouts, ["classifier and action"] + columns))\(loads)
                """,
            headlines: Self.isUML
                ? []
                : found.rungs.dropFirst().prefix(2).map { row in
                    ["a frame: \(row[0])", "\(row[1]) x", "the bare path"]
                }
                    + (found.policedLoad.map {
                        [["CPU for a frame of a flood, policed", "\($0) x", "unpoliced"]]
                    } ?? []))
    }
}
