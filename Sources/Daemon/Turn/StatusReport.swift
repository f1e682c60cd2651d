// The present state as the socket tells it.
package import ControlAPI
internal import LinkCounters
package import Mitigation
internal import Recording
internal import Settings
import TrafficControl

/// What the service knows of itself, beside the turn.
package struct ServiceFacts: Sendable {
    /// The daemon's version.
    package var version: String
    /// The process id.
    package var pid: Int32
    /// The kernel's release.
    package var kernel: String
    /// When the daemon started.
    package var startedAt: Instant
    /// Polls that started more than half an interval late.
    package var latePolls: UInt64 = 0
    /// How late the latest poll began, in nanoseconds.
    package var worstLateness: UInt64 = 0
    /// How late all polls together began, in nanoseconds.
    package var totalLateness: UInt64 = 0

    /// How late each poll began.
    package var lateness = DurationHistogram()
    /// How long each turn took.
    package var turnTime = DurationHistogram()

    /// In microseconds, over this many polls.
    func meanLateness(polls: UInt64) -> UInt64 { totalLateness / max(1, polls) / 1_000 }

    /// Facts of a service that starts now.
    package init(version: String, pid: Int32, kernel: String, startedAt: Instant) {
        self.version = version
        self.pid = pid
        self.kernel = kernel
        self.startedAt = startedAt
    }
}

extension Turn where Machine: ~Copyable, Control: ~Copyable, Store: ~Copyable {
    /// Everything: the answer to `GET /v1/status`.
    package func status(_ facts: ServiceFacts, now: Instant) -> Status {
        let places = table.watched.map { (slot: $0.slot, index: $0.value.port.id.index) }
        return Status(
            version: facts.version, pid: facts.pid, mode: mode,
            uptimeSeconds: seconds(now.since(facts.startedAt)), kernel: facts.kernel,
            kernelNotes: control.parts.notes, polls: polls,
            pollMilliseconds: seconds(engine.policy.pollInterval) * 1_000,
            counters: machine.counterSource.word, countersNote: machine.counterSource.reason,
            latePolls: facts.latePolls, worstLatenessMicroseconds: facts.worstLateness / 1_000,
            meanLatenessMicroseconds: facts.meanLateness(polls: polls),
            mitigated: engine.mitigatedCount,
            breaker: engine.breaker?.rawValue, classes: classModes,
            ports: places.sorted { $0.index < $1.index }.map { portStatus($0.slot, now: now) })
    }

    /// What the turn knows of the daemon's health; the rest is the service's.
    package func health(_ facts: ServiceFacts, now: Instant) -> SelfHealth {
        var health = SelfHealth()
        health.lateness = facts.lateness.reading
        health.turnTime = facts.turnTime.reading
        health.changeTime = changeTime.reading
        health.counts = counts
        health.breaker = engine.breakerRoom
        for slot in engine.slots {
            let view = engine.view(slot)
            guard view.rung > .normal, view.mode == .observe else { continue }
            health.observed.insert(view.port.id.index)
        }
        health.contestedPorts = held.values.count { $0.leftUntil.map { now < $0 } ?? false }
        health.journal = JournalHealth(failures: counts.failedJournals, isBroken: isJournalBroken)
        return health
    }

    /// One port by its escaped name; nil where none is watched.
    package func portStatus(named name: String, now: Instant) -> PortStatus? {
        slot(named: name).map { portStatus($0, now: now) }
    }

    /// Why a port is where it is, by its escaped name; nil where none is watched.
    package func explanation(of name: String, now: Instant) -> Explanation? {
        guard let slot = slot(named: name) else { return nil }
        let view = engine.view(slot)
        return Explanation(
            port: portStatus(slot, now: now), mode: view.mode.rawValue,
            marks: MarksStatus(from: MarkStatus(view.marks.from), to: MarkStatus(view.marks.to)),
            lowShare: engine.policy.lowShare, strikes: Int(view.strikes),
            calmSeconds: seconds(view.calm), calmNeededSeconds: seconds(view.calmNeeded),
            pending: view.pending?.description, up: view.climb.map { StepStatus($0, now: now) },
            down: view.descent.map { StepStatus($0, now: now) })
    }

