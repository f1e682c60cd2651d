// What an incident's port carried, from the daemon's recording: offered and delivered, both directions.

import ControlAPI
import Mitigation
import Recording

/// The loads of one port over an incident.
struct IncidentLoads {
    /// So long before and after it, in seconds.
    private static let margin = 15.0

    /// In seconds since 1970.
    let span: ClosedRange<Double>
    private let port: String
    private var tracker = LoadTracker()
    /// Packets and bytes from the VM, packets and bytes to it.
    private(set) var offered: LoadColumns
    /// Packets and bytes, then nothing.
    private(set) var delivered: [Direction: LoadColumns]
    /// Whether anything of the port was found in that time.
    private(set) var isEmpty = true

    /// - Parameter now: seconds since 1970: as far as an incident goes that is not over.
    init(_ incident: Incident, now: Double) {
        let end = max(incident.endedAt ?? now, incident.startedAt + 1)
        span = incident.startedAt - Self.margin...min(end + Self.margin, max(now, end))
        port = incident.port
        offered = LoadColumns(span)
        delivered = [.from: LoadColumns(span), .to: LoadColumns(span)]
    }

    /// Takes the next item of the recording.
    mutating func take(_ item: RecordedItem) {
        if case .input(.confirm(let id, _), _) = item, tracker.name(of: id).map({ "\($0)" }) == port
        {
            // Other objects of the kernel count from here on.
            for direction in Direction.allCases { delivered[direction]?.breakOff() }
        }
        if case .input(.delivered(let id, let direction, let counters), let at) = item {
            guard tracker.name(of: id).map({ "\($0)" }) == port else { return }
            delivered[direction]?.take(
                SIMD4(counters.packets, counters.bytes, 0, 0), at: tracker.wall(at))
        }
        var tracker = self.tracker
        defer { self.tracker = tracker }
        tracker.take(item) { seen, counters, wall in
            guard "\(seen.name)" == port else { return }
            if span.contains(Double(wall) / 1e9) { isEmpty = false }
            offered.take(counters.lanes, at: wall)
        }
    }

    /// The picture: packets and bits of each direction in which anything went.
    func chart(_ incident: Incident, title: String, subtitle: String) -> Chart {
        let panels = [
            panel(incident, .from, isBits: false), panel(incident, .from, isBits: true),
            panel(incident, .to, isBits: false), panel(incident, .to, isBits: true),
        ]
        return Chart(
            title: title, subtitle: subtitle, span: span, panels: panels.compactMap { $0 })
    }

    private func panel(
        _ incident: Incident, _ direction: Direction, isBits: Bool
    ) -> Chart.Panel? {
        let lane = (direction == .from ? 0 : 2) + (isBits ? 1 : 0)
        let scale = isBits ? 8.0 : 1
        let offered = offered.columns.map { $0[lane] * scale }
        let bands = bands(incident, direction)
        guard !bands.isEmpty || offered.contains(where: { $0 >= (isBits ? 100_000 : 100) }) else {
            return nil
        }
        var lines = [Chart.Line(kind: "offered", values: offered)]
        let passed = delivered[direction]?.columns.map { $0[isBits ? 1 : 0] * scale } ?? []
        if passed.contains(where: { $0 >= 0 }) {
            lines.append(Chart.Line(kind: "delivered", values: passed))
        }
        let against = incident.direction == direction.rawValue ? incident.against : nil
        let mark: Double? = isBits ? against?.bitsPerSecond : against?.packetsPerSecond
        let side = direction == .from ? "sent by the VM" : "sent to the VM"
        return Chart.Panel(
            title: (isBits ? "bits " : "packets ") + side, lines: lines,
            mark: mark == 0 ? nil : mark, bands: bands
        ) { isBits ? StatusReport.bits($0) : StatusReport.packets($0) }
    }

    /// The rungs of one direction, from what was told.
    private func bands(_ incident: Incident, _ direction: Direction) -> [Chart.Band] {
        var bands: [Chart.Band] = []
        var held: (rung: String, since: Double)?
        func close(_ at: Double) {
            guard let held, held.rung != "normal" else { return }
            bands.append(Chart.Band(rung: held.rung, from: held.since, to: at))
        }
        for event in incident.events ?? [] {
            let word = event["event"] ?? ""
            let isMove = word.hasSuffix("move") && event["direction"] == direction.rawValue
            guard isMove || word.hasSuffix("vanished") else { continue }
            close(event.at)
            held = (isMove ? event["to"] ?? "normal" : "normal", event.at)
        }
        close(span.upperBound)
        return bands
    }
}
