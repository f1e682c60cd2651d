// The commands of ip(8) and tc(8) that make the tree which we make by netlink, from the same steps.
@testable import Netlink
@testable import TrafficControl

/// Lines for `ip -batch` and then for `tc -batch`.
struct TCScript {
    private(set) var links: [String] = []
    private(set) var traffic: [String] = []

    /// Nil where a step has no words in them: an eBPF program.
    init?(_ steps: [Step], on port: ControlledPort) {
        for step in steps {
            switch step {
            case .createIFB(let role):
                links.append("link add \(role.name(of: port.index)) numtxqueues 1 type ifb")
            case .raise(let role): links.append("link set \(role.name(of: port.index)) up")
            case .addQdisc(let device, let wanted):
                guard let words = Self.words(wanted.qdisc) else { return nil }
                let parent = wanted.parent == .root ? "root" : "parent \(wanted.parent)"
                traffic.append(
                    "qdisc add dev \(device.name(port)) \(parent) handle \(wanted.handle) \(words)")
            case .addClass(let device, let wanted):
                let htb = wanted.htb
                traffic.append(
                    "class add dev \(device.name(port)) parent \(Ownership.rootHandle) "
                        + "classid \(wanted.id) htb rate \(htb.bytesPerSecond * 8)bit "
                        + "ceil \(htb.ceilBytesPerSecond * 8)bit burst \(htb.burstBytes) "
                        + "cburst \(htb.ceilBurstBytes) mpu \(htb.minimumPacketBytes)")
            case .addHook(let hook): traffic.append("qdisc add dev \(port.name) \(hook.rawValue)")
            case .putFilter(let device, let filter):
                guard let words = Self.words(filter, port) else { return nil }
                let parent = filter.parent == .clsactIngress ? "ffff:" : "\(filter.parent)"
                traffic.append(
                    "filter add dev \(device.name(port)) parent \(parent) protocol all "
                        + "pref \(filter.preference) handle 0x7a01 \(words)")
            default: return nil
            }
        }
    }

    /// Each as a command of its own.
    var commands: [String] { links.map { "ip \($0)" } + traffic.map { "tc \($0)" } }

    private static func words(_ qdisc: Qdisc) -> String? {
        switch qdisc {
        case .htb(let defaultClass, _): "htb default \(defaultClass)"
        case .packetQueue(let limit): "pfifo limit \(limit)"
        case .netem(let netem):
            "netem delay \(netem.delayNanoseconds / 1_000)us limit \(netem.limitPackets)"
        case .tokenBucket(let bucket):
            "tbf rate \(bucket.bytesPerSecond * 8)bit burst \(bucket.burstBytes) "
                + "limit \(bucket.limitBytes) mpu \(bucket.minimumPacketBytes)"
        case .ingress, .clsact: nil
        }
    }

    private static func words(_ filter: WantedFilter, _ port: ControlledPort) -> String? {
        guard case .classic(let program) = filter.match else { return nil }
        let code = program.map { "\($0.code) \($0.jt) \($0.jf) \($0.k)," }.joined()
        var words = "bpf bytecode \"\(program.count),\(code)\""
        if let classID = filter.classID { words += " classid \(classID)" }
        switch filter.act {
        case nil: break
        case .redirect(let role, _):
            words += " action mirred egress redirect dev \(role.name(of: port.index))"
        case .police(let police, let overhead, _):
            words +=
                " action police pkts_rate \(police.packetsPerSecond) "
                + "pkts_burst \(police.burstPackets) conform-exceed drop/pipe "
                + "action police rate \(police.bytesPerSecond * 8)bit "
                + "burst \(police.burstBytes) mtu 65535 overhead \(overhead) "
                + "conform-exceed drop/continue"
        }
        return words
    }
}
