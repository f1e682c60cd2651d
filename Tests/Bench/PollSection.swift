// The cost of one look at all counters: against a C loop that receives the dump and does not read it,
// and against the peers.
import Lab

struct PollSection {
    var setting: Setting

    /// What was measured at one number of links.
    private struct Findings: Sendable {
        var links: Int
        /// CPU time of a look in nanoseconds, by title, in the tables' order.
        var costs: [(title: String, cost: Spread)] = []
        /// The same against the floor.
        var ratios: [String: Spread] = [:]
        /// Calls of the allocator in all looks of a kind, and how many looks there were.
        var allocations: [String: (calls: UInt64, looks: Int)] = [:]
        /// Peers that could not be measured, and why.
        var failures: [String: String] = [:]
    }

    private var sizes: [Int] {
        (setting.isQuick ? [100, 1_000] : [100, 1_000, 4_000, 10_000])
            .filter { $0 <= setting.mostLinks }
    }
    private static let unclaimed = "sluice: poll and decide, no port of a class"
    private static let watched = "sluice: poll and decide, every port of a class"
    private static let walked = "sluice: the same by eBPF"

    /// The part of the report, and the picture.
    func run() async throws -> (part: Part, plot: String) {
        let findings = try await Namespace.run {
            let folder = try ScratchFolder()
            var made = 0
            var all: [Findings] = []
            for size in sizes {
                try Ports.make(made + 1...size, in: folder)
                made = size
                var findings = Findings(links: size)
                try takeTurns(&findings)
                for peer in Peer.all(setting.peers) { try measure(peer, &findings) }
                all.append(findings)
            }
            return all
        }
        return (try part(findings), plot(findings))
    }

    // MARK: Measuring

    /// Each look within this process in turns with the floor, and with nothing else, since each leaves
    /// the processor's caches to the next.
    private func takeTurns(_ findings: inout Findings) throws {
        let whole = try WholeTurn(Self.watched, claims: true)
        guard whole.watched == findings.links else {
            throw LabError("\(whole.watched) of \(findings.links) ports are watched")
        }
        let floor = BareDump()
        var looks: [any Look] = [
            try Decode(), try WholeTurn(Self.unclaimed, claims: false), whole,
        ]
        do {
            looks.append(try WholeTurn(Self.walked, claims: true, usesBPF: true))
        } catch {
            findings.failures[Self.walked] = "\(error)"
        }
        looks.append(LinkCache())
        var floors: [Double] = []
        for look in looks {
            let most = look is LinkCache ? 40 : setting.isQuick ? 200 : 2_000
            let rounds = max(40, min(most, 2_000_000 / findings.links))
            var costs = PairedCosts<Bool>()
            var allocations: UInt64 = 0
            for round in -10..<rounds {
                var found: [Bool: Double] = [:]
                for isFloor in turns([true, false], round: round + 10) {
                    let (cost, calls) = try (isFloor ? floor : look).measure()
                    found[isFloor] = cost
                    if !isFloor, round >= 0 { allocations += calls }
                }
                if round >= 0 { costs.add(found) }
            }
            guard let cost = Spread(costs.costs(false)) else { continue }
            floors += costs.costs(true)
            findings.costs.append((look.title, cost))
            // `ratios` are looks for looks: turned round, cost for cost.
            findings.ratios[look.title] = Spread(costs.ratios(true, to: false))
            findings.allocations[look.title] = (allocations, rounds)
        }
        guard let bottom = Spread(floors) else { throw LabError("no look was taken") }
        // The machine's pace changes from look to look: each is shown by its ratio to the floor of its own
        // rounds, times the floor of all.
        for place in findings.costs.indices {
            guard let ratio = findings.ratios[findings.costs[place].title] else { continue }
            findings.costs[place].cost = ratio.times(bottom.median)
        }
        findings.costs.insert((floor.title, bottom), at: 0)
        findings.ratios[floor.title] = Spread([1])
    }

