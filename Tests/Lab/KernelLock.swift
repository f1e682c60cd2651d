// RTNL, the lock of every change of the kernel's network, held for as long as a test wants, whatever
// the machine's speed.
//
// Its holder is an ethtool request: the kernel writes its answer under the lock, and the answer goes to
// a page that is not there until the lock is released. It sleeps meanwhile, so every processor is free.

internal import CLab
internal import Glibc
internal import Synchronization

/// RTNL, held by a thread of this program: for ten seconds at most, since a test that is to release it may
/// come to wait for it itself.
public final class KernelLock: Sendable {
    private let answer: Answer
    private let holder: Worker
    private let limit: Worker

    private static let most = Duration.seconds(10)

    /// What the kernel cannot write yet.
    private final class Answer: Sendable {
        let address: UInt
        private let stall: Mutex<Descriptor?>

        init() throws(LabError) {
            var address: UInt = 0
            stall = Mutex(try unsafe Descriptor(clab_stall_begin(&address), "userfaultfd"))
            self.address = address
        }

        deinit { clab_stall_free(address) }

        /// Whether somebody waits to write it by this moment.
        func isAwaited(by end: Moment) -> Bool {
            stall.withLock { stall in
                guard let number = stall?.number else { return false }
                var polled = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
                while true {
                    let left = max(0, (end - .now).nanoseconds / 1_000_000 + 1)
                    let found = unsafe poll(&polled, 1, Int32(left))
                    guard found < 0, errno == EINTR else { return found == 1 }
                }
            }
        }

        /// It can be written. Again: nothing.
        func give() { stall.withLock { $0 = nil } }
    }

    /// Takes the lock, and returns when it is held.
    ///
    /// - Throws: `LabError` with the errno of userfaultfd(2), or where the kernel did not come to the
    ///   answer within ten seconds.
    public init() throws(LabError) {
        let answer = try Answer()
        self.answer = answer
        let end = Moment.now + Self.most
        // Before there is a holder: what fails behind it leaves nobody waiting.
        limit = try Worker("lock limit") { signal in
            signal.wait(until: end)
            answer.give()
        }
        holder = try Worker("lock") { _ in _ = unsafe clab_link_state("lo", answer.address) }
        guard answer.isAwaited(by: end) else {
            answer.give()
            throw LabError("hold RTNL", detail: "the kernel did not come to the answer")
        }
    }

    deinit { release() }

    /// Gives the lock back, and returns when the holder has ended. Again: nothing.
    public func release() {
        answer.give()
        limit.stop()
        holder.join()
    }
}
