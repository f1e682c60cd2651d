// Requests that go to the kernel in one datagram, and what it answers to each of them.
//
// The kernel carries them out one after the other inside one sendmsg(2), and goes on behind one that it
// refuses (netlink_rcv_skb): a batch holds only what may stand though something before it does not.
// That saves two system calls for each but the first.
internal import CNetlink

/// Requests in their order, not sent yet.
public struct RequestBatch {
    private struct Request {
        /// Where its message is, in `bytes`.
        var place: Range<Int>
        let asks: Bool
        let operation: () -> String
    }

    private var bytes: [UInt8] = []
    private var requests: [Request] = []
    /// The scheduler's clock, for bursts.
    private let clock: SchedulerClock

    init(clock: SchedulerClock) { self.clock = clock }

    /// How many requests there are.
    public var count: Int { requests.count }

    /// Whether it is time to send: with one more of the largest messages, a program of 4,096
    /// instructions, it still fits what libnl's sockets send at once (nl_connect: 65,504 bytes).
    public var isFull: Bool { bytes.count >= 16_384 }

    // MARK: What may be in it

    /// The interface with this index.
    public mutating func getLink(index: Int32) throws(NetlinkError) {
        try append(try .getLink(index: index, flags: 0), asks: true) { "get interface \(index)" }
    }

    /// The interface with this name, of 1 to 15 bytes without a NUL.
    public mutating func getLink(name: [UInt8]) throws(NetlinkError) {
        var message = try Message.getLink(index: 0, flags: 0)
        message.put(IFLA_IFNAME, bytes: name + [0])
        try append(message, asks: true) { "get interface \(printable(name))" }
    }

    /// Sets an interface up or down.
    public mutating func setLink(_ index: Int32, up: Bool) throws(NetlinkError) {
        let operation = "set interface \(index) \(up ? "up" : "down")"
        try append(try .changeLink(index, up: up, operation: operation), asks: false) { operation }
    }

    /// Makes an ifb with one transmit queue, down.
    mutating func createIFB(
        name: String, alias: String, mtu: UInt32?
    ) throws(NetlinkError) {
        let operation = "add ifb \(printable(name.utf8))"
        guard (1..<Int(IFNAMSIZ)).contains(name.utf8.count), alias.utf8.count < 255 else {
            throw NetlinkError(operation: operation, code: EINVAL)
        }
        try append(
            try .createIFB(name: name, alias: alias, mtu: mtu, operation: operation), asks: false
        ) { operation }
    }

    /// The qdisc at one place of an interface (`RouteSocket.qdisc(of:parent:)`).
    public mutating func getQdisc(of index: Int32, parent: Handle) throws(NetlinkError) {
        var message = try Message(type: RTM_GETQDISC, flags: NLM_F_ECHO)
        message.append(tcmsg(index: index, handle: .unspecified, parent: parent))
        try append(message, asks: true) { "get qdisc at \(parent) of interface \(index)" }
    }

    /// Adds a qdisc (`RouteSocket.add(_:to:parent:handle:)`).
    public mutating func add(
        _ qdisc: Qdisc, to index: Int32, parent: Handle, handle: Handle
    ) throws(NetlinkError) {
        try write(qdisc, "add", NLM_F_CREATE | NLM_F_EXCL, index, parent, handle)
    }

    /// Changes a qdisc in place (`RouteSocket.change(_:of:parent:handle:)`).
    public mutating func change(
        _ qdisc: Qdisc, of index: Int32, parent: Handle, handle: Handle
    ) throws(NetlinkError) {
        try write(qdisc, "change", 0, index, parent, handle)
    }

    private mutating func write(
        _ qdisc: Qdisc, _ verb: String, _ flags: Int32, _ index: Int32, _ parent: Handle,
        _ handle: Handle
    ) throws(NetlinkError) {
        try appendEchoed(
            try .qdisc(
                RTM_NEWQDISC, flags: flags, qdisc, index: index, parent: parent, handle: handle,
                clock: clock)
        ) { "\(verb) \(qdisc.kind) qdisc \(handle) on interface \(index)" }
    }

