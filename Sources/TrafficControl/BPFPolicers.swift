// The eBPF policers in the kernel: one program for all ports whose frames are told apart alike, and
// beside it a table by interface index, what each port may and what it has used. To load a program
// takes the kernel's verifier longer than all else of a tree together; a port is an entry.
//
// The filters keep the program in the kernel, and it the table, so that they outlive the daemon; a
// later one finds them by the program's id.
//
// Invariants: a port's entry is written before its filter, and taken out after it; a filter whose
// port has none lets everything pass, and is replaced by whoever looks at it (Plan). What an index's
// former owner left is overwritten by the next one's. Changed limits take the place of the former ones
// at once, with what was used until a few microseconds before: no refill, and what is counted only
// grows.
import LinuxSystem
import Mitigation

/// What one loaded program works on.
final class BPFPolicer {
    /// The program, as filters tell it.
    let identifier: UInt32
    fileprivate let ports: Ports

    fileprivate enum Ports {
        case current(Current)
        case former(Former)
    }

    fileprivate final class Current {
        let table: BPFTable

        init(table: consuming BPFTable) { self.table = table }
    }

    /// Another version's program, for one port alone: its limits. It counts in words that only that one
    /// knows.
    fileprivate final class Former {
        let limits: BPFArray

        init(limits: consuming BPFArray) { self.limits = limits }
    }

    fileprivate init(_ identifier: UInt32, _ ports: Ports) {
        self.identifier = identifier
        self.ports = ports
    }
}

extension BPFPolicer.Ports {
    /// Those of a program that is loaded.
    fileprivate static func found(
        ofProgram identifier: UInt32
    ) throws(BPFError) -> BPFPolicer.Ports {
        do throws(BPFError) {
            let table = try BPFTable(
                name: TokenBucketLayout.name, ofProgram: identifier,
                valueSize: TokenBucketLayout.words * 8)
            return .current(BPFPolicer.Current(table: table))
        } catch {
            let limits = try BPFArray(
                name: TokenBucketLayout.formerLimitsName, ofProgram: identifier,
                valueSize: TokenBucketLayout.lanes * TokenBucketLayout.limitWords * 8)
            return .former(BPFPolicer.Former(limits: limits))
        }
    }
}

/// A program of ours with what it works on.
private final class LoadedPolicer {
    let program: BPFClassifier
    let policer: BPFPolicer

    private static let capacity = 16_384

    init(_ classifier: FrameClassifier) throws(BPFError) {
        let table = try BPFTable(
            name: TokenBucketLayout.name, valueSize: TokenBucketLayout.words * 8,
            capacity: Self.capacity)
        program = try TokenBucketProgram(classifier, table: table.descriptor).load()
        policer = BPFPolicer(
            try program.identifier(), .current(BPFPolicer.Current(table: table)))
    }
}

/// A port's buckets in one direction.
struct TokenBuckets {
    private let policer: BPFPolicer
    private let port: UInt32
    /// The words of the limits of each lane, in the order of `FrameLane`, as they were read or written
    /// last; nil where the port has none.
    private(set) var limits: [UInt64]?

    fileprivate init(_ policer: BPFPolicer, of port: Int32) {
        self.policer = policer
        self.port = UInt32(bitPattern: port)
    }

    /// Whether the program is of this version; another's limits can be read, but not kept.
    var isCurrent: Bool { current != nil }

    private var current: BPFPolicer.Current? {
        if case .current(let current) = policer.ports { current } else { nil }
    }

    /// Reads what the limits are.
    fileprivate mutating func readLimits() {
        switch policer.ports {
        case .former(let former): limits = try? former.limits.read()
        case .current(let current):
            limits = (try? current.table.read(port)).map { words in
                (0..<TokenBucketLayout.lanes).flatMap { lane in
                    let base = lane * TokenBucketLayout.laneWords
                    return words[base..<base + TokenBucketLayout.limitWords]
                }
            }
        }
    }

    /// Changes the limits of current ones, without a refill; ENOENT where the port has none.
    mutating func set(_ lanes: [TokenBucketLimits]) throws(BPFError) {
        guard let current else { return }
        try write(lanes, over: try current.table.read(port))
    }

