// About how many Ethernet sources a port forges: each one belongs, by a hash, to one of a number of
// buckets, and what is counted is the buckets that were hit.
//
//   act_gact   16 buckets: the filter of source-mac has an action (act_bpf, classic) for each in
//              place of gact; an action takes the frames of its bucket, and gives others to the next
//   eBPF       64 buckets: a byte for each behind the counters
//
// Invariants: only refused frames pay for it; one request puts a filter with its buckets, so that
// there is no instant in which a forged frame finds none. (A chain of filters, which `goto chain`
// enters, does not do it: its end is the end of classification, so that a monitored frame would
// never come to the limits, and a chain that somebody flushes lets forged frames pass.)
import Netlink

enum GuardSources {
    /// As many as a filter's actions may be is 32 (TCA_ACT_MAX_PRIO); each costs a page.
    static let actions = 16
    /// A power of two, as the other.
    static let words = 64

    /// How many different sources hit so many buckets, on average: 1, 2, 3, and then more than the
    /// buckets. Of 16 buckets all are hit by about 54 sources, of 64 by about 304: that is the most
    /// that is told.
    static func estimate(hit: Int, of buckets: Int) -> Int {
        // A source more hits a free bucket with the chance of free / buckets.
        let expected = (0..<max(0, min(hit, buckets))).reduce(0.0) { sum, taken in
            sum + Double(buckets) / Double(buckets - taken)
        }
        return Int(expected.rounded())
    }

    /// A frame's bucket, in the accumulator: the Ethernet source mixed by the finalizer of
    /// MurmurHash3, since neighbouring addresses must not go to neighbouring buckets one each.
    static func bucket(of buckets: Int) -> [GuardInstruction] {
        func fold(_ count: UInt32) -> [GuardInstruction] {
            [.toIndex, .shiftRight(count), .exclusiveOrIndex]
        }
        return [
            .load(.half, at: 6), .multiply(0x9e37_79b1), .toIndex, .load(.word, at: 8),
            .exclusiveOrIndex,
        ] + fold(16) + [.multiply(0x85eb_ca6b)] + fold(13) + [.multiply(0xc2b2_ae35)] + fold(16)
            + [.and(UInt32(buckets - 1))]
    }

    /// The program of a bucket's action: frames of other buckets go to the next one. What it takes
    /// it drops by saying so, since only then the kernel counts a drop (tcf_bpf_act), or leaves to
    /// the action's own verdict.
    static func program(ofAction number: Int, _ mode: Guards.Mode) -> [ClassicInstruction] {
        let taken = ClassicCode.result(
            UInt32(bitPattern: mode == .enforce ? Verdict.drop.rawValue : Verdict.unspec.rawValue))
        guard number < actions - 1 else { return [taken] }
        let hash = bucket(of: actions).compactMap(\.classic).map {
            ClassicInstruction(code: $0.code, k: $0.operand)
        }
        return hash + [
            ClassicInstruction(code: 0x15, jt: 0, jf: 1, k: UInt32(number)), taken,
            ClassicCode.result(UInt32(bitPattern: Verdict.pipe.rawValue)),
        ]
    }

    /// What a filter's actions say. Nil where they are not ours to read: a plain gact.
    ///
    /// A drop is its own bucket's. A monitor drops nothing: what an action was given and the next
    /// was not is its bucket's, but while frames come the one is read before the other, so that a
    /// bucket may be missed.
    static func estimate(from held: [ActionRecord]) -> Int? {
        guard let first = held.first, first.statistics.packets > 0 else { return 0 }
        guard held.count == actions else { return nil }
        let given = held.map(\.statistics.packets) + [0]
        let hit = held.indices.count { number in
            first.verdict == .drop
                ? held[number].statistics.drops > 0 : given[number] > given[number + 1]
        }
        return estimate(hit: hit, of: actions)
    }
}
