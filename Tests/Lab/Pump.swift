// Reads a tap as the VM behind it would: notes each frame, and copies it to the guest's tap where
// there is one (but for a flood's), and the guest's frames back. Headers go along, so that 64 KB
// frames stay whole.

internal import CLab
internal import Glibc

/// The thread between a tap of the host and a guest.
final class Pump: Sendable {
    private let worker: Worker

    /// Starts reading. `received` notes what the host delivers.
    init(_ near: Tap, guest far: Tap?, received: Ledger) throws(LabError) {
        worker = try Worker("pump") { signal in
            // Where there is one processor, a sender's burst is read after it, not frame by frame
            // with a switch between any two.
            clab_do_not_preempt()
            var packet = PacketBuffer()
            var polled = [near, far].compactMap { $0 }.map { tap in
                pollfd(fd: tap.descriptor, events: Int16(POLLIN), revents: 0)
            }
            polled.append(pollfd(fd: signal.descriptor, events: Int16(POLLIN), revents: 0))
            while !signal.isRaised {
                guard unsafe poll(&polled, nfds_t(polled.count), -1) > 0 else { continue }
                packet.drain(near, to: far, noting: received)
                if let far { packet.drain(far, to: near, noting: nil) }
            }
        }
    }

    /// Stops reading; the descriptors may be closed after.
    func stop() { worker.stop() }
}

@safe private struct PacketBuffer: ~Copyable {
    /// So many at once, before the other side has its turn.
    private static let batch = 64
    /// So many frames share one look at the clock, which is a real system call on some kernels.
    private static let framesPerLook = 4

    private let bytes = UnsafeMutableRawBufferPointer.allocate(
        byteCount: Tap.largestRead, alignment: 16)
    /// Frames that were read since the last look at the clock.
    private var unnoted: [Frame] = []

    deinit { unsafe bytes.deallocate() }

    mutating func drain(_ from: Tap, to: Tap?, noting ledger: Ledger?) {
        defer { note(in: ledger) }
        for _ in 0..<Self.batch {
            guard let count = unsafe from.read(into: bytes) else { return }
            let packet = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<count])
            if ledger != nil {
                var reader = unsafe FrameReader(packet)
                let frame = reader.read()
                if let frame { unnoted.append(frame) }
                if unnoted.count == Self.framesPerLook { note(in: ledger) }
                // A flood ends here: a guest has no use for it, only work with it.
                if frame?.sent != nil { continue }
            }
            if let to { unsafe to.write(packet) }
        }
    }

    /// A frame is noted a moment too late and never too early: who looks at the clock and then sends finds
    /// it after that moment.
    private mutating func note(in ledger: Ledger?) {
        guard let ledger, !unnoted.isEmpty else { return }
        let now = Moment.now
        for var frame in unnoted {
            frame.arrived = now
            ledger.add(frame)
        }
        unnoted.removeAll(keepingCapacity: true)
    }
}
