// What a sample of packets says: from where, to where, of what, how long, and how much of it is forged.
// Pure: bytes in, summary out.
//
// Invariants: any bytes give a summary; every share is between 0 and 1; every text is printable ASCII;
// no list has more than `top` entries.
public import ControlAPI

/// Which sources are a port's own.
public enum SourceJudgement: Hashable, Sendable {
    /// These, as its guards say.
    case guards(OwnAddresses)
    /// It is a machine that nobody says anything of; the interface's own Ethernet address on the host.
    case machine(interface: FrameMAC?)
    /// It cannot be said: it carries what others send, or what is sent to it was sampled.
    case none
}

/// Addresses that a port may send from.
public struct OwnAddresses: Hashable, Sendable {
    /// Its Ethernet addresses.
    public var macs: Set<FrameMAC>
    /// Its IPv4 and IPv6 addresses.
    public var prefixes: [FramePrefix]

    /// These addresses.
    public init(macs: Set<FrameMAC>, prefixes: [FramePrefix]) {
        self.macs = macs
        self.prefixes = prefixes
    }

    func own(_ frame: FrameHeaders) -> Bool {
        guard macs.contains(frame.sourceMAC) else { return false }
        guard let source = frame.source, !source.isUnspecified else { return true }
        return prefixes.contains { $0.contains(source) }
    }
}

extension SampleSummary {
    /// As many values are told of each property.
    static let top = 10

    /// What these packets say.
    public init(_ packets: [SampledPacket], sources judgement: SourceJudgement) {
        self.init()
        guard !packets.isEmpty else { return }
        let frames = packets.compactMap { packet in
            FrameHeaders(packet.bytes).map { (headers: $0, length: Int(packet.length)) }
        }
        let headers = frames.map(\.headers)
        let count = packets.count
        self.packets = count
        bytes = packets.reduce(0) { $0 + UInt64($1.length) }
        let times = packets.map(\.nanoseconds)
        spanSeconds = Double((times.max() ?? 0) - (times.min() ?? 0)) / 1e9
        protocols = Self.tally(headers.map(\.kind), of: count)
        destinations = Self.tally(headers.compactMap(\.destination), of: count)
        destinationPorts = Self.tally(headers.compactMap(\.destinationPort), of: count)
        sourcePorts = Self.tally(headers.compactMap(\.sourcePort), of: count)
        self.sources = Self.tally(headers.compactMap(\.source), of: count)
        sourceMACs = Self.tally(headers.map(\.sourceMAC), of: count)
        vlans = Self.tally(
            headers.filter { !$0.vlans.isEmpty }.map {
                $0.vlans.map(String.init).joined(separator: ".")
            }, of: count)
        let lengths = packets.map { Int($0.length) }.sorted()
        sizes = SampleSizes(
            minimum: lengths[0], median: lengths[(lengths.count - 1) / 2],
            maximum: lengths[lengths.count - 1], common: Self.tally(lengths, of: count))
        forged = Forgery.judge(headers, judgement, of: count)
        line = SampleLine.text(frames, of: count, forged)
    }

    static func tally<Value: Hashable & CustomStringConvertible>(
        _ values: [Value], of count: Int
    ) -> SampleTally {
        var counts: [Value: Int] = [:]
        for value in values { counts[value, default: 0] += 1 }
        let sorted = counts.map { (what: "\($0.key)", packets: $0.value) }
            .sorted { ($1.packets, $0.what) < ($0.packets, $1.what) }
        return SampleTally(
            distinct: counts.count,
            top: sorted.prefix(top).map {
                SampleShare(
                    what: $0.what, packets: $0.packets,
                    share: Double($0.packets) / Double(max(count, 1)))
            })
    }
}

/// Whose sources are forged.
private enum Forgery {
    /// More source addresses than these, and one for each four packets, are no machine's own.
    static let fewAddresses = 8
    static let packetsAnAddress = 4

    static func judge(
        _ frames: [FrameHeaders], _ judgement: SourceJudgement, of count: Int
    ) -> SampleForgery? {
        func found(
            _ packets: Int, _ rule: SampleForgery.Rule, _ own: FrameMAC? = nil
        ) -> SampleForgery {
            SampleForgery(
                packets: packets, share: Double(packets) / Double(count), rule: rule,
                own: own.map { "\($0)" })
        }
        switch judgement {
        case .none: return nil
        case .guards(let addresses):
            return found(frames.count { !addresses.own($0) }, .guards)
        case .machine(let interface):
            guard let own = ownMAC(frames, interface) else { return nil }
            let scattered = scatteredSources(frames)
            let forged = frames.count { frame in
                frame.sourceMAC != own || frame.source.map { scattered.contains($0) } ?? false
            }
            return found(forged, scattered.isEmpty ? .ethernet : .scatter, own)
        }
    }

