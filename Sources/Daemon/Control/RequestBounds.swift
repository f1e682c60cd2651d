// Bounds a connection in bytes and in time, before anything is parsed.
// Invariants: at every moment of an open connection one timer runs: `idle` between requests, else
// `deadline`, which only the end of the answer ends; no byte that arrives puts it off. Of an answer
// without an end, only while the peer does not read.

import NIOCore

/// What a connection ran into.
enum BoundReached: Hashable, Sendable {
    /// The request's head is too long.
    case head
    /// The request, or the reading of its answer, takes too long.
    case deadline
    /// No request came.
    case idle
}

/// The first to see a connection's bytes.
final class RequestBounds: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let limits: ControlLimits
    private var context: ChannelHandlerContext?
    private var timer: Scheduled<Void>?
    private var isInRequest = false
    private var hasHead = false
    private var headBytes = 0

    init(limits: ControlLimits) { self.limits = limits }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        arm(.idle, after: limits.idle)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        begin()
        headBytes += hasHead ? 0 : unwrapInboundIn(data).readableBytes
        context.fireChannelRead(data)
        if !hasHead, headBytes > limits.headBytes {
            context.fireUserInboundEventTriggered(BoundReached.head)
        }
    }

    /// A request's first byte has come, or is next among those that came before.
    func begin() {
        guard !isInRequest else { return }
        isInRequest = true
        arm(.deadline, after: limits.deadline)
    }

    /// The request's head is complete.
    func headArrived() { hasHead = true }

    /// The last byte of the answer is with the kernel.
    func answered() {
        isInRequest = false
        hasHead = false
        headBytes = 0
        arm(.idle, after: limits.idle)
    }

    /// The answer goes on for as long as it is read.
    func streams(isRead: Bool) {
        guard isRead else {
            if timer == nil { arm(.deadline, after: limits.deadline) }
            return
        }
        timer?.cancel()
        timer = nil
    }

    private func arm(_ bound: BoundReached, after time: Duration) {
        timer?.cancel()
        timer = context?.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(time)) {
            self.timer = nil
            self.context?.fireUserInboundEventTriggered(bound)
        }
    }
}
