// The classifiers, run over frames by an interpreter of classic BPF: the lanes are disjoint and
// complete, and no frame ends a program early. Pure: no kernel.
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

private func lanes(_ classifier: FrameClassifier, _ frame: [UInt8]) -> [FrameLane] {
    FrameLane.allCases.filter {
        ClassicInterpreter.run(classifier.classicProgram(for: $0), frame) == .max
    }
}

private func ethernet(_ type: UInt16, tags: [UInt16] = [], _ payload: [UInt8]) -> [UInt8] {
    var frame = [UInt8](repeating: 2, count: 12)
    for tag in tags { frame += [UInt8(tag >> 8), UInt8(tag & 0xff), 0, 7] }
    return frame + [UInt8(type >> 8), UInt8(type & 0xff)] + payload
}

private func version4(
    _ proto: UInt8, options: Int = 0, header: Int = 5, fragment: UInt16 = 0, _ payload: [UInt8]
) -> [UInt8] {
    [
        UInt8(0x40 + header + options), 0, 0, 60, 0, 0, UInt8(fragment >> 8),
        UInt8(fragment & 0xff), 64,
        proto,
    ]
        + [UInt8](repeating: 0, count: 10 + options * 4) + payload
}

private func version6(_ next: UInt8, _ payload: [UInt8]) -> [UInt8] {
    [0x60, 0, 0, 0, 0, 20, next, 64] + [UInt8](repeating: 1, count: 32) + payload
}

private func ports(_ source: UInt16, _ destination: UInt16) -> [UInt8] {
    [UInt8(source >> 8), UInt8(source & 0xff), UInt8(destination >> 8), UInt8(destination & 0xff)]
        + [UInt8](repeating: 0, count: 16)
}

@Suite struct ClassifierTests {
    private static let from = FrameClassifier(direction: .from, tcpPorts: [22, 3389])
    private static let to = FrameClassifier(direction: .to, tcpPorts: [22, 3389])

