// Packets of strangers: files of them, and what is said of what they hold.
import ControlAPI
import Evidence

extension FuzzTarget {
    /// A capture, and the packets in it; and the bytes as one frame.
    static let evidence = FuzzTarget(
        name: "evidence",
        seeds: { try evidenceSeeds().map { [UInt8(0)] + $0 } },
        read: { bytes in
            var input = FuzzInput(bytes)
            let judgement = judgement(input.byte())
            let file = input.remainder
            let frame = SampledPacket(
                nanoseconds: 1, length: UInt32(truncatingIfNeeded: file.count), bytes: file)
            try check(SampleSummary([frame], sources: judgement), of: [frame])
            guard let read = try? CaptureFile.read(file, most: 1_000) else { return false }
            try promise(
                read.packets.allSatisfy {
                    $0.bytes.count <= CaptureFile.snapLength && $0.bytes.count <= Int($0.length)
                }, "more of a packet than there is")
            // What is read and can be written comes back as it was.
            let again = try? CaptureFile.read(CaptureFile.bytes(of: read.packets), most: 1_000)
            let wanted = read.packets.map {
                SampledPacket(
                    nanoseconds: $0.nanoseconds % ((1 << 32) * 1_000_000_000), length: $0.length,
                    bytes: $0.bytes)
            }
            try promise(again?.packets == wanted, "packets that change when they are written")
            try promise(again?.isTorn == false, "a file of ours that is torn")
            try check(SampleSummary(read.packets, sources: judgement), of: read.packets)
            return !read.packets.isEmpty
        })

    private static func judgement(_ byte: UInt8) -> SourceJudgement {
        switch byte % 3 {
        case 0: .machine(interface: FrameMAC(0xfe54_0000_0001))
        case 1:
            .guards(
                OwnAddresses(
                    macs: [FrameMAC(0x5254_0000_0001)],
                    prefixes: [
                        FramePrefix(.version4(0x0a00_0001), length: byte),
                        FramePrefix(.version6(1 << 61, 1), length: byte),
                    ]))
        default: .none
        }
    }

    /// UDP over IPv4, TCP over IPv6 behind an extension and two tags, ARP.
    private static func evidenceSeeds() throws -> [[UInt8]] {
        let ethernet: [UInt8] = [0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1]
        let addresses4: [UInt8] = [10, 0, 0, 1, 198, 51, 100, 7]
        let version4: [UInt8] =
            [0x08, 0, 0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0] + addresses4
        let addresses6 = [UInt8](repeating: 0x20, count: 32)
        let tcp: [UInt8] = [0, 80, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]
        let version6: [UInt8] =
            [0x88, 0xa8, 0, 100, 0x81, 0, 0, 20, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 28, 0, 64]
            + addresses6 + [6, 0, 0, 0, 0, 0, 0, 0] + tcp
        let arp: [UInt8] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1] + [UInt8](repeating: 1, count: 20)
        let frames = [
            ethernet + version4 + [0x9c, 0x40, 0, 53, 0, 8, 0, 0], ethernet + version6,
            ethernet + arp,
        ]
        let packets = frames.enumerated().map { place, frame in
            SampledPacket(
                nanoseconds: 1_764_172_800_000_000_000 + UInt64(place), length: 250, bytes: frame)
        }
        return packets.map { CaptureFile.bytes(of: [$0]) } + [CaptureFile.bytes(of: packets)]
    }

    private static func check(
        _ summary: SampleSummary, of packets: [SampledPacket]
    ) throws(BrokenPromise) {
        try promisePrintable(summary.line, "a summary")
        try promise(summary.packets == packets.count, "packets that are not counted")
        let tallies = [
            summary.protocols, summary.destinations, summary.destinationPorts, summary.sources,
            summary.sourceMACs, summary.vlans, summary.sizes?.common,
        ].compactMap { $0 }
        for tally in tallies {
            try promise(
                tally.top.count == min(tally.distinct, 10), "a list of \(tally.top.count)")
            for share in tally.top {
                try promise((0...1).contains(share.share), "a share of \(share.share)")
                try promise((1...packets.count).contains(share.packets), "\(share.packets) packets")
                try promisePrintable(share.what, "a value")
            }
        }
        if let forged = summary.forged {
            try promise((0...1).contains(forged.share), "a share of \(forged.share)")
        }
    }
}
