// Whole frames, sent through an interface and taken from it: for a network of one's own.
// Invariants: nothing waits; what an interface does not take is lost, as on a wire.
internal import CLinux
public import SystemPackage

/// Sends frames through one interface's egress, as a packet(7) socket.
public struct PacketSender: ~Copyable {
    private let owned: OwnedDescriptor

    /// A sender through the interface of this index, in the calling thread's network namespace.
    ///
    /// - Throws: EPERM without CAP_NET_RAW and CAP_NET_ADMIN, ENODEV where there is no such interface.
    public init(interface index: Int32) throws(Errno) {
        owned = try OwnedDescriptor(sluice_packet_open(index, 0))
    }

    /// Sends one frame, Ethernet header included: send(2).
    ///
    /// - Returns: whether it came to the interface's egress, which may have dropped it (ENOBUFS); not
    ///   where the link is down, or too much of this sender's is waiting there.
    public func send(_ frame: [UInt8]) -> Bool {
        let result = unsafe frame.withUnsafeBytes { bytes in
            unsafe sluice_packet_send(owned.number, bytes.baseAddress, bytes.count)
        }
        return result == 0 || result == -Errno.noBufferSpace.rawValue
    }
}

/// Takes the frames of one Ethernet type that come in at an interface, behind its traffic control.
public struct PacketReceiver: ~Copyable {
    private let owned: OwnedDescriptor
    private var head = [UInt8](repeating: 0, count: 64)

    /// A receiver at the interface of this index, in the calling thread's network namespace.
    ///
    /// - Parameter type: an Ethernet type, in the host's order. One that is not ETH_P_ALL: those are
    ///   given frames before traffic control's ingress has seen them.
    /// - Throws: as `PacketSender`.
    public init(interface index: Int32, type: UInt16) throws(Errno) {
        owned = try OwnedDescriptor(sluice_packet_open(index, type))
    }

    /// Calls `body` for each frame that has come: its first 64 bytes (what stands behind a shorter
    /// one's end means nothing), and its whole length in bytes, Ethernet header included.
    public mutating func take(_ body: ([UInt8], Int) -> Void) {
        while true {
            let length = unsafe head.withUnsafeMutableBytes { bytes in
                unsafe sluice_packet_receive(owned.number, bytes.baseAddress, bytes.count)
            }
            guard length >= 0 else { return }
            body(head, Int(length))
        }
    }
}

/// A network namespace of one's own.
public enum PrivateNetwork {
    /// The calling thread in a new, empty network namespace: unshare(2). It is gone, with all that is
    /// in it, when the thread and the sockets that it opens are, however they end.
    ///
    /// - Throws: EPERM without CAP_SYS_ADMIN.
    public static func enter() throws(Errno) { _ = try checked(sluice_enter_private_network()) }
}
