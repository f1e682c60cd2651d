// Virtual machines that reach the network past the kernel: by a switch's memory, or by a NIC alone.
// Invariant: what is gone while it is looked at is left out.
internal import FoundationEssentials
internal import LinuxSystem
internal import SystemPackage

/// The processes of this host.
enum ProcessList {
    private static let longestCommand = 1 << 20

    /// QEMU's with vhost-user interfaces, and how many processes' command lines were hidden.
    static func vhostUser() -> (found: [VhostUserMachine], hidden: Int) {
        var found: [VhostUserMachine] = []
        var hidden = 0
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        for pid in names.compactMap({ Int32($0) }).sorted() {
            do {
                let bytes = try WholeInput.read(path: "/proc/\(pid)/cmdline", limit: longestCommand)
                if let machine = VhostUserMachine(pid: pid, commandLine: bytes) {
                    found.append(machine)
                }
            } catch {
                if error == .permissionDenied || error == .notPermitted { hidden += 1 }
            }
        }
        return (found, hidden)
    }
}

extension VhostUserMachine {
    /// By a command line as /proc has it: words with a NUL behind each. Nil where it is not QEMU's, or
    /// has no such interface; disks and file systems on vhost-user are none.
    init?(pid: Int32, commandLine: [UInt8]) {
        let words = commandLine.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        let program = words.first?.split(separator: "/").last ?? ""
        guard program.hasPrefix("qemu") || program == "kvm" else { return nil }
        var interfaces = 0
        for (option, value) in zip(words, words.dropFirst())
        where ["-netdev", "--netdev", "-net"].contains(option) {
            let type = value.filter { $0 != " " }
            let isOne =
                type.hasPrefix("vhost-user,") || type.contains("type=vhost-user,")
                || type.contains("\"type\":\"vhost-user\"")
            if isOne { interfaces += 1 }
        }
        guard interfaces > 0 else { return nil }
        let names = zip(words, words.dropFirst()).first { $0.0 == "-name" || $0.0 == "--name" }?.1
            .split(separator: ",")
        let name = names?.first { $0.hasPrefix("guest=") }?.dropFirst(6) ?? names?.first
        self.init(pid: pid, name: name.map { String($0) }, interfaces: interfaces)
    }
}

/// The devices of this host, as sysfs has them.
enum DeviceTree {
    /// The NICs with virtual functions. `/sys/class/net/NAME/device/sriov_numvfs`
    static func virtualFunctions(under root: String = "/sys/class/net") -> [VirtualFunctions] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return names.sorted().compactMap { name in
            let device = "\(root)/\(name)/device"
            guard let count = Examiner.line("\(device)/sriov_numvfs").flatMap({ Int($0) }),
                count > 0
            else { return nil }
            let passed = (0..<min(count, 1_024)).count { number in
                let driver = try? FileManager.default.destinationOfSymbolicLink(
                    atPath: "\(device)/virtfn\(number)/driver")
                return driver?.split(separator: "/").last == "vfio-pci"
            }
            return VirtualFunctions(device: name, count: count, passedThrough: passed)
        }
    }
}
