// Lets a test say which parts of the kernel, or which service manager, it needs: where one is missing
// it is skipped, and says which, so that the record of a run names what the other lane has to do.

public import Lab
public import Testing

extension Trait where Self == ConditionTrait {
    /// Runs the test only on a kernel that has these parts.
    public static func needs(_ parts: KernelPart...) -> Self {
        let lacking = KernelParts.current.lacking(parts).map(\.rawValue).joined(separator: ", ")
        let reason = "kernel \(KernelParts.current.release) lacks \(lacking)"
        return .enabled(if: lacking.isEmpty, Comment(rawValue: reason))
    }

    /// Runs the test only in a machine to throw away whose first process is systemd.
    public static var needsSystemd: Self {
        .enabled(
            if: InstalledService.isPossible,
            "no systemd as the first process of a machine to throw away")
    }

    /// Runs the test on the machine's own kernel only: a virtual one has a single processor.
    public static var needsSeveralProcessors: Self {
        .enabled(
            if: !Program.isInVirtualKernel,
            "a virtual kernel has one processor, which the clients take: runs natively only")
    }

    /// Runs the test in the virtual kernel only: it covers folders of the machine.
    public static var needsVirtualKernel: Self {
        .enabled(
            if: Program.isInVirtualKernel,
            "covers folders of the machine: runs in the virtual kernel only")
    }
}
