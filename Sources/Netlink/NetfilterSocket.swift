// Looking at nftables: the chains on interfaces' ingress, by libmnl.
// Invariants: nothing is ever written; a kernel without nftables has no chains, and is not asked
// again and again, since each question would start modprobe; a socket whose answer did not end is
// replaced before the next one.
internal import CNetlink

/// A request for the chains of a family: the message as libmnl lays it out.
private struct ChainRequest: BitwiseCopyable {
    var header = nlmsghdr()
    var body = nfgenmsg()

    init(family: Int) {
        header.nlmsg_len = UInt32(MemoryLayout<ChainRequest>.size)
        header.nlmsg_type =
            UInt16(NFNL_SUBSYS_NFTABLES) << 8 | UInt16(NFT_MSG_GETCHAIN.rawValue)
        header.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
        body.nfgen_family = UInt8(family)
        body.version = UInt8(NFNETLINK_V0)
    }
}

/// A socket of NETLINK_NETFILTER, in the network namespace of the thread that opened it.
public struct NetfilterSocket: ~Copyable {
    private var socket: MNLSocket
    private let buffer = ReceiveBuffer(byteCount: 65_536)
    private var sequence: UInt32 = 0
    private var isOutOfStep = false
    /// Whether the kernel has said that it has no nftables.
    private var isAbsent = false
    /// How long an answer is waited for.
    public var timeoutMilliseconds: Int32 = 2_000

    /// Where the module shows itself once somebody has loaded it.
    private static let module = "/sys/module/nf_tables/refcnt"

    private init(socket: consuming MNLSocket) { self.socket = socket }

    /// Opens the socket.
    /// - Throws: EPROTONOSUPPORT where the kernel has no netfilter.
    public static func open() throws(NetlinkError) -> NetfilterSocket {
        NetfilterSocket(socket: try connect())
    }

    private static func connect() throws(NetlinkError) -> MNLSocket {
        let operation = "open a netfilter socket"
        let socket = try MNLSocket(NETLINK_NETFILTER, groups: 0, operation: operation)
        let result = sluice_netlink_extended_ack(socket.descriptor)
        guard result == 0 else { throw NetlinkError(operation: operation, code: -result) }
        return socket
    }

    /// The chains on any interface's ingress, of the families netdev and inet; none where the
    /// kernel has no nftables. `nft list chains netdev; nft list chains inet`
    ///
    /// The first call loads nftables' module where there is one, as `nft` would.
    /// - Throws: EPERM without CAP_NET_ADMIN; EINTR where the rules changed during each of three
    ///   dumps.
    public mutating func ingressChains() throws(NetlinkError) -> [IngressChain] {
        if isAbsent {
            var byte: UInt8 = 0
            guard unsafe sluice_read_file(Self.module, &byte, 1) > 0 else { return [] }
            isAbsent = false
        }
        var chains: [IngressChain] = []
        for family in [SLUICE_NFPROTO_NETDEV, SLUICE_NFPROTO_INET] {
            chains += try self.chains(ofFamily: family)
        }
        return chains
    }

    private mutating func chains(ofFamily family: Int) throws(NetlinkError) -> [IngressChain] {
        var attempt = 1
        while true {
            var chains: [IngressChain] = []
            let end = try exchange(family) { type, payload in
                guard Int(type & 0xff) == Int(NFT_MSG_NEWCHAIN.rawValue),
                    let chain = IngressChain(payload: payload)
                else { return }
                chains.append(chain)
            }
            guard let error = end.error("list nftables chains") else { return chains }
            // No such subsystem (EINVAL); a family that the kernel was built without.
            if [EINVAL, EOPNOTSUPP, EAFNOSUPPORT, ENOENT].contains(error.code) {
                isAbsent = isAbsent || error.code == EINVAL
                return []
            }
            guard error.isInterruptedDump, attempt < 3 else { throw error }
            attempt += 1
        }
    }

    private mutating func exchange(
        _ family: Int, _ body: (UInt16, RawSpan) -> Void
    ) throws(NetlinkError) -> ReplyEnd {
        if isOutOfStep {
            socket = try Self.connect()
            isOutOfStep = false
        }
        sequence &+= 1
        var request = ChainRequest(family: family)
        request.header.nlmsg_seq = sequence
        let sendError = unsafe withUnsafeBytes(of: request) { unsafe socket.send($0) }
        guard sendError == 0 else {
            throw NetlinkError(operation: "list nftables chains", code: sendError)
        }
        let end = buffer.receiveReply(
            descriptor: socket.descriptor, sequence: sequence, port: socket.port,
            timeoutMilliseconds: timeoutMilliseconds, body)
        isOutOfStep = end.isOutOfStep
        return end
    }
}