    /// A peer, with the floor before and after it.
    private func measure(_ peer: Peer, _ findings: inout Findings) throws {
        let floor = BareDump()
        let rounds = setting.isQuick ? 1 : findings.links > 2_000 ? 3 : 4
        var costs: [Double] = []
        var ratios: [Double] = []
        do {
            for _ in 0..<rounds {
                let before = try (0..<20).map { _ in try floor.measure().nanoseconds }
                let reads = try peer.reads(findings.links)
                let after = try (0..<20).map { _ in try floor.measure().nanoseconds }
                guard let bottom = Spread(before + after), let read = Spread(reads) else {
                    continue
                }
                costs.append(read.median)
                ratios.append(read.median / bottom.median)
            }
        } catch {
            findings.failures[peer.title] = "\(error)".prefix { $0 != "\n" }.description
        }
        guard let cost = Spread(costs), let ratio = Spread(ratios) else {
            if findings.failures[peer.title] == nil { findings.failures[peer.title] = "no read" }
            return
        }
        findings.costs.append((peer.title, cost))
        findings.ratios[peer.title] = ratio
    }

    // MARK: Telling

    private func titles(_ all: [Findings]) -> [String] {
        var titles: [String] = []
        for title in all.flatMap({ $0.costs.map(\.title) + $0.failures.keys.sorted() })
        where !titles.contains(title) { titles.append(title) }
        return titles
    }

    private func part(_ all: [Findings]) throws -> Part {
        var table = Table()
        table.columns =
            ["CPU time of one look; 1 is the bare dump"] + all.map { "\($0.links) links" }
        var times = Table()
        times.columns = ["The same in microseconds"] + all.map { "\($0.links) links" }
        for title in titles(all) {
            table.rows.append(
                [title] + all.map { $0.ratios[title]?.ratio ?? $0.failures[title] ?? "" })
            times.rows.append(
                [title]
                    + all.map { findings in
                        findings.costs.first { $0.title == title }
                            .map { ($0.cost.median / 1_000).ratio } ?? ""
                    })
        }
        let allocations = [Self.unclaimed, Self.watched, Self.walked].map { title in
            let sums = all.map { findings in
                let (calls, looks) = findings.allocations[title] ?? (0, 0)
                return "\(calls) in \(looks.grouped) at \(findings.links.grouped)"
            }
            return "- \(title): \(sums.joined(separator: ", "))"
        }
        return Part(
            name: "poll",
            markdown: """
                ## A look at all counters

                On \(try Machine.sentence()). The first rows each took turns with the bare dump
                within one process, by the clock of its thread; the peers are processes or their own
                threads' time, with the bare dump before and after each, in \(setting.isQuick ? 1 : 3) rounds or more.
                \(setting.peers.versions()). collectd writes to nowhere. fastnetmon (1.2.4 in Debian)
                is no peer here: it samples packets, and reads no interface's counters.

                \(table.markdown)
                \(times.markdown)
                Calls of the allocator (the default routes are read anew every hundredth look):

                \(allocations.joined(separator: "\n"))

                """, headlines: headlines(all))
    }

    private func headlines(_ all: [Findings]) -> [[String]] {
        guard let last = all.last, let ours = last.ratios[Self.watched] else { return [] }
        let walked = last.ratios[Self.walked].map { "\($0.ratio) x" }
        let peers = last.costs.filter {
            !$0.title.hasPrefix("sluice") && $0.title != last.costs[0].title
        }.compactMap { title, _ in
            last.ratios[title].map { "\(title) \(($0.median / ours.median).ratio)" }
        }
        return [
            [
                "poll and decide, \(last.links.grouped) ports",
                "\(ours.ratio) x", "a C loop that receives the same dump and does not read it",
            ],
            [
                "the same by eBPF", walked ?? last.failures[Self.walked] ?? "",
                "that C loop; waits for no lock of the kernel's",
            ],
            ["the same, in the peers' place", peers.joined(separator: " x, ") + " x", "ours is 1"],
        ]
    }

    private func plot(_ all: [Findings]) -> String {
        let shown = titles(all).filter { $0 != Self.unclaimed }
        return CostPlot(
            title: "CPU time of one look at all links' counters",
            subtitle: "Median of one run, both scales logarithmic; lower is better.",
            lines: shown.map { title in
                CostPlot.Line(
                    title: title, isOurs: title.hasPrefix("sluice"),
                    points: all.compactMap { findings in
                        findings.costs.first { $0.title == title }
                            .map { (Double(findings.links), $0.cost.median / 1_000) }
                    })
            }
        ).draw()
    }
}
