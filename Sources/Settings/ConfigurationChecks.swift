// What no key alone can say: values that are each in range and together make no sense.

import Mitigation

extension ConfigurationReader {
    /// Windows against the poll, calm against its limit.
    func checkTimes(_ policy: Policy) {
        let interval = policy.pollInterval
        let windows = [
            ("trip.sustain", policy.sustain), ("trip.fast_sustain", policy.fastSustain),
        ]
        for (key, window) in windows {
            if window > interval * 64 {
                problems.contradiction(
                    [key, "poll.interval"],
                    "\(text(window)) is longer than 64 polls of \(text(interval))",
                    cure: "write at most \(text(interval * 64)), or poll less often")
            } else if window < interval {
                problems.contradiction(
                    [key, "poll.interval"],
                    "\(text(window)) is shorter than one poll of \(text(interval))",
                    cure: "write at least \(text(interval)), or poll more often")
            }
        }
        if policy.fastSustain > policy.sustain {
            problems.contradiction(
                ["trip.fast_sustain", "trip.sustain"],
                "\(text(policy.fastSustain)) is longer than trip.sustain, \(text(policy.sustain)), "
                    + "so that the fast path would never be first",
                cure: "write at most \(text(min(policy.sustain, interval * 64)))")
        }
        if policy.calmLimit < policy.calm {
            problems.contradiction(
                ["calm.limit", "calm.time"],
                "\(text(policy.calmLimit)) is shorter than calm.time, \(text(policy.calm))",
                cure: "write at least \(text(policy.calm))")
        }
        if policy.target.perSecond < policy.tightenDivisor {
            problems.contradiction(
                ["target.packets", "tighten.divisor"],
                "\(QuantityKind.packetRate.text(policy.target.perSecond)) divided by "
                    + "tighten.divisor, \(policy.tightenDivisor), is less than a packet a second",
                cure: "raise the target")
        }
    }

    /// A port that keeps to its cap must fall below the low mark, or it would never be released.
    func checkMarks(_ configuration: Configuration) {
        let policy = configuration.policy
        for portClass in PortClass.allCases where portClass != .backend {
            let marks = policy.marks[portClass] ?? Marks()
            check(marks, besides: Marks(), policy, "class.\(portClass.rawValue)")
        }
        check(policy.groupMark, besides: Mark(), policy, "cloudspace.together")
        for (name, marks) in policy.portMarks.sorted(by: { "\($0.key)" < "\($1.key)" }) {
            guard let match = configuration.names.match(name), match.portClass != .backend else {
                continue
            }
            let inherited = policy.marks[match.portClass] ?? Marks()
            check(marks, besides: inherited, policy, "port.\(name)")
        }
    }

    /// - Parameter besides: the class's marks, which were checked there.
    private func check(_ marks: Marks, besides: Marks, _ policy: Policy, _ owner: String) {
        check(marks.from, besides: besides.from, policy, "\(owner).from")
        // To the VM, only a shaped victim is held to the target.
        if policy.victim == .shape { check(marks.to, besides: besides.to, policy, "\(owner).to") }
    }

    private func check(_ mark: Mark, besides: Mark, _ policy: Policy, _ path: String) {
        let packets = QuantityKind.packetRate
        let bits = QuantityKind.bitRate
        let share = policy.lowShare
        let target = policy.target.perSecond
        if let high = mark.packets?.perSecond, mark.packets != besides.packets,
            Double(high) * share <= Double(target)
        {
            problems.contradiction(
                ["\(path).packets", "target.packets", "calm.low"],
                "the low mark, \(percent(share)) of \(packets.text(high)), is not above "
                    + "target.packets, \(packets.text(target)), so that a port held at the target "
                    + "would never be calm",
                cure: moreThan(packets, target, share))
        }
        // Calibration takes the average packet size up to the MTU; 1,500 bytes is the usual one.
        let (capped, overflow) = target.multipliedReportingOverflow(by: 1500 * 8)
        let cap = overflow ? UInt64.max : capped
        if let high = mark.bits?.bitsPerSecond, mark.bits != besides.bits,
            Double(high) * share <= Double(cap)
        {
            problems.contradiction(
                ["\(path).bits", "target.packets", "calm.low"],
                "the low mark, \(percent(share)) of \(bits.text(high)), is not above what "
                    + "target.packets lets through in packets of 1,500 bytes, \(bits.text(cap)), "
                    + "so that a port held at the target would never be calm",
                cure: moreThan(bits, cap, share))
        }
    }

    /// What the hook needs of a port's name must be in every pattern of class vm.
    func checkHook(_ configuration: Configuration) {
        guard configuration.policy.highestRung == .shutDown else { return }
        let hook = configuration.shutdown.hook
        var needed: [(key: String, placeholder: String)] = []
        for (key, command) in [("gentle", hook.gentle), ("hard", hook.hard)] {
            for name in command.flatMap(ShutdownHook.placeholders(in:)) {
                guard name == "domain" else {
                    needed.append(("shutdown.hook.\(key)", name))
                    continue
                }
                for name in ShutdownHook.placeholders(in: hook.domain) {
                    needed.append(("shutdown.hook.domain", name))
                }
            }
        }
        var told: Set<String> = []
        for (key, name) in needed where name == "num" || name == "netid" {
            let part: NamePattern.Part = name == "num" ? .num : .netid
            let patterns = configuration.names.patterns[.vm] ?? []
            guard patterns.contains(where: { !$0.parts.contains(part) }),
                told.insert("\(key) \(name)").inserted
            else { continue }
            problems.contradiction(
                [key, "class.vm.names", "shutdown.hook.gentle", "shutdown.hook.hard"],
                "it needs {\(name)}, but a pattern of class.vm.names has no <\(name)>",
                cure: "give every pattern a <\(name)>, or use {port}")
        }
    }

    private func text(_ duration: Duration) -> String {
        QuantityKind.duration.text(duration.wholeNanoseconds)
    }

    private func percent(_ share: Double) -> String {
        QuantityKind.share.text(UInt64((share * 100_000).rounded()))
    }

    /// The least high mark whose low mark is not below the target, as a cure.
    private func moreThan(_ kind: QuantityKind, _ target: UInt64, _ share: Double) -> String {
        let least = UInt64(exactly: (Double(target) / share).rounded(.up)) ?? .max
        return "write more than \(kind.text(least)), or lower the target"
    }
}
