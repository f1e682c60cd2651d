// A control server on a socket of its own, with a turn that answers as a test wants.

import ControlAPI
import Evidence
import Glibc
import LinuxSystem
import Mitigation
import Synchronization
import SystemPackage

@testable import Daemon
@testable import Settings

/// A turn that answers as a test wants.
final class TestTurn: Sendable {
    typealias Answer = @Sendable (ControlRequest) -> ControlReply?

    /// How many requests were taken.
    let taken = Atomic<Int>(0)
    /// Replies that are owed, where they were not given at once.
    let owed = Mutex<[Mailbox.Reply]>([])

    private let answer: Answer

    init(answer: @escaping Answer) { self.answer = answer }

    /// Takes every request.
    func take(from mailbox: Mailbox) {
        var again = true
        while again {
            again = mailbox.drain { request, reply in
                taken.add(1, ordering: .relaxed)
                if let answer = answer(request) {
                    reply(answer)
                } else {
                    owed.withLock { $0.append(reply) }
                }
            }
        }
    }
}

/// Hands a mailbox to the closure that wakes its turn.
private final class Later: Sendable {
    let mailbox = Mutex<Mailbox?>(nil)
}

/// A server and its turn. The turn runs on the server's thread, in the mailbox's wake.
final class ControlHarness: Sendable {
    let path: String

    private let turn: TestTurn
    private let mailbox: Mailbox
    private let server: ControlServer
    /// What was told; what is added to it is told to those who listen.
    let history = EventHistory(startedAt: 7, ControlHarness.told)

    private static let count = Atomic<Int>(0)

    /// How many requests the turn took.
    var takenCount: Int { turn.taken.load(ordering: .relaxed) }

    /// The replies that the turn owes.
    var owed: [Mailbox.Reply] { turn.owed.withLock { $0 } }

    /// A path that no other test uses.
    static func freshPath() -> String {
        let number = count.wrappingAdd(1, ordering: .relaxed).newValue
        return "/tmp/sluice-test-\(ProcessID.own)-\(number).sock"
    }

    /// - Parameters:
    ///   - drains: false: the turn never comes.
    ///   - answer: the turn; nil leaves the reply in `owed`.
    init(
        limits: ControlLimits = ControlLimits(), maximumConnections: Int = 64, capacity: Int = 64,
        access: ControlAccess = .act, drains: Bool = true,
        answer: @escaping TestTurn.Answer = ControlHarness.usual
    ) throws {
        path = Self.freshPath()
        let turn = TestTurn(answer: answer)
        let later = Later()
        mailbox = Mailbox(capacity: capacity) {
            guard drains, let mailbox = later.mailbox.withLock({ $0 }) else { return }
            turn.take(from: mailbox)
        }
        self.turn = turn
        var settings = ControlSettings()
        settings.socket = path
        settings.maximumConnections = maximumConnections
        server = ControlServer(
            settings: settings, limits: limits, mailbox: mailbox, history: history,
            version: "9.9.9",
            authorize: { _ in access })
        later.mailbox.withLock { [mailbox] in $0 = mailbox }
        try server.start()
    }

    deinit { server.stop() }

    /// One turn.
    func takeAll() { turn.take(from: mailbox) }

    /// Answers as a healthy daemon with one port does.
    static let usual: @Sendable (ControlRequest) -> ControlReply = { request in
        switch request {
        case .status: .status(ControlHarness.status)
        case .port("vm-1-ff"): .port(ControlHarness.port)
        case .port, .explain: .problem(404, Problem(error: "there is no port of this name"))
        case .metrics: .metrics(ControlHarness.status, SelfHealth())
        case .evidence(.list):
            .evidenceList(EvidenceList(evidence: [EvidenceItem(ControlHarness.evidence)]))
        case .evidence(.report(7)): .evidence(ControlHarness.evidence)
        case .evidence(.packets(7)): .packets([0x4d, 0x3c, 0, 0xff, 0x0d, 0x0a])
        case .evidence: .problem(404, Problem(error: "there is no sample of this incident"))
        case .release(let request, _):
            .release(ReleaseReply(released: [request.port ?? "all"], failed: [:]))
        case .export(let name):
            PortName(escaped: name).map {
                .export(
                    PortDocument(
                        name: $0, address: [], exportedAt: Instant(nanoseconds: 0),
                        memory: PortMemory()))
            } ?? .problem(404, Problem(error: "there is no port of this name"))
        case .importPort(let document, _):
            .imported(ImportReply(port: "\(document.name)", rung: "normal", waits: true))
        case .order(let order, let request, _):
            .ordered(
                OrderReply(
                    port: request.port, rung: "police",
                    order: OrderStatus(
                        order: order.rawValue, secondsLeft: request.seconds.map(Double.init),
                        reason: request.reason, user: 0, saidAt: 1)))
        case .takeBackOrder(let request, _), .escalate(let request, _):
            .ordered(OrderReply(port: request.port, rung: "police", order: nil))
        case .mode(let mode, let classes, let reason, _):
            .modes(
                ModeReply(
                    classes: classes.map {
                        ClassMode(
                            portClass: $0.rawValue, mode: mode?.rawValue ?? "enforce",
                            origin: mode == nil ? "configuration" : "operator", user: 0,
                            reason: reason, saidAt: 1)
                    }))
        case .reload: .reloaded(ReloadReply(file: "/etc/sluice/sluiced.toml", note: nil))
        case .health: .healthy
        }
    }

