// `sluicectl metrics`: what a scraper reads.

import ArgumentParser
import ControlAPI

struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics",
        abstract: "Print the metrics, as OpenMetrics text.",
        discussion: """
            Of single ports: those with limits, and the ten that send most. For node_exporter's \
            textfile collector: write it beside, then rename it.
            """)

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try reporting { () throws(ControlClientError) in
            Terminal.write(try connection.client.get("/v1/metrics"))
        }
    }
}
