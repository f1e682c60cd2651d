// What operators may say of ports and classes, and what is in force of it.

/// What an operator says of a port: the body of `POST /v1/hold`, `/v1/exempt`, `/v1/disable`,
/// `/v1/enable` and `/v1/escalate`.
public struct OrderRequest: Codable, Hashable, Sendable {
    /// The longest reason, in bytes of UTF-8.
    public static let longestReason = 200
    /// The longest time, in seconds: 90 days.
    public static let longestTime: UInt64 = 90 * 86_400

    /// The port's name, escaped as `status` prints it.
    public var port: String
    /// For so many seconds; nil: until it is taken back. Of `hold` and `exempt`.
    public var seconds: UInt64?
    /// Why, for whoever comes after.
    public var reason: String?

    /// A word on a port.
    public init(port: String, seconds: UInt64? = nil, reason: String? = nil) {
        self.port = port
        self.seconds = seconds
        self.reason = reason
    }
}

/// What is in force of what an operator said of a port.
public struct OrderStatus: Codable, Hashable, Sendable {
    /// `hold` or `exempt`.
    public var order: String
    /// For so many seconds more; nil: until it is taken back.
    public var secondsLeft: Double?
    /// Why; nil where nothing was said.
    public var reason: String?
    /// The effective user who said it.
    public var user: UInt32
    /// Seconds since 1970.
    public var saidAt: Int64

    enum CodingKeys: String, CodingKey {
        case order, reason, user
        case secondsLeft = "seconds_left"
        case saidAt = "said_at"
    }

    /// An order in force.
    public init(
        order: String, secondsLeft: Double?, reason: String?, user: UInt32, saidAt: Int64
    ) {
        self.order = order
        self.secondsLeft = secondsLeft
        self.reason = reason
        self.user = user
        self.saidAt = saidAt
    }
}

/// What became of a word on a port.
public struct OrderReply: Codable, Hashable, Sendable {
    /// The port's name, escaped.
    public var port: String
    /// Its rung now.
    public var rung: String
    /// What is in force; nil: the rules decide.
    public var order: OrderStatus?
    /// What stands in the way of it, in a sentence.
    public var problem: String?

    /// What became of it.
    public init(port: String, rung: String, order: OrderStatus?, problem: String? = nil) {
        self.port = port
        self.rung = rung
        self.order = order
        self.problem = problem
    }
}

/// Whether a class's decisions are carried out: the body of `POST /v1/mode`.
public struct ModeRequest: Codable, Hashable, Sendable {
    /// Takes a word back: the configuration's mode holds.
    public static let configured = "configured"

    /// `vm`, `router`, `vtep` or `backend`; nil: all of them.
    public var portClass: String?
    /// `observe`, `enforce`, or `configured`.
    public var mode: String
    /// Why, for whoever comes after.
    public var reason: String?

    enum CodingKeys: String, CodingKey {
        case mode, reason
        case portClass = "class"
    }

    /// A mode for a class, or for all.
    public init(portClass: String?, mode: String, reason: String? = nil) {
        self.portClass = portClass
        self.mode = mode
        self.reason = reason
    }
}

/// A class's mode, and who says so.
public struct ClassMode: Codable, Hashable, Sendable {
    /// `vm`, `router`, `vtep` or `backend`.
    public var portClass: String
    /// `enforce` or `observe`.
    public var mode: String
    /// `configuration` or `operator`.
    public var origin: String
    /// The effective user who said it; nil for the configuration.
    public var user: UInt32?
    /// Why; nil where nothing was said.
    public var reason: String?
    /// Seconds since 1970; nil for the configuration.
    public var saidAt: Int64?

    enum CodingKeys: String, CodingKey {
        case mode, origin, user, reason
        case portClass = "class"
        case saidAt = "said_at"
    }

    /// A class's mode.
    public init(
        portClass: String, mode: String, origin: String, user: UInt32?, reason: String?,
        saidAt: Int64?
    ) {
        self.portClass = portClass
        self.mode = mode
        self.origin = origin
        self.user = user
        self.reason = reason
        self.saidAt = saidAt
    }
}

/// The classes' modes: the answer to `POST /v1/mode`.
public struct ModeReply: Codable, Hashable, Sendable {
    /// In the order vm, router, vtep, backend.
    public var classes: [ClassMode]

    /// The classes' modes.
    public init(classes: [ClassMode]) { self.classes = classes }
}

/// What became of a reload: the answer to `POST /v1/reload`.
public struct ReloadReply: Codable, Hashable, Sendable {
    /// The file that was read.
    public var file: String
    /// What of it waits for a restart, in a sentence; nil: nothing.
    public var note: String?

    /// A configuration that is in force.
    public init(file: String, note: String?) {
        self.file = file
        self.note = note
    }
}
