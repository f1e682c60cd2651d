// What a decision remembers, as it stands in a recording: a daemon that goes on after a restart, and
// a file that begins in the middle. Invariant: what is read back is equal to what was written.
internal import Mitigation

extension Evidence: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        self.init()
        start = try reader.value()
        polls = try reader.number()
        valid = try reader.number()
        flooding = try reader.number()
        covered = try reader.number()
        packets = try reader.number()
        bytes = try reader.number()
    }

    func write(to writer: inout RecordWriter) {
        writer.value(start)
        for number in [polls, valid, flooding, covered, packets, bytes] { writer.number(number) }
    }
}

extension TrackMemory: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        self.init()
        rung = try reader.value()
        since = try reader.value()
        cap = try reader.value()
        called = try reader.optional()
        isAlarmed = try reader.flag()
        calm = try reader.number()
        hasSteppedDown = try reader.flag()
        evidence = try reader.value()
    }

    func write(to writer: inout RecordWriter) {
        writer.value(rung)
        writer.value(since)
        writer.value(cap)
        writer.optional(called)
        writer.flag(isAlarmed)
        writer.number(calm)
        writer.flag(hasSteppedDown)
        writer.value(evidence)
    }
}

extension IncidentMemory: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        self.init(number: try reader.incident())
        strikes = try reader.byte()
        let flags = try reader.number()
        isEnforced = flags & 1 != 0
        wasMitigated = flags & 2 != 0
        isWatched = flags & 4 != 0
        isReleasing = flags & 8 != 0
        linkIsUncertain = flags & 16 != 0
        isGroup = flags & 32 != 0
        asked = try reader.optional()
        limits = try reader.optional()
        path = try reader.optional()
        from = try reader.value()
        to = try reader.value()
    }

    func write(to writer: inout RecordWriter) {
        writer.number(UInt64(number))
        writer.byte(strikes)
        let flags = [isEnforced, wasMitigated, isWatched, isReleasing, linkIsUncertain, isGroup]
        writer.number(
            flags.enumerated().reduce(0) { $1.element ? $0 | 1 << UInt64($1.offset) : $0 })
        writer.optional(asked)
        writer.optional(limits)
        writer.optional(path)
        writer.value(from)
        writer.value(to)
    }
}

extension PortMemory: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        self.init()
        strikes = try reader.byte()
        relapseUntil = try reader.optional()
        incident = try reader.optional()
    }

    func write(to writer: inout RecordWriter) {
        writer.byte(strikes)
        writer.optional(relapseUntil)
        writer.optional(incident)
    }
}

extension EngineMemory: Recordable {
    init(from reader: inout RecordReader) throws(RecordingError) {
        self.init()
        lastIncident = try reader.incident()
        lastEvent = try reader.number()
        shutdowns = try reader.values()
        observedShutdowns = try reader.optional()
    }

    func write(to writer: inout RecordWriter) {
        writer.number(UInt64(lastIncident))
        writer.number(lastEvent)
        writer.values(shutdowns)
        writer.optional(observedShutdowns)
    }
}
