// A real libvirtd with its QEMU driver, and one domain whose processor never runs: its tap is made,
// limited and deleted by libvirt, and a `Station` that joins it stands in for the guest.
//
// Invariants: in the virtual kernel only, with every folder that libvirt writes to covered by one
// of memory in the caller's mounts; libvirtd and the domain have ended when their owner is gone.
// The domain's machine is an Arm one because libvirt asks an x86 one for four hundred features of
// its processor, one by one, at each start.

/// libvirtd, and a domain with one interface of two queues.
public final class Libvirt {
    /// What libvirt makes of `<bandwidth>`.
    public struct Bandwidth: Hashable, Sendable {
        /// What the VM may send, in kilobytes of 1,000 a second: `<outbound average=…/>`.
        public var from: Int
        /// What it may be sent: `<inbound average=…/>`.
        public var to: Int

        /// These two.
        public init(from: Int, to: Int) {
            self.from = from
            self.to = to
        }
    }

    /// The domain's interface.
    public static let port = "vm-1-00aa"
    /// The addresses that go with it.
    public static let endpoint = Endpoint(number: 1, network: 0xaa)

    private static let domain = "vm-1"
    private static let covered = ["/etc/libvirt", "/var/lib", "/var/log", "/var/cache", "/run"]
    private static let drivers = "/run/libvirt-drivers"
    private static let pidFile = "/run/libvirtd.pid"

    /// Starts libvirtd with its QEMU driver alone, and defines the domain, which asks QEMU what it
    /// can do; it is not started.
    ///
    /// - Throws: `LabError` with the sentence of libvirtd or virsh.
    public init(_ bandwidth: Bandwidth) throws(LabError) {
        for folder in Self.covered { try Tool.run("mount", "-t", "tmpfs", "tmpfs", folder) }
        try Self.addUser()
        try Tool.run("mkdir", Self.drivers)
        let library = try Tool.run(
            "find", "/usr/lib", "-name", "libvirt_driver_qemu.so", "-type", "f")
        try Tool.run("ln", "-s", String(library.prefix { $0 != "\n" }), Self.drivers)
        try writeFile(Self.daemonSettings, to: "/etc/libvirt/libvirtd.conf")
        try writeFile(Self.driverSettings, to: "/etc/libvirt/qemu.conf")
        // No emulator in its PATH: else it asks each one that it finds what it can do.
        try Tool.run(
            "env", "PATH=/usr/sbin:/sbin", "LIBVIRT_DRIVER_DIR=\(Self.drivers)", "libvirtd",
            "--daemon", "--config", "/etc/libvirt/libvirtd.conf", "--pid-file", Self.pidFile)
        try writeFile(Self.description(bandwidth), to: "/run/domain.xml")
        try virsh("define /run/domain.xml")
    }

    deinit {
        _ = try? virsh("destroy \(Self.domain)")
        guard let pid = try? readFile(Self.pidFile).prefix(while: { $0 != "\n" }) else { return }
        _ = try? Tool.run("kill", String(pid))
        // It takes its pid file away when it ends.
        try? wait(for: "libvirtd to end", within: .seconds(10)) {
            (try? readFile(Self.pidFile)) == nil
        }
    }

    /// Starts the domain, paused: its interface comes, with the bandwidth of its definition.
    public func start() throws(LabError) { try virsh("start --paused \(Self.domain)") }

    /// Ends the domain as a crash would: QEMU is killed and its tap goes, once no station holds it.
    public func destroy() throws(LabError) { try virsh("destroy \(Self.domain)") }

    /// Changes the running domain's bandwidth (`virsh domiftune`).
    ///
    /// - Throws: `LabError` with virsh's sentence where one of libvirtd's commands fails.
    public func tune(_ bandwidth: Bandwidth) throws(LabError) {
        try virsh(
            "domiftune \(Self.domain) \(Self.port) --live --inbound \(bandwidth.to) "
                + "--outbound \(bandwidth.from)")
    }

    /// The user that Debian's driver looks up before it reads which one it shall use. The package
    /// that makes it is not among those that the driver needs.
    private static func addUser() throws(LabError) {
        for (file, line) in [
            ("passwd", "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin"),
            ("group", "libvirt-qemu:x:64055:"), ("group", "kvm:x:64056:"),
        ] {
            let copy = "/run/\(file)"
            let text = try readFile("/etc/\(file)")
            try writeFile(text + line + "\n", to: copy)
            try Tool.run("mount", "--bind", copy, "/etc/\(file)")
        }
    }

    private func virsh(_ line: String) throws(LabError) {
        let words = "--connect qemu:///system --quiet \(line)".split(separator: " ")
        try Tool.run("virsh", words.map { String($0) })
    }

    private static let daemonSettings = """
        auth_unix_rw = "none"
        unix_sock_group = "root"
        log_outputs = "3:file:/var/log/libvirtd.log"

        """

    /// Without a service manager, other users and confinement: this kernel has no other guest.
    private static let driverSettings = """
        user = "root"
        group = "root"
        dynamic_ownership = 0
        remember_owner = 0
        security_driver = "none"
        cgroup_controllers = []
        namespaces = []
        stdio_handler = "file"
        seccomp_sandbox = 0

        """

    private static func description(_ bandwidth: Bandwidth) -> String {
        """
        <domain type='qemu'>
          <name>\(domain)</name>
          <memory unit='MiB'>16</memory>
          <os><type arch='aarch64' machine='virt'>hvm</type></os>
          <devices>
            <emulator>/usr/bin/qemu-system-aarch64</emulator>
            <controller type='usb' model='none'/>
            <memballoon model='none'/>
            <interface type='bridge'>
              <mac address='\(endpoint.mac)'/>
              <source bridge='\(Host.bridge)'/>
              <target dev='\(port)'/>
              <model type='virtio'/>
              <driver name='qemu' queues='2'/>
              <rom enabled='no'/>
              <bandwidth>
                <inbound average='\(bandwidth.to)'/>
                <outbound average='\(bandwidth.from)'/>
              </bandwidth>
            </interface>
          </devices>
        </domain>
        """
    }
}
