// The counters of every interface, ten times a second: by a walk in the kernel where that is allowed
// and right, else by netlink.
//
//   walk ── failed, or too many that it does not cover ──> netlink ── a minute, or a proof ──> walk
//
// Invariants: a number comes from the walk only where the interface's driver is proven
// (DriverTable); what the walk does not cover and is wanted comes from netlink in the same poll; every
// interface that is there is told in each poll, or the poll throws as netlink's does; nothing is
// allocated while all is well.
internal import LinuxSystem
public import Netlink

/// Where counters come from.
public enum CounterSource: Hashable, Sendable {
    /// A walk in the kernel.
    case bpf
    /// RTM_GETSTATS; why not a walk, nil where none was asked for.
    case netlink(String?)
}

/// The counters of every interface of the network namespace it was opened in.
public struct CounterReader: ~Copyable {
    private var poller: StatisticsPoller
    private var walk: KernelWalk?
    private var drivers = DriverTable()
    /// What is told at a time.
    private var batch = [LinkSample](repeating: LinkSample(index: 0, statistics: nil), count: 128)
    /// Where the latest poll's counters came from.
    public private(set) var source: CounterSource
    /// Nil: there is no walk, and will be none.
    private let plan: WalkPlan?
    /// The walk rests until this, on the monotonic clock, in nanoseconds.
    private var restsUntil: UInt64 = 0
    /// The next comparison is not before this, and what was contradicted is not tried before that.
    private var comparesAt: UInt64 = 0
    private var forgivesAt: UInt64 = 0

    private static let restTime: UInt64 = 60_000_000_000
    private static let compareTime: UInt64 = 1_000_000_000

    /// Opens what is allowed, in the network namespace of this thread, which polls from then on.
    ///
    /// - Parameter usesBPF: false: netlink alone.
    /// - Throws: where netlink cannot be had; the walk's refusal is told by `source`.
    public static func open(usesBPF: Bool = true) throws(NetlinkError) -> CounterReader {
        let poller = try StatisticsPoller.open()
        guard usesBPF else { return CounterReader(poller: poller, plan: nil, reason: nil) }
        do throws(WalkRefusal) {
            let plan = try WalkPlan.read()
            var counters = CounterReader(poller: poller, plan: plan, reason: nil)
            counters.openWalk(now: MonotonicClock.nanoseconds)
            try? counters.prove(now: MonotonicClock.nanoseconds)
            return counters
        } catch {
            return CounterReader(poller: poller, plan: nil, reason: error.description)
        }
    }

    private init(poller: consuming StatisticsPoller, plan: WalkPlan?, reason: String?) {
        self.poller = poller
        self.plan = plan
        walk = nil
        source = .netlink(reason)
    }

    /// Calls `body` with some interfaces at a time, in the kernel's order, and whether these were asked
    /// for by themselves, which may have waited: one that the walk does not cover is, where `isWanted`
    /// says so, and else is not read. Waits for RTNL only where netlink is asked.
    ///
    /// - Throws: what netlink throws; every sample that `body` got is right.
    public mutating func poll(
        isWanted: (Int32) -> Bool, _ body: (Span<LinkSample>, _ isLate: Bool) -> Void
    ) throws(NetlinkError) {
        guard takeWalk(isWanted) else {
            return try poller.poll(batches: { samples in body(samples, false) })
        }
        // Apart from the reader, so that it is known to be nobody else's once, not for each sample.
        var batch: [LinkSample] = []
        swap(&batch, &self.batch)
        defer { swap(&batch, &self.batch) }
        try deliver(isWanted, &batch, body)
    }

    /// One interface's counters by netlink; nil where it is gone. Waits for RTNL.
    public mutating func counters(of index: Int32) throws(NetlinkError) -> LinkStatistics? {
        try poller.poll(index: index)
    }

    // MARK: The walk

    private mutating func openWalk(now: UInt64, expected: Int = 0) {
        walk = nil
        guard let plan else { return }
        do throws(WalkRefusal) {
            var opened = try KernelWalk.open(plan, expected: expected)
            do throws(WalkFailure) {
                try opened.run()
            } catch .full(let count) where expected < count {
                return openWalk(now: now, expected: count)
            } catch {}
            walk = consume opened
            source = .bpf
        } catch {
            rest(error.description, now: now)
        }
    }

    private mutating func rest(_ reason: String, now: UInt64) {
        source = .netlink(reason)
        restsUntil = now &+ Self.restTime
    }

    /// Walks, where the walk is to be used. False: netlink is.
    private mutating func takeWalk(_ isWanted: (Int32) -> Bool) -> Bool {
        guard plan != nil else { return false }
        let now = MonotonicClock.nanoseconds
        guard now >= restsUntil else { return false }
        if walk == nil { openWalk(now: now) }
        do throws(WalkFailure) {
            guard try walk?.run() != nil else { return false }
        } catch {
            switch error {
            case .full(let count): openWalk(now: now, expected: count)
            case .failed(let refusal):
                walk = nil
                rest(refusal.description, now: now)
            }
            return false
        }
        return isCovering(isWanted, now: now)
    }

