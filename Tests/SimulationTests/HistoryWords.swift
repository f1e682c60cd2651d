// What operators say in a history, and that nothing of it is forgotten.

import ControlAPI
import Mitigation
import Recording
import Seeded

@testable import Daemon

extension History {
    private static let word = Word(user: 0, reason: nil, saidAt: 0)

    /// An operator says something of a port or of a class. A daemon that dies over it may have heard it
    /// or not.
    func sayWord() {
        checkWords()
        switch wordRandom.value(0...5) {
        case 0: orderMode()
        case 1: orderEscalation()
        case 2: takeBackWord()
        default: orderPort()
        }
        areWordsDoubted = world.isDead
        if world.isDead { restart() }
    }

    /// What was said is known, over deaths too.
    func checkWords() {
        guard isOrdered, !world.isDead, world.failure == nil else { return }
        let known = turn.orders.ports.filter { $0.until.map { $0 > world.instant } ?? true }
        let words = Dictionary(uniqueKeysWithValues: known.map { ($0.name, Said($0)) })
        if areWordsDoubted {
            areWordsDoubted = false
            world.words = words
            world.modes = turn.engine.policy.modes
        }
        let said = world.words.filter { $0.value.until.map { $0 > world.instant } ?? true }
        if words != said { world.fail("said: \(said), known: \(words)") }
        if turn.engine.policy.modes != world.modes {
            world.fail("said: \(world.modes), known: \(turn.engine.policy.modes)")
        }
    }

    /// Before the end: the rules decide on all.
    func takeBackWords() {
        for name in world.words.keys { _ = turn.takeBackOrder("\(name)", now: world.instant) }
        world.words = [:]
        world.modes = [:]
        guard isOrdered else { return }
        _ = turn.order(nil, of: PortClass.allCases, word: Self.word, now: world.instant)
    }

    private func orderMode() {
        let portClass = PortClass.allCases[Int(wordRandom.value(0...3))]
        let mode: Mode? = [nil, .observe, .enforce][Int(wordRandom.value(0...2))]
        world.trace("an operator: \(portClass) is \(mode.map { "\($0)" } ?? "as configured")")
        world.modes[portClass] = mode
        world.wasOrdered = true
        _ = turn.order(mode, of: [portClass], word: Self.word, now: world.instant)
        world.count("\(mode.map { "\($0)" } ?? "configured")")
    }

    /// A port that the daemon knows by a name that no other interface has.
    private func pickWatched() -> SimulatedTap? {
        let watched = Set(turn.table.watched.values.map(\.port.name))
        let taps = world.taps.values.filter { tap in
            watched.contains(tap.name) && world.taps.values.count { $0.name == tap.name } == 1
        }
        return taps.sorted { $0.index < $1.index }.randomElement(using: &wordRandom)
    }

    private func orderPort() {
        guard let tap = pickWatched() else { return }
        let order: PortOrder = wordRandom.once(in: 2) ? .hold : .exempt
        let time: Duration? =
            wordRandom.once(in: 3) ? nil : .seconds(Int64(wordRandom.value(1...20)))
        let until = time.map { world.instant.advanced(by: $0) }
        let former = world.words[tap.name]
        world.words[tap.name] = Said(order: order, until: until)
        world.wasOrdered = true
        if order == .exempt { tap.ledger.isReleasing = true }
        world.trace("an operator: \(order) \(tap.name) until \(until as Any)")
        let reply = turn.order(
            order, "\(tap.name)", until: until, word: Self.word, now: world.instant)
        if case .ordered = reply {
            world.count("\(order)")
        } else {
            world.words[tap.name] = former
        }
    }

    private func takeBackWord() {
        let names = world.words.keys.sorted { "\($0)" < "\($1)" }
        guard let name = names.randomElement(using: &wordRandom) else { return }
        world.trace("an operator: the rules decide on \(name)")
        world.words[name] = nil
        _ = turn.takeBackOrder("\(name)", now: world.instant)
    }

    /// Only what may be limited at all is what an operator brings up.
    private func orderEscalation() {
        guard let tap = pickWatched(), !tap.vm.source.neverFloods else { return }
        world.trace("an operator: \(tap.name) one rung up")
        world.isEscalating = true
        world.wasOrdered = true
        let reply = turn.escalate("\(tap.name)", now: world.instant)
        world.isEscalating = false
        if case .ordered = reply { world.count("escalated") }
    }
}

extension Said {
    fileprivate init(_ word: PortWord) {
        self.init(order: word.order, until: word.until)
    }
}
