// HTTP over a Unix socket, on one thread of its own.
// Invariants: the turn's thread only ever tries a lock and writes an eventfd, so that no client can
// delay it; every connection is bounded in bytes and in time, and so is their number; who may do
// what is decided once, from the kernel's word on the peer, before its first byte is read.

import ControlAPI
package import LinuxSystem
import NIOCore
import NIOHTTP1
import NIOPosix
package import Settings
import Synchronization
import SystemPackage

/// Why the socket cannot be served.
package enum ControlServerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A group of the configuration that this system does not have.
    case group(key: String, name: String, reason: String)
    /// The socket cannot be bound under its name.
    case bind(path: String, PeerListener.BindError)
    /// The event loop cannot serve it.
    case serve(path: String, reason: String)

    /// One sentence and its cure.
    package var description: String {
        switch self {
        case .group(let key, let name, let reason):
            "\(key): there is no group \"\(name)\" (\(reason)); make it, or take the key out"
        case .bind(let path, .served):
            "\(path) is served by another daemon; stop that one first"
        case .bind(let path, .notSocket):
            "\(path) is a file and no socket; remove it, or set control.socket elsewhere"
        case .bind(let path, .refused(step: "chown", .notPermitted)):
            "\(path) cannot be given to the group of control.group (or control.operators), of which the "
                + "daemon is no member; add SupplementaryGroups= to its unit (systemctl edit sluiced)"
        case .bind(let path, let error):
            "\(path) cannot be bound: \(error); its folder must exist and be ours to write"
        case .serve(let path, let reason):
            "\(path) cannot be served: \(reason)"
        }
    }
}

/// What every connection is held to.
package struct ControlLimits: Hashable, Sendable {
    /// From a request's first byte to the last byte of its answer.
    package var deadline: Duration = .seconds(5)
    /// Between requests on a connection that is kept.
    package var idle: Duration = .seconds(30)
    /// Request line and headers.
    package var headBytes = 16 * 1024
    /// A request's body.
    package var bodyBytes = 64 * 1024

    /// The defaults.
    package init() {}
}

/// Serves the daemon's socket until stopped.
package final class ControlServer: Sendable {
    private struct Running: ~Copyable, Sendable {
        let group: MultiThreadedEventLoopGroup
        let listener: PeerListener
    }

    private let settings: ControlSettings
    private let limits: ControlLimits
    private let mailbox: Mailbox
    private let history: EventHistory
    private let version: String
    private let authorize: (@Sendable (PeerCredentials) -> ControlAccess)?
    private let refused = ControlRefusals()
    private let running = Mutex<Running?>(nil)

    /// How often it said no, and why. Never waits.
    package var refusals: [ControlRefusal: UInt64] { refused.counts }

    /// A server that does not serve yet.
    ///
    /// - Parameters:
    ///   - settings: where, for whom, and how many at a time.
    ///   - limits: what every connection is held to.
    ///   - mailbox: where requests are left for the turn.
    ///   - history: what was told, and is.
    ///   - version: what `GET /v1/version` says.
    ///   - authorize: decides in place of `settings`' groups; called on the server's thread.
    package init(
        settings: ControlSettings, limits: ControlLimits = ControlLimits(), mailbox: Mailbox,
        history: EventHistory, version: String,
        authorize: (@Sendable (PeerCredentials) -> ControlAccess)? = nil
    ) {
        self.settings = settings
        self.limits = limits
        self.mailbox = mailbox
        self.history = history
        self.version = version
        self.authorize = authorize
    }

    /// Binds the socket (mode 0660, the configured group, before it has its name) and serves it.
    /// Returns once it is reachable. Waits: for the main thread before the first turn.
    ///
    /// - Throws: `ControlServerError` with its cure; nothing is left behind.
    package func start() throws(ControlServerError) {
        let groups = try ControlAuthorizer(settings: settings)
        let authorize = authorize ?? groups.access(of:)
        var listener: PeerListener
        let bell: ReplyBell
        do throws(PeerListener.BindError) {
            listener = try PeerListener.bind(
                path: settings.socket, mode: 0o660, group: groups.fileGroup)
        } catch {
            throw .bind(path: settings.socket, error)
        }
        do throws(Errno) {
            bell = try ReplyBell()
        } catch {
            throw .serve(path: settings.socket, reason: "eventfd: \(error)")
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do {
            try serve(listener.takeDescriptor(), bell: bell, on: group, authorize: authorize)
        } catch {
            try? group.syncShutdownGracefully()
            throw .serve(path: settings.socket, reason: "\(error)")
        }
        var started: Running? = Running(group: group, listener: listener)
        running.withLock { $0 = started.take() }
    }

    /// Closes every connection and removes the socket. Waits for the server's thread.
    package func stop() {
        guard let running = running.withLock({ $0.take() }) else { return }
        try? running.group.syncShutdownGracefully()
    }

    private func serve(
        _ descriptor: SystemPackage.FileDescriptor?, bell: ReplyBell,
        on group: MultiThreadedEventLoopGroup,
        authorize: @escaping @Sendable (PeerCredentials) -> ControlAccess
    ) throws {
        guard let descriptor else { return }
        let table = NIOLoopBoundBox.makeBoxSendingValue(
            ControlTable(
                refusals: refused, history: history,
                mostListening: settings.mostListening), eventLoop: group.next())
        history.listen { bell.ring() }
        _ = try NIOPipeBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = ReplyBellHandler(table: table.value)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .takingOwnershipOfDescriptor(input: try bell.descriptor().rawValue).wait()
        let (settings, limits, mailbox, version) = (settings, limits, mailbox, version)
        _ = try ServerBootstrap(group: group)
            .childChannelOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096)
            )
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    let peer = try pipeline.withUnsafeTransportIfAvailable(
                        of: NIOBSDSocket.Handle.self
                    ) { try PeerCredentials(ofPeerAt: SystemPackage.FileDescriptor(rawValue: $0)) }
                    let access = peer.map(authorize) ?? ControlAccess.none
                    // Thrown: NIO closes the connection at once.
                    guard table.value.open < settings.mostConnections(for: access) else {
                        table.value.refusals.add(.connections)
                        throw ChannelError.inappropriateOperationForState
                    }
                    try Self.addHandlers(
                        to: pipeline,
                        router: ControlRouter(
                            access: access,
                            actor: ControlActor(user: peer?.user ?? 0, process: peer?.pid ?? 0),
                            version: version),
                        limits: limits, mailbox: mailbox, bell: bell, table: table.value)
                }
            }
            .withBoundSocket(descriptor.rawValue).wait()
    }

    /// The handlers of one connection, from its bytes to its answers.
    static func addHandlers(
        to pipeline: ChannelPipeline.SynchronousOperations, router: ControlRouter,
        limits: ControlLimits, mailbox: Mailbox, bell: ReplyBell, table: ControlTable
    ) throws {
        let bounds = RequestBounds(limits: limits)
        var decoderLimits = NIOHTTPDecoderLimitConfiguration()
        decoderLimits.maxHeaderFieldSize = limits.headBytes
        decoderLimits.maxHeaderListSize = limits.headBytes
        decoderLimits.maxHeaderFieldCount = 100
        let decoder = HTTPRequestDecoder(limitConfiguration: decoderLimits)
        try pipeline.addHandlers([
            HTTPResponseEncoder(), bounds, ByteToMessageHandler(decoder),
            ControlConnection(
                router: router, limits: limits, mailbox: mailbox, bell: bell, bounds: bounds,
                table: table),
        ])
    }
}
