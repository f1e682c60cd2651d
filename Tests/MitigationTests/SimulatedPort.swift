// A port of the simulated host: what its VM sends and is sent, its counters, its kernel objects, and
// what was told of it.

import Mitigation

/// What a VM does.
enum Source: CaseIterable {
    case quiet
    /// Up to nine tenths of the mark.
    case slowGrowth
    case flood
    /// Large packets until it is limited, then small ones.
    case sizeSwitcher
    case oscillator
    /// Backs off to what is let through.
    case tcp
    /// Flooded from outside.
    case victim
    /// Flooded from outside, and answers below the mark.
    case reflector
    /// Sends and is flooded.
    case both
    /// A kernel that reports anything.
    case hostile

    /// Never over a mark in any direction.
    var isInnocent: Bool { self == .quiet || self == .slowGrowth }
    /// Never over a mark in what it sends.
    var neverFloods: Bool { isInnocent || self == .victim || self == .reflector }
}

/// One direction as it was sampled, and as it was told.
struct SimulatedDirection {
    /// Over the mark, in each poll, the latest last.
    var over: [Bool] = []
    /// Polls in a row that were far over the mark.
    var fast = 0
    /// The latest sample that was not below the low mark.
    var notLowAt: UInt64 = 0
    /// The rung that was told, and when.
    var rung = Rung.normal
    var since: UInt64 = 0
    /// When something was told of a rung that was not reached.
    var told: [String: UInt64] = [:]
    /// When a climb was refused, by the rung that was asked for.
    var refusedAt: [Rung: UInt64] = [:]
}

struct SimulatedPort {
    var port: Port
    var source: Source
    var slot: Int
    var phase: UInt64
    var strength: UInt64
    var counters = Counters()
    var passed = DeliveredCounters()

    var limits: Limits?
    var isDown = false
    /// What was asked, and the poll in which it is answered.
    var asked: (action: Action, answerAt: Int)?
    /// What was answered `unknown`, and when.
    var doubted: (action: Action, at: UInt64)?
    /// The limits, or the link, were answered `unknown`, and not `done` since.
    var limitsAreUncertain = false
    var linkIsUncertain = false
    /// The limits that were answered `done` last.
    var confirmed: Limits?
    var isReleasing = false
    /// The request that is out is an operator's.
    var askedByRelease = false

    var sampled: Counters?
    var sampledAt: UInt64 = 0
    var from = SimulatedDirection()
    var to = SimulatedDirection()
    /// What it sends was over 1.25 times its cap, in each poll, the latest last.
    var unresponsive: [Bool] = []
    var isAlarmed = false
    /// The VM has gone quiet for good.
    var isDone = false

    var id: PortID { port.id }
    var rung: Rung { max(from.rung, to.rung) }
    /// Limited, or about to be.
    var isEngaged: Bool { rung > .normal || asked != nil || doubted != nil || isUncertain }
    var isUncertain: Bool { limitsAreUncertain || linkIsUncertain }
    var isShuttingDown: Bool {
        isNewShutdown(asked?.action) || isNewShutdown(doubted?.action)
    }

    /// A port that was shut down may be taken down again, after an unknown probe.
    func isNewShutdown(_ action: Action?) -> Bool {
        action == .shutDown(id, true) && from.rung != .shutDown
    }

    subscript(direction: Direction) -> SimulatedDirection {
        get { direction == .from ? from : to }
        set {
            if direction == .from { from = newValue } else { to = newValue }
        }
    }

    mutating func note(_ action: Action, _ outcome: Outcome, at: UInt64) {
        if case .unknown = outcome { doubted = (action, at) }
        switch (action, outcome) {
        case (.limit(_, let limits), .done):
            limitsAreUncertain = false
            confirmed = limits
        case (.shutDown, .done): linkIsUncertain = false
        case (.limit, .unknown): limitsAreUncertain = true
        case (.shutDown, .unknown): linkIsUncertain = true
        default: break
        }
    }

    /// An operator asks: everything is told anew.
    mutating func forgetTold() {
        for direction in Direction.allCases {
            self[direction].told = [:]
            self[direction].refusedAt = [:]
        }
    }

    mutating func endRelease() {
        if isReleasing { forgetTold() }
        isReleasing = false
    }

    /// What has to be asked for after `unknown` and `refused`: what belongs to the rungs.
    var restoring: Action? {
        guard isUncertain else { return nil }
        return linkIsUncertain ? .shutDown(id, from.rung == .shutDown) : .limit(id, confirmed)
    }

    /// Packets a second and their size, from the VM and to it, at `seconds` since the start.
    func load(at seconds: Double, mark: UInt64) -> Load {
        if isDown { return Load() }
        if isDone { return .quiet }
        let cap = limits?.from?.cap
        switch source {
        case .quiet, .hostile:
            return .quiet
        case .slowGrowth:
            return .flood(min(UInt64(seconds * 200), mark * 9 / 10), size: 400)
        case .flood:
            return .flood(mark * strength, size: 250)
        case .sizeSwitcher:
            return limits == nil
                ? .flood(mark * strength, size: 700) : .flood(mark * strength, size: 60)
        case .oscillator:
            let isOn = Int(seconds * 10) % Int(phase) < Int(phase) / 2
            return isOn ? .flood(mark * strength) : .quiet
        case .tcp:
            let rate = mark * strength
            guard let cap else { return .flood(rate, size: 1_000) }
            let packets = min(cap.packets.perSecond, cap.bits.bitsPerSecond / 8_000)
            return .flood(min(rate, packets * 105 / 100), size: 1_000)
        case .victim:
            return Load(packets: 20, toPackets: shaped(mark * strength))
        case .reflector:
            return Load(packets: mark * 8 / 10, size: 120, toPackets: shaped(mark * strength))
        case .both:
            return Load(packets: mark * strength, toPackets: shaped(mark * strength))
        }
    }

    /// What is sent to the VM is counted behind the shaper.
    private func shaped(_ packets: UInt64) -> UInt64 {
        guard let cap = limits?.to?.cap else { return packets }
        return min(packets, cap.packets.perSecond, cap.bits.bitsPerSecond / 2_000)
    }

    mutating func count(_ load: Load, milliseconds: UInt64) {
        let sent = load.packets * milliseconds / 1000
        let received = load.toPackets * milliseconds / 1000
        counters.fromPackets += sent
        counters.fromBytes += sent * load.size
        counters.toPackets += received
        counters.toBytes += received * load.toSize
        let allowed = limits?.from?.cap.packets.perSecond ?? load.packets
        let delivered = min(load.packets, allowed) * milliseconds / 1000
        passed.packets += delivered
        passed.bytes += delivered * load.size
    }
}
