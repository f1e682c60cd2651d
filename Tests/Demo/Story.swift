// The demo's course: a flood, the ladder up to tighten, the release; and the flood again, until the
// VM is stopped. Each scene ends by what is seen, never by the clock alone.

import ControlAPI
import Lab

/// The demo was ended from outside, by a signal.
struct Interrupted: Error {
    var signal: Int32
}

struct Story {
    private static let tick = Duration.milliseconds(200)

    private let sandbox: Sandbox
    private let screen: Screen
    private let start = Moment.now
    private var last: (moment: Moment, offered: Int)
    private var sessionEnd: Moment?
    private var firstFlood: FloodRun?
    private var firstFloodEnd: Moment?

    private(set) var run: Run
    private(set) var releasedClean = false
    private(set) var neighbourLost = 0

    init(in sandbox: Sandbox, on screen: Screen, kernel: String) {
        self.sandbox = sandbox
        self.screen = screen
        run = Run(kernel: kernel)
        last = (start, 0)
    }

    mutating func tell() throws {
        try play("quiet", for: .seconds(3))
        firstFlood = try sandbox.startFlood()
        try play("flood", until: "tighten", within: .seconds(40))
        try play("flood", for: .seconds(5))
        sandbox.stopFlood()
        firstFloodEnd = .now
        try play("the flood is over", until: "normal", within: .seconds(40))
        try play("quiet again", for: .seconds(2))
        releasedClean = try Snapshot() == sandbox.before
        _ = try sandbox.startFlood()
        try play("the flood again", until: "shutdown", within: .seconds(60))
        sessionEnd = .now
        let sandbox = sandbox
        try play("shut down", within: .seconds(10)) { _ in sandbox.isStopRequested }
        sandbox.stopRogue()
        try play("the hook has stopped the VM", for: .seconds(5))
        neighbourLost = try countLost()
    }

    // MARK: Scenes

    private mutating func play(_ scene: String, for duration: Duration) throws {
        let end = Moment.now + duration
        try play(scene, within: duration + Self.tick * 5) { _ in Moment.now >= end }
    }

    private mutating func play(
        _ scene: String, until rung: String, within limit: Duration
    ) throws {
        try play(scene, within: limit) { $0.rung == rung }
    }

    private mutating func play(
        _ scene: String, within limit: Duration, until isOver: (Sample) -> Bool
    ) throws {
        let deadline = Moment.now + limit
        while true {
            measure(for: max(.zero, last.moment + Self.tick - .now))
            if let signal = Program.caughtSignal { throw Interrupted(signal: signal) }
            let sample = try takeSample()
            screen.show(try view(scene, sample))
            if isOver(sample) { return }
            guard Moment.now < deadline else {
                let lines = sandbox.daemon.lines.suffix(12).joined(separator: "\n")
                throw LabError("the scene “\(scene)”", detail: "did not end in \(limit)\n\(lines)")
            }
        }
    }

    private mutating func takeSample() throws -> Sample {
        let now = Moment.now
        let window = last.moment...now
        let seconds = (now - last.moment).inSeconds
        let offered = sandbox.offered
        let packets = Double(offered - last.offered) / seconds
        let status = try sandbox.daemon.port(sandbox.rogue.name)
        let delivered = try sandbox.delivered(during: window)
        let lane = try sandbox.lane(during: window)
        let neighbour = try sandbox.neighbourDelivered(during: window)
        last = (now, offered)
        // A port that is gone with its VM stays where the ladder left it.
        let sample = Sample(
            seconds: (now - start).inSeconds,
            offered: Rate(packets: packets, bits: packets * Double(Sandbox.frameBytes) * 8),
            delivered: Rate(packets: delivered.packetsPerSecond, bits: delivered.bitsPerSecond),
            lane: Rate(packets: lane.packetsPerSecond, bits: lane.bitsPerSecond),
            neighbour: Rate(packets: neighbour.packetsPerSecond, bits: neighbour.bitsPerSecond),
            rung: status?.rung ?? run.samples.last?.rung ?? "normal")
        run.samples.append(sample)
        return sample
    }

    /// What the neighbour sent up to the last tick, less what has arrived since: what is under way
    /// is not lost.
    private func countLost() throws -> Int {
        let sent = sandbox.neighbourSent
        measure(for: .milliseconds(20))
        return max(0, sent - (try sandbox.neighbourDelivered(during: start...Moment.now).packets))
    }