    func slot(named name: String) -> Engine.Slot? {
        guard let name = PortName(escaped: name) else { return nil }
        return slot(of: name)
    }

    /// The place of the watched port of this name; nil where there is none.
    func slot(of name: PortName) -> Engine.Slot? {
        table.watched.first { $0.value.port.name == name }?.slot
    }

    private func portStatus(_ slot: Engine.Slot, now: Instant) -> PortStatus {
        let view = engine.view(slot)
        let watched = table.watched[slot]
        let limits = view.limits
        let passing = limits.flatMap { _ in table.passing[slot] }
        return PortStatus(
            name: view.port.name.description, index: view.port.id.index,
            portClass: view.port.portClass.rawValue,
            pattern: watched?.match.pattern.description ?? "",
            netid: view.port.netid.map { hexadecimal($0) },
            rung: view.rung.description, onRungSeconds: view.since.map { seconds(now.since($0)) },
            incident: view.incident, isVictim: view.isVictim,
            offered: Loads(
                from: view.offeredFrom.map(Load.init), to: view.offeredTo.map(Load.init)),
            delivered: passing?.delivered,
            lane: passing?.lane,
            cap: limits.map {
                Loads(from: ($0.from?.cap).map(Load.init), to: ($0.to?.cap).map(Load.init))
            },
            delayMilliseconds: (limits?.from?.delay ?? limits?.to?.delay).map {
                seconds($0) * 1_000
            },
            enforcement: limits == nil
                ? nil : watched.flatMap { control.enforcement(of: $0.controlled) },
            problem: view.problem ?? watched?.problem, advisories: held[slot]?.advisories ?? [],
            path: view.path?.legs.map {
                PathLeg(port: $0.name.description, load: Load($0.load))
            }, companion: view.path?.companion?.description,
            limitedFor: view.limitedFor.map(\.description),
            guards: guarded[slot].flatMap(GuardStatus.init),
            order: orderStatus(of: view.port.name, now: now))
    }
}

extension GuardStatus {
    /// Nil where nothing is said.
    fileprivate init?(_ port: PortGuards) {
        guard let entry = port.entry else { return nil }
        self.init(
            profile: entry.guards.profile?.word,
            switches: entry.guards.switches.map(\.rawValue).sorted(),
            mode: entry.guards.mode.rawValue, origin: entry.origin, inForce: port.isInForce,
            problem: port.problem,
            refusedPackets: Dictionary(
                uniqueKeysWithValues: port.counts.reasons.map {
                    ($0.key.rawValue, $0.value.packets)
                }), sourceMACs: port.counts.sourceMACs)
    }
}

extension MarkStatus {
    fileprivate init(_ mark: Mark) {
        self.init(
            packetsPerSecond: mark.packets?.perSecond, bitsPerSecond: mark.bits?.bitsPerSecond)
    }
}

extension StepStatus {
    fileprivate init(_ step: NextStep, now: Instant) {
        self.init(
            rung: step.rung.description, direction: step.direction.rawValue,
            rule: step.rule.rawValue, inSeconds: step.at > now ? seconds(step.at.since(now)) : 0)
    }
}

extension Load {
    fileprivate init(_ cap: Cap) {
        self.init(
            packetsPerSecond: Double(cap.packets.perSecond),
            bitsPerSecond: Double(cap.bits.bitsPerSecond))
    }
}

extension CounterSource {
    /// As status and events say it.
    var word: String {
        switch self {
        case .bpf: "bpf"
        case .netlink: "netlink"
        }
    }

    /// Why not from BPF.
    var reason: String? {
        switch self {
        case .bpf: nil
        case .netlink(let reason): reason
        }
    }
}

/// A duration in seconds.
private func seconds(_ duration: Duration) -> Double {
    Double(duration.wholeNanoseconds) / 1e9
}

/// As the operators write a cloudspace's number: four hexadecimal digits or more.
private func hexadecimal(_ netid: UInt32) -> String {
    let digits = String(netid, radix: 16)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
}
