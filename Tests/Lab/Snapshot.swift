// All that traffic control and the links of a namespace show, as text to compare byte for byte.
// Invariant: what changes by itself (timers, ages, counters) is left out; nothing else is.

/// What `tc` and `ip` print of the calling thread's namespace.
public struct Snapshot: Hashable, Sendable, CustomStringConvertible {
    /// `tc qdisc show`, all devices.
    public var qdiscs: String
    /// `tc filter show` of root, ingress and egress, and `tc class show`, of each device that can
    /// have any.
    public var filters: String
    /// `tc actions list` of each kind that the kernel lists.
    public var actions: String
    /// `ip -details link`, without the bridges' timers.
    public var links: String
    /// `nft list ruleset` without counters; empty where there is no nft.
    public var rules: String

    private static let defaultKinds: Set<String> = ["noqueue", "pfifo_fast", "fq_codel"]
    private static let actionKinds = ["police", "mirred", "gact", "bpf", "ct"]
    private static let volatile: Set<String> = [
        "hello_timer", "tcn_timer", "topology_change_timer", "gc_timer", "hold_timer",
        "message_age_timer", "forward_delay_timer",
        // The operational state follows the carrier a while later; IFF_UP stands in the flags.
        "state",
        // An htb's: frames that came before its classes did, as while a root is put back.
        "direct_packets_stat",
    ]

    /// Takes the picture.
    ///
    /// - Throws: `LabError` with the tool's sentence.
    public init() throws(LabError) {
        qdiscs = Self.withoutVolatile(try Tool.run("tc", "qdisc", "show"))
        links = Self.withoutVolatile(try Tool.run("ip", "-details", "link", "show"))
        rules = (try? Tool.run("nft", "--stateless", "list", "ruleset")) ?? ""
        filters = ""
        for name in Self.devicesWithMore(in: qdiscs) {
            for parent in [[], ["ingress"], ["egress"]] {
                let text = try Tool.run("tc", ["filter", "show", "dev", name] + parent)
                filters += "\(name) \(parent.first ?? "root")\n\(Self.withoutOffload(text))"
            }
            filters += try Tool.run("tc", "class", "show", "dev", name)
        }
        actions = ""
        for kind in Self.actionKinds {
            let text = try? Tool.run("tc", "actions", "list", "action", kind)
            actions += "\(kind)\n\(Self.withoutOffload(text ?? "not in this kernel\n"))"
        }
    }

    /// All of it, in the order of its parts.
    public var description: String {
        """
        # tc qdisc
        \(qdiscs)
        # tc filter
        \(filters)
        # tc actions
        \(actions)
        # ip link
        \(links)
        # nft
        \(rules)
        """
    }

    /// The lines in which two pictures differ: `+` stands only here, `-` only in the earlier one.
    public func difference(from earlier: Snapshot) -> [String] {
        let here = description.split(separator: "\n")
        let there = earlier.description.split(separator: "\n")
        return here.difference(from: there).map { change in
            switch change {
            case .insert(_, let line, _): "+\(line)"
            case .remove(_, let line, _): "-\(line)"
            }
        }
    }

    /// The lines in which the present state still differs from an earlier one after at most ten
    /// seconds: the kernel frees the actions of a deleted filter a moment later, behind those of all
    /// others and a grace period of RCU for each (tcf_queue_work), which takes its time on busy
    /// processors.
    ///
    /// `numbersCount` is false where somebody may have made actions anew, as others do beside ours: they
    /// have other numbers then, by what was free.
    ///
    /// - Throws: `LabError` with the tool's sentence.
    public static func settledDifference(
        from earlier: Snapshot, numbersCount: Bool = true
    ) throws(LabError) -> [String] {
        let begin = Moment.now
        while true {
            let all = try Snapshot().difference(from: earlier)
            let difference = numbersCount ? all : withoutActionNumbers(all)
            let took = Moment.now - begin
            guard !difference.isEmpty, took < .seconds(10) else {
                if took > .seconds(1) {
                    Program.write("figure: traffic control settled in \(took)\n")
                }
                return difference
            }
        }
    }

    /// A picture in which nothing is on its way out any more: two that were taken 100 ms apart agree.
    ///
    /// - Throws: `LabError` with the tool's sentence, or where it does not settle within two seconds.
    public static func settled() throws(LabError) -> Snapshot {
        let deadline = Moment.now + .seconds(2)
        var last = try Snapshot()
        while Moment.now < deadline {
            measure(for: .milliseconds(100))
            let next = try Snapshot()
            guard next != last else { return next }
            last = next
        }
        throw LabError("a picture of traffic control", detail: "it goes on changing")
    }

    /// What is left of a difference where the numbers of actions do not count.
    private static func withoutActionNumbers(_ difference: [String]) -> [String] {
        func lines(_ sign: Character) -> [String] {
            difference.filter { $0.first == sign }
                .map {
                    String($0.dropFirst()).replacing(/police 0x[0-9a-f]+/, with: "police")
                        .replacing(/\bindex [0-9]+/, with: "index")
                }
                .sorted()
        }
        return lines("+") == lines("-") ? [] : difference
    }

    /// The devices that can have filters or classes: those with any but a default qdisc.
    private static func devicesWithMore(in qdiscs: String) -> [String] {
        var devices: [String] = []
        for line in qdiscs.split(separator: "\n") {
            // qdisc KIND HANDLE dev NAME ...
            let fields = line.split(separator: " ").map { String($0) }
            guard fields.count > 4, fields[3] == "dev", !defaultKinds.contains(fields[1]) else {
                continue
            }
            if !devices.contains(fields[4]) { devices.append(fields[4]) }
        }
        return devices
    }

    /// The kernel knows an action's `used_hw_stats` only after its first dump.
    private static func withoutOffload(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false)
            .filter { !$0.contains("used_hw_stats") }.joined(separator: "\n")
    }

    private static func withoutVolatile(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            var words = line.split(separator: " ", omittingEmptySubsequences: false)
            while let position = words.firstIndex(where: { volatile.contains(String($0)) }) {
                // The value is padded with blanks, which split into empty words.
                let value = words[(position + 1)...].firstIndex { !$0.isEmpty }
                words.removeSubrange(position...(value ?? position))
            }
            return words.joined(separator: " ")
        }.joined("\n")
    }
}
