// The picture of a replay: what each limited port sent over the time, with its rungs.

import Mitigation
import Recording

/// What the limited ports sent, at as many moments as a picture shows.
struct PlottedLoads {
    /// More ports are not drawn.
    static let mostPorts = 24

    private var tracker = LoadTracker()
    /// By port.
    private(set) var ports: [String: LoadColumns] = [:]

    init(_ report: ReplayReport) {
        for port in report.touched.prefix(Self.mostPorts) {
            ports[port.port] = LoadColumns(report.span)
        }
    }

    mutating func take(_ item: RecordedItem) {
        var tracker = self.tracker
        defer { self.tracker = tracker }
        tracker.take(item) { port, counters, wall in
            ports["\(port.name)"]?.take(counters.lanes, at: wall)
        }
    }
}

/// Draws it.
struct ReplayPlot {
    var report: ReplayReport
    var loads: PlottedLoads

    func draw() -> String {
        let panels = report.touched.prefix(PlottedLoads.mostPorts).map { port in
            Chart.Panel(
                title: port.port,
                lines: [
                    Chart.Line(
                        kind: "offered", values: loads.ports[port.port]?.columns.map(\.x) ?? [])
                ],
                mark: port.mark.map { Double($0) }, bands: bands(port.port),
                unit: StatusReport.packets)
        }
        return Chart(
            title: "\(report.touched.count) of \(report.ports) ports limited",
            subtitle: "\(EventReport.time(report.first)) to \(EventReport.time(report.last)), "
                + "packets a second that each sent",
            span: report.span, panels: panels
        ).draw()
    }

    /// The port's rungs, from what was told of it.
    private func bands(_ port: String) -> [Chart.Band] {
        var bands: [Chart.Band] = []
        var rung: (name: String, since: Double)?
        func close(_ at: Double) {
            guard let rung, rung.name != "normal" else { return }
            bands.append(Chart.Band(rung: rung.name, from: rung.since, to: at))
        }
        for event in report.events where event.port == port {
            guard event.event == "move" || event.event == "vanished" else { continue }
            close(event.at)
            rung = (event.to ?? "normal", event.at)
        }
        close(report.last)
        return bands
    }
}

extension ReplayReport {
    /// From when until when it goes, in seconds since 1970.
    fileprivate var span: ClosedRange<Double> { first...max(last, first + 1) }
}
