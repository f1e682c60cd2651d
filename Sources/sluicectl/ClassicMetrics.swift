// OpenMetrics as Prometheus' classic text, version 0.0.4, which node_exporter's textfile collector
// reads: a family has its samples' name there, `info` is no type, and nothing marks the end.

/// Turns what the daemon says into the classic text.
enum ClassicMetrics {
    /// The whole text, line by line; samples are the same in both.
    static func text(_ openMetrics: String) -> String {
        // How the samples of the present family are called beyond its own name.
        var suffix = ""
        var text = ""
        for line in openMetrics.split(separator: "\n") where line != "# EOF" {
            var words = line.split(separator: " ", maxSplits: 3).map { String($0) }
            guard words.count == 4, words[0] == "#" else {
                text += line + "\n"
                continue
            }
            if words[1] == "TYPE" {
                suffix = ["counter": "_total", "info": "_info"][words[3]] ?? ""
                if words[3] == "info" { words[3] = "gauge" }
            }
            words[2] += suffix
            text += words.joined(separator: " ") + "\n"
        }
        return text
    }
}