    /// The one that the interface's own was made of, as libvirt does (fe in place of the first byte);
    /// else the one that most packets have, of several the lowest.
    private static func ownMAC(_ frames: [FrameHeaders], _ interface: FrameMAC?) -> FrameMAC? {
        var counts: [FrameMAC: Int] = [:]
        for frame in frames { counts[frame.sourceMAC, default: 0] += 1 }
        let ordered = counts.sorted {
            ($1.value, $0.key.number) < ($0.value, $1.key.number)
        }.map(\.key)
        let last: UInt64 = 0xff_ffff_ffff
        let alike = ordered.first { mac in
            interface.map { $0.number & last == mac.number & last } ?? false
        }
        return alike ?? ordered.first
    }

    /// Source addresses that are too many to be a machine's own, but the most frequent one.
    private static func scatteredSources(_ frames: [FrameHeaders]) -> Set<FrameAddress> {
        var scattered: Set<FrameAddress> = []
        for isVersion4 in [true, false] {
            var counts: [FrameAddress: Int] = [:]
            for case let source? in frames.map(\.source) where !source.isUnspecified {
                let isOfFamily = if case .version4 = source { isVersion4 } else { !isVersion4 }
                if isOfFamily { counts[source, default: 0] += 1 }
            }
            let packets = counts.values.reduce(0, +)
            guard counts.count > fewAddresses, counts.count * packetsAnAddress >= packets,
                let most = counts.values.max(), let own = counts.first(where: { $0.value == most })
            else { continue }
            scattered.formUnion(counts.keys.filter { most == 1 || $0 != own.key })
        }
        return scattered
    }
}

/// A sample in a few words.
private enum SampleLine {
    typealias Frame = (headers: FrameHeaders, length: Int)

    /// What packets have in common: the more, the narrower.
    private struct Kind: Hashable {
        var kind: String
        var destination: FrameAddress?
        var port: UInt16?
    }

    static func text(_ frames: [Frame], of count: Int, _ forged: SampleForgery?) -> String {
        guard let (kind, members) = mostCommon(frames, of: count) else {
            return "\(count) packets, none of Ethernet"
        }
        let lengths = members.map(\.length).sorted()
        let sources = Set(members.compactMap(\.headers.source)).count
        let macs = Set(members.map(\.headers.sourceMAC)).count
        var words = ["\(percent(members.count, count)) \(kind.kind)\(aim(kind, members))"]
        words.append("\(lengths[(lengths.count - 1) / 2]) B")
        words.append(counted(sources > 0 ? sources : macs, "source", "sources"))
        if let forged, forged.packets > 0 {
            words.append("\(percent(forged.packets, count)) forged")
        }
        return words.joined(separator: ", ")
    }

    /// The narrowest kind that half of the packets are of; else the most common protocol.
    private static func mostCommon(_ frames: [Frame], of count: Int) -> (Kind, [Frame])? {
        let kinds: [(FrameHeaders) -> Kind] = [
            { Kind(kind: $0.kind, destination: $0.destination, port: $0.destinationPort) },
            { Kind(kind: $0.kind, destination: $0.destination) },
            { Kind(kind: $0.kind, port: $0.destinationPort) },
            { Kind(kind: $0.kind) },
        ]
        for (place, kind) in kinds.enumerated() {
            let groups = Dictionary(grouping: frames) { kind($0.headers) }
            let most = groups.max { left, right in
                let (less, more) = (left.value.count, right.value.count)
                return less == more ? "\(right.key)" < "\(left.key)" : less < more
            }
            guard let most else { return nil }
            if most.value.count * 2 >= count || place == kinds.count - 1 {
                return (most.key, most.value)
            }
        }
        return nil
    }

    private static func aim(_ kind: Kind, _ members: [Frame]) -> String {
        let destinations = Set(members.compactMap(\.headers.destination)).count
        let ports = Set(members.compactMap(\.headers.destinationPort)).count
        switch (kind.destination, kind.port) {
        case (let address?, let port?): return " to \(address.text(port: port))"
        case (let address?, nil):
            return " to \(address)" + (ports > 1 ? ", \(ports) ports" : "")
        case (nil, let port?):
            return " to port \(port) of \(counted(destinations, "address", "addresses"))"
        case (nil, nil):
            guard destinations > 0 else {
                let macs = Set(members.map(\.headers.destinationMAC))
                let only = macs.count == 1 ? macs.first : nil
                return " to " + (only.map { "\($0)" } ?? "\(macs.count) Ethernet addresses")
            }
            return " to \(counted(destinations, "address", "addresses"))"
        }
    }

    private static func counted(_ count: Int, _ one: String, _ many: String) -> String {
        "\(count) \(count == 1 ? one : many)"
    }

    /// 99.6% is not all of them.
    private static func percent(_ part: Int, _ whole: Int) -> String {
        part > 0 && part * 100 < whole ? "<1%" : "\(part * 100 / whole)%"
    }
}
