// The live view as rows of a screen: pure, so that every width can be tested.
//
// Invariants: no row is wider than the screen, and there are never more than it has; what is told in
// colour is told in words too.

import ControlAPI
import Mitigation

/// How ports are sorted.
enum TopOrder: String, CaseIterable {
    /// By packets a second that the VM sends.
    case packets
    /// By bits a second that the VM sends.
    case bits
    /// By packets a second that are sent to the VM.
    case received
    /// The highest rung first.
    case rung
    /// By name.
    case name

    /// The key that chooses it.
    var key: Character { self == .received ? "t" : rawValue.first ?? " " }
}

/// Makes rows of a status.
struct TopReport {
    let columns: Int
    let rows: Int
    var order = TopOrder.packets
    var hasColour = false

    private struct Column: Sendable {
        var heading: String
        var isNumber = true
        var text: @Sendable (PortStatus) -> String
    }

    /// What is shown where there is room, the most wanted first.
    private static let wanted: [Column] = [
        Column(heading: "PORT", isNumber: false) { $0.name },
        Column(heading: "RUNG", isNumber: false, text: rung),
        Column(heading: "SENT") { packets($0.offered.from) },
        Column(heading: "") { bits($0.offered.from) },
        Column(heading: "PASSED") { packets($0.delivered?.from) },
        Column(heading: "") { bits($0.delivered?.from) },
        Column(heading: "SINCE") { $0.onRungSeconds.map(StatusReport.time) ?? "" },
        Column(heading: "RECEIVED") { packets($0.offered.to) },
        Column(heading: "") { bits($0.offered.to) },
        Column(heading: "CAP") { packets($0.cap?.from ?? $0.cap?.to) },
        Column(heading: "CLASS", isNumber: false) { $0.portClass },
        Column(heading: "CLOUDSPACE", isNumber: false) { $0.netid ?? "" },
        Column(heading: "HELD BY", isNumber: false) { $0.enforcement ?? "" },
        Column(heading: "LANE") { packets($0.lane?.from) },
        Column(heading: "NOTE", isNumber: false, text: note),
    ]

    /// The whole screen.
    func screen(_ status: Status, problem: String? = nil) -> [String] {
        let ports = sorted(status.ports)
        let room = max(0, rows - 4)
        let shown = Array(ports.prefix(room))
        var lines = [cut(summary(status)), cut(problem ?? totals(status))]
        lines += table(shown)
        lines += [String](repeating: "", count: max(0, room - shown.count))
        let more = ports.count > shown.count ? "  (\(ports.count - shown.count) more)" : ""
        let keys = "q quit, sort: p packets, b bits, t received, r rung, n name"
        lines.append(styled(cut(keys + more), "2"))
        return Array(lines.prefix(rows))
    }

    private func summary(_ status: Status) -> String {
        let late = status.latePolls == 0 ? "no poll late" : "\(status.latePolls) polls late"
        let breaker = status.breaker.map { ", BREAKER OPEN (\($0))" } ?? ""
        return "sluiced \(status.mode)\(breaker), \(status.ports.count) ports, "
            + "\(status.mitigated) held, up \(StatusReport.time(status.uptimeSeconds)), \(late)"
    }

    private func totals(_ status: Status) -> String {
        func sum(_ path: KeyPath<Loads, Load?>) -> String {
            let loads = status.ports.filter { $0.portClass == "vm" }
                .compactMap { $0.offered[keyPath: path] }
            let total = Load(
                packetsPerSecond: loads.reduce(0) { $0 + $1.packetsPerSecond },
                bitsPerSecond: loads.reduce(0) { $0 + $1.bitsPerSecond })
            return StatusReport.load(total)
        }
        return "VMs send \(sum(\.from)), receive \(sum(\.to))"
    }

    private func table(_ ports: [PortStatus]) -> [String] {
        let cells = ports.map { port in Self.wanted.map { Terminal.printable($0.text(port)) } }
        var widths: [Int] = []
        var used = 0
        for (place, column) in Self.wanted.enumerated() {
            let width = cells.map { $0[place].utf8.count }.reduce(column.heading.utf8.count, max)
            // The first one is cut rather than left out.
            let isEmpty = place > 2 && cells.allSatisfy { $0[place].isEmpty }
            guard place == 0 || used + width + 2 <= columns else { break }
            widths.append(isEmpty ? 0 : width)
            used += isEmpty ? 0 : width + (place == 0 ? 0 : 2)
        }
        let heading = line(Self.wanted.map(\.heading), widths)
        let rest = String(repeating: " ", count: max(0, columns - heading.utf8.count))
        return [styled(cut(heading + rest), "7")]
            + zip(ports, cells).map { port, cells in
                styled(cut(line(cells, widths)), Self.colour(port))
            }
    }

    private func line(_ cells: [String], _ widths: [Int]) -> String {
        var line = ""
        for (place, width) in widths.enumerated() where width > 0 {
            let blanks = String(repeating: " ", count: max(0, width - cells[place].utf8.count))
            if !line.isEmpty { line += "  " }
            line += Self.wanted[place].isNumber ? blanks + cells[place] : cells[place] + blanks
        }
        return line
    }

    private func sorted(_ ports: [PortStatus]) -> [PortStatus] {
        func sent(_ port: PortStatus) -> Double { port.offered.from?.packetsPerSecond ?? 0 }
        func height(_ port: PortStatus) -> Int { Self.rungs.firstIndex(of: port.rung) ?? 0 }
        return ports.sorted { left, right in
            switch order {
            case .packets: (sent(right), left.name) < (sent(left), right.name)
            case .bits:
                (right.offered.from?.bitsPerSecond ?? 0, left.name)
                    < (left.offered.from?.bitsPerSecond ?? 0, right.name)
            case .received:
                (right.offered.to?.packetsPerSecond ?? 0, left.name)
                    < (left.offered.to?.packetsPerSecond ?? 0, right.name)
            case .rung:
                (height(right), sent(right), left.name) < (height(left), sent(left), right.name)
            case .name: left.name < right.name
            }
        }
    }

    private func cut(_ line: String) -> String {
        line.utf8.count <= columns ? line : String(line.prefix(max(0, columns - 1))) + ">"
    }

    private func styled(_ line: String, _ code: String?) -> String {
        guard hasColour, let code, !line.isEmpty else { return line }
        return "\u{1b}[\(code)m\(line)\u{1b}[0m"
    }

    private static let rungs = Rung.allCases.map(\.description)

    @Sendable private static func rung(_ port: PortStatus) -> String {
        let order = port.order.map { " (\($0.order == "hold" ? "held" : "exempt"))" } ?? ""
        return port.rung + (port.isVictim ? " (victim)" : "") + order
    }

    @Sendable private static func note(_ port: PortStatus) -> String {
        (port.problem.map { [$0] } ?? []
            + (port.limitedFor.isEmpty ? [] : ["for \(port.limitedFor.joined(separator: ", "))"])
            + port.advisories).joined(separator: "; ")
    }

    private static func colour(_ port: PortStatus) -> String? {
        switch port.rung {
        case "police": "33"
        case "shape": "35"
        case "tighten": "31"
        case "shutdown": "1;31"
        default: port.isVictim ? "36" : nil
        }
    }

    private static func packets(_ load: Load?) -> String {
        load.map { StatusReport.packets($0.packetsPerSecond) } ?? ""
    }

    private static func bits(_ load: Load?) -> String {
        load.map { StatusReport.bits($0.bitsPerSecond) } ?? ""
    }
}
