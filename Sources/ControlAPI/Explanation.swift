// Why a port is where it is, and what comes next.

/// Why a port is where it is, and what comes next: the answer to `GET /v1/ports/NAME/explain`.
public struct Explanation: Codable, Hashable, Sendable {
    /// The port as `status` shows it.
    public var port: PortStatus
    /// `enforce` or `observe`.
    public var mode: String
    /// At or over these it counts as flooding; its class is only watched where there are none.
    public var marks: MarksStatus
    /// Below this share of its marks it counts as calm.
    public var lowShare: Double
    /// Relapses within the forgiveness time: each doubles `calmNeededSeconds`.
    public var strikes: Int
    /// How long the load has been low; 0 without an incident.
    public var calmSeconds: Double
    /// How long it has to be before the next rung down.
    public var calmNeededSeconds: Double
    /// A rung that is asked of the kernel and not yet confirmed.
    public var pending: String?
    /// The next rung up, if the flood goes on.
    public var up: StepStatus?
    /// The next rung down, if the load stays or becomes low. Nil: an operator decides, or there is
    /// nothing to come down from.
    public var down: StepStatus?

    enum CodingKeys: String, CodingKey {
        case port, mode, marks, strikes, pending, up, down
        case lowShare = "low_share"
        case calmSeconds = "calm_seconds"
        case calmNeededSeconds = "calm_needed_seconds"
    }

    /// A port explained.
    public init(
        port: PortStatus, mode: String, marks: MarksStatus, lowShare: Double, strikes: Int,
        calmSeconds: Double, calmNeededSeconds: Double, pending: String?, up: StepStatus?,
        down: StepStatus?
    ) {
        self.port = port
        self.mode = mode
        self.marks = marks
        self.lowShare = lowShare
        self.strikes = strikes
        self.calmSeconds = calmSeconds
        self.calmNeededSeconds = calmNeededSeconds
        self.pending = pending
        self.up = up
        self.down = down
    }
}

/// The marks of a port by direction; nil: that is not looked at.
public struct MarksStatus: Codable, Hashable, Sendable {
    /// What the VM sends.
    public var from: MarkStatus
    /// What is sent to the VM.
    public var to: MarkStatus

    /// Marks for both directions.
    public init(from: MarkStatus, to: MarkStatus) {
        self.from = from
        self.to = to
    }
}

/// The mark of one direction; nil: that is not looked at.
public struct MarkStatus: Codable, Hashable, Sendable {
    /// Packets a second.
    public var packetsPerSecond: UInt64?
    /// Bits a second.
    public var bitsPerSecond: UInt64?

    enum CodingKeys: String, CodingKey {
        case packetsPerSecond = "packets_per_second"
        case bitsPerSecond = "bits_per_second"
    }

    /// A mark in packets, in bits, in both, or in neither.
    public init(packetsPerSecond: UInt64?, bitsPerSecond: UInt64?) {
        self.packetsPerSecond = packetsPerSecond
        self.bitsPerSecond = bitsPerSecond
    }
}

/// A rung that is due, if things stay as they are.
public struct StepStatus: Codable, Hashable, Sendable {
    /// The rung.
    public var rung: String
    /// `from` or `to`: whose ladder it is.
    public var direction: String
    /// The rule that leads there: `unresponsive`, `saturated`, `calm` or `probe`.
    public var rule: String
    /// Not before so many seconds are over.
    public var inSeconds: Double

    enum CodingKeys: String, CodingKey {
        case rung, direction, rule
        case inSeconds = "in_seconds"
    }

    /// A rung that is due.
    public init(rung: String, direction: String, rule: String, inSeconds: Double) {
        self.rung = rung
        self.direction = direction
        self.rule = rule
        self.inSeconds = inSeconds
    }
}
