// RTNL, the lock of every change of the kernel's network, held for as long as a test wants, whatever
// the machine's speed.
//
// Its holder is an ethtool request: the kernel writes its answer under the lock, and the answer goes to
// a page that is not there until the lock is released. It sleeps meanwhile, so every processor is free.

internal import CLab
internal import Glibc
internal import Synchronization

/// RTNL, held by a thread of this program.
public final class KernelLock: Sendable {
    private let stall: Mutex<Descriptor?>
    private let holder: Worker
    private let answer: UInt

    /// Takes the lock, and returns when it is held.
    ///
    /// - Throws: `LabError` with the errno of userfaultfd(2), or where the kernel did not come to the
    ///   answer within ten seconds.
    public init() throws(LabError) {
        var answer: UInt = 0
        let stall = try unsafe Descriptor(clab_stall_begin(&answer), "userfaultfd")
        let number = stall.number
        let address = answer
        holder = try Worker("lock") { _ in _ = unsafe clab_link_state("lo", address) }
        self.answer = answer
        self.stall = Mutex(consume stall)
        var polled = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&polled, 1, 10_000) == 1 else {
            release()
            throw LabError("hold RTNL", detail: "the kernel did not come to the answer")
        }
    }

    deinit {
        release()
        clab_stall_free(answer)
    }

    /// Gives the lock back, and returns when the holder has ended. Again: nothing.
    public func release() {
        stall.withLock { $0 = nil }
        holder.join()
    }
}
