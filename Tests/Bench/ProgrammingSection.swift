// Making a port's tree and taking it down: ours against the bare requests, and against what scripts use.
import CBench
import Lab
import Mitigation

@testable import TrafficControl

struct ProgrammingSection {
    var setting: Setting

    /// One contender's times, in nanoseconds by the wall clock, and against those of raw C.
    fileprivate struct Times: Sendable {
        var making: Spread
        var removing: Spread
        var makingRatio: Spread?
        var removingRatio: Spread?
    }

    fileprivate struct Findings: Sendable {
        var tree: String
        var links: Int
        var requests = Requests()
        var times: [(title: String, times: Times)] = []
        var failures: [(title: String, why: String)] = []
    }

    /// A thousand trees, one after the other: a pair for each round.
    private struct Crowd: Sendable {
        var making: Spread
        var makingRatio: Spread
        var removing: Spread
        var removingRatio: Spread
    }

    private static let floor = "raw C, the same changes prepared"
    private var sizes: [Int] {
        (setting.isQuick ? [40] : [40, 2_000]).filter { $0 <= setting.mostLinks }
    }
    /// On every second link.
    private var crowd: Int { min(setting.isQuick ? 100 : 1_000, setting.mostLinks / 2) }

    func run() async throws -> Part {
        var all: [Findings] = []
        for links in sizes {
            all += try await Namespace.run {
                let folder = try ScratchFolder()
                try Ports.make(1...links, in: folder)
                let port = try Self.port(links / 2)
                return try trees().map { try measure($0, on: port, links: links) }
            }
        }
        let crowd = try await Namespace.run {
            let folder = try ScratchFolder()
            try Ports.make(1...self.crowd * 2, in: folder)
            return try many()
        }
        return try part(all, crowd)
    }

    private static func port(_ number: Int) throws -> ControlledPort {
        let name = Ports.name(number)
        let text = try readFile("/sys/class/net/\(name)/ifindex").filter(\.isNumber)
        guard let index = Int32(text) else { throw LabError("index of \(name)") }
        // As the daemon knows its ports.
        return ControlledPort(
            index: index, name: PortName(name), mtu: 1_500, isOnOpenVSwitch: false)
    }

    /// What this kernel can hold: by its best policer, and where that is eBPF, which no command can
    /// say, the tree that commands can.
    private func trees() throws -> [Tree] {
        let policer = try KernelTrafficControl.open(TrafficControlSettings()).policer
        let delay = Duration.milliseconds(200)
        var trees = [
            Tree(title: "police, \(policer.rawValue)", limits: Tree.limits()),
            Tree(title: "shape, \(policer.rawValue) and ifb", limits: Tree.limits(delay: delay)),
        ]
        if policer == .bpf {
            trees.append(
                Tree(title: "shape, ifb with htb", policer: .ifb, limits: Tree.limits(delay: delay))
            )
        }
        return trees
    }

    // MARK: One tree

    private func measure(_ tree: Tree, on port: ControlledPort, links: Int) throws -> Findings {
        defer { cbench_netlink_forget() }
        let ours = Ours(try Controller(tree), on: port)
        var findings = Findings(tree: tree.title, links: links)
        findings.requests = try ours.requests()
        let steps = try ours.steps()
        let programmers: [(any Programmer)?] = [
            try Prepared(ours, on: port.index), ours,
            try Commands(steps, on: port, batch: true), try Commands(steps, on: port, batch: false),
        ]
        var making: [String: [Double]] = [:]
        var removing: [String: [Double]] = [:]
        var contenders = programmers.compactMap { $0 }
        for round in 0..<(setting.isQuick ? 3 : links > 1_000 ? 11 : 21) {
            for programmer in turns(contenders, round: round) {
                do {
                    let begin = Moment.now
                    try programmer.make()
                    let middle = Moment.now
                    if round == 0 { try expect(programmer.title, on: port, stands: true) }
                    let next = Moment.now
                    try programmer.remove()
                    let end = Moment.now
                    if round == 0 { try expect(programmer.title, on: port, stands: false) }
                    making[programmer.title, default: []].append(Self.nanoseconds(begin, middle))
                    removing[programmer.title, default: []].append(Self.nanoseconds(next, end))
                } catch {
                    findings.failures.append((programmer.title, "\(error)"))
                    contenders.removeAll { $0 === programmer }
                    try ours.remove()
                }
            }
        }
        for programmer in programmers.compactMap({ $0 }) {
            findings.add(
                programmer.title, making[programmer.title] ?? [], removing[programmer.title] ?? [],
                against: (making[Self.floor] ?? [], removing[Self.floor] ?? []))
        }
        guard tree.limits.from?.delay != nil, tree.policer == .ifb || steps.count > 4 else {
            return findings
        }
        let (their, removals) = try pyroute2(port)
        findings.add(
            "pyroute2, an ifb with an htb", their, removals,
            against: (making[Self.floor] ?? [], removing[Self.floor] ?? []), inTurns: false)
        return findings
    }

    private func expect(_ title: String, on port: ControlledPort, stands: Bool) throws {
        let text = try? Tool.run(
            "tc", "filter", "show", "dev", "\(port.name)", "parent", "ffff:")
        guard (text ?? "").contains("pref 1") == stands else {
            throw LabError("\(title): the tree is \(stands ? "not there" : "still there")")
        }
    }

    /// The times of a tree of the same shape by pyroute2, its interpreter's start left out.
    private func pyroute2(_ port: ControlledPort) throws -> ([Double], [Double]) {
        let words = ["\(Peers.scripts)/tree.py", "\(port.name)", setting.isQuick ? "3" : "11"]
        let (status, text) = try Tool.status(setting.peers.python, words, within: .seconds(60))
        guard status == .exited(0) else { throw LabError("pyroute2", detail: text) }
        let pairs = text.split(separator: "\n").map { line in
            line.split(separator: " ").compactMap { Double($0) }
        }.filter { $0.count == 2 }
        return (pairs.map { $0[0] }, pairs.map { $0[1] })
    }