    /// Whether few enough of those wanted are left to netlink: it takes 3 us for one, and 0.3 for
    /// each of all; and each request may wait for RTNL, as each datagram of a dump does, of more than a
    /// hundred interfaces.
    private mutating func isCovering(_ isWanted: (Int32) -> Bool, now: UInt64) -> Bool {
        var uncovered = 0
        var isUntried = false
        var isWorthProof = false
        guard let count = walk?.count else { return false }
        walk?.forEach { row in
            guard !drivers.isProven(row.driver), isWanted(row.index) else { return }
            uncovered += 1
            guard drivers.isWorthProof(row.driver) else { return }
            isUntried = true
            // While it has counted nothing, no comparison says anything but what kind it is.
            if row.counters != LinkStatistics() || drivers.verdict(of: row.driver) == nil {
                isWorthProof = true
            }
        }
        if uncovered > 0, now >= forgivesAt {
            drivers.forgive()
            forgivesAt = now &+ Self.restTime
        }
        if isWorthProof, now >= comparesAt {
            // What it brings counts from the next poll on.
            try? prove(now: now)
            return false
        }
        guard uncovered * 8 > count || uncovered > max(4, count / 128) else {
            source = .bpf
            return true
        }
        source = .netlink(
            isUntried
                ? "no traffic yet by which to compare it with netlink"
                : "\(uncovered) of \(count) interfaces have counters that it cannot read")
        restsUntil = now &+ (isUntried ? Self.compareTime : Self.restTime)
        return false
    }

    private mutating func deliver(
        _ isWanted: (Int32) -> Bool, _ batch: inout [LinkSample],
        _ body: (Span<LinkSample>, Bool) -> Void
    ) throws(NetlinkError) {
        var count = 0
        // What the walk read of the others is told all the same.
        var failure: NetlinkError?
        walk?.forEach { row in
            let isProven = drivers.isProven(row.driver)
            let isAsked = !isProven && isWanted(row.index)
            // What was walked comes before what is asked for now, which may wait.
            if isAsked || count == batch.count {
                body(batch.span.extracting(0..<count), false)
                count = 0
            }
            guard isAsked else {
                batch[count] = LinkSample(
                    index: row.index, statistics: isProven ? row.counters : nil)
                count += 1
                return
            }
            do throws(NetlinkError) {
                // Gone meanwhile: as one that a dump no longer shows.
                guard let counters = try poller.poll(index: row.index) else { return }
                body(CollectionOfOne(LinkSample(index: row.index, statistics: counters)).span, true)
            } catch {
                failure = error
            }
        }
        body(batch.span.extracting(0..<count), false)
        if let failure { throw failure }
    }

    // MARK: The proof

    /// Compares netlink's counters with those of a walk before and a walk after, for the drivers of
    /// which that can bring something.
    private mutating func prove(now: UInt64) throws(NetlinkError) {
        comparesAt = now &+ Self.compareTime
        guard let before = rows() else { return }
        guard !before.isEmpty else { return }
        try nameKinds(before)
        var samples: [Int32: LinkStatistics] = [:]
        do throws(NetlinkError) {
            try poller.poll { samples[$0] = $1 }
        } catch  where error.isInterruptedDump {}
        do throws(WalkFailure) { try walk?.run() } catch { return }
        let after = rows(all: true) ?? [:]
        for (index, row) in before {
            guard let sample = samples[index], let last = after[index], last.driver == row.driver
            else { continue }
            drivers.compare(
                row.driver, before: row.counters, netlink: sample, after: last.counters)
            if drivers.verdict(of: row.driver) == .contradicted {
                forgivesAt = now &+ Self.restTime
            }
        }
    }

    /// Rows of the latest walk by index, those worth a proof.
    private borrowing func rows(all: Bool = false) -> [Int32: DeviceRow]? {
        guard walk != nil else { return nil }
        var rows: [Int32: DeviceRow] = [:]
        walk?.forEach { row in
            if all || drivers.isWorthProof(row.driver) { rows[row.index] = row }
        }
        return rows
    }

    private mutating func nameKinds(_ rows: [Int32: DeviceRow]) throws(NetlinkError) {
        let unknown = rows.values.filter { drivers.verdict(of: $0.driver) == nil }
        guard !unknown.isEmpty else { return }
        var socket = try RouteSocket.open()
        for row in unknown where drivers.verdict(of: row.driver) == nil {
            if let link = try socket.link(index: row.index) {
                drivers.note(row.driver, kind: link.kind)
            }
        }
    }
}
