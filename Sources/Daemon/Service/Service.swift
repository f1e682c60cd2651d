// The running daemon: one thread that waits for the timer, the links, the socket and signals, and
// turns. Beside it: the control socket's thread, the log's, and those of stop programs.
//
// Invariants: the turn's thread waits for nothing but the kernel's netlink; a configuration that
// does not pass every check neither starts nor replaces a running one; stopping leaves every
// mitigation in place.
internal import ControlAPI
internal import Dispatch
internal import LinuxSystem
internal import Mitigation
internal import Netlink
internal import Recording
internal import Settings
internal import Synchronization
internal import SystemPackage
internal import TrafficControl

/// What the command line says.
package struct ServiceOptions: Sendable {
    /// The configuration file.
    package var configuration: String
    /// Log lines go to standard error instead of syslog.
    package var logsToStandardError: Bool
    /// The daemon's version.
    package var version: String
    /// The process's environment.
    package var environment: [String: String]

    /// What the command line says.
    package init(
        configuration: String, logsToStandardError: Bool, version: String,
        environment: [String: String]
    ) {
        self.configuration = configuration
        self.logsToStandardError = logsToStandardError
        self.version = version
        self.environment = environment
    }
}

/// Why the daemon does not start: a sentence for the operator, its cure included.
package struct ServiceError: Error, Sendable, CustomStringConvertible {
    /// One sentence, or a line for each mistake of a configuration.
    package var description: String
    /// The configuration is refused: another start would end in the same way.
    package var isRefusedConfiguration = false

    init(_ description: String) { self.description = description }
}

/// What came of reading the configuration.
private struct LoadedConfiguration: Sendable {
    /// The number of the read.
    var load: UInt64
    var result: Result<ConfigurationSource, ConfigurationError>
}

