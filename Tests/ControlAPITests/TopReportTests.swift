// The live view at every size of a terminal.
import ControlAPI
import Testing

@testable import sluicectl

@Suite struct TopReportTests {
    private func port(
        _ name: String, _ rung: String, sent: Double, order: OrderStatus? = nil
    ) -> PortStatus {
        let load = Load(packetsPerSecond: sent, bitsPerSecond: sent * 2_000)
        let isHeld = rung != "normal"
        return PortStatus(
            name: name, index: 1, portClass: "vm", pattern: "vm-<num>-<netid>", netid: "00df",
            rung: rung, onRungSeconds: isHeld ? 65 : nil, incident: nil, isVictim: false,
            offered: Loads(
                from: load, to: Load(packetsPerSecond: 1e6 - sent, bitsPerSecond: 20)),
            delivered: isHeld ? Loads(from: load, to: nil) : nil, lane: nil,
            cap: isHeld ? Loads(from: load, to: nil) : nil, delayMilliseconds: nil,
            enforcement: isHeld ? "act_police" : nil, problem: nil, order: order)
    }

    private func status(_ ports: [PortStatus]) -> Status {
        Status(
            version: "1", pid: 2, mode: "enforce", uptimeSeconds: 61, kernel: "6.1.0",
            kernelNotes: [], polls: 100, pollMilliseconds: 100, latePolls: 0,
            mitigated: ports.filter { $0.rung != "normal" }.count, breaker: nil, ports: ports)
    }

    private var many: Status {
        status(
            (0..<100).map {
                port(
                    "vm-\($0)-00df", ["normal", "police", "shape"][$0 % 3],
                    sent: Double($0) * 1_000)
            })
    }

    /// Guards against: a row that is wider than the terminal, more rows than it has, and a trap at any
    /// size.
    @Test func everySizeFits() {
        for columns in [1, 2, 20, 40, 79, 80, 81, 120, 200, 500] {
            for rows in [1, 2, 4, 5, 24, 60, 200] {
                let screen = TopReport(columns: columns, rows: rows).screen(many)
                #expect(screen.count == rows || (rows < 4 && screen.count <= rows))
                #expect(screen.allSatisfy { $0.utf8.count <= columns }, "\(columns)")
            }
        }
    }

    /// Guards against: what matters most left out of a narrow terminal, and room left unused in a wide
    /// one.
    @Test func whatIsShown() {
        let narrow = TopReport(columns: 80, rows: 24).screen(many)
        for word in ["PORT", "RUNG", "SENT", "PASSED"] { #expect(narrow[2].contains(word)) }
        #expect(!narrow[2].contains("HELD BY") && narrow[23].contains("(80 more)"))
        let wide = TopReport(columns: 200, rows: 24).screen(many)
        for word in ["RECEIVED", "CAP", "CLOUDSPACE", "HELD BY"] { #expect(wide[2].contains(word)) }
        #expect(wide[4].contains("act_police") || wide[3].contains("act_police"))
        #expect(narrow[0].hasPrefix("sluiced enforce, 100 ports, 66 held"))
    }

    /// Guards against: an order that is not as asked.
    @Test func orders() {
        let three = status([
            port("b", "normal", sent: 5), port("a", "shape", sent: 1),
            port("c", "police", sent: 9),
        ])
        func order(_ order: TopOrder) -> String {
            TopReport(columns: 80, rows: 20, order: order).screen(three)[3...5]
                .map { String($0.prefix(1)) }.joined()
        }
        #expect(order(.packets) == "cba" && order(.bits) == "cba" && order(.received) == "abc")
        #expect(order(.rung) == "acb" && order(.name) == "abc")
        #expect(Set(TopOrder.allCases.map(\.key)).count == TopOrder.allCases.count)
    }

    /// Guards against: colours that nobody asked for, and an order of an operator that is not shown.
    @Test func coloursAndOrders() {
        let exempt = OrderStatus(order: "exempt", secondsLeft: 5, reason: nil, user: 0, saidAt: 1)
        let ports = status([
            port("a", "police", sent: 1), port("b", "normal", sent: 0, order: exempt),
        ])
        let plain = TopReport(columns: 80, rows: 8).screen(ports)
        #expect(!plain.joined().contains("\u{1b}") && plain[4].contains("normal (exempt)"))
        let coloured = TopReport(columns: 80, rows: 8, hasColour: true).screen(ports)
        #expect(coloured[3].hasPrefix("\u{1b}[33ma ") && coloured[3].hasSuffix("\u{1b}[0m"))
        #expect(coloured[4].hasPrefix("b"))
    }
}
