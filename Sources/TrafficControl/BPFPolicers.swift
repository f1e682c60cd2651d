// The eBPF policers in the kernel: one program for all ports whose frames are told apart alike, and
// beside it two tables by interface index, what each port may and what it has used. To load a program
// takes the kernel's verifier longer than all else of a tree together; a port is an entry.
//
// The filters keep the program in the kernel, and it the tables, so that they outlive the daemon; a
// later one finds them by the program's id.
//
// Invariants: a port's entries are written before its filter, and taken out after it; a filter whose
// port has none lets everything pass, and is replaced by whoever looks at it (Plan). What an index's
// former owner left is overwritten by the next one's.
import LinuxSystem
import Mitigation

/// What one loaded program works on.
final class BPFPolicer {
    /// The program, as filters tell it.
    let identifier: UInt32
    fileprivate let tables: Tables

    fileprivate enum Tables {
        case current(Current)
        case former(Former)
    }

    /// Limits (written here, read by the program) and state (the other way).
    fileprivate final class Current {
        let limits: BPFTable
        let state: BPFTable

        init(limits: consuming BPFTable, state: consuming BPFTable) {
            self.limits = limits
            self.state = state
        }
    }

    /// Another version's program, for one port alone: its limits. It counts in words that only that one
    /// knows.
    fileprivate final class Former {
        let limits: BPFArray

        init(limits: consuming BPFArray) { self.limits = limits }
    }

    fileprivate init(_ identifier: UInt32, _ tables: Tables) {
        self.identifier = identifier
        self.tables = tables
    }
}

extension BPFPolicer.Tables {
    /// Those of a program that is loaded.
    fileprivate static func found(
        ofProgram identifier: UInt32
    ) throws(BPFError) -> BPFPolicer.Tables {
        do throws(BPFError) {
            let limits = try BPFTable(
                name: TokenBucketLayout.limitsName, ofProgram: identifier,
                valueSize: TokenBucketLayout.limitsSize)
            let state = try BPFTable(
                name: TokenBucketLayout.stateName, ofProgram: identifier,
                valueSize: TokenBucketLayout.stateSize)
            return .current(BPFPolicer.Current(limits: limits, state: state))
        } catch {
            let limits = try BPFArray(
                name: TokenBucketLayout.formerLimitsName, ofProgram: identifier,
                valueSize: TokenBucketLayout.limitsSize)
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
        let limits = try BPFTable(
            name: TokenBucketLayout.limitsName, valueSize: TokenBucketLayout.limitsSize,
            capacity: Self.capacity)
        let state = try BPFTable(
            name: TokenBucketLayout.stateName, valueSize: TokenBucketLayout.stateSize,
            capacity: Self.capacity)
        program = try TokenBucketProgram(
            classifier, stateMap: state.descriptor, limitsMap: limits.descriptor
        ).load()
        policer = BPFPolicer(
            try program.identifier(),
            .current(BPFPolicer.Current(limits: limits, state: state)))
    }
}

/// A port's buckets in one direction.
struct TokenBuckets {
    fileprivate let policer: BPFPolicer
    fileprivate let port: UInt32

    /// Whether they are of the program `identifier`.
    func serves(_ identifier: UInt32) -> Bool { policer.identifier == identifier }

    /// Whether the program is of this version; another's limits can be read, but not kept.
    var isCurrent: Bool {
        switch policer.tables {
        case .current: true
        case .former: false
        }
    }

    /// The words of the limits of each lane, in the order of `FrameLane`; ENOENT where the port has none.
    func limits() throws(BPFError) -> [UInt64] {
        switch policer.tables {
        case .current(let tables): try tables.limits.read(port)
        case .former(let former): try former.limits.read()
        }
    }

    /// Changes the limits of current ones, without a refill.
    func set(_ lanes: [TokenBucketLimits]) throws(BPFError) {
        guard case .current(let tables) = policer.tables else { return }
        try tables.limits.write(lanes.flatMap(\.words), at: port)
    }

    /// What each lane has counted, in the order of `FrameLane`; nil where only another version can tell.
    func counters() throws(BPFError) -> [TokenBucketCounters]? {
        guard case .current(let tables) = policer.tables else { return nil }
        let words = try tables.state.read(port)
        return (0..<TokenBucketLayout.lanes).map { lane in
            let base = lane * TokenBucketLayout.stateWords
            return TokenBucketCounters(
                passed: DeliveredCounters(packets: words[base], bytes: words[base + 1]),
                dropped: DeliveredCounters(packets: words[base + 4], bytes: words[base + 5]))
        }
    }

    /// Takes the port's entries out: no filter leads to them any more.
    func remove() {
        guard case .current(let tables) = policer.tables else { return }
        tables.limits.remove(port)
        tables.state.remove(port)
    }

    /// Whether both are the same entries.
    func isSame(as other: TokenBuckets) -> Bool {
        policer === other.policer && port == other.port
    }

    /// Full buckets that have counted nothing.
    fileprivate func reset() throws(BPFError) {
        guard case .current(let tables) = policer.tables else { return }
        try tables.state.write(
            [UInt64](repeating: 0, count: TokenBucketLayout.stateSize / 8), at: port)
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
            return try entries(of: port, try load(kind), lanes, held)
        } catch {
            // Full: the next ones get a program of their own.
            guard error.isFull else { throw error }
            loaded[kind] = nil
            return try entries(of: port, try load(kind), lanes, held)
        }
    }

    /// A port's buckets under a program that its filter names; nil where they cannot be had (by id that
    /// needs CAP_SYS_ADMIN).
    func buckets(of port: Int32, ofProgram identifier: UInt32) -> TokenBuckets? {
        let known =
            loaded.values.first { $0.policer.identifier == identifier }?.policer
            ?? found[identifier]?.policer
        if let known { return TokenBuckets(policer: known, port: UInt32(bitPattern: port)) }
        found = found.filter { $0.value.policer != nil }
        guard let tables = try? BPFPolicer.Tables.found(ofProgram: identifier) else { return nil }
        let policer = BPFPolicer(identifier, tables)
        found[identifier] = Found(policer: policer)
        return TokenBuckets(policer: policer, port: UInt32(bitPattern: port))
    }

    private func load(_ kind: FrameKind) throws(BPFError) -> LoadedPolicer {
        if let known = loaded[kind] { return known }
        let new = try LoadedPolicer(
            FrameClassifier(direction: kind.direction, tcpPorts: kind.tcpPorts))
        loaded[kind] = new
        return new
    }

    private func entries(
        of port: Int32, _ loaded: LoadedPolicer, _ lanes: [TokenBucketLimits], _ held: TokenBuckets?
    ) throws(BPFError) -> (buckets: TokenBuckets, program: Int32) {
        let buckets = TokenBuckets(policer: loaded.policer, port: UInt32(bitPattern: port))
        if held?.isSame(as: buckets) != true { try buckets.reset() }
        try buckets.set(lanes)
        return (buckets, loaded.program.descriptor)
    }
}
