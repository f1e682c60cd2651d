// Loads that others wrote down, as a recording: tables of counters or rates, and collectd's files.
//
//   time,port,rx_packets,rx_bytes,tx_packets,tx_bytes      counters, as the host's interface has them
//   time,port,pps_from,bps_from,pps_to,bps_to              packets and bits a second
//   epoch,rx,tx                                            collectd's csv plugin, one file for a type
//
// rx of a tap is what its VM sends (`from`). Times are seconds since 1970.
// Invariants: any text gives a table, or one mistake with its place and its cure; a table asks for no
// more memory than its text accounts for.
internal import Mitigation

/// What is wrong with a table.
public struct RateTableError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file, as the operator named it.
    public var file: String
    /// Counted from 1; 0: of the file as a whole.
    public var line: Int
    /// Counted from 1, in bytes.
    public var column: Int
    /// What is wrong.
    public var sentence: String
    /// What to do.
    public var cure: String

    /// `FILE:LINE:COLUMN: error: what is wrong; the cure`
    public var description: String {
        let place = line > 0 ? ":\(line):\(column)" : ""
        return "\(file)\(place): error: \(sentence); \(cure)"
    }
}

/// Loads by port and time.
public struct RateTable: Sendable {
    private struct Row: Sendable {
        var time: Double
        /// Packets and bytes from the VM, packets and bytes to it; a second where they are rates.
        var values: SIMD4<Double>
    }

    private var series: [[UInt8]: [Row]] = [:]
    private var areCounters = false

    /// No loads.
    public init() {}

    private static let counters = "time,port,rx_packets,rx_bytes,tx_packets,tx_bytes"
    private static let rates = "time,port,pps_from,bps_from,pps_to,bps_to"

    // MARK: Tables

    /// Reads a table.
    ///
    /// - Throws: `RateTableError`, for the first mistake.
    public init(parsing bytes: [UInt8], file: String) throws(RateTableError) {
        guard !bytes.isEmpty else {
            throw RateTableError(
                file: file, line: 0, column: 0, sentence: "it is empty",
                cure: "begin it with \(Self.counters), or \(Self.rates)")
        }
        var isFirst = true
        for (number, line) in Self.lines(bytes).enumerated() {
            if isFirst {
                areCounters = try Self.heading(line, file)
                isFirst = false
                continue
            }
            guard !line.isEmpty else { continue }
            let fields = try Self.fields(line, 6, file, number + 1)
            let name = Array(fields[1].text)
            guard !name.isEmpty, name.count <= 255 else {
                throw RateTableError(
                    file: file, line: number + 1, column: fields[1].column,
                    sentence: "there is no port's name", cure: "write the interface's name")
            }
            var values = SIMD4<Double>.zero
            for lane in 0..<4 {
                values[lane] = try Self.number(fields[lane + 2], file, number + 1)
            }
            if !areCounters { values /= SIMD4(1, 8, 1, 8) }
            let time = try Self.time(fields[0], file, number + 1)
            series[name, default: []].append(Row(time: time, values: values))
        }
    }

    /// Adds one of collectd's files: of what the VM sends and is sent, in packets or in bytes.
    ///
    /// - Parameter unit: 0: `if_packets`; 1: `if_octets`.
    /// - Throws: `RateTableError`, for the first mistake.
    public mutating func add(
        collectd bytes: [UInt8], port: [UInt8], unit: Int, file: String
    ) throws(RateTableError) {
        var known: [Double: Int] = [:]
        var rows = series[port] ?? []
        for (place, row) in rows.enumerated() { known[row.time] = place }
        for (number, line) in Self.lines(bytes).enumerated() {
            guard !line.isEmpty, !line.starts(with: "epoch".utf8) else { continue }
            let fields = try Self.fields(line, 3, file, number + 1)
            // The two files of one moment differ by milliseconds at most.
            let time = try Self.time(fields[0], file, number + 1).rounded()
            let values = [
                try Self.rate(fields[1], file, number + 1),
                try Self.rate(fields[2], file, number + 1),
            ]
            guard let from = values[0], let to = values[1] else { continue }
            let place = known[time] ?? rows.count
            if place == rows.count {
                known[time] = place
                rows.append(Row(time: time, values: .zero))
            }
            rows[place].values[unit] = from
            rows[place].values[unit + 2] = to
        }
        series[port] = rows
    }

