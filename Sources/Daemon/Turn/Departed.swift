// What is remembered of ports that are not here: gone with strikes, or expected from another host.
//
// Invariants: bounded in number and in time; a port is only taken for a former one with the same name
// and the same link-layer address.
internal import Mitigation

/// Memories by name.
struct Departed: Sendable {
    /// More than this are not kept: those that end first go first.
    static let capacity = 4_096

    private var records: [PortName: DepartedRecord] = [:]

    /// All that is still of use at `now`, by name.
    func remaining(now: Instant) -> [DepartedRecord] {
        records.values.filter { $0.until > now }.sorted { "\($0.name)" < "\($1.name)" }
    }

    /// What is remembered of a port of this name.
    func record(of name: PortName, now: Instant) -> DepartedRecord? {
        records[name].flatMap { $0.until > now ? $0 : nil }
    }

    /// Keeps a memory; a newer one of the same name replaces the older.
    mutating func keep(_ record: DepartedRecord, now: Instant) {
        guard record.until > now else { return }
        if records.count >= Self.capacity, records[record.name] == nil {
            records = records.filter { $0.value.until > now }
            if records.count >= Self.capacity,
                let first = records.min(by: { $0.value.until < $1.value.until })
            {
                records[first.key] = nil
            }
        }
        records[record.name] = record
    }

    /// The memory of the port that appears under this name and address, which it takes along.
    mutating func take(_ name: PortName, _ address: [UInt8], now: Instant) -> PortMemory? {
        guard !records.isEmpty, let record = records[name],
            record.address.isEmpty || record.address == address
        else { return nil }
        records[name] = nil
        return record.until > now ? record.memory : nil
    }
}
