// Features of an interface, as ethtool(8) shows them.
internal import CLinux
public import SystemPackage

/// A feature that an interface may have on.
public enum LinkFeature: String, Sendable {
    /// Filters of traffic control may be carried out by the hardware.
    case trafficControlOffload = "hw-tc-offload"

    /// Whether the interface of this name has it on; false where it knows no such feature.
    /// `ethtool -k NAME`
    ///
    /// - Throws: errno of ioctl(2) SIOCETHTOOL: ENODEV, EOPNOTSUPP.
    public func isOn(_ interface: String) throws(Errno) -> Bool {
        try checked(unsafe sluice_link_feature(interface, rawValue)) == 1
    }
}
