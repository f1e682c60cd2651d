// One connection: a request at a time, from its head to the last byte of its answer.
//
//   idle --head--> receiving --end--> asked --reply--> answering --written--> idle | closed
//             |        \------------- refused ----------^
//             \--end--> listening --closed by either side
// Invariants: parts of later requests wait in `parts`, and nothing more is read meanwhile; an
// answer for a connection that is gone is dropped; after any breach of a bound the connection is
// closed.

import ControlAPI
import NIOCore
import NIOHTTP1

/// Serves one connection. Belongs to its event loop.
final class ControlConnection: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPServerResponsePart

    private enum Phase {
        case idle
        case receiving(HTTPRequestHead, body: [UInt8])
        case asked(HTTPRequestHead, ReplyBox)
        case answering
        /// It was told what happened up to this number.
        case listening(UInt64)
        case closed
    }

    /// A read of 4,096 bytes holds less than this many parts of the shortest requests.
    private static let mostParts = 1024
    /// A listener is told so many lines at once.
    private static let linesAtOnce = 64

    private let router: ControlRouter
    private let limits: ControlLimits
    private let mailbox: Mailbox
    private let bell: ReplyBell
    private let bounds: RequestBounds
    private let table: ControlTable
    private var context: ChannelHandlerContext?
    private var phase = Phase.idle
    private var parts: CircularBuffer<HTTPServerRequestPart> = []
    private var wantsRead = false
    private var hasPeerFinished = false

    init(
        router: ControlRouter, limits: ControlLimits, mailbox: Mailbox, bell: ReplyBell,
        bounds: RequestBounds, table: ControlTable
    ) {
        self.router = router
        self.limits = limits
        self.mailbox = mailbox
        self.bell = bell
        self.bounds = bounds
        self.table = table
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        table.open += 1
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        phase = .closed
        table.open -= 1
        table.waiting[ObjectIdentifier(self)] = nil
        table.listening[ObjectIdentifier(self)] = nil
        self.context = nil
    }

    // MARK: - What comes in

    private var isBusy: Bool {
        switch phase {
        case .idle, .receiving, .listening: false
        case .asked, .answering, .closed: true
        }
    }

    func read(context: ChannelHandlerContext) {
        if isBusy { wantsRead = true } else { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .closed = phase { return }
        // A listener has nothing to say, but that it goes.
        if case .listening = phase { return close() }
        guard parts.count < Self.mostParts else { return close() }
        parts.append(unwrapInboundIn(data))
        takeParts()
    }

    private func takeParts() {
        while !isBusy, let part = parts.popFirst() { take(part) }
    }

    private func take(_ part: HTTPServerRequestPart) {
        switch (part, phase) {
        case (.head(let head), .idle):
            bounds.begin()
            bounds.headArrived()
            phase = .receiving(head, body: [])
            let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
            if length > limits.bodyBytes { refuseBody() }
        case (.body(let bytes), .receiving(let head, var body)):
            guard body.count + bytes.readableBytes <= limits.bodyBytes else { return refuseBody() }
            phase = .receiving(head, body: [])
            body.append(contentsOf: bytes.readableBytesView)
            phase = .receiving(head, body: body)
        case (.end, .receiving(let head, let body)):
            serve(head, body)
        default:
            close()
        }
    }

    private func refuseBody() {
        let problem = Problem(error: "the body has more than \(limits.bodyBytes) bytes")
        answer(ControlAnswer(413, problem), isLast: true)
    }

    private func serve(_ head: HTTPRequestHead, _ body: [UInt8]) {
        switch router.route(method: head.method, uri: head.uri, body: body) {
        case .refuse(let status, let problem):
            answer(ControlAnswer(status, problem), to: head)
        case .version(let version):
            answer(ControlAnswer(version), to: head)
        case .events(let request):
            answer(ControlAnswer(table.history.reply(to: request)), to: head)
        case .incidents(let number):
            let lines = table.history.reply(to: EventsRequest(limit: .max)).events
            answer(ControlAnswer(incidents: lines, number), to: head)
        case .listen(let number):
            listen(after: number, head)
        case .ask(let request):
            let box = ReplyBox(bell: bell)
            phase = .asked(head, box)
            table.waiting[ObjectIdentifier(self)] = self
            guard mailbox.submit(request, reply: { box.fill($0) }) else {
                table.waiting[ObjectIdentifier(self)] = nil
                let problem = Problem(
                    error: "too many requests wait for the daemon", cure: "ask again in a second")
                return answer(ControlAnswer(503, problem), to: head)
            }
        }
    }

    // MARK: - Listeners

    private func listen(after number: UInt64, _ head: HTTPRequestHead) {
        guard let context else { return }
        guard table.listening.count < table.mostListening else {
            let problem = Problem(
                error: "\(table.mostListening) listen already",
                cure: "ask for /v1/events without follow, or raise control.max_connections")
            return answer(ControlAnswer(503, problem), to: head)
        }
        let headers: HTTPHeaders = [
            "content-type": ControlAnswer.streamType, "cache-control": "no-store",
            "connection": "close",
        ]
        let answer = HTTPResponseHead(version: .http1_1, status: .ok, headers: headers)
        context.writeAndFlush(wrapOutboundOut(.head(answer)), promise: nil)
        table.listening[ObjectIdentifier(self)] = self
        phase = .listening(number)
        parts.removeAll()
        tellNews()
        if hasPeerFinished { return close() }
        guard wantsRead else { return }
        wantsRead = false
        context.read()
    }

    /// Tells a listener what it was not told yet, as far as it reads.
    func tellNews() {
        while case .listening(let last) = phase, let context, context.channel.isWritable {
            let news = table.history.reply(to: EventsRequest(after: last, limit: Self.linesAtOnce))
            guard let next = news.events.last?.number, next != last else { break }
            phase = .listening(next)
            let body = context.channel.allocator.buffer(bytes: ControlAnswer.stream(news))
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(body)))).assumeIsolated()
                .whenFailure { _ in self.close() }
        }
        guard case .listening = phase, let context else { return }
        bounds.streams(isRead: context.channel.isWritable)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if case .listening = phase, context.channel.isWritable {
            // It has read, though the next lines may fill its room again at once.
            bounds.streams(isRead: true)
            tellNews()
        }
        context.fireChannelWritabilityChanged()
    }

    // MARK: - What goes out

    /// Takes the turn's answer, where there is one.
    func collect() {
        guard case .asked(let head, let box) = phase, let reply = box.take() else { return }
        table.waiting[ObjectIdentifier(self)] = nil
        answer(ControlAnswer(reply), to: head)
    }

    private func answer(_ answer: ControlAnswer, to head: HTTPRequestHead) {
        self.answer(answer, isLast: !head.isKeepAlive, withoutBody: head.method == .HEAD)
    }

    private func answer(_ answer: ControlAnswer, isLast: Bool, withoutBody: Bool = false) {
        guard let context else { return }
        ControlRefusal(status: answer.status).map(table.refusals.add)
        phase = .answering
        let isLast = isLast || hasPeerFinished
        var headers = HTTPHeaders()
        headers.add(name: "content-type", value: answer.type)
        headers.add(name: "content-length", value: String(answer.body.count))
        if isLast { headers.add(name: "connection", value: "close") }
        let head = HTTPResponseHead(
            version: .http1_1, status: HTTPResponseStatus(statusCode: answer.status),
            headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if !withoutBody {
            let body = context.channel.allocator.buffer(bytes: answer.body)
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete { result in
            if case .failure = result { return self.close() }
            if isLast { self.close() } else { self.next() }
        }
    }

    private func next() {
        guard case .answering = phase else { return }
        phase = .idle
        bounds.answered()
        takeParts()
        if hasPeerFinished, case .asked = phase { return }
        if hasPeerFinished, case .answering = phase { return }
        if hasPeerFinished { return close() }
        if wantsRead, !isBusy {
            wantsRead = false
            context?.read()
        }
    }

    private func close() {
        phase = .closed
        parts.removeAll()
        table.waiting[ObjectIdentifier(self)] = nil
        table.listening[ObjectIdentifier(self)] = nil
        context?.close(promise: nil)
    }

    // MARK: - What goes wrong

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case BoundReached.head as BoundReached:
            breach(431, "the request's head has more than \(limits.headBytes) bytes")
        case BoundReached.deadline as BoundReached:
            if case .asked = phase {
                breach(504, "the daemon has not answered in time")
            } else {
                breach(408, "the request took too long")
            }
        case BoundReached.idle as BoundReached:
            close()
        case ChannelEvent.inputClosed as ChannelEvent:
            hasPeerFinished = true
            if !isBusy { close() }
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case HTTPParserError.headerOverflow as HTTPParserError:
            breach(431, "the request's head has more than \(limits.headBytes) bytes")
        case is HTTPParserError:
            breach(400, "this is no HTTP/1.1 request")
        default:
            close()
        }
    }

    /// Says why where no other answer is under way, and closes at once, read or not.
    private func breach(_ status: Int, _ sentence: String) {
        switch phase {
        case .idle, .receiving, .asked:
            answer(ControlAnswer(status, Problem(error: sentence)), isLast: true)
        case .answering, .listening, .closed: break
        }
        close()
    }
}