    // MARK: Text

    private typealias Field = (text: ArraySlice<UInt8>, column: Int)

    private static func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        }
    }

    private static func heading(_ line: ArraySlice<UInt8>, _ file: String) throws(RateTableError)
        -> Bool
    {
        let text = String(decoding: line.filter { $0 != 0x20 && $0 != 0x22 }, as: UTF8.self)
        guard text != counters else { return true }
        guard text != rates else { return false }
        throw RateTableError(
            file: file, line: 1, column: 1, sentence: "these are no columns that are known",
            cure: "begin it with \(counters), or \(rates)")
    }

    private static func fields(
        _ line: ArraySlice<UInt8>, _ count: Int, _ file: String, _ number: Int
    ) throws(RateTableError) -> [Field] {
        let parts = line.split(
            separator: UInt8(ascii: ","), maxSplits: count, omittingEmptySubsequences: false)
        guard parts.count == count else {
            throw RateTableError(
                file: file, line: number, column: 1,
                sentence: parts.count > count
                    ? "there are more than \(count) columns" : "there are \(parts.count) columns",
                cure: "write \(count), with commas between")
        }
        return parts.map { part in
            var text = part
            while let first = text.first, first == 0x20 || first == 0x22 { text.removeFirst() }
            while let last = text.last, last == 0x20 || last == 0x22 { text.removeLast() }
            return (text, part.startIndex - line.startIndex + 1)
        }
    }

    private static func number(
        _ field: Field, _ file: String, _ line: Int
    ) throws(RateTableError) -> Double {
        guard let value = Double(String(decoding: field.text, as: UTF8.self)), value.isFinite,
            value >= 0, value < 0x1p63
        else {
            throw RateTableError(
                file: file, line: line, column: field.column,
                sentence: "\"\(PortName(bytes: Array(field.text)))\" is no number here",
                cure: "write a number that is not negative")
        }
        return value
    }

    private static func time(
        _ field: Field, _ file: String, _ line: Int
    ) throws(RateTableError) -> Double {
        let value = try number(field, file, line)
        guard value < 1e11 else {
            throw RateTableError(
                file: file, line: line, column: field.column,
                sentence: "this time is not in seconds", cure: "write seconds since 1970")
        }
        return value
    }

    /// collectd writes `nan` where it knows nothing.
    private static func rate(
        _ field: Field, _ file: String, _ line: Int
    ) throws(RateTableError) -> Double? {
        if String(decoding: field.text, as: UTF8.self).lowercased().hasSuffix("nan") { return nil }
        return try number(field, file, line)
    }
}

// MARK: As a recording

extension RateTable {
    /// The longest time between two polls of the recording: what is coarser is spread evenly.
    private static let longestStep = 10.0
    private static let mostPolls = 4_000_000.0

    /// The ports' names, in the order of their bytes.
    private var names: [[UInt8]] { series.keys.sorted { $0.lexicographicallyPrecedes($1) } }

    /// The usual time between two rows of a port, in seconds; nil where no port has two.
    public var step: Double? {
        var steps: [Double] = []
        for rows in series.values {
            let times = rows.map(\.time).sorted()
            for (one, next) in zip(times, times.dropFirst()) where next > one {
                steps.append(next - one)
            }
        }
        return steps.isEmpty ? nil : max(steps.sorted()[steps.count / 2], 0.02)
    }

