// The turn's way back to the socket's thread: a box for one answer, and a bell.
// Invariant: the turn never waits: the box is not looked into before it is full, and the bell is
// one write to an eventfd.

import ControlAPI
import LinuxSystem
import NIOCore
import Synchronization
import SystemPackage

/// Wakes the socket's thread. Lives as long as anybody may still answer.
final class ReplyBell: Sendable {
    private let event: WakeUp

    init() throws(Errno) { event = try WakeUp() }

    /// A duplicate for the event loop to own: dup(2).
    func descriptor() throws(Errno) -> SystemPackage.FileDescriptor {
        do {
            return try SystemPackage.FileDescriptor(rawValue: event.descriptor).duplicate()
        } catch let error as Errno {
            throw error
        } catch {
            throw Errno.badFileDescriptor
        }
    }

    func ring() { event.signal() }
}

/// Holds the answer to one request until the socket's thread takes it.
final class ReplyBox: Sendable {
    private let reply = Mutex<ControlReply?>(nil)
    private let isFull = Atomic<Bool>(false)
    private let bell: ReplyBell

    init(bell: ReplyBell) { self.bell = bell }

    /// Called by the turn. Only the first answer counts.
    func fill(_ answer: ControlReply) {
        guard !isFull.load(ordering: .acquiring) else { return }
        reply.withLockIfAvailable { $0 = answer }
        isFull.store(true, ordering: .releasing)
        bell.ring()
    }

    /// Called by the socket's thread; nil where there is no answer yet.
    func take() -> ControlReply? {
        guard isFull.load(ordering: .acquiring) else { return nil }
        return reply.withLock { $0.take() }
    }
}

/// All connections of one server, those that wait for the turn, and those that listen. Belongs to its
/// event loop.
final class ControlTable {
    /// Connections that are open.
    var open = 0
    /// Connections whose request is with the turn.
    var waiting: [ObjectIdentifier: ControlConnection] = [:]
    /// Connections that are told what happens.
    var listening: [ObjectIdentifier: ControlConnection] = [:]
    /// What was refused.
    let refusals: ControlRefusals
    /// What was told.
    let history: EventHistory
    /// No more connections than these listen.
    let mostListening: Int

    init(
        refusals: ControlRefusals = ControlRefusals(), history: EventHistory,
        mostListening: Int
    ) {
        self.refusals = refusals
        self.history = history
        self.mostListening = mostListening
    }
}

/// Hands out answers whenever the bell rang.
final class ReplyBellHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let table: ControlTable

    init(table: ControlTable) { self.table = table }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        for connection in Array(table.waiting.values) { connection.collect() }
        for connection in Array(table.listening.values) { connection.tellNews() }
    }
}
