// An examination and a self-test for human eyes: pure, so that they can be tested line by line.

import ControlAPI
import Doctor

/// Makes lines of what the doctor found.
enum DoctorReport {
    /// A line for each finding, under its group's name, and a summary.
    static func lines(_ examination: Examination) -> [String] {
        var lines: [String] = []
        for group in FindingGroup.allCases {
            let findings = examination.findings.filter { $0.group == group }
            guard !findings.isEmpty else { continue }
            lines.append("\(group.rawValue):")
            let widths = (
                FindingState.allCases.map { $0.rawValue.utf8.count }.max() ?? 0,
                findings.map { Terminal.printable($0.what).utf8.count }.max() ?? 0
            )
            lines += findings.map { finding in
                let what = Terminal.printable(finding.what)
                return "  " + padded(finding.state.rawValue, widths.0) + "  "
                    + padded(what, widths.1)
                    + "  " + finding.fact + (finding.cure.map { "; cure: \($0)" } ?? "")
            }
        }
        return lines + [summary(examination)]
    }

    private static func summary(_ examination: Examination) -> String {
        let counts = [FindingState.problem, .warning, .note].compactMap { state -> String? in
            let count = examination.count(of: state)
            guard count > 0 else { return nil }
            return "\(count) \(state.rawValue)" + (count == 1 ? "" : "s")
        }
        return counts.isEmpty ? "all is well" : counts.joined(separator: ", ")
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.utf8.count))
    }

    /// A table of the rungs, what the kernel lacks, and the verdict.
    static func lines(_ report: SelfTestReport) -> [String] {
        var lines = StatusReport.aligned(
            [heading]
                + report.rungs.map { rung in
                    [
                        rung.rung, rung.direction, load(rung.asked), load(rung.offered),
                        load(rung.measured),
                        rung.smallFrames.map { StatusReport.packets($0.packetsPerSecond) } ?? "-",
                        rung.laneSent.map { "\(rung.lanePassed ?? 0) of \($0)" } ?? "-",
                        rung.heldBy ?? "-",
                        rung.verdict.rawValue + (rung.problem.map { ": \($0)" } ?? "")
                            + (rung.firstTry.map { "; at the first try: \($0)" } ?? ""),
                    ]
                })
        lines += report.kernelNotes.map { "kernel: \($0)" }
        if let problem = report.releaseProblem { lines.append("release: \(problem)") }
        lines += report.left.map { "left behind: \($0)" }
        let kernel = "kernel \(report.kernel)"
        if report.isPassed {
            lines.append("\(kernel): every rung holds, and the release leaves nothing")
        } else {
            let rungs = report.rungs.filter { $0.verdict != .holds }.map {
                "\($0.rung) \($0.direction)"
            }
            let failed =
                rungs + (report.left.isEmpty && report.releaseProblem == nil ? [] : ["release"])
            lines.append("\(kernel): not as asked: " + failed.joined(separator: ", "))
        }
        return lines
    }

    private static let heading = [
        "RUNG", "WAY", "ASKED", "OFFERED", "MEASURED", "60-BYTE FRAMES", "LANE", "HELD BY",
        "VERDICT",
    ]

    private static func load(_ load: TestLoad?) -> String {
        guard let load else { return "-" }
        return StatusReport.load(
            Load(packetsPerSecond: load.packetsPerSecond, bitsPerSecond: load.bitsPerSecond))
    }
}
