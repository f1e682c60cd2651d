// The maps of one direction's eBPF policer. The filter's program keeps them in the kernel, so that
// they outlive the daemon; a later one finds them by the program's id.
import LinuxSystem
import Mitigation

/// Limits (written here, read by the program) and state (the other way).
final class TokenBuckets {
    let limits: BPFArray
    private let state: State
    /// The program that reads them; nil until it is seen in the kernel.
    private var program: UInt32?

    private enum State: ~Copyable {
        case current(BPFArray)
        /// Another version's program counts, in words that only that one knows.
        case other(BPFError)
    }

    private static let limitsSize = TokenBucketLayout.lanes * 8 * TokenBucketLayout.limitWords
    private static let stateSize = TokenBucketLayout.lanes * 8 * TokenBucketLayout.stateWords

    /// New maps with these limits, in the order of `FrameLane`.
    init(_ lanes: [TokenBucketLimits]) throws(BPFError) {
        limits = try BPFArray(name: TokenBucketLayout.limitsName, valueSize: Self.limitsSize)
        state = .current(
            try BPFArray(name: TokenBucketLayout.stateName, valueSize: Self.stateSize))
        try limits.write(lanes.flatMap(\.words))
    }

    /// The maps of a program that is loaded.
    init(ofProgram identifier: UInt32) throws(BPFError) {
        limits = try BPFArray(
            name: TokenBucketLayout.limitsName, ofProgram: identifier, valueSize: Self.limitsSize)
        do throws(BPFError) {
            state = .current(
                try BPFArray(
                    name: TokenBucketLayout.stateName, ofProgram: identifier,
                    valueSize: Self.stateSize))
        } catch {
            state = .other(error)
        }
        program = identifier
    }

    /// Whether the program is of this version; another's limits can be read, but not kept.
    var isCurrent: Bool {
        switch state {
        case .current: true
        case .other: false
        }
    }

    /// The program of a classifier that reads and writes them.
    func program(_ classifier: FrameClassifier) throws(BPFError) -> TokenBucketProgram {
        switch state {
        case .current(let array):
            TokenBucketProgram(
                classifier, stateMap: array.descriptor, limitsMap: limits.descriptor)
        case .other(let error): throw error
        }
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
        let words =
            switch state {
            case .current(let array): try array.read()
            case .other(let error): throw error
            }
        return (0..<TokenBucketLayout.lanes).map { lane in
            let base = lane * TokenBucketLayout.stateWords
            return TokenBucketCounters(
                passed: DeliveredCounters(packets: words[base], bytes: words[base + 1]),
                dropped: DeliveredCounters(packets: words[base + 4], bytes: words[base + 5]))
        }
    }
}
