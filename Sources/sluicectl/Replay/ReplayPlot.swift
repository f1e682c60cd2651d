// The picture of a replay as one SVG file: what each limited port offered over the time, on a
// logarithmic scale, with its rungs as bands. No fonts, scripts or images from elsewhere; light and
// dark by the reader's own preference.

import Mitigation
import Recording

/// What the limited ports offered, at as many moments as a picture shows.
struct PlottedLoads {
    static let columns = 480
    /// More ports are not drawn.
    static let mostPorts = 24

    private let first: Double
    private let seconds: Double
    private var tracker = LoadTracker()
    private var latest: [String: (counters: Counters, wall: UInt64)] = [:]
    /// Packets a second that the VM sent, by port; the highest of each column, negative: none.
    private(set) var columns: [String: [Double]] = [:]

    init(_ report: ReplayReport) {
        first = report.first
        seconds = max(report.last - report.first, 1)
        for port in report.touched.prefix(Self.mostPorts) {
            columns[port.port] = Array(repeating: -1, count: Self.columns)
        }
    }

    mutating func take(_ item: RecordedItem) {
        var tracker = self.tracker
        defer { self.tracker = tracker }
        tracker.take(item) { port, counters, wall in
            let name = "\(port.name)"
            guard columns[name] != nil else { return }
            defer { latest[name] = (counters, wall) }
            guard let last = latest[name], wall > last.wall,
                let loads = counters.loads(since: last.counters, nanoseconds: wall - last.wall)
            else { return }
            let begin = place(last.wall)
            for column in min(begin + 1, place(wall))...place(wall) {
                let highest = columns[name]?[column] ?? 0
                columns[name]?[column] = max(highest, loads.x)
            }
        }
    }

    private func place(_ wall: UInt64) -> Int {
        let share = (Double(wall) / 1e9 - first) / seconds
        return min(max(Int(share * Double(Self.columns)), 0), Self.columns - 1)
    }
}

/// Draws it.
struct ReplayPlot {
    private static let width = 960.0
    private static let left = 84.0
    private static let right = 936.0
    private static let panel = 132.0
    private static let head = 76.0

    private static let style = """
        text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
               font-size: 12px; fill: #3d4450 }
        .title { font-size: 18px; font-weight: 600; fill: #14181f }
        .name { font-weight: 600; fill: #14181f }
        .ground { fill: #ffffff; stroke: #d5dae1 }
        .grid { stroke: #e4e8ed }
        .offered { fill: none; stroke: #c8372d; stroke-width: 1.5 }
        .mark { stroke: #2f6fd0; stroke-dasharray: 5 4 }
        .police { fill: #f0b429; fill-opacity: 0.22 }
        .shape { fill: #e8853a; fill-opacity: 0.26 }
        .tighten { fill: #d9534f; fill-opacity: 0.28 }
        .shutdown { fill: #6b3fa0; fill-opacity: 0.34 }
        @media (prefers-color-scheme: dark) {
          text { fill: #b6bec9 } .title, .name { fill: #f0f3f6 }
          .ground { fill: #14181f; stroke: #39414d } .grid { stroke: #2a313b }
          .offered { stroke: #ff7b72 }
          .mark { stroke: #79aefc }
        }
        """

    var report: ReplayReport
    var loads: PlottedLoads

