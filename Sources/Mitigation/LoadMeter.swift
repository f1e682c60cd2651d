// A port's counters in, its offered loads and over-mark history out: the hot state of a port.
// Invariants: a sample that is no fair measure (the first one, a decrease, a time step that is zero,
// negative, or too long) is void: it becomes the new baseline and counts as not over the mark, as
// does a poll without a sample. Nothing here traps on any counter value. A port that is below its
// marks touches nothing but this struct.

/// The offered loads of one port, and which of the last 64 polls were over its marks.
struct LoadMeter: Sendable {
    /// Packets and bytes from the VM, packets and bytes to it.
    private(set) var counters = SIMD4<UInt64>.zero
    /// What the latest sample adds to the one before it; zero where it was void.
    private(set) var growth = SIMD4<UInt64>.zero
    /// When the latest sample was read.
    private(set) var at: UInt64 = 0
    /// The time that the latest sample measures, in nanoseconds; zero: it was void.
    private var elapsed: UInt64 = 0
    /// Bit 0 is the latest sample's poll, bit 1 the poll before it.
    private var overFrom: UInt64 = 0
    private var overTo: UInt64 = 0
    /// The poll of the latest sample.
    private(set) var poll: UInt32
    /// The place of the port's ladder; negative: none.
    var ladder: Int32 = -1
    /// The place of its marks.
    var markSet: Int32
    /// Polls in a row that were far over the mark.
    private var fastFrom: UInt8 = 0
    private var fastTo: UInt8 = 0
    /// The counters that the runs began with are from before a void sample.
    private var runFromIsVoid = true
    private var runToIsVoid = true
    private var hasBaseline = false

    /// A meter whose first sample comes in poll `poll` or later.
    init(markSet: Int32, poll: UInt32) {
        self.markSet = markSet
        self.poll = poll &- 1
    }

    /// Takes the counters that were read at `now` in poll `poll`; a second sample in one poll is
    /// ignored. True: a direction is tripped.
    @inline(__always)
    mutating func take(
        _ sample: Counters, at now: UInt64, poll: UInt32, rules: Rules, marks: Span<MarkSet>,
        runs: inout [Runs], slot: Int
    ) -> Bool {
        let gap = poll &- self.poll
        guard gap != 0 else { return false }
        let old = counters
        let new = SIMD4(sample.fromPackets, sample.fromBytes, sample.toPackets, sample.toBytes)
        let before = Baselines(counters: old, at: at, poll: poll)
        counters = new
        at = now
        self.poll = poll
        if overFrom | overTo != 0 {
            overFrom <<= gap
            overTo <<= gap
        }
        let step = now > before.at ? now &- before.at : 0
        elapsed = step
        growth = new &- old
        // A healthy port costs a poll no more than this.
        if hasBaseline, step >= rules.quickStep, step <= rules.longestGap,
            marks[Int(markSet)].quick.holds(old, new)
        {
            fastFrom = 0
            fastTo = 0
            return false
        }
        return takeClosely(before, gap: gap, rules: rules, marks: marks, runs: &runs[slot])
    }

    /// A sample that is no measure, comes early, or may be over the mark.
    @inline(never)
    private mutating func takeClosely(
        _ before: Baselines, gap: UInt32, rules: Rules, marks: Span<MarkSet>, runs: inout Runs
    ) -> Bool {
        let old = before.counters
        guard hasBaseline, elapsed != 0, elapsed <= rules.longestGap, counters.x >= old.x,
            counters.y >= old.y, counters.z >= old.z, counters.w >= old.w
        else {
            rebase()
            return false
        }
        return judge(before, gap: gap, rules: rules, marks: marks, runs: &runs)
    }

    /// Holds the latest sample, which may be over the mark, against it. True: a direction is tripped.
    private mutating func judge(
        _ former: Baselines, gap: UInt32, rules: Rules, marks: Span<MarkSet>, runs: inout Runs
    ) -> Bool {
        let loads = rates
        let high = marks[Int(markSet)].high
        let over = loads .>= high
        guard any(over) else {
            fastFrom = 0
            fastTo = 0
            return false
        }
        let fast = loads .>= high * rules.fastFactor
        if over[0] || over[1] {
            runs.from.extend(
                former[.from], isNew: runFromIsVoid || overFrom & rules.runMask == 0, rules: rules)
            runFromIsVoid = false
            overFrom |= 1
        }
        if over[2] || over[3] {
            runs.to.extend(
                former[.to], isNew: runToIsVoid || overTo & rules.runMask == 0, rules: rules)
            runToIsVoid = false
            overTo |= 1
        }
        fastFrom = fast[0] || fast[1] ? (gap == 1 ? fastFrom : 0).next : 0
        fastTo = fast[2] || fast[3] ? (gap == 1 ? fastTo : 0).next : 0
        return rule(.from, poll: poll, rules: rules) != nil
            || rule(.to, poll: poll, rules: rules) != nil
    }

