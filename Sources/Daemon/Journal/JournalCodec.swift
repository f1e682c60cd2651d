// The journal as bytes: JSON, so that an operator can read it, with the clocks it was written by.
// Invariants: what is read back is what was written; bytes of any other kind are an error and never a
// trap; the same bytes mean the same on every start.
internal import ControlAPI
internal import FoundationEssentials
package import Mitigation

/// The journal's file: a state, and the clocks by which it was written.
package struct JournalDocument: Hashable, Codable, Sendable {
    /// The form of the rest; another one is refused.
    package static let form = 1
    /// The largest file that is read.
    package static let longest = 64 << 20

    /// The form of the rest.
    package var version = JournalDocument.form
    /// Which start of the machine its instants belong to (`RunningKernel.boot`).
    package var boot: String
    /// The monotonic clock when it was written.
    package var savedAt: Instant
    /// Seconds since 1970 when it was written.
    package var wallClock: Int64
    /// What is remembered.
    package var state: JournalState

    /// A state as it is now.
    package init(boot: String, savedAt: Instant, wallClock: Int64, state: JournalState) {
        self.boot = boot
        self.savedAt = savedAt
        self.wallClock = wallClock
        self.state = state
    }

    /// Reads a file's content.
    /// - Throws: a sentence that says what is wrong with it.
    package init(bytes: [UInt8]) throws(JournalError) {
        self = try decoded(JournalDocument.self, from: bytes)
        try check(form: version, against: Self.form)
    }

    /// The file's content.
    package func bytes() throws(JournalError) -> [UInt8] { try encoded(self) }

    /// The state by the present clock: after another start of the machine its instants lie as far
    /// back as the wall clock says.
    package func state(
        boot: String, now: Instant, wallClock: Int64, forgiveness: Duration
    ) -> JournalState {
        guard boot != self.boot || boot.isEmpty else { return state }
        let passed = Duration.seconds(
            max(0, wallClock.subtractingReportingOverflow(self.wallClock).partialValue))
        let away = savedAt.advanced(by: passed)
        return state.moved(from: away, to: now)
            .afterRestartOfTheMachine(now: now, forgiveness: forgiveness)
    }
}

/// The memory of one port on its way to another host: the answer to `export`, and the body of
/// `import`.
package struct PortDocument: Hashable, Codable, Sendable {
    /// The form of the rest; another one is refused.
    package static let form = 1

    /// The form of the rest.
    package var version = PortDocument.form
    /// The port's name, which is the same there.
    package var name: PortName
    /// Its link-layer address; empty: any.
    package var address: [UInt8]
    /// The monotonic clock of the host that it left.
    package var exportedAt: Instant
    /// What is remembered of it.
    package var memory: PortMemory

    /// What is remembered of a port now.
    package init(name: PortName, address: [UInt8], exportedAt: Instant, memory: PortMemory) {
        self.name = name
        self.address = address
        self.exportedAt = exportedAt
        self.memory = memory
    }

    /// Reads what another host exported.
    /// - Throws: a sentence that says which key is wrong, and how.
    package init(bytes: [UInt8]) throws(JournalError) {
        self = try decoded(PortDocument.self, from: bytes)
        try check(form: version, against: Self.form)
        guard address.isEmpty || address.count <= 32 else {
            throw JournalError("address has more bytes than a link-layer address")
        }
        guard memory.incident?.isSound != false else {
            throw JournalError("memory.incident has parts that contradict each other")
        }
    }

    /// What another host imports.
    package func bytes() throws(JournalError) -> [UInt8] { try encoded(self) }
}

// MARK: JSON

private func encoded(_ document: some Encodable) throws(JournalError) -> [UInt8] {
    guard let line = try? JSONText.line(of: document, names: .snakeCase) else {
        throw JournalError("the state holds what JSON cannot say")
    }
    return line
}

private func decoded<Document: Decodable>(
    _ type: Document.Type, from bytes: [UInt8]
) throws(JournalError) -> Document {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
        return try decoder.decode(type, from: Data(bytes))
    } catch let error as DecodingError {
        throw JournalError(sentence(error, isJSON: isJSON(bytes)))
    } catch {
        throw JournalError("it is no JSON")
    }
}

private func check(form: Int, against known: Int) throws(JournalError) {
    guard form == known else {
        throw JournalError("it has the form \(form), and this daemon writes \(known)")
    }
}

/// Which key is wrong, as the file spells it, and how.
private func sentence(_ error: DecodingError, isJSON: Bool) -> String {
    let (path, what): ([any CodingKey], String) =
        switch error {
        case .keyNotFound(let key, let context): (context.codingPath + [key], "is missing")
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            (context.codingPath, "is of another kind")
        case .dataCorrupted(let context): (context.codingPath, context.debugDescription)
        @unknown default: ([], "cannot be read")
        }
    guard !path.isEmpty else {
        // The decoder does not say of which key.
        return isJSON ? "a number in it is negative, not whole or too large" : "it is no JSON"
    }
    return path.map { $0.intValue.map(String.init) ?? snakeCase($0.stringValue) }
        .joined(separator: ".") + " " + what
}

/// Any JSON: the decoder has parsed all of it before it asks for this.
private struct AnyJSON: Decodable {
    init(from decoder: any Decoder) throws {}
}

private func isJSON(_ bytes: [UInt8]) -> Bool {
    (try? JSONDecoder().decode(AnyJSON.self, from: Data(bytes))) != nil
}

/// `exportedAt` as `exported_at`.
private func snakeCase(_ name: String) -> String {
    name.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) }
}
