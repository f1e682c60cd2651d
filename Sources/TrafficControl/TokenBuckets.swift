// The maps of one direction's eBPF policer. The filter's program keeps them in the kernel, so that
// they outlive the daemon; a later one finds them by the program's id.
import LinuxSystem
import Mitigation

/// Limits (written here, read by the program) and state (the other way).
final class TokenBuckets {
    let limits: BPFArray
    let state: BPFArray
    /// The program that reads them; nil until it is seen in the kernel.
    private var program: UInt32?

    private static let limitsSize = TokenBucketLayout.lanes * 8 * TokenBucketLayout.limitWords
    private static let stateSize = TokenBucketLayout.lanes * 8 * TokenBucketLayout.stateWords

    /// New maps with these limits, in the order of `FrameLane`.
    init(_ lanes: [TokenBucketLimits]) throws(BPFError) {
        limits = try BPFArray(name: TokenBucketLayout.limitsName, valueSize: Self.limitsSize)
        state = try BPFArray(name: TokenBucketLayout.stateName, valueSize: Self.stateSize)
        try limits.write(lanes.flatMap(\.words))
    }

    /// The maps of a program that is loaded.
    init(ofProgram identifier: UInt32) throws(BPFError) {
        limits = try BPFArray(
            name: TokenBucketLayout.limitsName, ofProgram: identifier, valueSize: Self.limitsSize)
        state = try BPFArray(
            name: TokenBucketLayout.stateName, ofProgram: identifier, valueSize: Self.stateSize)
        program = identifier
    }

    /// Whether these are the maps of the program `identifier`. New maps belong to the program with
    /// which they were put, which is the first that is seen after.
    func serves(_ identifier: UInt32) -> Bool {
        let own = program ?? identifier
        program = own
        return own == identifier
    }

    /// What each lane has counted, in the order of `FrameLane`.
    func counters() throws(BPFError) -> [TokenBucketCounters] {
        let words = try state.read()
        return (0..<TokenBucketLayout.lanes).map { lane in
            let base = lane * TokenBucketLayout.stateWords
            return TokenBucketCounters(
                passed: DeliveredCounters(packets: words[base + 2], bytes: words[base + 3]),
                dropped: DeliveredCounters(packets: words[base + 4], bytes: words[base + 5]))
        }
    }
}
