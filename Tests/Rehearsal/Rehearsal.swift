// sluice-rehearsal: kills the daemon's turn after each request to the kernel and each write of the
// journal, in each transition of a port, and holds the next start to what an undisturbed run leaves.
//
//   for each act, each kind of step, each number of a step, in processes that die:
//     a first life goes to where the act begins, performs it, and dies at the step
//     a second life starts: it must come to the act's rungs, show the very picture of tc and links
//     that the undisturbed run left, tell the transition once, and, released, leave nothing
//
// Run inside a network namespace of its own: `sluice-rehearsal FOLDER [netlink|journal|all]`. Exit
// status 0 where all of it converged, 1 where something did not. With `netlink` the requests to the
// kernel are all that is died after, with `journal` the writes. The durable copy of the journal is not
// read by a start on the same boot while the one in memory is whole: it is killed in two acts, in each
// one with `all`.
import CRehearsal
import Daemon
import Lab
import Mitigation
import Settings
import TrafficControl

@main
struct Rehearsal {
    private static let kinds: [(kind: Int32, name: String)] = [
        (Int32(REHEARSAL_NETLINK), "netlink"), (Int32(REHEARSAL_RUNTIME), "journal"),
        (Int32(REHEARSAL_DURABLE), "durable copy"),
    ]
    private static let mostFailures = 10

    /// Which steps are died at.
    private enum Extent: String {
        case netlink
        case journal
        case all

        func includes(_ kind: Int32, of act: Act) -> Bool {
            switch kind {
            case Int32(REHEARSAL_NETLINK): self != .journal
            case Int32(REHEARSAL_RUNTIME): self != .netlink
            default: self == .all || (self == .journal && act.killsDurableCopy)
            }
        }
    }

    private let port: TestPort
    private let extent: Extent
    private let journal: JournalSettings
    private let policy: Policy
    /// What an undisturbed run left, by rungs reached through a flood.
    private var references: [Rungs: String] = [:]
    private var failures = 0
    private var points = 0

    static func main() {
        do {
            let arguments = CommandLine.arguments.dropFirst()
            let word = arguments.dropFirst().first ?? Extent.all.rawValue
            guard let folder = arguments.first, let extent = Extent(rawValue: word),
                rehearsal_share() == 0
            else { throw LabError("usage: sluice-rehearsal FOLDER [netlink|journal|all]") }
            var rehearsal = try Rehearsal(in: folder, extent)
            try rehearsal.run()
            Program.exit(rehearsal.failures == 0 ? 0 : 1)
        } catch {
            Program.write("sluice-rehearsal: \(error)\n")
            Program.exit(1)
        }
    }

    private init(in folder: String, _ extent: Extent) throws {
        self.extent = extent
        port = try TestPort(in: folder)
        var journal = JournalSettings()
        journal.runtime = folder + "/run"
        journal.directory = folder + "/state"
        self.journal = journal
        var policy = Policy()
        policy.grace = .zero
        policy.target = PacketRate(perSecond: 500)
        policy.policeDwell = .seconds(1)
        policy.shapeDwell = .seconds(1)
        policy.tightenDwell = .seconds(1)
        policy.calm = .seconds(1)
        policy.probe = .seconds(2)
        policy.victim = .shape
        let mark = Mark(packets: PacketRate(perSecond: 2_000))
        policy.marks[.vm] = Marks(from: mark, to: mark)
        self.policy = policy
        rehearsal_set_clock(1_000_000_000_000)
    }

    /// What every child would do first, once for all of them: types and coders are made at first use.
    private func warmUp() throws {
        _ = fork { try perform(Act.all[1], dyingAt: (0, 0)) }
        let now = Instant(nanoseconds: rehearsal_clock())
        let found = FileJournal.read(journal, now: now, forgiveness: policy.forgiveness)
        guard let state = found.state else { throw LabError("remember a first run") }
        let document = JournalDocument(boot: "", savedAt: now, wallClock: 0, state: state)
        _ = try document.bytes()
        _ = fork { _ = try KernelTrafficControl.openAndUndo() }
        let control = try KernelTrafficControl.open(TrafficControlSettings())
        Program.write(
            "this kernel polices by \(control.parts.hasActPolice ? "act_police" : "eBPF")\n")
    }

    private mutating func run() throws {
        try warmUp()
        for act in Act.all {
            let begin = Moment.now
            let counts = try rehearse(act)
            guard failures < Self.mostFailures else { throw LabError("too many failures") }
            let sum = counts.reduce(0) { $0 + $1.count }
            let parts = counts.map { "\($0.count) \($0.name)" }.joined(separator: ", ")
            let milliseconds = Int((Moment.now - begin).inMilliseconds)
            Program.write("act: \(act.name): \(sum) kill points: \(parts); \(milliseconds) ms\n")
        }
        Program.write(
            "sum: \(Act.all.count) transitions, \(points) kill points, \(failures) failures; "
                + "\(rehearsal_noted()) releases died before they were announced and were asked again\n"
        )
    }

    /// All kill points of one act.
    private mutating func rehearse(_ act: Act) throws -> [(name: String, count: UInt64)] {
        try FileJournal.remove(journal)
        if act.usesUpPort { try port.renew() }
        let clean = try port.picture()
        let status = fork { try perform(act, dyingAt: (0, 0)) }
        guard status == 0 else { throw LabError("perform \(act.name)") }
        let counts = Self.kinds.map { (kind, name) in
            (name: name, count: extent.includes(kind, of: act) ? rehearsal_count(kind) : 0)
        }
        let isOver = act.target == Rungs(.normal)
        let reference = try isOver ? port.picture(expecting: clean) : port.settledPicture()
        try compare(act, with: reference, clean)
        // Each process recovers from the death of the one before, and then dies itself.
        var place = "an undisturbed run"
        for ((kind, name), (_, count)) in zip(Self.kinds, counts) where count > 0 {
            for step in 1...count {
                let former = place
                place = "\(name) step \(step) of \(count)"
                points += 1
                let status = fork {
                    try recover(act, from: former, reference, clean)
                    try FileJournal.remove(journal)
                    if act.usesUpPort { try port.renew() }
                    try perform(act, dyingAt: (kind, step))
                }
                if status != 137 { try startAgain(act, "\(former), then \(place)", status) }
                guard failures < Self.mostFailures else { return counts }
            }
        }
        let last = fork { try recover(act, from: place, reference, clean) }
        if last != 0 { try startAgain(act, place, last) }
        return counts
    }

