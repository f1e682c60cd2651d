// The live view: one screen that is drawn over and over on a terminal, else a line a second.

import Lab

final class Screen {
    /// What is to be seen at one moment.
    struct View {
        var kernel: String
        var scene: String
        var seconds: Double
        var rung: String
        var offered: Rate
        var delivered: Rate
        var lane: Rate
        var neighbourSent: Int
        var neighbourLost: Int
        var echoes: Exchanges
        var alerts: [String]
    }

    private static let columns = 80
    private static let alertRows = 6
    private static let ladder = ["normal", "police", "shape", "tighten", "shutdown"]

    /// Whether standard output is a terminal that can be drawn over.
    let isTerminal: Bool
    private var drawnRows = 0
    private var lastLine = -1.0

    init(isTerminal: Bool) { self.isTerminal = isTerminal }

    func show(_ view: View) {
        if isTerminal {
            draw(rows(of: view))
        } else if view.seconds >= lastLine + 1 {
            lastLine = view.seconds
            Program.write(line(of: view) + "\n")
        }
    }

    private func draw(_ rows: [String]) {
        // Back to the first row, then each row over the old one, cleared to its end.
        var text = drawnRows > 0 ? "\u{1b}[\(drawnRows)A" : ""
        for row in rows { text += "\r\(row)\u{1b}[K\n" }
        drawnRows = rows.count
        Program.write(text)
    }

    private func rows(of view: View) -> [String] {
        let ladder = Self.ladder.map { rung in
            rung == view.rung ? "\u{1b}[7m \(rung) \u{1b}[0m" : " \(rung) "
        }.joined(separator: "›")
        var rows = [
            "",
            " \(view.seconds.fixed(1).right(5)) s   \(view.scene)",
            "",
            " ladder     \(ladder)",
            rate("offered", view.offered, colour: 31),
            rate("delivered", view.delivered, colour: 32),
            rate("lane", view.lane, colour: 36),
            " SSH        \(echoed(view.echoes)), longest stall "
                + "\(view.echoes.longestStall.inSeconds.fixed(2)) s",
            " neighbour  \(view.neighbourSent.grouped) packets sent, "
                + "\(view.neighbourLost.grouped) lost",
            "",
            " alerts",
        ]
        let alerts = view.alerts.suffix(Self.alertRows)
        rows += alerts.map { "   " + String($0.prefix(Self.columns - 4)) }
        rows += [String](repeating: "", count: Self.alertRows - alerts.count)
        return rows
    }

    private func rate(_ name: String, _ rate: Rate, colour: Int) -> String {
        let length = Int((Run.height(rate.packets) * 34).rounded())
        let bar = String(repeating: "█", count: length)
        return " \(name.left(10)) \(rate.packets.packetRate.right(11)) "
            + "\(rate.bits.bitRate.right(13))  \u{1b}[\(colour)m\(bar)\u{1b}[0m"
    }

    private func echoed(_ echoes: Exchanges) -> String {
        "\(echoes.answered.grouped) of \(echoes.asked.grouped) echoed"
    }

    private func line(of view: View) -> String {
        "\(view.seconds.fixed(0).right(3)) s  \(view.rung.left(8))  "
            + "offered \(view.offered.packets.packetRate.right(10)) "
            + "\(view.offered.bits.bitRate.right(12))  "
            + "delivered \(view.delivered.packets.packetRate.right(10)) "
            + "\(view.delivered.bits.bitRate.right(12))  "
            + "lane \(view.lane.packets.packetRate.right(6))  "
            + "neighbour lost \(view.neighbourLost)  "
            + "ssh stall \(view.echoes.longestStall.inSeconds.fixed(2)) s"
    }
}
