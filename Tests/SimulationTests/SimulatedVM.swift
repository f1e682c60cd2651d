// What the machines of the simulated host send and are sent.

import Mitigation
import Seeded

/// What a VM does.
enum Source: CaseIterable {
    case quiet
    /// A steady load at six tenths of the mark.
    case constant
    /// Up to nine tenths of the mark.
    case slowGrowth
    /// Three times the mark, for too short a time each.
    case bursts
    /// UDP without end.
    case flood
    /// Backs off to what is let through.
    case tcp
    case oscillator
    /// Large packets until it is limited, then small ones.
    case sizeSwitcher
    /// Few frames of 16,000 bytes: bits over the mark, packets below it.
    case segmented
    /// Flooded from outside.
    case victim
    /// Flooded from outside, and answers below the mark.
    case reflector
    /// Sends and is flooded.
    case both

    /// Never a flood, in any direction.
    var isInnocent: Bool {
        switch self {
        case .quiet, .constant, .slowGrowth, .bursts: true
        default: false
        }
    }

    /// Never a flood in what it sends.
    var neverFloods: Bool { isInnocent || self == .victim || self == .reflector }
}

/// What a port is in a cloudspace that several ports of the host share.
struct CloudPlace: Hashable {
    enum Role: String, CaseIterable {
        case vm
        /// A router's leg towards the VMs, and the one towards the world.
        case inner = "spc"
        case outer = "pub"
        case vtep = "vx"
    }

    var role: Role
    var netid: String

    /// One whose VMs send through the router, and one whose VMs send to each other.
    static let routed = "2000"
    static let netids = [routed, "2001"]

    /// What a port of this name is.
    init?(_ name: String) {
        let parts = name.split(separator: "-").map(String.init)
        guard let role = parts.first.flatMap(Role.init(rawValue:)), let netid = parts.last,
            Self.netids.contains(netid)
        else { return nil }
        (self.role, self.netid) = (role, netid)
    }

    /// Whether it carries what VMs send, and nothing of its own.
    var isRelay: Bool { role != .vm }
}

/// Packets a second and their size, from the VM and to it.
struct Load {
    var packets: UInt64 = 0
    var size: UInt64 = 200
    var toPackets: UInt64 = 0
    var toSize: UInt64 = 200

    static let quiet = Load(packets: 50, toPackets: 50)
}

/// A VM behind a tap.
struct SimulatedVM {
    /// The marks of every class: packets a second; bits are 10,000 times as many.
    static let mark: UInt64 = 10_000

    var source: Source
    var strength: UInt64
    /// Tenths of a second.
    var phase: UInt64
    /// It has gone quiet for good.
    var isDone = false

    init(_ source: Source, _ random: inout SplitMix) {
        self.source = source
        strength = random.value(2...12)
        phase = random.value(4...120)
    }

    /// What it does at this moment under these limits.
    func load(milliseconds: UInt64, limits: Limits?) -> Load {
        if isDone { return .quiet }
        let mark = Self.mark
        let tenths = milliseconds / 100
        let cap = limits?.from?.cap
        switch source {
        case .quiet: return .quiet
        case .constant: return Load(packets: mark * 6 / 10, size: 120, toPackets: 400)
        case .slowGrowth: return Load(packets: min(milliseconds / 5, mark * 9 / 10), size: 130)
        case .bursts: return tenths % 20 < 3 ? Load(packets: mark * 3, size: 100) : .quiet
        case .flood: return Load(packets: mark * strength)
        case .tcp:
            let rate = mark * strength
            guard let cap else { return Load(packets: rate, size: 1_000) }
            let passed = min(cap.packets.perSecond, cap.bits.bitsPerSecond / 8_000)
            return Load(packets: min(rate, passed * 105 / 100), size: 1_000)
        case .oscillator:
            return tenths % phase < phase / 2 ? Load(packets: mark * strength) : .quiet
        case .sizeSwitcher: return Load(packets: mark * strength, size: limits == nil ? 700 : 60)
        case .segmented: return Load(packets: 2_000 + 300 * strength, size: 16_000)
        case .victim: return Load(packets: 20, toPackets: mark * strength)
        case .reflector:
            return Load(packets: mark * 8 / 10, size: 100, toPackets: mark * strength)
        case .both: return Load(packets: mark * strength, toPackets: mark * strength)
        }
    }
}
