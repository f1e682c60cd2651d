// Where the socket's thread leaves requests for the turn.
// Invariants: at most `capacity` requests wait; the turn never waits for the lock; a request that
// was taken out is answered at most once, and an answer that nobody waits for is dropped.

package import ControlAPI
package import Mitigation
import Synchronization

/// What a client asks of the turn.
package enum ControlRequest: Hashable, Sendable {
    /// Everything: `GET /v1/status`.
    case status
    /// One port by its name as `status` prints it: `GET /v1/ports/NAME`.
    case port(String)
    /// Why a port is where it is: `GET /v1/ports/NAME/explain`.
    case explain(String)
    /// Everything for a scraper: `GET /v1/metrics`.
    case metrics
    /// Take out one port's limits, or all: `POST /v1/release`. Exactly one of both is set.
    case release(ReleaseRequest, by: ControlActor)
    /// What is remembered of a port, for another host: `GET /v1/ports/NAME/export`.
    case export(String)
    /// The packet samples of trips: `GET /v1/evidence`, `/v1/evidence/NUMBER` and `NUMBER.pcap`.
    case evidence(EvidenceRequest)
    /// What another host remembers of a port: `POST /v1/import`.
    case importPort(PortDocument, by: ControlActor)
    /// What an operator says of a port: `POST /v1/hold`, `/v1/exempt` or `/v1/disable`.
    case order(PortOrder, OrderRequest, by: ControlActor)
    /// Takes that back: `POST /v1/enable`.
    case takeBackOrder(OrderRequest, by: ControlActor)
    /// One rung up: `POST /v1/escalate`.
    case escalate(OrderRequest, by: ControlActor)
    /// Whether decisions about these classes are carried out; nil: as configured: `POST /v1/mode`.
    case mode(Mode?, of: [PortClass], reason: String?, by: ControlActor)
    /// Read the configuration again: `POST /v1/reload`.
    case reload(by: ControlActor)
    /// Does the turn still turn: `GET /v1/health`.
    case health
}

/// Who acts.
package struct ControlActor: Hashable, Sendable {
    /// The effective user.
    package var user: UInt32
    /// The process; it may be gone.
    package var process: Int32

    /// A user and a process.
    package init(user: UInt32, process: Int32) {
        self.user = user
        self.process = process
    }
}

/// What the turn answers.
package enum ControlReply: Hashable, Sendable {
    /// To `status`.
    case status(Status)
    /// To `port`.
    case port(PortStatus)
    /// To `explain`.
    case explanation(Explanation)
    /// To `metrics`.
    case metrics(Status, SelfHealth)
    /// To `release`.
    case release(ReleaseReply)
    /// To `export`.
    case export(PortDocument)
    /// To `evidence`: which samples there are.
    case evidenceList(EvidenceList)
    /// To `evidence`: what one holds.
    case evidence(EvidenceReport)
    /// To `evidence`: a sample's packets, as pcap.
    case packets([UInt8])
    /// To `importPort`.
    case imported(ImportReply)
    /// To `order`, `takeBackOrder` and `escalate`.
    case ordered(OrderReply)
    /// To `mode`.
    case modes(ModeReply)
    /// To `reload`.
    case reloaded(ReloadReply)
    /// To `health`: the turn turns.
    case healthy
    /// To any: an HTTP status of 400 or more, and what to do about it.
    case problem(Int, Problem)

    /// To any that names a port.
    static func unwatched(_ name: String) -> ControlReply {
        .problem(
            404,
            Problem(
                error: "no port \(name) is watched",
                cure: "sluicectl status --all lists the watched ports"))
    }
}

/// Where the socket's thread leaves requests for the turn.
package final class Mailbox: Sendable {
    /// Answers one request; may be called from any thread, and later than the request was taken.
    package typealias Reply = @Sendable (ControlReply) -> Void

    private struct Letter: Sendable {
        var request: ControlRequest
        var reply: Reply
    }

    private let capacity: Int
    private let wake: @Sendable () -> Void
    private let letters = Mutex<[Letter]>([])
    /// Set before the lock is taken, so that the turn pays one load where nothing waits.
    private let hasMail = Atomic<Bool>(false)

    /// A mailbox that is empty.
    ///
    /// - Parameters:
    ///   - capacity: how many requests may wait.
    ///   - wake: called on the submitting thread after each request: ends the turn's sleep.
    package init(capacity: Int = 64, wake: @escaping @Sendable () -> Void) {
        self.capacity = capacity
        self.wake = wake
    }

    /// Leaves a request for the turn.
    ///
    /// - Returns: false where the mailbox is full; the request was not taken.
    package func submit(_ request: ControlRequest, reply: @escaping Reply) -> Bool {
        let taken = letters.withLock { letters in
            guard letters.count < capacity else { return false }
            letters.append(Letter(request: request, reply: reply))
            hasMail.store(true, ordering: .releasing)
            return true
        }
        if taken { wake() }
        return taken
    }

    /// Hands out all waiting requests, oldest first. Never waits: where the socket's thread is just
    /// writing, nothing is handed out.
    ///
    /// - Parameter body: called for each request, outside the lock; it answers now or later.
    /// - Returns: whether to call again soon, since the mailbox was busy.
    package func drain(_ body: (ControlRequest, @escaping Reply) -> Void) -> Bool {
        guard hasMail.load(ordering: .acquiring) else { return false }
        let taken = letters.withLockIfAvailable { letters in
            let taken = letters
            letters = []
            hasMail.store(false, ordering: .releasing)
            return taken
        }
        guard let taken else { return true }
        for letter in taken { body(letter.request, letter.reply) }
        return false
    }
}
