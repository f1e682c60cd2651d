// No bytes of a reply may trap: seeded mutations of captured messages, through every decoder.
import CNetlink
import Testing

@testable import Netlink

/// A generator whose whole course follows from its seed (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct FuzzTests {
    /// Mutations of each seed message.
    static let rounds = 12_000

    /// Changes up to eight bytes (lengths and types more often than others), cuts, or repeats.
    static func mutate(_ bytes: [UInt8], with generator: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...8, using: &generator) where !bytes.isEmpty {
            let position = Int.random(in: 0..<bytes.count, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: bytes[position] = UInt8.random(in: 0...255, using: &generator)
            case 1: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 2: bytes[position & ~3] = UInt8.random(in: 0...16, using: &generator)
            case 3:
                bytes[position] =
                    [0, 1, 3, 4, 0x7f, 0x80, 0xff].randomElement(using: &generator) ?? 0
            case 4: bytes.removeSubrange(position...)
            default: bytes.insert(contentsOf: bytes[position...].prefix(32), at: position)
            }
        }
        return bytes
    }

    /// Everything that reads a payload; gives how many readers took it for theirs.
    static func readAll(_ payload: [UInt8]) -> Int {
        decode(payload) { span in
            var count = 0
            if let record = QdiscRecord(payload: span) {
                count += 1
                for kind in ["tbf", "netem", "htb", "pfifo", record.kind] {
                    var record = record
                    record.kind = kind
                    _ = (record.tokenBucket, record.netem, record.htbDefault)
                    _ = record.packetQueueLimit
                }
            }
            if let record = ClassRecord(payload: span) { count += record.htb == nil ? 1 : 2 }
            if let record = FilterRecord(payload: span) { count += 1 + record.actions.count }
            if Link(payload: span) != nil { count += 1 }
            if decodeStatistics(span) != nil { count += 1 }
            count += decodeDefaultRoute(span).count
            for type in [RTM_NEWLINK, RTM_DELLINK, RTM_DELQDISC, RTM_NEWTFILTER] {
                if LinkMonitor.Event(type: type, payload: span) != nil { count += 1 }
            }
            for flags in [UInt16(NLM_F_ACK_TLVS), UInt16(NLM_F_ACK_TLVS | NLM_F_CAPPED)] {
                if Acknowledgement(errorPayload: span, flags: flags)?.sentence != nil { count += 1 }
                if Acknowledgement(donePayload: span, flags: flags).offset != nil { count += 1 }
            }
            return count
        }
    }

    @Test("mutated replies trap in no decoder", arguments: Array(seeds.enumerated()))
    func decoders(number: Int, seed: [UInt8]) {
        var generator = SeededGenerator(state: 0x51_00ce + UInt64(number))
        var read = 0
        for _ in 0..<Self.rounds {
            read += Self.readAll(Self.mutate(seed, with: &generator))
        }
        // The mutations are gentle enough that the decoders are reached at all.
        #expect(read > Self.rounds, "seed \(number)")
    }

    @Test("mutated datagrams trap in no walk, and none is walked for ever")
    func datagrams() {
        let buffer = ReceiveBuffer(byteCount: 4096)
        let datagram = Self.seeds.flatMap { seed in
            let length = UInt32(16 + seed.count)
            let header = (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
            return header + [16, 0, 2, 0, 7, 0, 0, 0, 99, 0, 0, 0] + seed
                + Array(repeating: 0, count: aligned(seed.count) - seed.count)
        }
        var generator = SeededGenerator(state: 0x51_00ce)
        var handed = 0
        for _ in 0..<Self.rounds {
            var end = ReplyEnd()
            decode(Self.mutate(datagram, with: &generator)) { span in
                _ = buffer.take(span, sequence: 7, port: 99, into: &end) { _, _ in handed += 1 }
            }
        }
        #expect(handed > Self.rounds)
    }

    /// The payloads that are mutated: what Linux lists, what we send, an extended ack, a link, and
    /// counters.
    static let seeds: [[UInt8]] = [
        Fixture.tbfReply.payload, Fixture.netemReply.payload, Fixture.htbReply.payload,
        Fixture.htbClassReply.payload, Fixture.policeReply.payload, Fixture.redirectReply.payload,
        Fixture.extendedBPF.payload,
        // NLMSG_ERROR: -ENOENT, a header of 16 bytes, a sentence, an offset.
        [0xfe, 0xff, 0xff, 0xff, 16, 0, 0, 0, 36, 0, 5, 6, 1, 0, 0, 0, 9, 0, 0, 0]
            + [9, 0, 1, 0] + Array("lost\0".utf8) + [0, 0, 0] + [8, 0, 2, 0, 36, 0, 0, 0],
        // RTM_NEWLINK: struct ifinfomsg, IFLA_IFNAME "tap0", IFLA_MASTER, IFLA_LINKINFO.
        [0, 0, 1, 0, 3, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0]
            + [9, 0, 3, 0] + Array("tap0\0".utf8) + [0, 0, 0] + [8, 0, 10, 0, 5, 0, 0, 0]
            + [12, 0, 18, 0, 8, 0, 1, 0] + Array("tun\0".utf8),
        // RTM_NEWSTATS: struct if_stats_msg, IFLA_STATS_LINK_64 of 200 bytes.
        [0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 204, 0, 1, 0] + (0..<200).map { UInt8($0) },
    ]
}