    /// Writes the limits of current ones: over what is there, where the entry `goesOn` and nobody took
    /// it out; else full buckets that have counted nothing.
    fileprivate mutating func put(_ lanes: [TokenBucketLimits], goesOn: Bool) throws(BPFError) {
        let words = goesOn ? try? current?.table.read(port) : nil
        try write(lanes, over: words ?? [UInt64](repeating: 0, count: TokenBucketLayout.words))
    }

    private mutating func write(
        _ lanes: [TokenBucketLimits], over words: [UInt64]
    ) throws(BPFError) {
        var words = words
        for (lane, limits) in lanes.enumerated() {
            let base = lane * TokenBucketLayout.laneWords
            words.replaceSubrange(base..<base + TokenBucketLayout.limitWords, with: limits.words)
        }
        try current?.table.write(words, at: port)
        limits = lanes.flatMap(\.words)
    }

    /// What each lane has counted, in the order of `FrameLane`; nil where only another version can tell.
    func counters() throws(BPFError) -> [TokenBucketCounters]? {
        guard let current else { return nil }
        let words = try current.table.read(port)
        return (0..<TokenBucketLayout.lanes).map { lane in
            let base = lane * TokenBucketLayout.laneWords + TokenBucketLayout.limitWords
            return TokenBucketCounters(
                passed: DeliveredCounters(packets: words[base], bytes: words[base + 1]),
                dropped: DeliveredCounters(packets: words[base + 4], bytes: words[base + 5]))
        }
    }

    /// Takes the port's entry out: no filter leads to it any more.
    func remove() { current?.table.remove(port) }

    /// Whether both are the same entry.
    func isSame(as other: TokenBuckets) -> Bool {
        policer === other.policer && port == other.port
    }
}

/// The policers that this process has loaded or found.
final class BPFPolicers {
    private struct Found {
        weak var policer: BPFPolicer?
    }

    private var loaded: [FrameKind: LoadedPolicer] = [:]
    /// By program; as long as ports have them.
    private var found: [UInt32: Found] = [:]

    /// A port's buckets under the program for these frames, which is loaded where it is not yet: those
    /// that are `held` there go on with these limits, others begin full.
    func buckets(
        of port: Int32, _ direction: Mitigation.Direction, tcpPorts: [UInt16],
        _ lanes: [TokenBucketLimits], held: TokenBuckets?
    ) throws(BPFError) -> (buckets: TokenBuckets, program: Int32) {
        let kind = FrameKind(direction: direction, tcpPorts: tcpPorts)
        do throws(BPFError) {
            return try entry(of: port, try load(kind), lanes, held)
        } catch {
            // Full: the next ones get a program of their own.
            guard error.isFull else { throw error }
            if let full = loaded.removeValue(forKey: kind)?.policer {
                found[full.identifier] = Found(policer: full)
            }
            return try entry(of: port, try load(kind), lanes, held)
        }
    }

    /// A port's buckets under a program that its filter names; nil where they cannot be had (by id that
    /// needs CAP_SYS_ADMIN).
    func buckets(of port: Int32, ofProgram identifier: UInt32) -> TokenBuckets? {
        let known =
            loaded.values.first { $0.policer.identifier == identifier }?.policer
            ?? found[identifier]?.policer
        guard let policer = known ?? find(identifier) else { return nil }
        var buckets = TokenBuckets(policer, of: port)
        buckets.readLimits()
        return buckets
    }

    private func find(_ identifier: UInt32) -> BPFPolicer? {
        found = found.filter { $0.value.policer != nil }
        guard let ports = try? BPFPolicer.Ports.found(ofProgram: identifier) else { return nil }
        let policer = BPFPolicer(identifier, ports)
        found[identifier] = Found(policer: policer)
        return policer
    }

    private func load(_ kind: FrameKind) throws(BPFError) -> LoadedPolicer {
        if let known = loaded[kind] { return known }
        let new = try LoadedPolicer(FrameClassifier(kind))
        loaded[kind] = new
        return new
    }

    private func entry(
        of port: Int32, _ loaded: LoadedPolicer, _ lanes: [TokenBucketLimits], _ held: TokenBuckets?
    ) throws(BPFError) -> (buckets: TokenBuckets, program: Int32) {
        var buckets = TokenBuckets(loaded.policer, of: port)
        try buckets.put(lanes, goesOn: held?.isSame(as: buckets) == true)
        return (buckets, loaded.program.descriptor)
    }
}