/// The daemon.
package struct Service: ~Copyable {
    private let options: ServiceOptions
    /// Of the start: what is only taken then.
    private let started: Configuration
    private var configuration: Configuration
    private var turn: Turn<KernelHost, KernelTrafficControl, FileJournal>
    private let sources: EventSources
    private let mailbox: Mailbox
    private let server: ControlServer
    private let log: LogWriter
    private let stopper: StopRunner
    private let evidence: EvidenceKeeper
    private let shutPorts = ShutPorts()
    private let loaded = Handover<LoadedConfiguration>()
    private let guardFiles: GuardWatcher
    private let manager: ServiceManager?
    private var records: RecordKeeper?
    private var limiter = LineLimiter()
    /// Who waits for a configuration to be read.
    private var reloads: [(load: UInt64, reply: Mailbox.Reply)] = []
    /// How often the configuration was read.
    private var loads: UInt64 = 0
    private let history: EventHistory
    private let archive: EventArchive
    private let tidings: Tidings
    /// Of these there may be as many as there are floods.
    private let samplesTold: Tidings
    private var facts: ServiceFacts
    private var nextPoll: UInt64
    private var watchdogAt: UInt64 = 0
    private var isStopping = false
    /// The mailbox was busy when it was looked into.
    private var hasMail = false

    private static var now: Instant { Instant(nanoseconds: MonotonicClock.nanoseconds) }

    /// Starts and runs the daemon; comes back when it was told to stop.
    package static func run(_ options: ServiceOptions) throws(ServiceError) {
        var service = try make(options)
        service.start()
        service.loop()
    }

    /// Opens everything; what fails is told and nothing is left behind.
    private static func make(_ options: ServiceOptions) throws(ServiceError) -> Service {
        Scheduling.returnLargeMemory()
        Environment.forget(NetlinkEnvironment.obeyed)
        // The hook's programs need none.
        try sentence { () throws(Errno) in try Capabilities.clearAmbient() }
        let source = try load(options.configuration)
        let configuration = source.configuration
        let log = try openLog(configuration, options)
        let host = try sentence { () throws(NetlinkError) in
            try KernelHost.open(usesBPF: configuration.usesBPFCounters)
        }
        let links = host.changesDescriptor
        let sources = try sentence { () throws(Errno) in try EventSources(links: links) }
        let wakeUp = sources.wakeUp
        let mailbox = Mailbox { wakeUp.signal() }
        let events = configuration.journal.directory + "/events"
        let history = EventArchive.read(folder: events, now: WallClock.exactSeconds)
        let tidings = Tidings { wakeUp.signal() }
        let archive = EventArchive(folder: events, history: history, tell: tidings.add)
        func say(_ line: AlertLine) {
            history.add(line, at: WallClock.exactSeconds)
            log.write(line)
        }
        let server = ControlServer(
            settings: configuration.control, mailbox: mailbox, history: history,
            version: options.version)
        try sentence { () throws(ControlServerError) in try server.start() }
        let guardFiles = GuardWatcher(path: configuration.guardFolder) { wakeUp.signal() }
        let said = guardFiles.start()
        for line in said.map(AlertLine.lines) ?? [] { say(line) }
        var guards = configuration.guards
        guards.files = said?.files ?? [:]
        let start = now
        let findings = FileJournal.read(
            configuration.journal, now: start, forgiveness: configuration.policy.forgiveness)
        for problem in findings.problems {
            say(AlertLine(.error, [("event", "journal-broken"), ("why", problem)]))
        }
        let journal = FileJournal(configuration.journal) { error in
            tidings.add(
                AlertLine(error.map { TurnNote.journalFailed($0.description) } ?? .journalWorks))
        }
        // What only the command line, the configuration and the server's start needed is not to be kept;
        // what programs the kernel comes next, and is.
        Scheduling.forgetReadPages()
        let control: KernelTrafficControl
        do throws(TrafficControlError) {
            control = try KernelTrafficControl.open(configuration.enforcement)
        } catch {
            server.stop()
            throw ServiceError(error.description)
        }
        var turn = Turn(
            machine: host, control: control, journal: journal, policy: configuration.policy,
            names: configuration.names, settings: configuration.turn, guards: guards,
            remembered: findings.state, now: start)
        let records = RecordKeeper(configuration.recording, tell: tidings.add)
        records?.begin(&turn.engine, configuration: source.text, now: start)
        return Service(
            options: options, configuration: configuration, turn: turn, sources: sources,
            mailbox: mailbox, server: server, history: history, archive: archive,
            tidings: tidings, guardFiles: guardFiles, log: log, records: records, now: start)
    }

    private init(
        options: ServiceOptions, configuration: Configuration,
        turn: consuming Turn<KernelHost, KernelTrafficControl, FileJournal>,
        sources: consuming EventSources, mailbox: Mailbox, server: ControlServer,
        history: EventHistory, archive: EventArchive, tidings: Tidings, guardFiles: GuardWatcher,
        log: LogWriter, records: RecordKeeper?, now: Instant
    ) {
        self.history = history
        self.archive = archive
        self.tidings = tidings
        self.records = records
        self.options = options
        started = configuration
        self.configuration = configuration
        self.turn = turn
        self.mailbox = mailbox
        self.server = server
        self.guardFiles = guardFiles
        self.log = log
        stopper = StopRunner(tell: tidings.add)
        let wakeUp = sources.wakeUp
        samplesTold = Tidings { wakeUp.signal() }
        evidence = EvidenceKeeper(configuration.evidence, tell: samplesTold.add)
        self.sources = sources
        manager = ServiceManager(environment: options.environment)
        facts = ServiceFacts(
            version: options.version, pid: ProcessIdentity.current,
            kernel: RunningKernel.release, startedAt: now)
        nextPoll = now.nanoseconds
    }

    // MARK: Start

    private static func load(_ path: String) throws(ServiceError) -> ConfigurationSource {
        do throws(ConfigurationError) {
            return try ConfigurationSource.loadHere(path: path)
        } catch {
            var refusal = ServiceError(error.description)
            refusal.isRefusedConfiguration = true
            throw refusal
        }
    }

    private static func openLog(
        _ configuration: Configuration, _ options: ServiceOptions
    ) throws(ServiceError) -> LogWriter {
        guard !options.logsToStandardError else { return LogWriter(.standardError) }
        let facility = configuration.syslog.facility.rawValue
        guard let log = SystemLog(identity: "sluiced", facility: facility) else {
            throw ServiceError("syslog has no facility \(facility)")
        }
        return LogWriter(.system(log))
    }

    private static func sentence<Failure: Error & CustomStringConvertible, Value: ~Copyable>(
        _ body: () throws(Failure) -> Value
    ) throws(ServiceError) -> Value {
        do throws(Failure) {
            return try body()
        } catch {
            throw ServiceError(error.description)
        }
    }

    private mutating func start() {
        for note in turn.control.parts.notes {
            say(AlertLine(.notice, [("event", "kernel"), ("lacks", note)]))
        }
        turn.start(now: Self.now)
        tell()
        becomeRealTime()
        lookOut()
        startTimer()
        say(
            AlertLine(
                .info,
                [
                    ("event", "start"), ("version", options.version), ("mode", turn.mode),
                    ("kernel", facts.kernel), ("ports", "\(turn.table.watched.count)"),
                    ("counters", turn.machine.counterSource.word),
                ]))
        tellReady()
    }

    /// A flood must not keep the daemon from running. Threads that exist by now keep their own
    /// priority.
    private mutating func becomeRealTime() {
        do throws(Errno) {
            try Scheduling.becomeRealTime(priority: 1)
            try Scheduling.lockMemory()
        } catch {
            say(
                AlertLine(
                    .notice,
                    [
                        ("event", "scheduling"),
                        ("why", "no SCHED_FIFO or locked memory (\(error)): polls may be late"),
                    ]))
        }
    }

    /// While a turn waits for the kernel, another thread sees what VMs send.
    private mutating func lookOut() {
        turn.machine.lookout = Lookout.start()
        guard turn.machine.lookout == nil else { return }
        say(
            AlertLine(
                .notice,
                [
                    ("event", "lookout"),
                    ("why", "/proc/net/dev cannot be read: turns that wait are blind"),
                ]))
    }

    private mutating func startTimer() {
        let interval = configuration.policy.pollInterval.wholeNanoseconds
        nextPoll = Self.now.nanoseconds + interval
        turn.machine.lookout?.expectPoll(at: nextPoll, interval: interval)
        try? sources.timer.start(firstNanoseconds: nextPoll, intervalNanoseconds: interval)
    }

    // MARK: The loop

    private mutating func loop() {
        while !isStopping {
            do throws(Errno) {
                let ready = try sources.wait()
                // Signals and links come before mail and the timer: both see what they say.
                for source in ready {
                    turn.catchUp { Self.now }
                    serve(source)
                }
            } catch {
                log.write(AlertLine(.error, [("event", "epoll"), ("why", "\(error)")]))
                break
            }
            tell()
        }
        stop()
    }

    private mutating func serve(_ source: EventSources.Source) {
        switch source {
        case .timer: poll()
        case .links: turn.takeChanges(now: Self.now)
        case .mail: takeMail()
        case .signals: while let signal = sources.signals.next() { obey(signal) }
        }
    }

    private mutating func poll() {
        let expirations = sources.timer.takeExpirations()
        guard expirations > 0 else { return }
        let now = Self.now
        let interval = configuration.policy.pollInterval.wholeNanoseconds
        if expirations > 1 || now.nanoseconds > nextPoll + interval / 2 { facts.latePolls += 1 }
        let lateness = now.nanoseconds > nextPoll ? now.nanoseconds - nextPoll : 0
        facts.worstLateness = max(facts.worstLateness, lateness)
        facts.totalLateness += lateness
        facts.lateness.add(nanoseconds: lateness)
        nextPoll += interval * expirations
        turn.run(now: now) { Self.now }
        let end = Self.now
        // After a turn that waited the next one is due at once.
        turn.machine.lookout?.expectPoll(
            at: max(nextPoll, end.nanoseconds), interval: interval)
        if let line = records?.endTurn(&turn.engine, now: end) { write(line) }
        facts.turnTime.add(nanoseconds: Self.now.nanoseconds - now.nanoseconds)
        feedWatchdog(now: now)
        if hasMail { takeMail() }
    }

    private mutating func feedWatchdog(now: Instant) {
        guard let manager, let limit = manager.watchdogMicroseconds,
            now.nanoseconds >= watchdogAt
        else { return }
        watchdogAt = now.nanoseconds + limit * 1_000 / 3
        try? manager.notify("WATCHDOG=1\n")
    }

    private mutating func takeMail() {
        sources.wakeUp.take()
        let now = Self.now
        var status: Status?
        var letters: [(ControlRequest, Mailbox.Reply)] = []
        let isBusy = mailbox.drain { letters.append(($0, $1)) }
        for (request, reply) in letters {
            switch request {
            case .health: reply(.healthy)
            case .status, .metrics:
                // One snapshot serves all who ask at once.
                let answer = status ?? turn.status(facts, now: now)
                status = answer
                reply(
                    request == .metrics
                        ? .metrics(answer, health(now: now)) : .status(answer))
            case .port(let name):
                let port = turn.portStatus(named: name, now: now)
                reply(port.map { .port($0) } ?? .unwatched(name))
            case .explain(let name):
                let explanation = turn.explanation(of: name, now: now)
                reply(explanation.map { .explanation($0) } ?? .unwatched(name))
            case .release(let release, let actor):
                write(AlertLine("release", of: release.port ?? "all", by: actor))
                reply(.release(turn.release(release, now: now)))
            case .order(let order, let request, let actor):
                write(AlertLine(order.rawValue, of: request, by: actor))
                let until = request.seconds.map { now.advanced(by: .seconds(Int64($0))) }
                let word = word(request.reason, actor)
                reply(turn.order(order, request.port, until: until, word: word, now: now))
            case .takeBackOrder(let request, let actor):
                write(AlertLine("enable", of: request, by: actor))
                reply(turn.takeBackOrder(request.port, now: now))
            case .escalate(let request, let actor):
                write(AlertLine("escalate", of: request, by: actor))
                reply(turn.escalate(request.port, now: now))
            case .mode(let mode, let classes, let reason, let actor):
                write(AlertLine(mode, of: classes, reason: reason, by: actor))
                let word = word(reason, actor)
                reply(.modes(turn.order(mode, of: classes, word: word, now: now)))
                tellReady()
            case .reload(let actor):
                write(AlertLine("reload", of: nil, by: actor))
                readConfiguration()
                reloads.append((loads, reply))
            case .export(let name): reply(turn.export(name, now: now))
            case .evidence(let request): evidence.answer(request, reply)
            case .importPort(let document, let actor):
                write(AlertLine("import", of: "\(document.name)", by: actor))
                reply(turn.importPort(document, now: now))
            }
        }
        if let read = loaded.take() { adopt(read) }
        if let change = guardFiles.next() { adopt(change) }
        for line in tidings.take() { say(line) }
        for line in samplesTold.take() { write(line) }
        // Not at once: a thread that holds the lock and waits for this processor would wait for ever.
        // It wakes us when it is done, and the next poll looks in any case.
        hasMail = isBusy
    }

    /// What is counted of the daemon itself.
    private func health(now: Instant) -> SelfHealth {
        var health = turn.health(facts, now: now)
        health.durableJournal = turn.journal.durableHealth
        health.suppressedLines = limiter.suppressedInAll
        health.lostLines = log.lostInAll
        health.refusals = server.refusals
        health.evidence = evidence.counts
        return health
    }

    private mutating func obey(_ signal: SignalPipe.Signal) {
        switch signal {
        case .terminate, .interrupt: isStopping = true
        case .hangUp:
            let microseconds = Self.now.nanoseconds / 1_000
            try? manager?.notify("RELOADING=1\nMONOTONIC_USEC=\(microseconds)\n")
            readConfiguration()
        }
    }

    private func word(_ reason: String?, _ actor: ControlActor) -> Word {
        Word(user: actor.user, reason: reason, saidAt: Int64(WallClock.exactSeconds))
    }

    /// Beside the turn: a disk may be slow.
    private mutating func readConfiguration() {
        loads += 1
        let load = loads
        let path = options.configuration
        let (loaded, wakeUp) = (loaded, sources.wakeUp)
        DispatchQueue.global().async {
            let result = Result { () throws(ConfigurationError) in
                try ConfigurationSource.loadHere(path: path)
            }
            // A read that began earlier may end later.
            let read = LoadedConfiguration(load: load, result: result)
            loaded.put { former in former.flatMap { $0.load > load ? $0 : nil } ?? read }
            wakeUp.signal()
        }
    }

    /// A new configuration replaces the running one as a whole, or not at all.
    private mutating func adopt(_ read: LoadedConfiguration) {
        let reply: ControlReply
        switch read.result {
        case .failure(let error):
            for problem in error.problems {
                say(
                    AlertLine(.error, [("event", "reload-refused"), ("why", "\(problem)")]))
            }
            reply = .problem(
                409,
                Problem(
                    error: error.problems.first.map { "\($0)" } ?? "it is refused",
                    cure: "what was in force before goes on; sluiced --check-config --config "
                        + "\(options.configuration) names every mistake"))
        case .success(let source):
            let new = source.configuration
            let hasNewInterval = new.policy.pollInterval != configuration.policy.pollInterval
            configuration = new
            var guards = new.guards
            guards.files = turn.book.files
            turn.engine.note(configuration: source.text)
            turn.replace(
                policy: new.policy, names: new.names, settings: new.turn, guards: guards,
                now: Self.now)
            if hasNewInterval { startTimer() }
            let waiting = new.waitingForRestart(since: started)
            let note =
                waiting.isEmpty
                ? nil
                : waiting.joined(separator: ", ")
                    + " \(waiting.count == 1 ? "waits" : "wait") for a restart"
            say(
                AlertLine(
                    .notice,
                    [
                        ("event", "reloaded"), ("mode", turn.mode),
                        ("note", note),
                    ]))
            reply = .reloaded(ReloadReply(file: options.configuration, note: note))
        }
        for waiting in reloads where waiting.load <= read.load { waiting.reply(reply) }
        reloads.removeAll { $0.load <= read.load }
        tellReady()
    }

    /// Files of guards came, went or say something else; broken ones leave what was said before.
    private mutating func adopt(_ change: GuardFolder.Change) {
        var guards = configuration.guards
        guards.files = change.files
        turn.replace(guards: guards, now: Self.now)
        for line in AlertLine.lines(change) { write(line) }
    }

    // MARK: Telling

    /// What `systemctl status` shows is what is in force.
    private func tellReady() {
        try? manager?.notify("READY=1\nSTATUS=mode \(turn.mode)\n")
    }

    /// Hands what the turns left to those beside them.
    private mutating func tell() {
        let output = turn.output
        guard !output.isEmpty else {
            let count = limiter.takeSuppressed(nanoseconds: Self.now.nanoseconds)
            if count > 0 { writeSuppressed(count) }
            shutPorts.publish()
            history.publish()
            return
        }
        for line in output.untold { write(line) }
        let stops = shutPorts.follow(output)
        for event in output.events {
            write(AlertLine(event))
            // It was acted on by now.
            if let line = turn.evidenceTrip(event).flatMap(evidence.take) { write(line) }
        }
        for note in output.notes { write(AlertLine(note)) }
        for order in stops where configuration.shutdown.isEnabled {
            let shutPorts = shutPorts
            stopper.stop(order, configuration.shutdown) { shutPorts.contains(order.port) }
        }
        shutPorts.publish()
        turn.wasTold(now: Self.now)
    }

    private mutating func write(_ line: AlertLine) {
        history.add(line, at: WallClock.exactSeconds)
        switch limiter.take(nanoseconds: Self.now.nanoseconds) {
        case .suppress: return
        case .write(let suppressed):
            if suppressed > 0 { writeSuppressed(suppressed) }
            log.write(line)
        }
    }

    /// A line that no limit keeps back.
    private mutating func say(_ line: AlertLine) {
        history.add(line, at: WallClock.exactSeconds)
        log.write(line)
    }

    private func writeSuppressed(_ count: Int) {
        log.write(AlertLine(.warning, [("event", "suppressed"), ("lines", "\(count)")]))
    }

    // MARK: Stop

    /// Mitigations stay in the kernel; `sluicectl release --all` before takes them out.
    private mutating func stop() {
        try? manager?.notify("STOPPING=1\n")
        say(
            AlertLine(
                .info,
                [("event", "stop-daemon"), ("mitigated", "\(turn.engine.mitigatedCount)")]))
        server.stop()
        turn.writeLast(now: Self.now)
        turn.journal.flush()
        records?.end(&turn.engine, now: Self.now)
        for line in tidings.take() { say(line) }
        archive.flush()
        log.flush()
    }
}
