// Panels of loads over time as SVG: a logarithmic scale of three decades, rungs as bands, marks as dashed lines. No
// fonts, scripts or images from elsewhere; light and dark by the reader's own preference.
// Invariant: every name is escaped, and every number is one of ours.

import Mitigation

/// Draws panels one below the other.
struct Chart {
    /// Values of a panel by column of time; negative where there is none.
    struct Line {
        /// Its class in `style`: `offered` or `delivered`.
        var kind: String
        var values: [Double]
    }

    /// A rung and how long it was held, in seconds since 1970.
    struct Band {
        var rung: String
        var from: Double
        var to: Double
    }

    /// One panel.
    struct Panel {
        var title: String
        var lines: [Line]
        var mark: Double?
        var bands: [Band]
        /// What a value is called: `12.3 kpps`.
        var unit: (Double) -> String
    }

    static let columns = 480
    private static let decades = 1_000.0
    private static let width = 960.0
    private static let left = 84.0
    private static let right = 936.0
    private static let panelHeight = 132.0
    private static let head = 76.0

    private static let style = """
        text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
               font-size: 12px; fill: #3d4450 }
        .title { font-size: 18px; font-weight: 600; fill: #14181f }
        .name { font-weight: 600; fill: #14181f }
        .ground { fill: #ffffff; stroke: #d5dae1 }
        .grid { stroke: #e4e8ed }
        .offered, .delivered { fill: none; stroke: #c8372d; stroke-width: 1.5 }
        .delivered { stroke: #1a7f37 }
        .mark { stroke: #2f6fd0; stroke-dasharray: 5 4 }
        .police { fill: #f0b429; fill-opacity: 0.22 }
        .shape { fill: #e8853a; fill-opacity: 0.26 }
        .tighten { fill: #d9534f; fill-opacity: 0.28 }
        .shutdown { fill: #6b3fa0; fill-opacity: 0.34 }
        @media (prefers-color-scheme: dark) {
          text { fill: #b6bec9 } .title, .name { fill: #f0f3f6 }
          .ground { fill: #14181f; stroke: #39414d } .grid { stroke: #2a313b }
          .offered { stroke: #ff7b72 } .delivered { stroke: #56d364 }
          .mark { stroke: #79aefc }
        }
        """

    var title: String
    var subtitle: String
    /// From when until when it goes, in seconds since 1970.
    var span: ClosedRange<Double>
    var panels: [Panel]

