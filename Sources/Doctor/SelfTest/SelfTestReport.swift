// What a self-test found, rung by rung: pure values, and the verdict on what was measured.
// Invariant: a rung is `holds` only where it was set, read back, flooded and measured.
package import Mitigation

/// A load that was asked for, offered or measured.
package struct TestLoad: Codable, Hashable, Sendable {
    /// Packets per second.
    package var packetsPerSecond: Double
    /// Bits per second, Ethernet headers included.
    package var bitsPerSecond: Double

    enum CodingKeys: String, CodingKey {
        case packetsPerSecond = "packets_per_second"
        case bitsPerSecond = "bits_per_second"
    }

    /// A load of these rates.
    package init(packetsPerSecond: Double, bitsPerSecond: Double) {
        self.packetsPerSecond = packetsPerSecond
        self.bitsPerSecond = bitsPerSecond
    }

    /// What a cap lets through.
    init(_ cap: Cap) {
        self.init(
            packetsPerSecond: Double(cap.packets.perSecond),
            bitsPerSecond: Double(cap.bits.bitsPerSecond))
    }
}

/// How a rung did.
package enum TestVerdict: String, Codable, Hashable, Sendable {
    /// What got through is what was asked.
    case holds
    /// More got through.
    case leaks
    /// Less got through, or the management lane was cut.
    case starves
    /// The kernel refuses it.
    case refused
    /// The flood could not be sent as it was meant to be: this machine is too busy.
    case unsure
}

/// One rung in one direction.
package struct RungResult: Codable, Hashable, Sendable {
    /// `police`, `shape`, `tighten`, `shutdown`.
    package var rung: String
    /// `from` the VM, or `to` it.
    package var direction: String
    /// How the kernel holds it: `act_police`, `ifb+tbf+netem`; nil where it does not.
    package var heldBy: String?
    /// What may pass.
    package var asked: TestLoad?
    /// What was sent.
    package var offered: TestLoad?
    /// What came through of frames of the average size.
    package var measured: TestLoad?
    /// What came through of frames of the smallest size: these must not get further.
    package var smallFrames: TestLoad?
    /// Frames of the management lane that were sent meanwhile.
    package var laneSent: Int?
    /// Those of them that came through.
    package var lanePassed: Int?
    /// The result.
    package var verdict: TestVerdict
    /// What is wrong, in a sentence.
    package var problem: String?
    /// What was wrong with it at the first try; nil where there was one try only.
    package var firstTry: String?

    enum CodingKeys: String, CodingKey {
        case rung, direction, asked, offered, measured, verdict, problem
        case firstTry = "first_try"
        case heldBy = "held_by"
        case smallFrames = "small_frames"
        case laneSent = "lane_sent"
        case lanePassed = "lane_passed"
    }

    /// A rung that was not measured.
    package init(
        rung: Rung, direction: Direction, heldBy: String? = nil, verdict: TestVerdict,
        problem: String? = nil
    ) {
        self.rung = rung.description
        self.direction = direction.rawValue
        self.heldBy = heldBy
        self.verdict = verdict
        self.problem = problem
    }
}

/// The whole self-test.
package struct SelfTestReport: Codable, Hashable, Sendable {
    /// The kernel's release.
    package var kernel: String
    /// What the kernel lacks and what stands in for it, a sentence each.
    package var kernelNotes: [String]
    /// The rungs, the gentlest first.
    package var rungs: [RungResult]
    /// What was there after the release and not before, or the other way: empty where it is as it was.
    package var left: [String]
    /// Why the release failed; nil where it did not.
    package var releaseProblem: String?

    enum CodingKeys: String, CodingKey {
        case kernel, rungs, left
        case kernelNotes = "kernel_notes"
        case releaseProblem = "release_problem"
    }

    /// A self-test of this kernel.
    package init(kernel: String, kernelNotes: [String]) {
        self.kernel = kernel
        self.kernelNotes = kernelNotes
        rungs = []
        left = []
    }

    /// Whether every rung holds and the release left nothing.
    package var isPassed: Bool {
        left.isEmpty && releaseProblem == nil && !rungs.isEmpty
            && rungs.allSatisfy { $0.verdict == .holds }
    }
}

/// What came through in a window.
struct Delivered: Hashable, Sendable {
    var packets = 0
    var bytes = 0
    /// Frames of the management lane.
    var lane = 0

    func load(over seconds: Double) -> TestLoad {
        TestLoad(
            packetsPerSecond: Double(packets) / seconds,
            bitsPerSecond: Double(bytes) * 8 / seconds)
    }
}

extension RungResult {
    /// What is measured may differ from what is asked by this share: KERNEL's measured trees are within
    /// one percent; the rest is for the clock of a virtual kernel and a busy machine.
    package static let tolerance = 0.1
    /// The same for small frames, which a queue lets through in batches.
    private static let toleranceOfSmall = 0.15
    /// So much of the flood has to be sent, by the cap: else nothing is proved.
    private static let leastOffered = 1.5

    /// Judges by what is measured: `asked`, `offered`, `measured` and `smallFrames`, and the lane's.
    mutating func judge() {
        guard let asked, let offered, let measured else { return }
        func share(_ load: TestLoad) -> (packets: Double, bits: Double) {
            (
                load.packetsPerSecond / asked.packetsPerSecond,
                load.bitsPerSecond / asked.bitsPerSecond
            )
        }
        let (packets, bits) = share(measured)
        let small = smallFrames.map { share($0).packets } ?? 0
        guard share(offered).packets >= Self.leastOffered else {
            verdict = .unsure
            problem = "this machine is too busy to send what the test needs: try again"
            return
        }
        let most = max(packets, bits)
        guard most <= 1 + Self.tolerance else {
            verdict = .leaks
            problem = "\(Self.percent(most)) of what is asked come through"
            return
        }
        guard small <= 1 + Self.toleranceOfSmall else {
            verdict = .leaks
            problem = "\(Self.percent(small)) of the packets asked come through as small frames"
            return
        }
        guard min(packets, bits) >= 1 - Self.tolerance else {
            verdict = .starves
            problem = "only \(Self.percent(min(packets, bits))) of what is asked come through"
            return
        }
        if let laneSent, let lanePassed, Double(lanePassed) < Double(laneSent) * 0.9 {
            verdict = .starves
            problem = "only \(lanePassed) of \(laneSent) frames of the management lane come through"
            return
        }
        verdict = .holds
        problem = nil
    }

    private static func percent(_ share: Double) -> String { "\(Int((share * 100).rounded()))%" }
}
