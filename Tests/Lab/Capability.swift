// Doing without rights for a while, as a service does whose unit does not grant them.
// Invariant: a thread's matter (capset(2)), so that nothing else of the process is touched.

internal import CLab

/// A capability (capabilities(7)), by its number.
public enum Capability: UInt64, Hashable, Sendable, CaseIterable {
    /// CAP_NET_RAW: packet sockets.
    case rawNetwork = 13
    /// CAP_SYS_ADMIN: opens what bpf(2) made by its id, among much else.
    case systemAdministration = 21
    /// CAP_PERFMON: the verifier of bpf(2) trusts pointers.
    case performanceMonitoring = 38

    /// Runs `body` on the calling thread without these capabilities, which it has again afterwards.
    ///
    /// - Throws: what `body` throws, and `LabError` where they cannot be given up.
    public static func without<Value>(
        _ capabilities: [Capability], _ body: () throws -> Value
    ) throws -> Value {
        let mask = capabilities.reduce(UInt64(0)) { $0 | UInt64(1) << $1.rawValue }
        try checked(clab_set_capabilities(mask, false), "give up capabilities")
        defer { _ = clab_set_capabilities(mask, true) }
        return try body()
    }
}
