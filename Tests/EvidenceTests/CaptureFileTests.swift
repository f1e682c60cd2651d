// Files of packets, as others write and read them.
import Evidence
import Testing

@Suite struct CaptureFileTests {
    private static let packets = [
        SampledPacket(
            nanoseconds: 1_764_172_800_123_456_789, length: 1_514,
            bytes: [UInt8](repeating: 7, count: 300)),
        SampledPacket(nanoseconds: 1_764_172_801_000_000_001, length: 60, bytes: [1, 2, 3]),
        SampledPacket(nanoseconds: 0, length: 0, bytes: []),
    ]

    /// Guards against: packets that come back as others than they were written, a length on the wire
    /// that is lost with what was cut off, and more of a tenant's packet than is promised.
    @Test func roundTrip() throws {
        let bytes = CaptureFile.bytes(of: Self.packets)
        let read = try CaptureFile.read(bytes, most: 10)
        #expect(read.packets == Self.packets && !read.isTorn)
        #expect(read.packets.map(\.bytes.count) == [128, 3, 0])
        #expect(read.packets[0].length == 1_514)
        #expect(try CaptureFile.read(bytes, most: 2).packets == Array(Self.packets.prefix(2)))
    }

    /// Guards against: a head that others read in another way: nanoseconds, little endian, version
    /// 2.4, snapshots of 128 bytes, Ethernet.
    @Test func head() {
        #expect(
            CaptureFile.bytes(of: []) == [
                0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 1, 0, 0,
                0,
            ])
    }

    /// Guards against: a file of another machine's byte order, or in microseconds, that is refused or
    /// read with wrong times.
    @Test func foreignForms() throws {
        let words: [UInt32] = [
            0xa1b2_c3d4, 2 << 16 | 4, 0, 0, 262_144, 1, 7, 9, 4, 70, 0x0102_0304,
        ]
        func bytes(bigEndian: Bool) -> [UInt8] {
            words.enumerated().flatMap { place, word in
                // The two halves of the version, and the packet's bytes, are no words.
                let word = !bigEndian && place == 1 ? word << 16 | word >> 16 : word
                let shifts = [24, 16, 8, 0].map { UInt32($0) }
                let isText = place == words.count - 1
                return (bigEndian || isText ? shifts : shifts.reversed()).map {
                    UInt8(truncatingIfNeeded: word >> $0)
                }
            }
        }
        let wanted = SampledPacket(nanoseconds: 7_000_009_000, length: 70, bytes: [1, 2, 3, 4])
        for isBig in [true, false] {
            #expect(try CaptureFile.read(bytes(bigEndian: isBig), most: 9).packets == [wanted])
        }
    }

    /// Guards against: a file that is cut off, or holds nonsense, taken for whole, refused as a whole,
    /// or read past its end.
    @Test func torn() throws {
        let bytes = CaptureFile.bytes(of: Self.packets)
        for count in 24..<bytes.count {
            let read = try CaptureFile.read(Array(bytes.prefix(count)), most: 10)
            #expect(read.packets == Array(Self.packets.prefix(read.packets.count)))
            let isBetween = [24, 24 + 144, 24 + 144 + 19].contains(count)
            #expect(read.isTorn == !isBetween, "\(count)")
        }
        for count in 0..<24 {
            #expect(throws: CaptureFileError.foreign) {
                try CaptureFile.read(Array(bytes.prefix(count)), most: 10)
            }
        }
        var other = bytes
        other[20] = 113
        #expect(throws: CaptureFileError.linkType(113)) { try CaptureFile.read(other, most: 10) }
        var endless = bytes
        for place in 32..<36 { endless[place] = 0xff }
        #expect(try CaptureFile.read(endless, most: 10).isTorn)
    }
}