    /// What the latest sample says of a second: packets and bytes from the VM, and to it; nothing where
    /// it was void. Doubles neither overflow nor trap; a quotient is rounded once, so that a load exactly
    /// at the mark is at the mark.
    var rates: SIMD4<Double> {
        guard elapsed > 0 else { return .zero }
        return SIMD4(Double(growth.x), Double(growth.y), Double(growth.z), Double(growth.w))
            * 1_000_000_000 / Double(elapsed)
    }

    /// The rule that trips `direction` in poll `poll`: only a poll that is over the mark itself.
    func rule(_ direction: Direction, poll: UInt32, rules: Rules) -> Reason.Rule? {
        let over = direction == .from ? overFrom : overTo
        guard self.poll == poll, over & 1 != 0 else { return nil }
        if (direction == .from ? fastFrom : fastTo) >= rules.fastWindow { return .fast }
        let count = (over & .lowest(rules.window)).nonzeroBitCount
        return count >= rules.needed ? .sustained : nil
    }

    /// The nanoseconds that the sample of poll `poll` measures; zero: it was void, or there is none.
    func measured(in poll: UInt32) -> UInt64 { self.poll == poll ? elapsed : 0 }

    /// What the VM sent or was sent since `baseline`: packets, bytes, nanoseconds.
    func grown(
        _ direction: Direction, since baseline: Baseline
    ) -> (packets: UInt64, bytes: UInt64, time: UInt64) {
        let lane = direction.lane
        return (
            counters[lane].minusSaturating(baseline.packets),
            counters[lane + 1].minusSaturating(baseline.bytes),
            at.minusSaturating(baseline.at)
        )
    }

    /// What the VM had sent before the latest sample.
    var former: Baseline {
        Baselines(counters: counters &- growth, at: at.minusSaturating(elapsed), poll: poll)[.from]
    }

    /// Forgets which polls were over the mark.
    mutating func forgive() {
        overFrom = 0
        overTo = 0
        fastFrom = 0
        fastTo = 0
        runFromIsVoid = true
        runToIsVoid = true
    }

    /// Makes the latest sample a baseline that measures nothing.
    private mutating func rebase() {
        hasBaseline = true
        growth = .zero
        elapsed = 0
        fastFrom = 0
        fastTo = 0
        runFromIsVoid = true
        runToIsVoid = true
    }
}

/// The counters before a sample.
struct Baselines: Sendable {
    var counters: SIMD4<UInt64>
    var at: UInt64
    var poll: UInt32

    /// Those of one direction.
    subscript(direction: Direction) -> Baseline {
        Baseline(
            packets: counters[direction.lane], bytes: counters[direction.lane + 1], at: at,
            poll: poll)
    }
}

/// One direction's counters before a poll that was over the mark.
struct Baseline: Sendable {
    var packets: UInt64 = 0
    var bytes: UInt64 = 0
    var at: UInt64 = 0
    var poll: UInt32 = 0
}

/// Where the polls over the mark began: the seconds that a trip is calibrated from.
struct Run: Sendable {
    /// The counters just before the run's first poll, or, in a run that goes on without a trip, one
    /// to two windows ago: what was sent long before a trip says nothing of it.
    private(set) var start = Baseline()
    private var next = Baseline()

    /// Another poll over the mark, which began with `baseline`.
    mutating func extend(_ baseline: Baseline, isNew: Bool, rules: Rules) {
        if isNew {
            start = baseline
            next = baseline
        } else if baseline.poll &- next.poll >= UInt32(rules.window) {
            start = next
            next = baseline
        }
    }
}

/// The runs of both directions of a port.
struct Runs: Sendable {
    var from = Run()
    var to = Run()

    /// The run of one direction.
    subscript(direction: Direction) -> Run { direction == .from ? from : to }
}

extension UInt8 {
    /// One more; saturates.
    fileprivate var next: UInt8 { self == .max ? .max : self + 1 }
}
