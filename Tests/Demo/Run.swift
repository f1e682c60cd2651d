// What was measured, tick by tick, and what the picture is drawn from.

import Lab

/// A rate in packets and bits, in a second.
struct Rate {
    var packets: Double
    var bits: Double
}

/// One tick of the demo.
struct Sample {
    /// The tick's end, in seconds from the start.
    var seconds: Double
    /// What the rogue's flood handed to its tap.
    var offered: Rate
    /// What of it came out of the uplink.
    var delivered: Rate
    /// What came through the management lane: the rogue's own SSH server.
    var lane: Rate
    /// What came out of the neighbour.
    var neighbour: Rate
    /// The rogue's rung, as the daemon says.
    var rung: String
}

/// A stretch of time on one rung.
struct Stretch {
    var rung: String
    var begin: Double
    var end: Double
}

/// All of it.
struct Run {
    /// The least and the largest rate that a picture shows, on a logarithmic scale.
    static let scale = 10.0...100_000

    var kernel: String
    var samples: [Sample] = []

    /// The length of the run in seconds, at least one.
    var seconds: Double { max(1, samples.last?.seconds ?? 1) }

    /// The rungs in order, each with its time.
    var stretches: [Stretch] {
        var stretches: [Stretch] = []
        var begin = 0.0
        for sample in samples {
            if let last = stretches.last, last.rung == sample.rung {
                stretches[stretches.count - 1].end = sample.seconds
            } else {
                stretches.append(Stretch(rung: sample.rung, begin: begin, end: sample.seconds))
            }
            begin = sample.seconds
        }
        return stretches
    }

    /// Where a rate stands on the scale: 0 at its foot, 1 at its head.
    static func height(_ packets: Double) -> Double {
        let least = scale.lowerBound.decimalLogarithm
        let most = scale.upperBound.decimalLogarithm
        guard packets > scale.lowerBound else { return 0 }
        return min(1, (packets.decimalLogarithm - least) / (most - least))
    }
}
