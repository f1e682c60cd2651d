// The picture of a run as an SVG file: offered against delivered on a logarithmic scale, the rungs
// as bands with their names. No fonts, scripts or images from elsewhere; light and dark by the
// reader's own preference, on a ground of its own.

import Lab

struct SVGPlot {
    private static let width = 960.0
    private static let height = 440.0
    private static let left = 84.0
    private static let right = 936.0
    private static let top = 84.0
    private static let bottom = 380.0

    private static let style = """
        text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
               font-size: 13px; fill: #3d4450 }
        .title { font-size: 18px; font-weight: 600; fill: #14181f }
        .ground { fill: #ffffff; stroke: #d5dae1 }
        .grid { stroke: #e4e8ed }
        .offered { fill: none; stroke: #c8372d; stroke-width: 2 }
        .delivered { fill: none; stroke: #1a7f4b; stroke-width: 2 }
        .area { fill: #1a7f4b; fill-opacity: 0.18 }
        .neighbour { fill: none; stroke: #2f6fd0; stroke-width: 1.5; stroke-dasharray: 2 3 }
        .police { fill: #f0b429; fill-opacity: 0.22 }
        .shape { fill: #e8853a; fill-opacity: 0.26 }
        .tighten { fill: #d9534f; fill-opacity: 0.28 }
        .shutdown { fill: #6b3fa0; fill-opacity: 0.34 }
        .normal { fill: none }
        @media (prefers-color-scheme: dark) {
          text { fill: #b6bec9 } .title { fill: #f0f3f6 }
          .ground { fill: #14181f; stroke: #39414d } .grid { stroke: #2a313b }
          .offered { stroke: #ff7b72 } .delivered { stroke: #3fb970 } .area { fill: #3fb970 }
          .neighbour { stroke: #79aefc }
        }
        """

    var run: Run
    var title: String
    var subtitle: String

    func draw() -> String {
        """
        <svg xmlns="http://www.w3.org/2000/svg" \
        viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" role="img" aria-label="\(escaped(title))">
        <style>
        \(Self.style)
        </style>
        <rect class="ground" x="0.5" y="0.5" width="\(Int(Self.width - 1))" \
        height="\(Int(Self.height - 1))" rx="8"/>
        <text class="title" x="24" y="34">\(escaped(title))</text>
        <text x="24" y="56">\(escaped(subtitle))</text>
        \(bands())
        \(grid())
        <polygon class="area" points="\(area())"/>
        <polyline class="neighbour" points="\(line { $0.neighbour.packets })"/>
        <polyline class="offered" points="\(line { $0.offered.packets })"/>
        <polyline class="delivered" points="\(line { $0.delivered.packets })"/>
        \(legend())
        </svg>

        """
    }

    private func x(_ seconds: Double) -> Double {
        Self.left + (Self.right - Self.left) * seconds / run.seconds
    }

    private func y(_ packets: Double) -> Double {
        Self.bottom - (Self.bottom - Self.top) * Run.height(packets)
    }

    private func line(_ rate: (Sample) -> Double) -> String {
        run.samples.map { "\(x($0.seconds).fixed(1)),\(y(rate($0)).fixed(1))" }
            .joined(separator: " ")
    }

    private func area() -> String {
        let begin = run.samples.first?.seconds ?? 0
        return "\(x(begin).fixed(1)),\(Self.bottom) \(line { $0.delivered.packets }) "
            + "\(x(run.seconds).fixed(1)),\(Self.bottom)"
    }

    private func bands() -> String {
        run.stretches.filter { $0.rung != "normal" }.map { stretch in
            let begin = x(stretch.begin)
            let width = x(stretch.end) - begin
            let band = """
                <rect class="\(escaped(stretch.rung))" x="\(begin.fixed(1))" y="\(Self.top)" \
                width="\(width.fixed(1))" height="\(Self.bottom - Self.top)"/>
                """
            // A name that would run into the next band is left out.
            guard width > Double(stretch.rung.count) * 7 + 6 else { return band }
            return band + """
                <text x="\((begin + width / 2).fixed(1))" y="\(Self.top - 8)" \
                text-anchor="middle">\(escaped(stretch.rung))</text>
                """
        }.joined(separator: "\n")
    }

    private func grid() -> String {
        var lines: [String] = []
        for packets in [10.0, 100, 1_000, 10_000, 100_000] {
            let height = y(packets).fixed(1)
            lines.append(
                """
                <line class="grid" x1="\(Self.left)" x2="\(Self.right)" y1="\(height)" \
                y2="\(height)"/><text x="\(Self.left - 10)" y="\((y(packets) + 4).fixed(1))" \
                text-anchor="end">\(Int(packets).grouped)</text>
                """)
        }
        for second in stride(from: 0, through: Int(run.seconds), by: 10) {
            lines.append(
                """
                <text x="\(x(Double(second)).fixed(1))" y="\(Self.bottom + 20)" \
                text-anchor="middle">\(second) s</text>
                """)
        }
        return lines.joined(separator: "\n")
    }

    private func legend() -> String {
        let entries = [
            ("offered", "offered: packets/s from the rogue VM"),
            ("delivered", "delivered: packets/s on the uplink"),
            ("neighbour", "the quiet neighbour, delivered"),
        ]
        return entries.enumerated().map { position, entry in
            let begin = Self.left + Double(position) * 290
            let height = Self.height - 18
            return """
                <line class="\(entry.0)" x1="\(begin)" x2="\(begin + 26)" y1="\(height - 4)" \
                y2="\(height - 4)"/><text x="\(begin + 34)" y="\(height)">\(entry.1)</text>
                """
        }.joined(separator: "\n")
    }

    private func escaped(_ text: String) -> String {
        text.map { ["&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;"][$0] ?? String($0) }
            .joined()
    }
}
