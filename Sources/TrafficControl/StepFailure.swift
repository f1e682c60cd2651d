// Why a step did not lead to what was wanted, before it is told as a `TrafficControlError`.
import LinuxSystem
import Netlink

enum StepFailure: Error {
    /// Netlink refused, or gave no answer.
    case netlink(NetlinkError)
    /// bpf(2) refused.
    case bpf(BPFError)
    /// What is read back is not what was asked for.
    case mismatch(String)
    /// The port is not there any more.
    case gone
    /// We do not do it, and why; nothing was changed.
    case declined(String)

    /// In the daemon's words: a plain no of the kernel is a refusal, all else is unknown.
    var told: TrafficControlError {
        switch self {
        case .gone: .gone
        case .netlink(let error) where error.isAnswer: .refused(error.description)
        case .netlink(let error): .unknown(error.description)
        case .bpf(let error): .refused(error.description)
        case .mismatch(let sentence): .unknown(sentence)
        case .declined(let sentence): .refused(sentence)
        }
    }

    /// Runs netlink requests under this error.
    static func netlinked<Value: ~Copyable>(
        _ body: () throws(NetlinkError) -> Value
    ) throws(StepFailure) -> Value {
        do throws(NetlinkError) {
            return try body()
        } catch {
            throw .netlink(error)
        }
    }

    /// Runs bpf(2) requests under this error.
    static func bpfed<Value: ~Copyable>(
        _ body: () throws(BPFError) -> Value
    ) throws(StepFailure) -> Value {
        do throws(BPFError) {
            return try body()
        } catch {
            throw .bpf(error)
        }
    }
}