    /// The whole picture.
    func draw() -> String {
        let height = Self.head + Double(max(panels.count, 1)) * Self.panelHeight + 58
        let drawn = panels.enumerated().map { place, panel in
            draw(panel, top: Self.head + Double(place) * Self.panelHeight)
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(height))" \
            role="img" aria-label="\(Markup.escaped(title))">
            <style>
            \(Self.style)
            </style>
            <rect class="ground" x="0.5" y="0.5" width="\(Int(Self.width - 1))" \
            height="\(Int(height - 1))" rx="8"/>
            <text class="title" x="24" y="32">\(Markup.escaped(title))</text>
            <text x="24" y="52">\(Markup.escaped(subtitle))</text>
            \(drawn.joined(separator: "\n"))
            \(clock(top: height - 52))
            \(legend(top: height - 16))
            </svg>

            """
    }

    // MARK: Panels

    private func draw(_ panel: Panel, top: Double) -> String {
        let bottom = top + Self.panelHeight - 34
        let highest = max(panel.lines.flatMap(\.values).max() ?? 1, panel.mark ?? 0, 10)
        let lowest = max(highest / Self.decades, 1)
        func y(_ value: Double) -> Double {
            let share = Self.logarithm(max(value, lowest) / lowest)
            return bottom - (bottom - top - 16) * share / Self.logarithm(highest / lowest)
        }
        func across(_ kind: String, _ value: Double) -> String {
            let height = Self.fixed(y(value))
            return """
                <line class="\(kind)" x1="\(Self.left)" x2="\(Self.right)" y1="\(height)" y2="\(height)"/>
                """
        }
        var parts = panel.bands.map { band($0, top + 16, bottom) }
        let powers = (0...12).map { (0..<$0).reduce(1.0) { value, _ in value * 10 } }
        parts += powers.filter { $0 >= lowest && $0 <= highest }.map { across("grid", $0) }
        if let mark = panel.mark { parts.append(across("mark", mark)) }
        parts += panel.lines.map { polylines($0, y) }
        parts.append(
            """
            <text class="name" x="\(Self.left)" y="\(top + 10)">\(Markup.escaped(panel.title))</text>
            """)
        parts.append(
            """
            <text x="\(Self.left - 8)" y="\(top + 24)" text-anchor="end">\(panel.unit(highest))</text>
            """)
        return parts.joined(separator: "\n")
    }

    private func band(_ band: Band, _ top: Double, _ bottom: Double) -> String {
        let (begin, end) = (x(band.from), x(band.to))
        return """
            <rect class="\(Markup.escaped(band.rung))" x="\(Self.fixed(begin))" y="\(Self.fixed(top))" \
            width="\(Self.fixed(max(end - begin, 1)))" height="\(Self.fixed(bottom - top))"/>
            """
    }

    /// A line where there are values one after the other, and none where they are missing.
    private func polylines(_ line: Line, _ y: (Double) -> Double) -> String {
        let step = (Self.right - Self.left) / Double(max(line.values.count, 1))
        let runs = line.values.indices.split { line.values[$0] < 0 }
        return runs.map { run in
            let points = run.map { column in
                let x = Self.left + (Double(column) + 0.5) * step
                return "\(Self.fixed(x)),\(Self.fixed(y(line.values[column])))"
            }
            return "<polyline class=\"\(line.kind)\" points=\"\(points.joined(separator: " "))\"/>"
        }.joined(separator: "\n")
    }

    private func x(_ at: Double) -> Double {
        let share = (at - span.lowerBound) / max(span.upperBound - span.lowerBound, 1e-3)
        return Self.left + (Self.right - Self.left) * min(max(share, 0), 1)
    }

    /// The time of day at five places.
    private func clock(top: Double) -> String {
        (0...4).map { place in
            let at = span.lowerBound + (span.upperBound - span.lowerBound) * Double(place) / 4
            let anchor = place == 0 ? "start" : place == 4 ? "end" : "middle"
            let text = EventReport.time(at).split(separator: " ").last?.prefix(8) ?? ""
            return """
                <text x="\(Self.fixed(x(at)))" y="\(top)" text-anchor="\(anchor)">\(text)</text>
                """
        }.joined(separator: "\n")
    }

    private func legend(top: Double) -> String {
        let kinds = Set(panels.flatMap(\.lines).map(\.kind)).sorted(by: >)
        var parts = Rung.allCases.dropFirst().enumerated().map { place, rung in
            let begin = Self.left + Double(place) * 110
            return """
                <rect class="\(rung)" x="\(begin)" y="\(top - 10)" width="20" height="10"/>\
                <text x="\(begin + 26)" y="\(top)">\(rung)</text>
                """
        }
        for (place, kind) in (["mark"] + kinds).enumerated() {
            let begin = Self.left + Double(place) * 110 + 460
            parts.append(
                """
                <line class="\(kind)" x1="\(begin)" x2="\(begin + 20)" y1="\(top - 5)" \
                y2="\(top - 5)"/><text x="\(begin + 26)" y="\(top)">\(kind)</text>
                """)
        }
        return parts.joined(separator: "\n")
    }

    // MARK: Numbers

    /// log10, as near as a picture needs: by the number's own exponent and significand.
    private static func logarithm(_ value: Double) -> Double {
        let mantissa = value.significand - 1
        let fraction = mantissa * (1.4427 - mantissa * (0.7213 - mantissa * 0.2786))
        return (Double(value.exponent) + fraction) * 0.30103
    }

    private static func fixed(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(abs(tenths % 10))"
    }
}

/// Loads of one port by column of time: the highest of each; negative: none.
struct LoadColumns {
    private(set) var columns = Array(
        repeating: SIMD4<Double>(repeating: -1), count: Chart.columns)
    private let span: ClosedRange<Double>
    private var latest: (counters: SIMD4<UInt64>, wall: UInt64)?

    /// Of this time, in seconds since 1970.
    init(_ span: ClosedRange<Double>) { self.span = span }

    /// Counters at a moment of the wall clock in nanoseconds; a lane that went back begins anew.
    mutating func take(_ counters: SIMD4<UInt64>, at wall: UInt64) {
        defer { latest = (counters, wall) }
        guard let latest, wall > latest.wall, !any(counters .< latest.counters) else { return }
        let grown = counters &- latest.counters
        let seconds = Double(wall - latest.wall) / 1e9
        let loads =
            SIMD4(Double(grown.x), Double(grown.y), Double(grown.z), Double(grown.w)) / seconds
        let (begin, end) = (place(latest.wall), place(wall))
        guard end >= 0, begin < Chart.columns else { return }
        for column in max(min(begin + 1, end), 0)...min(end, Chart.columns - 1) {
            columns[column] = pointwiseMax(columns[column], loads)
        }
    }

    /// What comes next is measured from itself.
    mutating func breakOff() { latest = nil }

    private func place(_ wall: UInt64) -> Int {
        let share =
            (Double(wall) / 1e9 - span.lowerBound)
            / max(span.upperBound - span.lowerBound, 1e-3)
        return Int(min(max(share * Double(Chart.columns), -1), Double(Chart.columns)))
    }
}

/// Text within SVG and HTML.
enum Markup {
    /// With the characters that mean something there as entities.
    static func escaped(_ text: String) -> String {
        text.map { ["&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;"][$0] ?? String($0) }
            .joined()
    }
}