    /// A failure must not be that of all that follow.
    private mutating func startAgain(_ act: Act, _ place: String, _ status: Int32) throws {
        fail("\(act.name): \(place): ended with status \(status)")
        _ = fork { _ = try KernelTrafficControl.openAndUndo() }
        try FileJournal.remove(journal)
        if act.usesUpPort { try port.renew() }
        _ = fork { try perform(act, dyingAt: (0, 0)) }
    }

    /// What an undisturbed run leaves is itself held to what it should be.
    private mutating func compare(_ act: Act, with reference: String, _ clean: String) throws {
        guard let target = act.target, target.highest > .normal else {
            let ours = ["ifb-", "7a01", "sluice/1"].filter { reference.contains($0) }
            if !ours.isEmpty { fail("\(act.name): leaves \(ours)") }
            if !act.usesUpPort, reference != clean {
                fail("\(act.name): leaves\n\(difference(reference, from: clean))")
            }
            return
        }
        if act.keepsEverything {
            guard let before = references[target] else { throw LabError("the order of the acts") }
            let changes = difference(withoutMarks(reference), from: withoutMarks(before))
            if !changes.isEmpty {
                fail("\(act.name): changed\n\(changes)")
            }
        } else if references[target] == nil {
            references[target] = reference
        }
    }

    private mutating func fail(_ sentence: String) {
        failures += 1
        Program.write("failed: \(sentence)\n")
    }

    // MARK: Lives

    /// The first life: goes to where the act begins, and performs it with its steps counted.
    private func perform(_ act: Act, dyingAt death: (kind: Int32, step: UInt64)) throws {
        var life = try Life(port: port, policy: policy, journal: journal)
        for (load, rungs) in act.approach { try life.play(load, until: rungs) }
        try disturb(by: act.deed)
        if case .start(let hasJournal) = act.deed {
            if !hasJournal { try FileJournal.remove(journal) }
            rehearsal_arm(death.kind, death.step)
            life = try Life(port: port, policy: policy, journal: journal)
        } else {
            rehearsal_arm(death.kind, death.step)
        }
        switch act.deed {
        case .load(let load): try life.play(load, until: act.target)
        case .release: life.release()
        case .stop: life.stop()
        case .wipe:
            // Whoever took it out has a moment to finish before it is put back.
            for _ in 0..<6 { life.play(act.load) }
        case .vanish, .rename, .start: life.play(act.load)
        }
        rehearsal_disarm()
        guard life.isSettled(on: act.target) else {
            throw LabError(act.name, detail: life.described)
        }
    }

    /// What others do.
    private func disturb(by deed: Act.Deed) throws {
        switch deed {
        case .wipe(let part): try part.wipe(port)
        case .vanish: try Tool.run("ip", "link", "del", port.name)
        case .rename:
            try Tool.run("ip", "link", "set", port.name, "down")
            try renameLink(Array(port.name.utf8), to: Array(port.other.utf8))
        case .load, .release, .start, .stop: break
        }
    }

    /// The second life.
    private func recover(
        _ act: Act, from place: String, _ reference: String, _ clean: String
    ) throws {
        var life = try Life(port: port, policy: policy, journal: journal)
        try converge(&life, act, place)
        life.stop()
        let picture = try port.picture(expecting: reference)
        guard picture == reference else {
            throw LabError("after \(place)", detail: difference(picture, from: reference))
        }
        for rung in Rung.allCases where act.told == nil || act.told?.rung == rung {
            let count = rehearsal_told(Int32(rung.rawValue))
            guard (act.told?.times ?? 0...0).contains(count) else {
                throw LabError("after \(place)", detail: "\(rung) is told \(count) times")
            }
        }
        guard !act.usesUpPort else { return }
        life.release()
        life.play(.none)
        let left = try port.picture(expecting: clean)
        guard left == clean else {
            throw LabError("after \(place): is left", detail: difference(left, from: clean))
        }
    }

    /// Turns until the act's rungs are reached, three times at least. A release that died before it
    /// was announced is asked for again, as an operator would who had no answer.
    private func converge(_ life: inout Life, _ act: Act, _ place: String) throws {
        for turn in 1...60 {
            life.play(act.load)
            if turn >= 3, life.isSettled(on: act.target) { return }
            if case .release = act.deed, turn == 5 {
                rehearsal_note()
                life.release()
            }
        }
        throw LabError("after \(place), does not come to \(act.name)", detail: life.described)
    }

    /// A process, and how it ended.
    private func fork(_ body: () throws -> Void) -> Int32 {
        let child = rehearsal_fork()
        guard child == 0 else { return rehearsal_wait(child) }
        do {
            try body()
        } catch {
            Program.write("\(error)\n")
            rehearsal_exit(1)
        }
        rehearsal_exit(0)
    }
}

extension KernelTrafficControl {
    /// Takes everything of ours out, so that one failure is not that of all that follow.
    fileprivate static func openAndUndo() throws -> Survey {
        var control = try open(TrafficControlSettings())
        return try control.undo()
    }
}