    private func view(_ scene: String, _ sample: Sample) throws -> Screen.View {
        let recent = run.samples.suffix(5)
        func mean(_ rate: KeyPath<Sample, Rate>) -> Rate {
            let count = Double(max(1, recent.count))
            return Rate(
                packets: recent.reduce(0) { $0 + $1[keyPath: rate].packets } / count,
                bits: recent.reduce(0) { $0 + $1[keyPath: rate].bits } / count)
        }
        let echoes = sandbox.session.summary(during: start...(sessionEnd ?? .now))
        return Screen.View(
            kernel: run.kernel, scene: scene, seconds: sample.seconds, rung: sample.rung,
            offered: mean(\.offered), delivered: mean(\.delivered), lane: mean(\.lane),
            neighbourSent: sandbox.neighbourSent, neighbourLost: try countLost(), echoes: echoes,
            alerts: sandbox.daemon.lines.compactMap(Self.alert).suffix(6))
    }

    /// The fields of a line that tells of a transition, without what does not fit a screen.
    private static func alert(_ line: String) -> String? {
        guard let begin = line.firstRange(of: "event=") else { return nil }
        let fields = line[begin.lowerBound...].split(separator: " ")
        let shown = ["event", "incident", "from", "to", "rule", "pps", "step", "command", "status"]
        return fields.filter { shown.contains(String($0.prefix { $0 != "=" })) }
            .joined(separator: " ")
    }
}

extension Story {
    /// What is to be said at the end: the figures of each rung, from the packets themselves.
    func summary() throws -> [String] {
        var lines = ["rung      from         delivered      may pass       added delay"]
        let held = [("police", 1, 0), ("shape", 1, 200), ("tighten", 4, 400)]
        for (rung, divisor, delay) in held {
            guard let stretch = run.stretches.first(where: { $0.rung == rung }) else { continue }
            // The first second and a half of a rung still has what the one before let through.
            let begin = start + .milliseconds(Int64(stretch.begin * 1000) + 1_500)
            let rungEnd = start + .milliseconds(Int64(stretch.end * 1000) - 200)
            let end = min(rungEnd, firstFloodEnd ?? rungEnd)
            guard begin < end else { continue }
            let tally = try sandbox.delivered(during: begin...end)
            let ledger = sandbox.host.uplink.received
            let delays = try ledger.delays(Sandbox.flood(of: sandbox.rogue), during: begin...end)
            let cap = Double(Sandbox.targetPacketsPerSecond / divisor)
            let median = (delays?.median.inMilliseconds ?? 0).fixed(0)
            lines.append(
                rung.left(10) + "\(stretch.begin.fixed(1)) s".left(13)
                    + tally.packetsPerSecond.packetRate.left(15) + cap.packetRate.left(15)
                    + "\(median) ms" + (delay > 0 ? " (of \(delay))" : ""))
        }
        if let first = firstFlood?.firstPacket {
            let delay = try timeToPolice(from: first)
            lines.append("policed \(delay.inSeconds.fixed(2)) s after the flood's first packet")
        }
        let echoes = sandbox.session.summary(during: start...(sessionEnd ?? .now))
        lines.append(
            "SSH into the rogue, until it was shut down: \(echoes.answered) of \(echoes.asked) "
                + "echoed, longest stall \(echoes.longestStall.inSeconds.fixed(2)) s")
        lines.append(
            "neighbour: \(neighbourLost) of \(sandbox.neighbourSent.grouped) packets lost")
        lines.append(
            "after the release: tc and ip show "
                + (releasedClean ? "byte for byte what they did before" : "A DIFFERENCE"))
        return lines
    }

    /// From the first packet to the end of the last 50 ms of which a quarter of the flood came
    /// through, by the times at which its packets were sent, so that a late reader does not count.
    private func timeToPolice(from first: Moment) throws -> Duration {
        let slot = Duration.milliseconds(50)
        let frames = try sandbox.host.uplink.received.frames(
            Sandbox.flood(of: sandbox.rogue), during: first...first + .seconds(6))
        var passed = [Int](repeating: 0, count: 100)
        for sent in frames.compactMap(\.sent) where sent >= first {
            let number = Int((sent - first) / slot)
            if passed.indices.contains(number) { passed[number] += 1 }
        }
        let quarter = Int(Double(Sandbox.floodPacketsPerSecond) * slot.inSeconds / 4)
        let last = passed.lastIndex { $0 > quarter }
        return slot * ((last ?? -1) + 1)
    }

    /// Whether all that the demo promises was seen.
    var isComplete: Bool {
        let rungs = run.stretches.map(\.rung)
        let climb = ["normal", "police", "shape", "tighten"]
        let seen = rungs.starts(with: climb) && rungs.contains("shutdown")
        return seen && releasedClean && neighbourLost == 0
    }
}
