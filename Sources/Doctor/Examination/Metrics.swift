// The daemon's metrics, as a scraper reads them: OpenMetrics text to numbers.
// Invariant: any text gives metrics; a line that is none is left out.

/// Numbers by name and labels.
package struct Metrics: Hashable, Sendable {
    private var values: [String: Double] = [:]

    /// The samples of an OpenMetrics text.
    package init(_ text: String) {
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            // A label's value may hold blanks.
            let nameEnd =
                line.lastIndex(of: "}").map { line.index(after: $0) } ?? line.firstIndex(of: " ")
            guard let nameEnd, let value = Double(line[nameEnd...].drop { $0 == " " }) else {
                continue
            }
            values[String(line[..<nameEnd])] = value
        }
    }

    /// A sample, by its name with its labels as the daemon writes them.
    package subscript(_ name: String) -> Double? { values[name] }

    /// The samples of a name that are not zero, by the value of their only label, in its order.
    package func nonZero(_ name: String) -> [(label: String, value: Double)] {
        values.compactMap { key, value in
            guard value != 0, key.hasPrefix(name + "{"), key.hasSuffix("\"}") else { return nil }
            let label = key.split(separator: "\"", maxSplits: 1).last?.dropLast(2)
            return label.map { (String($0), value) }
        }.sorted { $0.label < $1.label }
    }

    /// The upper bound, in seconds, of what a histogram's samples stayed below in this share of the
    /// cases; nil where it has none, infinity beyond the last step.
    package func bound(_ name: String, share: Double) -> Double? {
        guard let count = values[name + "_count"], count > 0 else { return nil }
        let prefix = name + "_bucket{le=\""
        let steps = values.compactMap { key, value -> (Double, Double)? in
            guard key.hasPrefix(prefix) else { return nil }
            let text = key.dropFirst(prefix.count).dropLast(2)
            return (text == "+Inf" ? .infinity : Double(text) ?? .infinity, value)
        }.sorted { $0.0 < $1.0 }
        return steps.first { $0.1 >= count * share }?.0
    }
}