    /// Guards against: a frame that no filter limits, or two do, and a load beyond a short frame.
    @Test func everyFrameHasOneLane() {
        var generator = SystemRandomNumberGenerator()
        let types: [UInt16] = [0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x88cc]
        for _ in 0..<20_000 {
            var bytes = (0..<Int.random(in: 0...90, using: &generator)).map { _ in
                [UInt8(0), 6, 17, 22, 58, 68, 67, 0x45, 0x4f, 0x60, 0x81, 0x08, .max]
                    .randomElement(using: &generator) ?? 0
            }
            if bytes.count > 20, Bool.random(using: &generator) { bytes[0] = 0x45 }
            let tags: [UInt16] = Bool.random(using: &generator) ? [0x8100] : []
            let type = types.randomElement(using: &generator) ?? 0
            let frame = ethernet(type, tags: tags, bytes)
            for classifier in [Self.from, Self.to] {
                for lane in FrameLane.allCases {
                    #expect(
                        ClassicInterpreter.run(classifier.classicProgram(for: lane), frame) != nil,
                        "\(frame)")
                }
                #expect(lanes(classifier, frame).count == 1, "\(frame)")
            }
        }
    }

    /// Guards against: the lane of the wrong direction, one for UDP, for later fragments, behind
    /// another header length, or without IPv6 and tags.
    @Test func knownFramesHaveTheirLane() {
        let own = ports(22, 50_000)
        let theirs = ports(50_000, 22)
        let cases: [(FrameLane, [UInt8])] = [
            (.management, ethernet(0x0800, version4(6, own))),
            (.management, ethernet(0x0800, version4(6, ports(3389, 9)))),
            (.management, ethernet(0x0800, version4(6, options: 3, own))),
            (.management, ethernet(0x0800, version4(6, fragment: 0x2000, own))),
            (.management, ethernet(0x86dd, version6(6, own))),
            (.management, ethernet(0x0800, tags: [0x8100], version4(6, own))),
            (.management, ethernet(0x86dd, tags: [0x88a8], version6(6, own))),
            (.general, ethernet(0x0800, tags: [0x8100, 0x8100], version4(6, own))),
            (.general, ethernet(0x0800, version4(6, theirs))),
            (.general, ethernet(0x0800, version4(17, own))),
            (.general, ethernet(0x0800, version4(6, fragment: 0x0001, own))),
            (.general, ethernet(0x0800, version4(6, Array(own.prefix(3))))),
            (.general, ethernet(0x86dd, version6(0, own))),
            (.general, ethernet(0x88cc, own)),
            (.general, ethernet(0x0800, [])),
            // A header of 60 bytes in a frame of 38: read as it says, it ends beyond the frame.
            (.general, ethernet(0x0800, version4(6, header: 15, own))),
            (.neighbour, ethernet(0x0806, own)),
            (.neighbour, ethernet(0x0800, version4(1, own))),
            (.neighbour, ethernet(0x0800, version4(17, ports(68, 67)))),
            (.general, ethernet(0x0800, version4(17, ports(67, 68)))),
            (.neighbour, ethernet(0x86dd, version6(58, [135] + own))),
            (.general, ethernet(0x86dd, version6(58, [134] + own))),
        ]
        for (lane, frame) in cases { #expect(lanes(Self.from, frame) == [lane], "\(frame)") }
        #expect(lanes(Self.to, ethernet(0x0800, version4(6, theirs))) == [.management])
        #expect(lanes(Self.to, ethernet(0x0800, version4(6, own))) == [.general])
        #expect(lanes(Self.to, ethernet(0x0800, version4(17, ports(67, 68)))) == [.neighbour])
        #expect(lanes(Self.to, ethernet(0x86dd, version6(58, [134] + own))) == [.neighbour])
    }

    /// Guards against: a frame whose lane the head of the eBPF policer sees another way than the
    /// classifier behind it, or that it reads where there is nothing.
    @Test func theHeadAgreesWithTheClassifier() {
        var generator = SystemRandomNumberGenerator()
        let ports: [UInt16] = [22, 67, 68, 546, 547, 3389, 40_000]
        var decided = 0
        for _ in 0..<20_000 {
            func port() -> UInt16 { ports.randomElement(using: &generator) ?? 0 }
            let payload = TrafficControlTests.ports(port(), port())
            let proto: UInt8 = [6, 6, 17, 17, 1, 58].randomElement(using: &generator) ?? 0
            var frame =
                Bool.random(using: &generator)
                ? ethernet(0x0800, version4(proto, payload))
                : ethernet(0x86dd, version6(proto, payload))
            for _ in 0..<Int.random(in: 0...2, using: &generator) {
                let values: [UInt8] = [0, 1, 8, 6, 17, 22, 0x1f, 0x20, 0x45, 0x46, 0x81, .max]
                frame[Int.random(in: 12..<frame.count, using: &generator)] =
                    values.randomElement(using: &generator) ?? 0
            }
            if Int.random(in: 0..<4, using: &generator) == 0 {
                frame = Array(frame.prefix(Int.random(in: 14...60, using: &generator)))
            }
            // Headers may lie in several pieces.
            let linear =
                Bool.random(using: &generator)
                ? frame.count : Int.random(in: 0...frame.count, using: &generator)
            for classifier in [Self.from, Self.to] {
                let head = LaneFastPath(classifier)
                guard let exit = DirectInterpreter.run(head, frame, linear: linear) else {
                    Issue.record("no end: \(frame)")
                    continue
                }
                guard let lane = head.laneJumps.first(where: { $0.at == exit })?.to else {
                    continue
                }
                decided += 1
                #expect(lanes(classifier, frame) == [lane], "\(frame)")
            }
        }
        #expect(decided > 5_000)
    }

    /// Guards against: a jump that does not fit into classic BPF's eight bits.
    @Test func sixteenPortsFit() {
        let classifier = FrameClassifier(direction: .from, tcpPorts: (1...16).map { UInt16($0) })
        #expect(classifier.classicProgram(for: .general).count < 255)
    }
}