    private static func nanoseconds(_ begin: Moment, _ end: Moment) -> Double {
        (end - begin).inSeconds * 1e9
    }

    // MARK: Many trees

    /// The police rung on every second link, ours and raw C in turns.
    private func many() throws -> Crowd {
        defer { cbench_netlink_forget() }
        let controller = try Controller(Tree(title: "police", limits: Tree.limits()))
        let ports = try (1...crowd).map { try Self.port($0 * 2) }
        let ours = ports.map { Ours(controller, on: $0) }
        let prepared = try zip(ours, ports).map { try Prepared($0, on: $1.index) }
        var pairs: [(Double, Double, Double, Double)] = []
        for round in 0..<(setting.isQuick ? 2 : 5) {
            var times: [Double] = [0, 0, 0, 0]
            for kind in turns([0, 1], round: round) {
                let programmers: [any Programmer] = kind == 0 ? prepared : ours
                let begin = Moment.now
                for programmer in programmers { try programmer.make() }
                let middle = Moment.now
                for programmer in programmers { try programmer.remove() }
                times[kind] = Self.nanoseconds(begin, middle)
                times[kind + 2] = Self.nanoseconds(middle, .now)
            }
            pairs.append((times[0], times[1], times[2], times[3]))
        }
        guard let making = Spread(pairs.map(\.1)), let removing = Spread(pairs.map(\.3)),
            let makingRatio = Spread(pairs.map { $0.1 / $0.0 }),
            let removingRatio = Spread(pairs.map { $0.3 / $0.2 })
        else { throw LabError("no tree was made") }
        return Crowd(
            making: making, makingRatio: makingRatio, removing: removing,
            removingRatio: removingRatio)
    }

    // MARK: Telling

    private func part(_ all: [Findings], _ crowd: Crowd) throws -> Part {
        var table = Table(
            "tree", "links", "by", "made, raw C is 1", "made, ms", "removed, raw C is 1",
            "removed, ms")
        for findings in all {
            for (title, times) in findings.times {
                table.add(
                    findings.tree, findings.links.grouped, title, times.makingRatio?.ratio ?? "",
                    (times.making.median / 1e6).ratio, times.removingRatio?.ratio ?? "",
                    (times.removing.median / 1e6).ratio)
            }
            for (title, why) in findings.failures {
                table.add(
                    findings.tree, findings.links.grouped, title, "failed: \(why)", "", "", "")
            }
        }
        let requests = all.map { found in
            "\(found.tree) at \(found.links.grouped) links: \(found.requests.changes) changes, "
                + "\(found.requests.questions) questions, in \(found.requests.datagrams) datagrams"
        }
        let isUML = Machine.isUserMode
        let name = isUML ? "programming-full" : "programming"
        return Part(
            name: name,
            markdown: """
                ## Programming a port\(isUML ? ", on a complete kernel" : "")

                On \(try Machine.sentence()), by the wall clock, in turns. Ours looks at what stands,
                plans, does it, and reads it back; raw C sends the same changes, prepared beforehand
                (with the eBPF program, where there is one, loaded), and looks at nothing.
                pyroute2 makes an ifb with an htb of three classes, whatever the tree is, after the others.

                \(table.markdown)
                Requests: \(requests.joined(separator: "; ")).

                \(self.crowd.grouped) trees at once (police) in a host with
                \((self.crowd * 2).grouped) links: made in \((crowd.making.median / 1e9).ratio) s,
                \(crowd.makingRatio.ratio) of raw C; removed in
                \((crowd.removing.median / 1e9).ratio) s, \(crowd.removingRatio.ratio) of raw C.

                """, headlines: headlines(all, crowd, isUML))
    }

    private func headlines(_ all: [Findings], _ crowd: Crowd, _ isUML: Bool) -> [[String]] {
        all.compactMap { findings in
            guard let ours = findings.times.first(where: { $0.title == "sluice" })?.times,
                let script = findings.times.first(where: { $0.title.contains("script") })?.times,
                let ratio = ours.makingRatio
            else { return nil }
            return [
                "one tree (\(findings.tree)), \(findings.links.grouped) links"
                    + (isUML ? ", User-Mode Linux" : ""),
                "\(ratio.ratio) x; a script of `tc` "
                    + "\((script.making.median / ours.making.median).ratio) times slower",
                "raw C that sends the same changes and looks at nothing",
            ]
        } + [
            [
                "\(self.crowd.grouped) trees at once" + (isUML ? ", User-Mode Linux" : ""),
                "\(crowd.makingRatio.ratio) x (\((crowd.making.median / 1e9).ratio) s)",
                "raw C, as above",
            ]
        ]
    }
}

extension ProgrammingSection.Findings {
    fileprivate mutating func add(
        _ title: String, _ making: [Double], _ removing: [Double],
        against floor: (making: [Double], removing: [Double]), inTurns: Bool = true
    ) {
        guard let made = Spread(making), let removed = Spread(removing) else { return }
        func ratios(_ values: [Double], _ floor: [Double]) -> Spread? {
            guard let bottom = Spread(floor) else { return nil }
            // Of one round where both were in it; one that dropped out has fewer.
            return Spread(
                values.indices.map {
                    values[$0] / (inTurns && $0 < floor.count ? floor[$0] : bottom.median)
                })
        }
        times.append(
            (
                title,
                ProgrammingSection.Times(
                    making: made, removing: removed, makingRatio: ratios(making, floor.making),
                    removingRatio: ratios(removing, floor.removing))
            ))
    }
}
