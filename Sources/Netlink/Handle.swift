// The name of a qdisc, a class or a hook on one interface: major and minor, as in `7a01:1`.
internal import CNetlink

/// A handle, a class's id or a parent: TC_H_MAKE(major << 16, minor).
public struct Handle: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// Major in the upper 16 bits, minor in the lower.
    public var rawValue: UInt32

    /// A handle of this number.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// `major:minor`; a qdisc's own handle has the minor 0.
    public init(major: UInt16, minor: UInt16 = 0) {
        rawValue = UInt32(major) << 16 | UInt32(minor)
    }

    /// The qdisc's number.
    public var major: UInt16 { UInt16(truncatingIfNeeded: rawValue >> 16) }
    /// The class's number inside the qdisc; 0 for the qdisc itself.
    public var minor: UInt16 { UInt16(truncatingIfNeeded: rawValue) }

    /// No handle (TC_H_UNSPEC): the kernel chooses one.
    public static let unspecified = Handle(rawValue: 0)
    /// The root of an interface (TC_H_ROOT, ffff:ffff).
    public static let root = Handle(rawValue: 0xffff_ffff)
    /// Where `ingress` and `clsact` hang (TC_H_INGRESS = TC_H_CLSACT, ffff:fff1).
    public static let ingress = Handle(rawValue: 0xffff_fff1)
    /// The handle that `ingress` and `clsact` always have (ffff:).
    public static let ingressQdisc = Handle(rawValue: 0xffff_0000)
    /// The hook for what comes in, from the VM: ffff:fff2. A plain `ingress` qdisc takes it too.
    public static let clsactIngress = Handle(rawValue: 0xffff_fff2)
    /// The hook for what goes out, to the VM: ffff:fff3. Only `clsact` has it.
    public static let clsactEgress = Handle(rawValue: 0xffff_fff3)

    /// As tc prints it: `7a01:`, `7a01:1`, `root`, in hexadecimal.
    public var description: String {
        if self == .root { return "root" }
        let head = String(major, radix: 16)
        return minor == 0 ? "\(head):" : "\(head):\(String(minor, radix: 16))"
    }
}