    /// An incident, from its trip on.
    static let told = [
        ToldLine(
            number: 41, at: 1.5, severity: "warning",
            line: "event=move seq=1 incident=1 port=vm-1-ff ifindex=7 from=normal to=police "
                + "rule=sustained direction=from pps=20000 bps=40000000 against_pps=10000 "
                + "against_bps=0 mode=enforce"),
        ToldLine(
            number: 42, at: 2.5, severity: "notice",
            line: "event=path seq=2 incident=1 port=vm-1-ff ifindex=7 path=vm-1-ff mode=enforce"),
    ]

    static var evidence: EvidenceReport {
        EvidenceReport(
            incident: 7, port: "vm-1-ff", direction: "from", mode: "enforce", takenAt: 1.5,
            unseen: 2, cutShort: "the interface is gone",
            summary: SampleSummary(
                [
                    SampledPacket(
                        nanoseconds: 1, length: 64, bytes: [UInt8](repeating: 0x11, count: 64))
                ], sources: .machine(interface: nil)))
    }

    static var port: PortStatus {
        PortStatus(
            name: "vm-1-ff", index: 7, portClass: "vm", pattern: "vm-<num>-<netid>", netid: "00ff",
            rung: "police",
            onRungSeconds: 12, incident: 1, isVictim: false,
            offered: Loads(
                from: Load(packetsPerSecond: 20_000, bitsPerSecond: 40_000_000), to: nil),
            delivered: nil, lane: nil, cap: nil, delayMilliseconds: nil,
            enforcement: "act_police", problem: nil)
    }

    static var status: Status {
        Status(
            version: "9.9.9", pid: 1, mode: "enforce", uptimeSeconds: 1, kernel: "6.1.0",
            kernelNotes: [], polls: 10, pollMilliseconds: 100, latePolls: 0, mitigated: 1,
            breaker: nil, ports: [port])
    }

    // MARK: - The client's side

    func connect() throws -> PeerSocket {
        try PeerSocket.connect(path: path, timeout: .seconds(10))
    }

    /// All that arrives until the server closes.
    static func everything(from peer: borrowing PeerSocket) throws -> String {
        var bytes: [UInt8] = []
        while let chunk = try next(peer) { bytes += chunk }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// nil at the end, also where the server closed with bytes of ours unread.
    private static func next(_ peer: borrowing PeerSocket) throws(Errno) -> [UInt8]? {
        do throws(Errno) {
            let chunk = try peer.receive()
            return chunk.isEmpty ? nil : chunk
        } catch .connectionReset {
            return nil
        }
    }

    /// One request on a connection of its own.
    func ask(_ method: String, _ path: String, body: String = "") throws -> Answer {
        let peer = try connect()
        try peer.send(
            ("\(method) \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)").utf8)
        return Answer(try Self.everything(from: peer))
    }
}

/// An answer, taken apart no further than the tests need.
struct Answer {
    let status: Int
    let head: String
    let body: String

    init(_ text: String) {
        let end = text.firstRange(of: "\r\n\r\n")
        head = end.map { String(text[..<$0.lowerBound]) } ?? text
        body = end.map { String(text[$0.upperBound...]) } ?? ""
        status = Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0
    }
}

/// What a test needs to know of a socket's file.
enum ControlFiles {
    private static func status(of path: String) throws(Errno) -> stat {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { throw Errno(rawValue: errno) }
        return status
    }

    /// The permission bits.
    static func mode(of path: String) throws(Errno) -> UInt32 {
        try status(of: path).st_mode & 0o7777
    }

    static func inode(of path: String) throws(Errno) -> UInt64 {
        UInt64(try status(of: path).st_ino)
    }

    /// Leaves a socket as a crash does, which nobody serves: returns its inode.
    static func leaveStaleSocket(at path: String) throws -> UInt64 {
        try abandon(PeerListener.bind(path: path + ".0", mode: 0o777), at: path)
        return try inode(of: path)
    }

    /// Renamed, so that its owner does not find and remove it.
    private static func abandon(_ listener: borrowing PeerListener, at path: String) throws(Errno) {
        guard unsafe rename(path + ".0", path) == 0 else { throw Errno(rawValue: errno) }
    }
}

/// This process.
enum ProcessID {
    static let own = getpid()
}
