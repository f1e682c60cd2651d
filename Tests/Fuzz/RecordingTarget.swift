// Recordings and tables of loads: a file's bytes, to a decision that goes through them.
import Mitigation

@testable import Recording

extension FuzzTarget {
    /// Any bytes give items and then an end; whatever the items say, both kinds of replay come to an
    /// end without a trap. The first byte says whether the rest is a file, or the records of a frame
    /// whose checksum is right: mutations of a file's bytes hardly ever pass it.
    static let recording = FuzzTarget(
        name: "recording",
        seeds: {
            let file = RecordingSeeds.file
            return [[0] + file, [1] + RecordingSeeds.records(file)]
        },
        rounds: 6_000,
        read: { bytes in
            var input = FuzzInput(bytes)
            let isFile = input.byte().isMultiple(of: 2)
            let file = isFile ? input.remainder : RecordingSeeds.file(of: input.remainder)
            guard var reader = try? RecordingReader(file) else { return false }
            var items: [RecordedItem] = []
            while let item = reader.next() { items.append(item) }
            try promise(items.count <= file.count, "more items than bytes")
            for answers in [Replayer.Answers.recorded, .assumed] {
                var replay = Replayer(answers: answers, policy: { _ in RecordingSeeds.policy })
                for item in items { replay.take(item) }
                replay.finish()
                _ = replay.differences
            }
            var maxima = LoadMaxima(sustain: .seconds(1))
            for item in items { maxima.take(item) }
            try promise(maxima.ports.allSatisfy { $0.loads.x.isFinite }, "a load without an end")
            return items.count > 1
        })

    /// Any text gives a table, or a mistake that is told in a line.
    static let rates = FuzzTarget(
        name: "rates",
        seeds: {
            let rows = (1...30).map { "\($0),vm-\($0 % 3),\($0 * 700),\($0 * 90),3,4\n" }
            return [
                "time,port,pps_from,bps_from,pps_to,bps_to\n" + rows.joined(),
                "time,port,rx_packets,rx_bytes,tx_packets,tx_bytes\n" + rows.joined(),
                "epoch,rx,tx\n" + (1...30).map { "\($0 * 10).5,\($0),-nan\n" }.joined(),
            ].map { Array($0.utf8) }
        },
        rounds: 6_000,
        read: { bytes in
            let table: RateTable
            do throws(RateTableError) {
                if bytes.starts(with: "epoch".utf8) {
                    var collectd = RateTable()
                    try collectd.add(collectd: bytes, port: [0x76], unit: 0, file: "f")
                    table = collectd
                } else {
                    table = try RateTable(parsing: bytes, file: "f")
                }
                let (items, interval) = try table.recording(file: "f")
                try? promise(interval > .zero, "no time between two polls")
                var replay = Replayer(answers: .assumed, policy: { _ in RecordingSeeds.policy })
                for item in items.prefix(10_000) { replay.take(item) }
                replay.finish()
                return true
            } catch {
                // One whose heading is right was taken for a table.
                guard "\(error)".utf8.contains(UInt8(ascii: "\n")) else { return error.line > 1 }
                throw BrokenPromise(description: "a mistake that is not one line: \(error)")
            }
        })
}

enum RecordingSeeds {
    static var policy: Policy {
        var policy = Policy()
        policy.grace = .zero
        policy.groupMark = Mark(packets: PacketRate(perSecond: 9_000))
        policy.marks[.vm] = Marks(
            from: Mark(packets: PacketRate(perSecond: 10_000)),
            to: Mark(packets: PacketRate(perSecond: 10_000)))
        return policy
    }

    /// A VM that floods, a quiet one and a router.
    static let file: [UInt8] = {
        let start = Instant(nanoseconds: 5_000_000_000)
        var engine = RecordedEngine(policy: policy, now: start)
        engine.record(RecorderSettings(), configuration: [0x23], now: start, wallNanoseconds: 1)
        for (index, portClass) in [PortClass.vm, .vm, .router].enumerated() {
            let port = Port(
                id: PortID(index: Int32(index + 1), generation: 1), name: PortName("p\(index)"),
                portClass: portClass, netid: 7)
            engine.appear(port, now: start)
        }
        var file: [UInt8] = []
        for poll in 1...30 as ClosedRange<UInt64> {
            let now = start.advanced(by: .milliseconds(100 * poll))
            for slot in 0..<3 {
                let packets = poll * (slot == 0 ? 3_000 : 40)
                engine.sample(
                    slot, Counters(fromPackets: packets, fromBytes: packets * 200), at: now)
            }
            var actions: [Action] = []
            engine.finishPoll(now: now, into: &actions)
            for case .limit(let id, _) in actions {
                var more: [Action] = []
                engine.confirm(id, .done, now: now, into: &more)
            }
            engine.endTurn(now: now, wallNanoseconds: { 1 }, isLast: poll == 30) { bytes, _ in
                file += bytes
                bytes = []
            }
        }
        return file
    }()

    /// The records of all frames.
    static func records(_ file: [UInt8]) -> [UInt8] {
        var records: [UInt8] = []
        var place = RecordFormat.magic.count
        while place + RecordFormat.frameHead <= file.count {
            let begin = place + RecordFormat.frameHead
            place = begin + Int(RecordFormat.word(file, at: place))
            records += file[begin..<place]
        }
        return records
    }

    /// One frame of these records.
    static func file(of records: [UInt8]) -> [UInt8] {
        var file = RecordFormat.magic + Array(repeating: 0, count: RecordFormat.frameHead) + records
        let begin = RecordFormat.magic.count
        let range = begin + RecordFormat.frameHead..<file.count
        RecordFormat.put(UInt32(records.count), in: &file, at: begin)
        RecordFormat.put(RecordFormat.checksum(file, in: range), in: &file, at: begin + 4)
        return file
    }
}
