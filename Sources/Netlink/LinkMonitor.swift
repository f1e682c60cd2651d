// What changes by itself: interfaces that come, go or are renamed, and traffic control that others
// touch.
// Invariants: never waits; a bounded number of datagrams in one call; an overrun is an event, since
// what it lost can only be learnt by listing again (NETLINK_NO_ENOBUFS would hide it).
internal import CNetlink

/// A socket of the groups RTNLGRP_LINK and RTNLGRP_TC, in the network namespace of the thread that
/// opened it. `ip monitor link`, `tc monitor`
public struct LinkMonitor: ~Copyable {
    private let socket: MNLSocket
    private let buffer = ReceiveBuffer(byteCount: 65_536)

    /// What happened.
    public enum Event: Hashable, Sendable {
        /// An interface is new, or something of it changed: this is how it is now.
        case link(Link)
        /// An interface was deleted, or left this namespace.
        case gone(index: Int32)
        /// A qdisc, class, filter or chain of this interface was made, changed or deleted; -1 for a
        /// shared block. Deleting an interface tells nothing of its tc objects, deleting a qdisc
        /// nothing of its filters.
        case tc(index: Int32)
        /// Events were lost: list anew.
        case overrun
    }

    private init(socket: consuming MNLSocket) { self.socket = socket }

    /// Opens the socket with a receive buffer of 8 MB (SO_RCVBUFFORCE; without CAP_NET_ADMIN
    /// SO_RCVBUF, up to net.core.rmem_max).
    public static func open() throws(NetlinkError) -> LinkMonitor {
        let operation = "open a monitor socket"
        let socket = try MNLSocket(
            groups: UInt32(RTMGRP_LINK | RTMGRP_TC), operation: operation)
        let result = sluice_netlink_receive_buffer(socket.descriptor, 8 << 20)
        guard result == 0 else { throw NetlinkError(operation: operation, code: -result) }
        return LinkMonitor(socket: socket)
    }

    /// For a poller; readable while events wait.
    public var descriptor: Int32 { socket.descriptor }

    /// Calls `body` with each event that waits, in order, at most 1,024 datagrams a call: the
    /// descriptor stays readable while more wait.
    public mutating func drain(_ body: (Event) -> Void) throws(NetlinkError) {
        for _ in 0..<1_024 {
            switch buffer.receive(socket.descriptor) {
            case .none: return
            case .failed(ENOBUFS): body(.overrun)
            case .failed(let code):
                throw NetlinkError(operation: "read events", code: code)
            case .datagrams: if !tell(body) { body(.overrun) }
            }
        }
    }

    /// Calls `body` with each event of what was received; false where some of it is lost.
    private func tell(_ body: (Event) -> Void) -> Bool {
        switch buffer.datagram(at: 0) {
        case .foreign: true
        case .truncated: false
        case .whole(let length):
            buffer.withDatagram(at: 0, length) { datagram in
                datagram.forEachMessage { header, payload in
                    if let event = Event(type: Int(header.nlmsg_type), payload: payload) {
                        body(event)
                    }
                    return true
                }
            }
        }
    }
}

extension LinkMonitor.Event {
    /// Reads one message of the two groups; nil for what does not matter.
    init?(type: Int, payload: RawSpan) {
        switch type {
        case RTM_NEWLINK, RTM_DELLINK:
            // A bridge tells of its ports with the family AF_BRIDGE: there RTM_DELLINK says that
            // the port left the bridge, not that the interface is gone.
            guard let header = payload.load(ifinfomsg.self),
                header.ifi_family == UInt8(AF_UNSPEC)
            else { return nil }
            if type == RTM_DELLINK {
                self = .gone(index: header.ifi_index)
            } else {
                guard let link = Link(payload: payload) else { return nil }
                self = .link(link)
            }
        case RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTCLASS, RTM_DELTCLASS, RTM_NEWTFILTER,
            RTM_DELTFILTER, RTM_NEWCHAIN, RTM_DELCHAIN:
            guard let header = payload.load(tcmsg.self) else { return nil }
            self = .tc(index: header.tcm_ifindex)
        default: return nil
        }
    }
}
