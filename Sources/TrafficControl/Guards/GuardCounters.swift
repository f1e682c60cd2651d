// The counters of an eBPF guard. The filter's program keeps the map in the kernel, so that it
// outlives the daemon; a later one finds it by the program's id where it may (CAP_SYS_ADMIN), and
// else replaces the program, which then counts from zero (Plan).
import LinuxSystem

/// For each reason, packets and bytes.
final class GuardCounters {
    let map: BPFArray
    /// The program that writes them; nil until it is loaded.
    var program: UInt32?

    /// A new map, all zero.
    init() throws(BPFError) {
        map = try BPFArray(
            name: GuardCounterLayout.name, valueSize: GuardCounterLayout.valueSize)
    }

    /// The map of a program that is loaded.
    init(ofProgram identifier: UInt32) throws(BPFError) {
        map = try BPFArray(
            name: GuardCounterLayout.name, ofProgram: identifier,
            valueSize: GuardCounterLayout.valueSize)
        program = identifier
    }

    /// Whether this is the map of the program `identifier`.
    func serves(_ identifier: UInt32) -> Bool { program == identifier }

    /// What was refused.
    func counts() throws(BPFError) -> GuardCounts {
        let words = try map.read()
        var counts: [GuardReason: GuardCount] = [:]
        for reason in GuardReason.allCases {
            let base = reason.number * GuardCounterLayout.wordsPerReason
            guard words[base] > 0 else { continue }
            counts[reason] = GuardCount(packets: words[base], bytes: words[base + 1])
        }
        let hit = words[(GuardCounterLayout.sourcesOffset / 8)...].reduce(0) { sum, word in
            // Each byte is 0 or 1.
            sum + word.nonzeroBitCount
        }
        return GuardCounts(
            counts, sourceMACs: GuardSources.estimate(hit: hit, of: GuardSources.words))
    }
}
