// The metrics for node_exporter's textfile collector.

import Testing

@testable import sluicectl

@Suite struct ClassicMetricsTests {
    /// Guards against: a family that the classic text's readers do not find its samples in, or refuse
    /// (`info`); a sample, a help text or an escape that is another one afterwards.
    @Test func onlyFamiliesAreNamedAnew() {
        let openMetrics = #"""
            # TYPE sluice info
            # HELP sluice The daemon, what it may do.
            sluice_info{version="1",port="a\\ b\"} 1"} 1
            # TYPE sluice_polls counter
            # HELP sluice_polls Times that  the counters were read.
            sluice_polls_total 7
            # TYPE sluice_turn_seconds histogram
            # HELP sluice_turn_seconds How long.
            sluice_turn_seconds_bucket{le="0.1"} 3
            sluice_turn_seconds_bucket{le="+Inf"} 3
            sluice_turn_seconds_sum 0.1
            sluice_turn_seconds_count 3
            # TYPE sluice_ports gauge
            # HELP sluice_ports Watched ports.
            sluice_ports{class="vm"} 2
            # EOF

            """#
        let classic = #"""
            # TYPE sluice_info gauge
            # HELP sluice_info The daemon, what it may do.
            sluice_info{version="1",port="a\\ b\"} 1"} 1
            # TYPE sluice_polls_total counter
            # HELP sluice_polls_total Times that  the counters were read.
            sluice_polls_total 7
            # TYPE sluice_turn_seconds histogram
            # HELP sluice_turn_seconds How long.
            sluice_turn_seconds_bucket{le="0.1"} 3
            sluice_turn_seconds_bucket{le="+Inf"} 3
            sluice_turn_seconds_sum 0.1
            sluice_turn_seconds_count 3
            # TYPE sluice_ports gauge
            # HELP sluice_ports Watched ports.
            sluice_ports{class="vm"} 2

            """#
        #expect(ClassicMetrics.text(openMetrics) == classic)
    }
}