    /// The recording, and the time between its polls, which a policy for it has to poll at.
    ///
    /// - Parameter file: the name, for the error.
    /// - Throws: `RateTableError` where there are not two rows of a port, or more time than can be.
    public func recording(
        file: String
    ) throws(RateTableError) -> (items: [RecordedItem], interval: Duration) {
        guard let step, let first = series.values.compactMap({ $0.map(\.time).min() }).min(),
            let last = series.values.compactMap({ $0.map(\.time).max() }).max()
        else {
            throw RateTableError(
                file: file, line: 0, column: 0, sentence: "no port has two rows",
                cure: "name what holds the loads of some time")
        }
        let parts = (step / Self.longestStep).rounded(.up)
        guard (last - first) / step * parts < Self.mostPolls else {
            throw RateTableError(
                file: file, line: 0, column: 0,
                sentence: "it has more than \(Int(Self.mostPolls)) moments",
                cure: "name a part of it, or look whether its times are in seconds")
        }
        let grid = Grid(first: first, step: step, parts: Int(parts))
        return (items(grid), .nanoseconds(Int64(step / parts * 1e9)))
    }

    private struct Grid {
        var first: Double
        var step: Double
        var parts: Int

        func place(_ time: Double) -> Int { Int(((time - first) / step).rounded()) }
    }

    private func items(_ grid: Grid) -> [RecordedItem] {
        var polls: [Int: [RecordedSample]] = [:]
        let names = names
        for (place, name) in names.enumerated() {
            add(series[name] ?? [], place, grid, to: &polls)
        }
        // Long before, so that the grace after a start is over.
        let origin: UInt64 = 100_000_000_000_000
        let wall = UInt64(max(grid.first - grid.step, 0) * 1e9)
        let start = RecordedStart(
            continues: false, startedAt: Instant(nanoseconds: 0),
            now: Instant(nanoseconds: origin), wallNanoseconds: wall, configuration: [],
            modes: [:], memory: EngineMemory(),
            ports: names.enumerated().map { place, name in
                RecordedStart.PlacedPort(
                    port: Port(
                        id: PortID(index: Int32(truncatingIfNeeded: place + 1), generation: 1),
                        name: PortName(bytes: name), portClass: .vm), place: place, memory: nil)
            })
        let interval = grid.step / Double(grid.parts) * 1e9
        return [.start(start)]
            + polls.keys.sorted().map { place in
                let at = Instant(nanoseconds: origin + UInt64(max(0, Double(place) * interval)))
                return .poll(RecordedPoll(at: at, decidedAt: at, samples: polls[place] ?? []))
            }
    }

    /// One port's counters, at each of the grid's parts between two rows that follow each other.
    private func add(
        _ rows: [Row], _ place: Int, _ grid: Grid, to polls: inout [Int: [RecordedSample]]
    ) {
        var counters = SIMD4<Double>.zero
        var former: (place: Int, values: SIMD4<Double>)?
        for row in rows.sorted(by: { $0.time < $1.time }) {
            let moment = grid.place(row.time)
            if let former, former.place == moment { continue }
            let begin = areCounters ? (former?.values ?? row.values) : counters
            counters = areCounters ? row.values : counters + row.values * grid.step
            let follows = former.map { $0.place + 1 == moment } ?? !areCounters
            for part in (follows ? 1 : grid.parts)...grid.parts {
                let share = Double(part) / Double(grid.parts)
                let values = begin + (counters - begin) * share
                // One row's time after the first, so that there is a time before it.
                polls[moment * grid.parts + part, default: []]
                    .append(Self.sample(values, place))
            }
            former = (moment, counters)
        }
    }

    private static func sample(_ values: SIMD4<Double>, _ place: Int) -> RecordedSample {
        func whole(_ value: Double) -> UInt64 {
            value > 0 ? UInt64(min(value, 0x1p63)) : 0
        }
        return RecordedSample(
            place: place,
            counters: Counters(
                fromPackets: whole(values.x), fromBytes: whole(values.y),
                toPackets: whole(values.z), toBytes: whole(values.w)))
    }
}