    /// Adds an htb class (`RouteSocket.addClass(_:to:parent:classID:)`).
    public mutating func addClass(
        _ htb: HTBClass, to index: Int32, parent: Handle, classID: Handle
    ) throws(NetlinkError) {
        try write(htb, "add", NLM_F_CREATE | NLM_F_EXCL, index, parent, classID)
    }

    /// Changes an htb class in place (`RouteSocket.changeClass(_:of:parent:classID:)`).
    public mutating func changeClass(
        _ htb: HTBClass, of index: Int32, parent: Handle, classID: Handle
    ) throws(NetlinkError) {
        try write(htb, "change", 0, index, parent, classID)
    }

    private mutating func write(
        _ htb: HTBClass, _ verb: String, _ flags: Int32, _ index: Int32, _ parent: Handle,
        _ classID: Handle
    ) throws(NetlinkError) {
        try appendEchoed(
            try .htbClass(
                flags: flags, htb, index: index, parent: parent, classID: classID, clock: clock)
        ) { "\(verb) htb class \(classID) on interface \(index)" }
    }

    /// Puts a filter (`RouteSocket.put(_:on:)`). A program that it names is held open until it was sent.
    public mutating func put(_ filter: Filter, on index: Int32) throws(NetlinkError) {
        let (preference, handle, parent) = (filter.preference, filter.handle, filter.parent)
        func operation() -> String {
            "put filter \(preference)/\(String(handle, radix: 16)) on interface \(index) parent \(parent)"
        }
        guard preference != 0, handle != 0, filter.actions.count <= Int(TCA_ACT_MAX_PRIO) else {
            throw NetlinkError(operation: operation(), code: EINVAL)
        }
        try appendEchoed(try .filter(filter, index: index, clock: clock), operation)
    }

    /// The kernel tells its listeners of a change, and with NLM_F_ECHO the sender too, before the
    /// acknowledgement (rtnetlink_send): the object as it stands by then, at the cost of no request.
    private mutating func appendEchoed(
        _ message: consuming Message, _ operation: @escaping () -> String
    ) throws(NetlinkError) {
        message.askForEcho()
        try append(message, asks: false, operation)
    }

    mutating func append(
        _ message: borrowing Message, asks: Bool, _ operation: @escaping () -> String
    ) throws(NetlinkError) {
        guard !message.isOverfull else {
            throw NetlinkError(operation: operation(), code: EMSGSIZE)
        }
        let start = bytes.count
        bytes += message.bytes
        requests.append(
            Request(place: start..<bytes.count, asks: asks, operation: operation))
        while bytes.count % Int(NLMSG_ALIGNTO) != 0 { bytes.append(0) }
    }

    // MARK: For the socket

    /// What a request is called in an error.
    func operation(_ place: Int) -> String { requests[place].operation() }

    /// Whether a request changes nothing.
    func asks(_ place: Int) -> Bool { requests[place].asks }

    /// One of them alone.
    subscript(place: Int) -> RequestBatch {
        var request = requests[place]
        var alone = RequestBatch(clock: clock)
        alone.bytes = Array(bytes[request.place])
        request.place = 0..<alone.bytes.count
        alone.requests = [request]
        return alone
    }

    /// The datagram: each asks for its acknowledgement, and they are numbered from `sequence` on.
    func datagram(sequence: UInt32, port: UInt32) -> [UInt8] {
        var bytes = bytes
        for (place, request) in requests.enumerated() {
            unsafe bytes.withUnsafeMutableBytes { buffer in
                let start = request.place.lowerBound
                var header = unsafe buffer.loadUnaligned(fromByteOffset: start, as: nlmsghdr.self)
                header.nlmsg_flags |= UInt16(NLM_F_REQUEST | NLM_F_ACK)
                header.nlmsg_seq = sequence &+ UInt32(place)
                header.nlmsg_pid = port
                unsafe buffer.storeBytes(of: header, toByteOffset: start, as: nlmsghdr.self)
            }
        }
        return bytes
    }
}

/// What the kernel answered to one request.
public struct Answer {
    /// An object as the kernel tells it.
    public enum Object {
        case link(Link)
        case qdisc(QdiscRecord)
        case trafficClass(ClassRecord)
        case filter(FilterRecord)

