// `sluicectl metrics`: what a scraper reads.

import ArgumentParser
import ControlAPI

/// The two texts of Prometheus' world.
enum MetricsFormat: String, CaseIterable, ExpressibleByArgument {
    case openmetrics, prometheus
}

struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics",
        abstract: "Print the metrics, as OpenMetrics or as Prometheus' classic text.",
        discussion: """
            Of single ports: those with limits, and the ten that send most. node_exporter's textfile \
            collector reads the classic text: write it beside, then rename it to NAME.prom.
            """)

    @Option(help: "openmetrics, or prometheus: the classic text.")
    var format = MetricsFormat.openmetrics

    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try reporting { () throws(ControlClientError) in
            let body = try connection.client.get("/v1/metrics")
            guard format == .prometheus else { return Terminal.write(body) }
            let text = ClassicMetrics.text(String(decoding: body, as: UTF8.self))
            Terminal.write(Array(text.utf8))
        }
    }
}
