// What was seen on a host, before anything is made of it: plain values, so that findings can be tested.
package import ControlAPI
package import Mitigation
package import Settings
package import TrafficControl

/// What was looked at, or why it could not be.
package enum Looked<Value: Sendable>: Sendable {
    /// This was seen.
    case seen(Value)
    /// It could not be looked at: a sentence.
    case hidden(String)

    /// What was seen; nil where it could not be looked at.
    package var value: Value? {
        if case .seen(let value) = self { value } else { nil }
    }
}

/// A port that a class claims.
package struct PortFacts: Sendable {
    /// Its name.
    package var name: PortName
    /// The class that claims it.
    package var portClass: PortClass
    /// Who owns what on it.
    package var owners: Looked<PortOwners>
    /// Whether its filters may be carried out by hardware.
    package var isOffloading: Bool

    /// A port of these facts.
    package init(
        name: PortName, portClass: PortClass, owners: Looked<PortOwners>, isOffloading: Bool = false
    ) {
        self.name = name
        self.portClass = portClass
        self.owners = owners
        self.isOffloading = isOffloading
    }
}

/// An interface that no class claims and that looks like a VM's.
package struct UnclaimedLink: Hashable, Sendable {
    /// What it is.
    package enum Kind: String, Hashable, Sendable {
        /// An Ethernet tap.
        case tap
        /// A tap on a macvlan.
        case macvtap
        /// A tap on an ipvlan.
        case ipvtap
    }

    /// Its name.
    package var name: PortName
    /// What it is.
    package var kind: Kind

    /// An interface of this kind.
    package init(name: PortName, kind: Kind) {
        self.name = name
        self.kind = kind
    }
}

/// A virtual machine with network interfaces in a switch's own memory.
package struct VhostUserMachine: Hashable, Sendable {
    /// QEMU's process.
    package var pid: Int32
    /// The name that it was given.
    package var name: String?
    /// How many such interfaces it has.
    package var interfaces: Int

    /// A machine of this process.
    package init(pid: Int32, name: String?, interfaces: Int) {
        self.pid = pid
        self.name = name
        self.interfaces = interfaces
    }
}

/// Virtual functions of a NIC.
package struct VirtualFunctions: Hashable, Sendable {
    /// The NIC's interface.
    package var device: String
    /// How many there are.
    package var count: Int
    /// How many of them are handed to virtual machines (vfio-pci).
    package var passedThrough: Int

    /// Virtual functions of this NIC.
    package init(device: String, count: Int, passedThrough: Int) {
        self.device = device
        self.count = count
        self.passedThrough = passedThrough
    }
}

/// What the daemon said of itself.
package enum DaemonLook: Sendable {
    /// Its status and its metrics.
    case answers(Status, Metrics)
    /// It answers others: why not us.
    case denied(String)
    /// It does not answer: why.
    case silent(String)
}

/// A file, a folder or a socket.
package struct FileFacts: Hashable, Sendable {
    /// What it is.
    package enum Kind: Hashable, Sendable {
        /// A regular file.
        case file
        /// A folder.
        case folder
        /// A Unix socket.
        case socket
        /// Anything else.
        case other
    }

    /// What it is.
    package var kind: Kind
    /// Its owner's number.
    package var user: UInt32
    /// Its group's number.
    package var group: UInt32
    /// Its permissions, as chmod(1) takes them.
    package var mode: UInt16
    /// Seconds since it was written.
    package var ageSeconds: Double
    /// Its length in bytes.
    package var bytes: UInt64

    /// A file of these properties.
    package init(
        kind: Kind, user: UInt32, group: UInt32, mode: UInt16, ageSeconds: Double = 0,
        bytes: UInt64 = 0
    ) {
        self.kind = kind
        self.user = user
        self.group = group
        self.mode = mode
        self.ageSeconds = ageSeconds
        self.bytes = bytes
    }
}

/// The folder of the recording.
package struct RecordingFacts: Hashable, Sendable {
    /// Bytes of all its files.
    package var bytes: UInt64
    /// Seconds since the newest was written; nil where there is none.
    package var ageSeconds: Double?

    /// A folder of these properties.
    package init(bytes: UInt64, ageSeconds: Double?) {
        self.bytes = bytes
        self.ageSeconds = ageSeconds
    }
}

/// A mistake in a file that an operator wrote.
package struct Mistake: Hashable, Sendable {
    /// `FILE:LINE:COLUMN: error: what is wrong`
    package var sentence: String
    /// What to write instead.
    package var cure: String?

    /// A mistake.
    package init(sentence: String, cure: String?) {
        self.sentence = sentence
        self.cure = cure
    }

    /// A mistake that was found when the file was read.
    init(_ problem: ConfigurationProblem) {
        var bare = problem
        bare.cure = nil
        self.init(sentence: bare.description, cure: problem.cure)
    }
}

/// Whether the daemon runs what stands in the file.
package enum RunningText: Hashable, Sendable {
    /// The same bytes.
    case same
    /// Other bytes.
    case other
    /// It cannot be told.
    case unknown
}

/// Everything that was seen.
package struct HostFacts: Sendable {
    /// The kernel's release.
    package var release = ""
    /// What the kernel has.
    package var kernel: Looked<KernelParts> = .hidden("not looked at")
    /// The clock that the kernel keeps time by: `tsc`; nil where it does not say.
    package var clockSource: String?
    /// The claimed ports.
    package var ports: Looked<[PortFacts]> = .seen([])
    /// The others that look like a VM's.
    package var unclaimed: [UnclaimedLink] = []
    /// NICs that no class claims, and whose filters may be carried out by hardware.
    package var offloadingDevices: [PortName] = []
    /// Machines on vhost-user.
    package var vhostUser: [VhostUserMachine] = []
    /// Processes whose command line could not be read.
    package var hiddenProcesses = 0
    /// NICs with virtual functions.
    package var virtualFunctions: [VirtualFunctions] = []
    /// The daemon.
    package var daemon: DaemonLook = .silent("not asked")
    /// The client's version.
    package var version = Product.version
    /// The daemon's socket.
    package var socketPath = Product.defaultSocket
    /// What is at its path; nil where nothing is.
    package var socket: Looked<FileFacts?> = .seen(nil)
    /// The number of the group that the socket should belong to; nil where none is configured.
    package var socketGroup: UInt32?
    /// The state folder.
    package var stateFolder: Looked<FileFacts?> = .seen(nil)
    /// Bytes free on its disk, for those who may write there; nil where it is not known.
    package var freeBytes: UInt64?
    /// The journal in memory.
    package var journal: Looked<FileFacts?> = .seen(nil)
    /// Its copy on disk.
    package var durableJournal: Looked<FileFacts?> = .seen(nil)
    /// The recording's folder; nil where there is none.
    package var recording: Looked<RecordingFacts?> = .seen(nil)
    /// Paths at which a log daemon listens.
    package var logSockets: [String] = []
    /// The configuration's file.
    package var configurationPath = Configuration.defaultPath
    /// What it says; the built-in one where it cannot be read.
    package var configuration = Configuration()
    /// Its mistakes, and those of the files of guards.
    package var mistakes: [Mistake] = []
    /// Whether it could be read at all by this user.
    package var isConfigurationReadable = true
    /// Whether the daemon runs it.
    package var runningText = RunningText.unknown

    /// Nothing was seen yet.
    package init() {}
}
