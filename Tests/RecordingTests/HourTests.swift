// An hour of a thousand ports: what its replay costs, what its recording takes, and what a recorded
// poll costs.
import CLab
import Mitigation
import Seeded
import Testing

@testable import Recording

/// A host of a thousand ports, of which a few flood now and then, and what it wrote.
private struct Hour {
    static let ports = 1_000

    var engine: RecordedEngine
    var told: [Event] = []
    var files: [[UInt8]] = []
    var now: UInt64 = 50_000_000_000
    private var random = SplitMix(seed: 4)
    private var counters: [Counters]
    private var slots: [Int] = []
    private var rates: [UInt64]
    private var samples: [PortSample] = []
    private var floods: [Int: Int] = [:]

    static var policy: Policy {
        var policy = Policy()
        policy.grace = .zero
        let mark = Mark(
            packets: PacketRate(perSecond: 30_000), bits: BitRate(bitsPerSecond: 1_000_000_000))
        for portClass in PortClass.allCases {
            policy.marks[portClass] = Marks(from: mark, to: mark)
        }
        return policy
    }

    init(isRecorded: Bool) {
        let policy = Self.policy
        engine = RecordedEngine(policy: policy, now: Instant(nanoseconds: now))
        counters = Array(repeating: Counters(), count: Self.ports)
        rates = []
        if isRecorded {
            engine.record(
                RecorderSettings(), configuration: [], now: Instant(nanoseconds: now),
                wallNanoseconds: 1_800_000_000_000_000_000)
        }
        for number in 0..<Self.ports {
            // Three VMs and a router to a cloudspace.
            let isRouter = number % 4 == 3
            let port = Port(
                id: PortID(index: Int32(number + 1), generation: 1),
                name: PortName(isRouter ? "spc-\(number)" : "vm-\(number)"),
                portClass: isRouter ? .router : .vm, netid: UInt32(number / 4))
            slots.append(engine.appear(port, now: Instant(nanoseconds: now)))
            rates.append(random.value(0...1_200))
        }
    }

    /// One poll of a quiet host, or of one with floods.
    mutating func poll(_ number: Int, hasFloods: Bool) {
        now += 99_900_000 + random.next() % 200_000
        if hasFloods, number % 700 == 0 {
            floods[Int(random.value(0...249)) * 4] = number + Int(random.value(100...2_500))
        }
        let at = Instant(nanoseconds: now)
        samples.removeAll(keepingCapacity: true)
        for place in 0..<Self.ports {
            // A quarter of the ports is idle for the whole hour.
            guard place % 4 != 1 else {
                samples.append(PortSample(slots[place], counters[place], at: at))
                continue
            }
            let isFlood = hasFloods && floods[place].map { $0 > number } ?? false
            let packets = (isFlood ? 90_000 : rates[place]) / 10
            counters[place].fromPackets &+= packets
            counters[place].fromBytes &+= packets * 200
            counters[place].toPackets &+= packets / 2
            counters[place].toBytes &+= packets * 300
            samples.append(PortSample(slots[place], counters[place], at: at))
        }
        let taken = samples
        engine.sample(taken.span)
    }

    /// The decision, and every order done.
    mutating func finish(_ actions: inout [Action]) {
        now += 150_000
        engine.finishPoll(now: Instant(nanoseconds: now), into: &actions)
        var place = 0
        while place < actions.count {
            switch actions[place] {
            case .tell(let event): told.append(event)
            case .limit(let id, _), .shutDown(let id, _):
                engine.confirm(id, .done, now: Instant(nanoseconds: now), into: &actions)
            }
            place += 1
        }
        actions.removeAll(keepingCapacity: true)
    }

    mutating func endTurn(isLast: Bool = false) {
        let wall = now + 1_800_000_000_000_000_000
        engine.endTurn(
            now: Instant(nanoseconds: now), wallNanoseconds: { wall }, isLast: isLast
        ) { bytes, begins in
            if begins { files.append([]) }
            files[files.count - 1] += bytes
            bytes.removeAll(keepingCapacity: true)
        }
    }
}

@Suite(.serialized) struct HourTests {
    /// Guards against: a replay that one waits for, or that tells something else. In a release build
    /// an hour takes less than two seconds; as a ratio it costs less than half of what the live
    /// decision cost, which saw every sample.
    @Test func anHourTakesLessThanTwoSeconds() throws {
        let polls = 36_000
        var hour = Hour(isRecorded: true)
        var actions: [Action] = []
        let begin = clab_thread_cpu_ns()
        for number in 1...polls {
            hour.poll(number, hasFloods: true)
            hour.finish(&actions)
            hour.endTurn()
        }
        hour.endTurn(isLast: true)
        let live = clab_thread_cpu_ns() - begin
        let bytes = hour.files.reduce(0) { $0 + $1.count }
        var replay = Replayer(answers: .recorded, policy: { _ in Hour.policy })
        let files = hour.files
        var problem: String?
        let middle = clab_thread_cpu_ns()
        for file in files {
            var reader = try RecordingReader(file)
            while let item = reader.next() { replay.take(item) }
            problem = problem ?? reader.problem
        }
        replay.finish()
        let replayed = clab_thread_cpu_ns() - middle
        #expect(problem == nil)
        #expect(replay.pollCount == polls)
        #expect(replay.recorded == hour.told && hour.told.count > 100)
        #expect(replay.told == hour.told)
        print(
            "an hour of \(Hour.ports) ports: \(bytes / 1_000) kB in \(files.count) files, "
                + "\(hour.told.count) events; live \(live / 1_000_000) ms, replayed in "
                + "\(replayed / 1_000_000) ms")
        #if !DEBUG
            #expect(replayed < 2_000_000_000)
            #expect(replayed * 2 < live)
        #endif
    }

    /// Guards against: a recorded poll that allocates, and one that costs much beside the decision.
    @Test(.disabled(if: clab_is_sanitized(), "a sanitizer's allocations are its own"))
    func aSteadyPollAllocatesNothing() {
        var costs: [Bool: Double] = [:]
        for isRecorded in [false, true] {
            var hour = Hour(isRecorded: isRecorded)
            var actions: [Action] = []
            actions.reserveCapacity(64)
            var allocations: UInt64 = 0
            var nanoseconds: [UInt64] = []
            for number in 1...3_000 {
                let before = clab_allocations()
                let begin = clab_thread_cpu_ns()
                hour.poll(number, hasFloods: false)
                hour.finish(&actions)
                let end = clab_thread_cpu_ns()
                if number > 100 {
                    allocations += clab_allocations() - before
                    nanoseconds.append(end - begin)
                }
                hour.endTurn()
            }
            #expect(allocations == 0)
            costs[isRecorded] = Double(nanoseconds.sorted()[nanoseconds.count / 2])
        }
        let (plain, recorded) = (costs[false] ?? 0, costs[true] ?? 0)
        print(
            "a decided poll of \(Hour.ports): \(plain / 1_000) us, recorded \(recorded / 1_000) us")
        // Of a turn of some 250 us, most of which the kernel takes.
        #if !DEBUG
            #expect(recorded - plain < 60_000)
        #endif
    }
}
