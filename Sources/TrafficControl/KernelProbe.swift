// Finds what a kernel has of the parts that the rungs are made of, by trying each on a throw-away
// ifb: a module may load when it is asked for, and 5.10 takes a packet rate and does not keep it.
import LinuxSystem
import Mitigation
import Netlink

enum KernelProbe {
    private static let name = "ifb-probe"
    private static let alias = "sluice/1 probe"

    /// A throw-away ifb, down; what a former process left of it goes first.
    static func makeIFB(
        mtu: UInt32? = nil, _ socket: inout RouteSocket
    ) throws(NetlinkError) -> Int32 {
        if let left = try socket.link(name: Array(name.utf8)),
            left.alias == Array(alias.utf8) || left.isBareIFB
        {
            try socket.deleteLink(left.index)
        }
        return try socket.createIFB(name: name, alias: alias, mtu: mtu).index
    }

    /// Tries everything; the ifb is gone afterwards.
    static func run(_ socket: inout RouteSocket) -> KernelParts {
        var parts = KernelParts(
            hasActPolice: false, hasBPF: false, hasNetem: false, hasIFB: false)
        do throws(NetlinkError) {
            let index = try makeIFB(&socket)
            parts.hasIFB = true
            let police = tryActPolice(on: index, &socket)
            let bpf = tryBPF(on: index, &socket)
            let netem = tryNetem(on: index, &socket)
            let gact = tryGuard(.generic(.drop, cookie: probeCookie(index)), on: index, &socket)
            let source = GuardSources.program(ofAction: 0, .enforce)
            let actBPF = tryGuard(
                .classicBPF(source, .drop, cookie: probeCookie(index)), on: index, &socket)
            let connections = tryConnections(on: index, &socket)
            try? socket.deleteLink(index)
            parts.hasActPolice = police == nil
            parts.hasBPF = bpf == nil
            parts.hasNetem = netem == nil
            parts.hasActGact = gact == nil
            parts.hasActBPF = actBPF == nil
            parts.followsConnections = connections == nil
            parts.notes = notes(police: police, bpf: bpf, netem: netem)
            if let connections {
                parts.notes.append(
                    "no act_ct or flower (\(connections)): a management guard goes by each packet's "
                        + "own flags")
            }
            if gact == nil, let actBPF {
                parts.notes.append(
                    "no act_bpf (\(actBPF)): how many Ethernet sources a guarded port forges is not "
                        + "known")
            }
        } catch {
            parts.notes = ["no ifb (\(error)): no port can be shaped or limited"]
        }
        return parts
    }

    private static func notes(police: String?, bpf: String?, netem: String?) -> [String] {
        var notes: [String] = []
        if let police {
            notes.append(
                "no act_police (\(police)): "
                    + (bpf == nil
                        ? "an eBPF token bucket polices"
                        : "an ifb with an htb that does not queue polices, by bytes only"))
        }
        if police != nil, let bpf { notes.append("no eBPF policer (\(bpf))") }
        if let netem {
            notes.append("no netem (\(netem)): the delay of a shaped port is its queue's")
        }
        return notes
    }

    /// Nil where it works; else the kernel's sentence.
    private static func tryActPolice(on index: Int32, _ socket: inout RouteSocket) -> String? {
        let cap = Cap(
            packets: PacketRate(perSecond: 12_345), bits: BitRate(bitsPerSecond: 8_000_000))
        let police = Formulas.police(cap)
        let cookie = Tag(index: index, incident: 0, rung: .police, ownsHook: true).cookie
        let filter = Filter(
            parent: .clsactIngress, preference: FrameLane.general.preference,
            handle: Ownership.filterHandle, match: .classicBPF(ClassicCode.everything),
            actions: [
                .policePackets(
                    perSecond: police.packetsPerSecond, burst: police.burstPackets, conform: .pipe,
                    exceed: .drop, cookie: cookie),
                .policeBytes(
                    perSecond: police.bytesPerSecond, burstBytes: police.burstBytes,
                    mtu: Formulas.largestFrameBytes, overhead: Formulas.ethernetHeaderBytes,
                    conform: .unspec, exceed: .drop, cookie: cookie),
            ])
        return trying { () throws(NetlinkError) in
            try socket.add(.clsact, to: index, parent: .ingress, handle: .ingressQdisc)
            defer {
                try? socket.deleteQdisc(of: index, parent: .ingress, handle: .ingressQdisc)
            }
            try socket.put(filter, on: index)
            let records = try socket.filters(of: index, parent: .clsactIngress)
            let rates = records.flatMap(\.actions).compactMap { $0.police?.packetsPerSecond }
            return rates == [police.packetsPerSecond]
                ? nil : "a packet rate is taken and not kept"
        }
    }

