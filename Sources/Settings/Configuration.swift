// What the daemon was told to do: the rules of the decision and the settings of what obeys it.
// Invariant: a value of this type passed every check of `ConfigurationReader`, or is the built-in
// default, which Configs/sluiced.toml spells out key by key.

import ControlAPI
package import Mitigation
package import TrafficControl

/// The daemon's configuration.
package struct Configuration: Hashable, Sendable {
    /// The rules of the decision, the marks included.
    package var policy: Policy
    /// What makes an interface a port.
    package var names: PortNames
    /// Whether counters come from a walk in the kernel where that is allowed.
    package var usesBPFCounters = true
    /// How the limits are held in the kernel.
    package var enforcement = TrafficControlSettings()
    /// What ports may never send, by the configuration.
    package var guards = GuardBook()
    /// Where files of single ports say so.
    package var guardFolder = "/etc/sluice/guards.d"
    /// How a virtual machine is stopped.
    package var shutdown = ShutdownSettings()
    /// The Unix socket.
    package var control = ControlSettings()
    /// Where alerts go.
    package var syslog = SyslogSettings()
    /// Where the journal is kept.
    package var journal = JournalSettings()
    /// What the turn does on its own account.
    package var turn = TurnSettings()
    /// What is written down for a replay.
    package var recording = RecordingSettings()
    /// The packet samples of trips.
    package var evidence = EvidenceSettings()

    /// The built-in default: what an empty file means.
    package init() {
        policy = Policy()
        policy.marks = Configuration.defaultMarks
        names = PortNames.default
    }

    /// The marks of an empty file. Configs/sluiced.toml says why they are what they are.
    package static var defaultMarks: [PortClass: Marks] {
        [
            .vm: marks(from: (30_000, 1_000_000_000), to: (60_000, 2_000_000_000)),
            .router: marks(from: (60_000, 2_000_000_000), to: (60_000, 2_000_000_000)),
            .vtep: marks(from: (60_000, 2_000_000_000), to: (60_000, 2_000_000_000)),
            .backend: marks(from: (200_000, 8_000_000_000), to: (200_000, 8_000_000_000)),
        ]
    }

    private static func marks(from: (UInt64, UInt64), to: (UInt64, UInt64)) -> Marks {
        Marks(
            from: Mark(
                packets: PacketRate(perSecond: from.0), bits: BitRate(bitsPerSecond: from.1)),
            to: Mark(packets: PacketRate(perSecond: to.0), bits: BitRate(bitsPerSecond: to.1)))
    }

    /// The keys and tables that are only taken at start and say another thing than at that `start`; empty
    /// where all of this can be in force at once.
    package func waitingForRestart(since start: Configuration) -> [String] {
        let parts: [(name: String, isSame: Bool)] = [
            ("poll.counters", usesBPFCounters == start.usesBPFCounters),
            ("police.engine", enforcement.policer == start.enforcement.policer),
            ("tc.hook", enforcement.hook == start.enforcement.hook),
            (
                "tc.replace_foreign_root",
                enforcement.replacesForeignRoot == start.enforcement.replacesForeignRoot
            ),
            ("guards.engine", enforcement.guardEnforcer == start.enforcement.guardEnforcer),
            ("guards.directory", guardFolder == start.guardFolder),
            ("[control]", control == start.control), ("[syslog]", syslog == start.syslog),
            ("[journal]", journal == start.journal),
            ("[recording]", recording == start.recording),
            ("[evidence]", evidence == start.evidence),
        ]
        return parts.filter { !$0.isSame }.map(\.name)
    }
}

/// The daemon's Unix socket, and who may use it.
package struct ControlSettings: Hashable, Sendable {
    /// Its absolute path, at most 90 bytes (`sun_path` has 108, and the temporary name is longer).
    package var socket = Product.defaultSocket
    /// Members of this group may read; the socket's file belongs to it. nil: root only.
    package var readers: String?
    /// Members of this group may also act (release). nil: root only.
    package var operators: String?
    /// More connections than this at a time are closed at once; a quarter is kept for those who may
    /// act.
    package var maximumConnections = 64

    /// The defaults.
    package init() {}
}

/// Where alerts go.
package struct SyslogSettings: Hashable, Sendable {
    /// syslog(3)'s facilities that a daemon may use.
    package enum Facility: String, Hashable, CaseIterable, Sendable {
        /// LOG_USER
        case user
        /// LOG_DAEMON
        case daemon
        /// LOG_LOCAL0
        case local0
        /// LOG_LOCAL1
        case local1
        /// LOG_LOCAL2
        case local2
        /// LOG_LOCAL3
        case local3
        /// LOG_LOCAL4
        case local4
        /// LOG_LOCAL5
        case local5
        /// LOG_LOCAL6
        case local6
        /// LOG_LOCAL7
        case local7

        /// The facility as `<syslog.h>` has it: the code shifted by three bits.
        package var code: Int32 {
            switch self {
            case .user: 1 << 3
            case .daemon: 3 << 3
            case .local0: 16 << 3
            case .local1: 17 << 3
            case .local2: 18 << 3
            case .local3: 19 << 3
            case .local4: 20 << 3
            case .local5: 21 << 3
            case .local6: 22 << 3
            case .local7: 23 << 3
            }
        }
    }

    /// The facility of every line.
    package var facility: Facility = .daemon

    /// The defaults.
    package init() {}
}

/// Where the journal's files are.
package struct JournalSettings: Hashable, Sendable {
    /// The durable copy's folder (systemd's StateDirectory).
    package var directory = "/var/lib/sluice"
    /// The folder in memory (systemd's RuntimeDirectory, kept over a restart).
    package var runtime = "/run/sluice"

    /// The defaults.
    package init() {}
}

/// What the turn does on its own account.
package struct TurnSettings: Hashable, Sendable {
    /// How often in a minute what somebody takes out of a port is put back.
    package var repairsPerMinute = 10

    /// The defaults.
    package init() {}
}

/// What the daemon writes down of what it sees, for `sluicectl replay`.
package struct RecordingSettings: Hashable, Sendable {
    /// Whether anything is.
    package var isEnabled = true
    /// Where its files are: by default a folder in the journal's.
    package var directory = JournalSettings().directory + "/record"
    /// How often the counters of all ports that moved are written.
    package var interval: Duration = .seconds(10)
    /// The most bytes of all files together: the oldest go first.
    package var quota: UInt64 = 256_000_000

    /// The defaults.
    package init() {}
}

/// The packet samples that are taken when a port trips.
package struct EvidenceSettings: Hashable, Sendable {
    /// Whether any are.
    package var isEnabled = true
    /// Where they are kept: a folder in the journal's.
    package var directory = JournalSettings().directory + "/evidence"
    /// The most bytes of all files together: the oldest go first.
    package var quota: UInt64 = 64_000_000

    /// The defaults.
    package init() {}
}
