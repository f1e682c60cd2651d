// A port's packets from now on, for a second at most.
// Invariant: what is sampled is the interface that tripped, or nothing.
internal import Evidence
internal import LinuxSystem
internal import Mitigation
internal import SystemPackage

/// What came of looking at a port for a moment.
struct PacketSample: Hashable, Sendable {
    /// In the order of their coming.
    var packets: [SampledPacket] = []
    /// Packets for which there was no room.
    var unseen: UInt64 = 0
    /// Why it ended before its time.
    var cutShort: String?
}

/// Why there is no sample.
struct EvidenceFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// A sentence, with its cure where there is one.
    var description: String

    init(_ description: String) { self.description = description }
}

/// Takes samples from the kernel.
enum PacketSampler {
    /// As many packets at most.
    static let packets = 256
    /// For so long at most.
    static let milliseconds: UInt32 = 1_000

    /// Samples a trip's port. Waits for up to a second: for a thread of its own.
    ///
    /// - Throws: `EvidenceFailure` where not one packet was seen, and something stood in the way.
    static func sample(_ trip: EvidenceTrip) throws(EvidenceFailure) -> PacketSample {
        let sample: PacketSample
        do throws(Errno) {
            sample = try take(trip)
        } catch {
            throw EvidenceFailure(sentence(error))
        }
        if let why = sample.cutShort, sample.packets.isEmpty { throw EvidenceFailure(why) }
        return sample
    }

    private static func take(_ trip: EvidenceTrip) throws(Errno) -> PacketSample {
        let capture = try PacketCapture(
            index: trip.index, isOutgoing: trip.direction == .to, packets: packets,
            snapLength: CaptureFile.snapLength)
        let address = try capture.address()
        guard trip.address.isEmpty || address == trip.address else {
            throw .noSuchAddressOrDevice
        }
        var sample = PacketSample()
        do throws(Errno) {
            try capture.wait(milliseconds: milliseconds)
        } catch {
            sample.cutShort = sentence(error)
        }
        sample.packets = capture.packets.map {
            SampledPacket(nanoseconds: $0.nanoseconds, length: $0.length, bytes: $0.bytes)
        }
        sample.unseen = capture.unseen()
        return sample
    }

    private static func sentence(_ error: Errno) -> String {
        switch error {
        case .notPermitted, .permissionDenied:
            "no packet socket: \(error); give the daemon CAP_NET_RAW and AF_PACKET, as the unit does"
        case .addressFamilyNotSupported:
            "no packet socket: \(error); the kernel lacks CONFIG_PACKET, or the unit AF_PACKET"
        case .noSuchAddressOrDevice: "another interface has the index of this port"
        case .operationNotSupportedByDevice: "the interface is gone"
        case .networkDown: "the interface is down or gone"
        case .protocolWrongTypeForSocket: "the interface has no Ethernet frames"
        default: "no packet socket: \(error)"
        }
    }
}