    private static func probeCookie(_ index: Int32) -> [UInt8] {
        Tag(index: index, incident: 0, rung: .normal, ownsHook: true).cookie
    }

    private static func tryGuard(
        _ action: TCAction, on index: Int32, _ socket: inout RouteSocket
    ) -> String? {
        let filter = Filter(
            parent: .clsactIngress, preference: Ownership.guardPreference,
            handle: Ownership.guardHandle(of: .other),
            match: .classicBPF(ClassicCode.everything),
            actions: [action])
        return trying(onClsactOf: index, &socket) { socket throws(NetlinkError) in
            try socket.put(filter, on: index)
            return nil
        }
    }

    private static func tryConnections(on index: Int32, _ socket: inout RouteSocket) -> String? {
        let remember = Filter(
            parent: .clsactEgress, preference: Ownership.lookUpPreference,
            handle: Ownership.rememberHandle, match: .classicBPF(ClassicCode.everything),
            actions: [.connection(commits: true, .unspec, cookie: probeCookie(index))])
        let refuse = Filter(
            parent: .clsactIngress, preference: Ownership.unansweringPreference,
            handle: Ownership.unansweringHandle, match: .connection(WantedGuard.unanswering),
            actions: [.generic(.drop, cookie: probeCookie(index))])
        return trying(onClsactOf: index, &socket) { socket throws(NetlinkError) in
            try socket.put(remember, on: index)
            try socket.put(refuse, on: index)
            let records = try socket.filters(of: index, parent: .clsactIngress)
            return records.contains { $0.connection == WantedGuard.unanswering }
                ? nil : "a connection's side is taken and not kept"
        }
    }

    private static func tryNetem(on index: Int32, _ socket: inout RouteSocket) -> String? {
        let netem = Qdisc.netem(Netem(delayNanoseconds: 200_000_000, limitPackets: 1_000))
        return trying { () throws(NetlinkError) in
            try socket.add(netem, to: index, parent: .root, handle: Ownership.delayHandle)
            let records = try socket.qdiscs(of: index)
            return records.contains { $0.holds(netem) } ? nil : "a delay is taken and not kept"
        }
    }

    private static func tryBPF(on index: Int32, _ socket: inout RouteSocket) -> String? {
        do throws(StepFailure) {
            let limits = [TokenBucketLimits](repeating: .unlimited, count: TokenBucketLayout.lanes)
            let wanted = WantedFilter(
                parent: .clsactIngress, preference: FrameLane.management.preference,
                match: .buckets(.from, tcpPorts: [22], nil, limits), act: nil)
            var execution = Execution(
                port: ControlledPort(index: index, name: PortName(name), mtu: 1500),
                tag: Tag(index: index, incident: 0, rung: .police, ownsHook: true),
                from: ObservedTree(), policers: BPFPolicers())
            try execution.run([.addHook(.clsact)], on: &socket)
            defer { try? execution.run([.deleteHook], on: &socket) }
            try execution.run([.putFilter(.port, wanted)], on: &socket)
            return nil
        } catch {
            return error.told.description
        }
    }

    private static func trying(
        onClsactOf index: Int32, _ socket: inout RouteSocket,
        _ body: (inout RouteSocket) throws(NetlinkError) -> String?
    ) -> String? {
        trying { () throws(NetlinkError) in
            try socket.add(.clsact, to: index, parent: .ingress, handle: .ingressQdisc)
            defer {
                try? socket.deleteQdisc(of: index, parent: .ingress, handle: .ingressQdisc)
            }
            return try body(&socket)
        }
    }

    private static func trying(_ body: () throws(NetlinkError) -> String?) -> String? {
        do throws(NetlinkError) {
            return try body()
        } catch {
            return error.kernelSentence ?? error.description
        }
    }
}

extension KernelParts {
    /// The policer to use: the configured one, else the first there is; nil where it is not to be
    /// had.
    public func policer(configured: Policer?) -> Policer? {
        let present = Policer.allCases.filter { policer in
            switch policer {
            case .actPolice: hasActPolice
            case .bpf: hasBPF
            case .ifb: hasIFB
            }
        }
        guard let configured else { return present.first }
        return present.contains(configured) ? configured : nil
    }

    /// What guards are made of: as configured, else the first there is; nil where it is not to be
    /// had.
    func guardEnforcer(configured: GuardEnforcer?) -> GuardEnforcer? {
        let present = GuardEnforcer.allCases.filter { $0 == .actGact ? hasActGact : hasBPF }
        guard let configured else { return present.first }
        return present.contains(configured) ? configured : nil
    }

    /// Why there is no policer.
    public func refusal(of configured: Policer?) -> String {
        let wanted = configured.map { "the policer \($0.rawValue)" } ?? "any policer"
        return "this kernel does not have \(wanted): \(notes.joined(separator: "; "))"
    }
}
