// A short sample of the packets that pass an interface: packet(7) with a ring of a fixed size.
//
// Invariants: it takes no more memory than its ring, however large the flood, and wakes nobody; a full
// ring ends it; the tag that the kernel took out of a frame is put back; it is over when its owner is
// gone.
internal import CLinux
public import SystemPackage

/// A sample of an interface's packets, from now on.
@safe public struct PacketCapture: ~Copyable {
    /// The beginning of a packet.
    public struct Packet: Hashable, Sendable {
        /// When it came, in nanoseconds since 1970.
        public var nanoseconds: UInt64
        /// Its length on the wire, in bytes.
        public var length: UInt32
        /// As many bytes of it as were asked for, or all.
        public var bytes: [UInt8]
    }

    private var capture: sluice_capture
    private let snapLength: Int

    /// Begins to sample: socket(2) with AF_PACKET, a ring, a filter, bind(2) to the interface. What
    /// comes in is seen before any ingress filter, and so also what is dropped there; what goes out is
    /// seen behind the qdisc.
    ///
    /// - Parameters:
    ///   - index: the interface's index.
    ///   - isOutgoing: what leaves through it; else what comes in by it.
    ///   - packets: as many at most.
    ///   - snapLength: the bytes that are kept of each, at most 1,024.
    /// - Throws: errno: EPERM without CAP_NET_RAW, ENODEV where there is no such interface.
    public init(
        index: Int32, isOutgoing: Bool, packets: Int, snapLength: Int
    ) throws(Errno) {
        var capture = unsafe sluice_capture()
        _ = try unsafe checked(
            sluice_capture_begin(
                &capture, index, isOutgoing ? 1 : 0, UInt32(snapLength), UInt32(packets)))
        unsafe self.capture = capture
        self.snapLength = snapLength
    }

    deinit {
        var capture = unsafe capture
        unsafe sluice_capture_end(&capture)
    }

    /// The interface's Ethernet address: whether it is still the one that was meant (getsockname(2)).
    ///
    /// - Throws: errno: ENODEV where it is gone, EPROTOTYPE where it is no Ethernet interface.
    public func address() throws(Errno) -> [UInt8] {
        var capture = unsafe capture
        var bytes = [UInt8](repeating: 0, count: 8)
        let count = try unsafe checked(sluice_capture_address(&capture, &bytes, bytes.count))
        return Array(bytes.prefix(Int(count)))
    }

    /// Waits until the sample is full, or the time is over.
    ///
    /// - Throws: errno: ENETDOWN where the interface is down or gone; what came before is there.
    public func wait(milliseconds: UInt32) throws(Errno) {
        var capture = unsafe capture
        do throws(Errno) {
            _ = try unsafe checked(sluice_capture_wait(&capture, milliseconds))
        } catch .timeout {
            return
        }
    }

    /// What came so far, in its order.
    public var packets: [Packet] {
        var capture = unsafe capture
        var packets: [Packet] = []
        var captured = unsafe sluice_captured()
        var index: UInt32 = 0
        while unsafe sluice_capture_packet(&capture, index, &captured) == 1 {
            unsafe packets.append(packet(captured))
            index += 1
        }
        return packets
    }

    /// Packets that came when the ring was full (PACKET_STATISTICS). Once: the kernel forgets them.
    public func unseen() -> UInt64 {
        var capture = unsafe capture
        return unsafe UInt64(sluice_capture_unseen(&capture))
    }

    private func packet(_ captured: sluice_captured) -> Packet {
        var bytes: [UInt8] = []
        let held = unsafe UnsafeBufferPointer(start: captured.bytes, count: Int(captured.held))
        unsafe bytes.append(contentsOf: held)
        var length = unsafe captured.length
        if unsafe captured.has_tag != 0, bytes.count >= 12 {
            let (type, tag) = unsafe (captured.tag_type, captured.tag)
            bytes.insert(
                contentsOf: [type, tag].flatMap {
                    [UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)]
                }, at: 12)
            length += 4
        }
        return unsafe Packet(
            nanoseconds: captured.nanoseconds, length: length,
            bytes: Array(bytes.prefix(snapLength)))
    }
}