    func draw() -> String {
        let ports = report.touched.prefix(PlottedLoads.mostPorts)
        let height = Self.head + Double(max(ports.count, 1)) * Self.panel + 40
        let title = "\(report.touched.count) of \(report.ports) ports limited"
        let subtitle =
            "\(EventReport.time(report.first)) to \(EventReport.time(report.last)), packets a second "
            + "that each sent"
        let panels = ports.enumerated().map { place, port in
            panel(port, top: Self.head + Double(place) * Self.panel)
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(height))" \
            role="img" aria-label="\(Self.escaped(title))">
            <style>
            \(Self.style)
            </style>
            <rect class="ground" x="0.5" y="0.5" width="\(Int(Self.width - 1))" \
            height="\(Int(height - 1))" rx="8"/>
            <text class="title" x="24" y="32">\(Self.escaped(title))</text>
            <text x="24" y="52">\(Self.escaped(subtitle))</text>
            \(panels.joined(separator: "\n"))
            \(legend(top: height - 16))
            </svg>

            """
    }

    private func panel(_ port: ReplayReport.Touched, top: Double) -> String {
        let bottom = top + Self.panel - 34
        let values = loads.columns[port.port] ?? []
        let highest = max(values.max() ?? 1, 10)
        func y(_ value: Double) -> Double {
            bottom - (bottom - top - 16) * Self.logarithm(max(value, 1)) / Self.logarithm(highest)
        }
        var parts: [String] = bands(port.port, top + 16, bottom)
        for power in 0...12 {
            let value = Self.power(power)
            guard value <= highest else { break }
            let height = Self.fixed(y(value))
            parts.append(
                """
                <line class="grid" x1="\(Self.left)" x2="\(Self.right)" y1="\(height)" y2="\(height)"/>
                """)
        }
        if let mark = port.mark, Double(mark) <= highest {
            let height = Self.fixed(y(Double(mark)))
            parts.append(
                """
                <line class="mark" x1="\(Self.left)" x2="\(Self.right)" y1="\(height)" y2="\(height)"/>
                """)
        }
        let step = (Self.right - Self.left) / Double(PlottedLoads.columns)
        let points = values.enumerated().filter { $0.element >= 0 }.map { column, value in
            "\(Self.fixed(Self.left + (Double(column) + 0.5) * step)),\(Self.fixed(y(value)))"
        }
        parts.append("<polyline class=\"offered\" points=\"\(points.joined(separator: " "))\"/>")
        parts.append(
            "<text class=\"name\" x=\"\(Self.left)\" y=\"\(top + 10)\">\(Self.escaped(port.port))</text>"
        )
        parts.append(
            """
            <text x="\(Self.left - 8)" y="\(top + 24)" text-anchor="end">\
            \(StatusReport.packets(highest))</text>
            """)
        return parts.joined(separator: "\n")
    }

    /// The port's rungs, from what was told of it.
    private func bands(_ port: String, _ top: Double, _ bottom: Double) -> [String] {
        var bands: [String] = []
        var rung: (name: String, since: Double)?
        func close(_ at: Double) {
            guard let rung, rung.name != "normal" else { return }
            let (begin, end) = (x(rung.since), x(at))
            bands.append(
                """
                <rect class="\(rung.name)" x="\(Self.fixed(begin))" y="\(Self.fixed(top))" \
                width="\(Self.fixed(max(end - begin, 1)))" height="\(Self.fixed(bottom - top))"/>
                """)
        }
        for event in report.events where event.port == port {
            guard event.event == "move" || event.event == "vanished" else { continue }
            close(event.at)
            rung = (event.to ?? "normal", event.at)
        }
        close(report.last)
        return bands
    }

    private func x(_ at: Double) -> Double {
        let share = (at - report.first) / max(report.last - report.first, 1)
        return Self.left + (Self.right - Self.left) * min(max(share, 0), 1)
    }

    private func legend(top: Double) -> String {
        Rung.allCases.dropFirst().enumerated().map { place, rung in
            let begin = Self.left + Double(place) * 120
            return """
                <rect class="\(rung)" x="\(begin)" y="\(top - 10)" width="20" height="10"/>\
                <text x="\(begin + 26)" y="\(top)">\(rung)</text>
                """
        }.joined(separator: "\n") + """
            <line class="mark" x1="\(Self.left + 490)" x2="\(Self.left + 510)" y1="\(top - 5)" \
            y2="\(top - 5)"/><text x="\(Self.left + 516)" y="\(top)">the high mark</text>
            """
    }

    // MARK: Numbers

    private static func power(_ exponent: Int) -> Double {
        (0..<exponent).reduce(1.0) { value, _ in value * 10 }
    }

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

    private static func escaped(_ text: String) -> String {
        text.map { ["&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;"][$0] ?? String($0) }
            .joined()
    }
}