        /// Nil for a message that tells of none of these.
        init?(type: UInt16, payload: RawSpan) {
            let object: Object? =
                switch Int(type) {
                case RTM_NEWLINK: Link(payload: payload).map { .link($0) }
                case RTM_NEWQDISC: QdiscRecord(payload: payload).map { .qdisc($0) }
                case RTM_NEWTCLASS: ClassRecord(payload: payload).map { .trafficClass($0) }
                case RTM_NEWTFILTER: FilterRecord(payload: payload).map { .filter($0) }
                default: nil
                }
            guard let object else { return nil }
            self = object
        }
    }

    /// What was asked for, or what the change made of it; nil where the kernel tells nothing.
    public internal(set) var object: Object?
    /// Why it was not done.
    public internal(set) var refusal: NetlinkError?

    /// Nothing, where it was done.
    /// - Throws: the refusal.
    func confirm() throws(NetlinkError) {
        if let refusal { throw refusal }
    }

    /// The interface, where that is what was told; nil where there is none (ENODEV).
    /// - Throws: any other refusal.
    public func link() throws(NetlinkError) -> Link? {
        if refusal?.isNoInterface == true { return nil }
        try confirm()
        if case .link(let link) = object { return link }
        return nil
    }

    /// The qdisc that was asked for; nil where there is none, or one that the kernel does not show
    /// (ENOENT; EINVAL, tc_qdisc_dump_ignore).
    /// - Throws: any other refusal.
    public func askedQdisc() throws(NetlinkError) -> QdiscRecord? {
        if let refusal, refusal.code == ENOENT || refusal.code == EINVAL { return nil }
        return try qdisc()
    }

    /// The qdisc as it stands; nil where nothing was told.
    /// - Throws: the refusal.
    func qdisc() throws(NetlinkError) -> QdiscRecord? {
        try confirm()
        if case .qdisc(let record) = object { return record }
        return nil
    }

    /// The same of a class.
    func trafficClass() throws(NetlinkError) -> ClassRecord? {
        try confirm()
        if case .trafficClass(let record) = object { return record }
        return nil
    }

    /// The same of a filter.
    func filter() throws(NetlinkError) -> FilterRecord? {
        try confirm()
        if case .filter(let record) = object { return record }
        return nil
    }
}

extension RouteSocket {
    /// A batch for this socket.
    public var emptyBatch: RequestBatch { RequestBatch(clock: clock) }

    /// Sends all of the batch at once, and gives what each of it is answered with; one whose answer did
    /// not come has why not as its refusal (`NetlinkError.isAnswer`). One that the kernel is too busy for
    /// (EBUSY) is asked for again alone, twice at most, a millisecond apart, and after it what was
    /// refused behind it, and what was asked.
    public mutating func run(_ batch: RequestBatch) -> [Answer] {
        var answers = exchange(batch)
        guard let busy = answers.firstIndex(where: { $0.refusal?.code == EBUSY }) else {
            return answers
        }
        for place in busy..<answers.count
        where answers[place].refusal != nil || batch.asks(place) {
            for _ in 1..<Self.mostAttempts {
                _ = sluice_netlink_wait(-1, 1)
                answers[place] = exchange(batch[place])[0]
                if answers[place].refusal?.code != EBUSY { break }
            }
        }
        return answers
    }

    /// Runs a batch of one request.
    mutating func runOne(
        _ fill: (inout RequestBatch) throws(NetlinkError) -> Void
    ) throws(NetlinkError) -> Answer {
        var batch = emptyBatch
        try fill(&batch)
        return run(batch)[0]
    }

    private mutating func exchange(_ batch: RequestBatch) -> [Answer] {
        var answers = [Answer](repeating: Answer(), count: batch.count)
        guard !answers.isEmpty else { return [] }
        var place = 0
        func finish(_ end: ReplyEnd) {
            answers[place].refusal = end.error(batch.operation(place))
            place += 1
        }
        do throws(NetlinkError) {
            let end = try exchangeAll(batch) { type, payload in
                if let object = Answer.Object(type: type, payload: payload) {
                    answers[place].object = object
                }
            } ended: {
                finish($0)
            }
            repeat { finish(end) } while end.isOutOfStep && place < answers.count
        } catch {
            for place in answers.indices { answers[place].refusal = error }
        }
        return answers
    }
}
