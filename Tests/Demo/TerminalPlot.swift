// The picture of a run in the terminal, 80 columns wide: the delivered load as an area, the offered
// load as dots above it, the rungs below, and a logarithmic scale, on which 250 packets a second
// and 20,000 can both be read.

import Lab

struct TerminalPlot {
    private static let columns = 70
    private static let rows = 12
    private static let steps: [Character] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

    var run: Run
    var usesColour: Bool

    func draw() -> String {
        let offered = heights { $0.offered.packets }
        let delivered = heights { $0.delivered.packets }
        var text = "  packets a second    \(paint("•", 31)) offered   \(paint("█", 32)) delivered\n"
        for row in (0..<Self.rows).reversed() {
            text += label(row).right(7) + " ┤"
            for column in 0..<Self.columns {
                text += cell(row, offered: offered[column], delivered: delivered[column])
            }
            text += "\n"
        }
        return text + rungs() + axis()
    }

    /// The mean of each column's samples, in rows of the picture.
    private func heights(_ rate: (Sample) -> Double) -> [Double] {
        (0..<Self.columns).map { column in
            let begin = run.seconds * Double(column) / Double(Self.columns)
            let end = run.seconds * Double(column + 1) / Double(Self.columns)
            let rates = run.samples.filter { $0.seconds > begin && $0.seconds <= end }.map(rate)
            let mean = rates.reduce(0, +) / Double(max(1, rates.count))
            return Run.height(mean) * Double(Self.rows)
        }
    }

    private func cell(_ row: Int, offered: Double, delivered: Double) -> String {
        let filled = delivered - Double(row)
        if filled >= 0.0625 {
            return paint(String(Self.steps[min(8, max(1, Int((filled * 8).rounded())))]), 32)
        }
        let isDot = offered > 0 && min(Int(offered), Self.rows - 1) == row
        return isDot ? paint("•", 31) : " "
    }

    /// The decades: 10 stands at the foot, 100 000 at the head.
    private func label(_ row: Int) -> String {
        let decade = Double(row) * 4 / Double(Self.rows)
        guard decade == decade.rounded() else { return "" }
        return ["10", "100", "1 000", "10 000"][Int(decade)]
    }

    private func rungs() -> String {
        var text = "   rung "
        var column = 0
        for stretch in run.stretches {
            let end = Int((stretch.end / run.seconds * Double(Self.columns)).rounded())
            guard end > column else { continue }
            let room = end - column - 1
            let name = stretch.rung.count <= room ? stretch.rung : ""
            text += paint("│" + name.left(room), colour(of: stretch.rung))
            column = end
        }
        return text + "\n"
    }

    private func axis() -> String {
        var marks = [Character](repeating: " ", count: Self.columns + 10)
        var second = 0
        while Double(second) <= run.seconds {
            let column = Int(Double(second) / run.seconds * Double(Self.columns))
            for (offset, character) in "\(second)".enumerated() {
                marks[column + offset] = character
            }
            second += 10
        }
        return "seconds  " + String(marks) + "\n"
    }

    private func colour(of rung: String) -> Int {
        ["normal": 2, "police": 33, "shape": 36, "tighten": 35, "shutdown": 31][rung] ?? 0
    }

    private func paint(_ text: String, _ colour: Int) -> String {
        usesColour ? "\u{1b}[\(colour)m\(text)\u{1b}[0m" : text
    }
}
