// The picture of costs that grow with the number of links, as an SVG file: both scales logarithmic, a
// name at each line's end. No fonts, scripts or images from elsewhere; light and dark by the reader's
// own preference.
import Lab

struct CostPlot {
    struct Line {
        var title: String
        var isOurs: Bool
        /// Links, and microseconds.
        var points: [(links: Double, microseconds: Double)]
    }

    var title: String
    var subtitle: String
    var lines: [Line]

    private static let width = 1_040.0
    private static let height = 520.0
    private static let left = 84.0
    private static let right = 640.0
    private static let top = 84.0
    private static let bottom = 470.0
    private static let links = 100.0...10_000
    /// From 10 microseconds to 10 seconds.
    private static let times = 10.0...10_000_000

    private static let style = """
        text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
               font-size: 13px; fill: #3d4450 }
        .title { font-size: 18px; font-weight: 600; fill: #14181f }
        .ground { fill: #ffffff; stroke: #d5dae1 }
        .grid { stroke: #e4e8ed }
        .peer { fill: none; stroke: #8a93a0; stroke-width: 1.5 }
        .ours { fill: none; stroke: #1a7f4b; stroke-width: 2.5 }
        .name { font-weight: 600; fill: #1a7f4b }
        .leader { stroke: #c4cad3; stroke-dasharray: 2 3 }
        @media (prefers-color-scheme: dark) {
          text { fill: #b6bec9 } .title { fill: #f0f3f6 }
          .ground { fill: #14181f; stroke: #39414d } .grid { stroke: #2a313b }
          .ours { stroke: #3fb970 } .name { fill: #3fb970 } .leader { stroke: #4a535f }
        }
        """

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
        \(grid())
        \(curves())
        \(names())
        </svg>

        """
    }

    private static func place(_ value: Double, on scale: ClosedRange<Double>) -> Double {
        let least = scale.lowerBound.decimalLogarithm
        let held = min(max(value, scale.lowerBound), scale.upperBound)
        return (held.decimalLogarithm - least) / (scale.upperBound.decimalLogarithm - least)
    }

    private func x(_ links: Double) -> Double {
        Self.left + (Self.right - Self.left) * Self.place(links, on: Self.links)
    }

    private func y(_ microseconds: Double) -> Double {
        Self.bottom - (Self.bottom - Self.top) * Self.place(microseconds, on: Self.times)
    }

    private func grid() -> String {
        let times = [
            (10.0, "10 us"), (100, "100 us"), (1_000, "1 ms"), (10_000, "10 ms"),
            (100_000, "100 ms"), (1_000_000, "1 s"), (10_000_000, "10 s"),
        ].map { time, name in
            """
            <line class="grid" x1="\(Self.left)" x2="\(Self.right)" y1="\(y(time).fixed(1))" \
            y2="\(y(time).fixed(1))"/><text x="\(Self.left - 10)" y="\((y(time) + 4).fixed(1))" \
            text-anchor="end">\(name)</text>
            """
        }
        let links = [100.0, 1_000, 4_000, 10_000].map { links in
            """
            <text x="\(x(links).fixed(1))" y="\(Self.bottom + 22)" \
            text-anchor="middle">\(Int(links).grouped)\(links == 100 ? " links" : "")</text>
            """
        }
        return (times + links).joined(separator: "\n")
    }

    private func curves() -> String {
        lines.map { line in
            let points = line.points.map {
                "\(x($0.links).fixed(1)),\(y($0.microseconds).fixed(1))"
            }
            return "<polyline class=\"\(line.isOurs ? "ours" : "peer")\" "
                + "points=\"\(points.joined(separator: " "))\"/>"
        }.joined(separator: "\n")
    }

    /// From the highest line down, none nearer to the next than its own height.
    private func names() -> String {
        let ends = lines.compactMap { line in line.points.last.map { (line, $0) } }
            .sorted { $0.1.microseconds > $1.1.microseconds }
        var next = Self.top
        var heights: [Double] = []
        for (_, end) in ends {
            heights.append(max(next, y(end.microseconds) + 4))
            next = (heights.last ?? next) + 17
        }
        // Names that were pushed below the ground move up together.
        var room = Self.bottom
        for number in heights.indices.reversed() {
            heights[number] = min(heights[number], room)
            room = heights[number] - 17
        }
        return zip(ends, heights).map { end, height in
            let (line, last) = end
            return """
                <line class="leader" x1="\((x(last.links) + 2).fixed(1))" \
                y1="\(y(last.microseconds).fixed(1))" x2="\(Self.right + 24)" \
                y2="\((height - 4).fixed(1))"/><text \(line.isOurs ? "class=\"name\" " : "")\
                x="\(Self.right + 28)" y="\(height.fixed(1))">\(escaped(line.title))</text>
                """
        }.joined(separator: "\n")
    }

    private func escaped(_ text: String) -> String {
        text.map { ["&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;"][$0] ?? String($0) }
            .joined()
    }
}
