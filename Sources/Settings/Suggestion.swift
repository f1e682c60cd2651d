// "Did you mean": the word that a misspelt one was meant to be.

/// The nearest of `words`, where it is near enough to have been meant: one slip in three letters.
func suggestion(for word: String, among words: [String]) -> String? {
    guard word.utf8.count <= 64 else { return nil }
    let lowered = word.lowercased()
    let nearest = words.map { ($0, slips(Array(lowered.utf8), Array($0.utf8))) }.min { $0.1 < $1.1 }
    guard let nearest, nearest.1 <= max(1, nearest.0.utf8.count / 3) else { return nil }
    return nearest.0
}

/// How many letters to insert, delete, replace, or swap with their neighbour (optimal string
/// alignment) make one word the other.
private func slips(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for i in left.indices {
        var row = [i + 1]
        for j in right.indices {
            var best = min(last[j + 1] + 1, row[j] + 1)
            best = min(best, last[j] + (left[i] == right[j] ? 0 : 1))
            if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                best = min(best, beforeLast[j - 1] + 1)
            }
            row.append(best)
        }
        (beforeLast, last) = (last, row)
    }
    return last[right.count]
}
