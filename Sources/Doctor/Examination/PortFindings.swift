// Who owns which qdiscs on the ports, and what sends past all of them.
internal import ControlAPI
internal import Mitigation
internal import Settings
internal import TrafficControl

extension HostFacts {
    /// Of the claimed ports: a line for each with something of others or of ours, and one for all the
    /// rest.
    var portFindings: [Finding] {
        guard case .seen(let ports) = ports else {
            if case .hidden(let why) = ports {
                return [Finding(.problem, .ports, "interfaces", "they cannot be listed: \(why)")]
            }
            return []
        }
        var findings: [Finding] = []
        for portClass in PortClass.allCases {
            let own = ports.filter { $0.portClass == portClass }
            let plain = own.count { self.findings(on: $0).isEmpty }
            guard plain > 0 else { continue }
            let count = plain == 1 ? "1 port" : "\(plain) ports"
            findings.append(
                Finding(
                    .ok, .ports, "class \(portClass.rawValue)",
                    "\(count): the kernel's default root, and no hook"))
        }
        if ports.isEmpty {
            findings.append(
                Finding(
                    .warning, .ports, "classes", "no interface is claimed by any class",
                    cure: "see class.vm.names in \(configurationPath)"))
        }
        findings += ports.flatMap(self.findings(on:))
        return findings + unlistedPorts(ports)
    }

    private func findings(on port: PortFacts) -> [Finding] {
        let name = port.name.description
        guard case .seen(let owners) = port.owners else {
            guard case .hidden(let why) = port.owners else { return [] }
            return [Finding(.warning, .ports, name, "what stands there is not known: \(why)")]
        }
        var findings: [Finding] = []
        switch owners.root {
        case .standard: break
        case .ours: findings.append(Finding(.ok, .ports, name, "root: ours, while it is limited"))
        case .inPlaceOfAnother:
            findings.append(
                Finding(
                    .ok, .ports, name,
                    "root: ours, in the place of another owner's, which is put back"))
        case .foreign(let what): findings.append(foreignRoot(what, name, owners))
        }
        findings += hookFindings(name, owners)
        if owners.hardwareFilters > 0 || port.isOffloading {
            let fact =
                owners.hardwareFilters > 0
                ? "a NIC carries out \(owners.hardwareFilters) of its filters"
                : "its filters may be carried out by a NIC (hw-tc-offload)"
            findings.append(
                Finding(
                    .warning, .ports, name,
                    "\(fact): such frames do not come to ours, nor to the counters",
                    cure: "ethtool -K \(name) hw-tc-offload off"))
        }
        return findings
    }

    private func foreignRoot(_ what: String, _ name: String, _ owners: PortOwners) -> Finding {
        let fact = "root: \(what) is another owner's"
        if owners.hook.reachesEgress {
            return Finding(
                .ok, .ports, name, "\(fact), and stays: ours limits at the clsact before it")
        }
        if configuration.enforcement.replacesForeignRoot {
            return Finding(
                .note, .ports, name,
                "\(fact): ours takes its place while what the VM is sent is limited, then it is put back"
            )
        }
        if owners.hook == .absent, configuration.enforcement.hook == .clsact {
            return Finding(
                .ok, .ports, name, "\(fact), and stays: ours makes a clsact before it")
        }
        return Finding(
            .warning, .ports, name, "\(fact), and stays: what the VM is sent cannot be limited",
            cure: "replace_foreign_root = true, or hook = \"clsact\", in [tc]")
    }

    private func hookFindings(_ name: String, _ owners: PortOwners) -> [Finding] {
        var findings: [Finding] = []
        switch owners.hook {
        case .absent: break
        case .ours(let kind):
            findings.append(Finding(.ok, .ports, name, "hook: \(kind), ours"))
        case .borrowed(let kind):
            findings.append(
                Finding(
                    .note, .ports, name,
                    "hook: \(kind), another owner's, with filters of ours on it"))
        case .foreign(let kind):
            findings.append(
                Finding(.note, .ports, name, "hook: \(kind), another owner's; ours would join it"))
        }
        let others = owners.foreignFilters + owners.chains.map { "nftables chain \($0)" }
        if !others.isEmpty {
            findings.append(
                Finding(
                    .note, .ports, name,
                    "of others: \(others.joined(separator: ", ")); a redirect of ours would skip what "
                        + "is behind it, and is not made where that matters"))
        }
        return findings
    }

    /// Claimed, and not listed by the daemon.
    private func unlistedPorts(_ ports: [PortFacts]) -> [Finding] {
        guard case .answers(let status, _) = daemon else { return [] }
        let listed = Set(status.ports.map(\.name))
        return ports.filter { !listed.contains($0.name.description) }.map {
            Finding(
                .warning, .ports, $0.name.description,
                "class \($0.portClass.rawValue) claims it by \(configurationPath), and the daemon does "
                    + "not watch it",
                cure: "ask again if it is new; else sluicectl reload")
        }
    }
}

extension HostFacts {
    /// What the daemon neither sees nor limits.
    var uncoveredFindings: [Finding] {
        var findings = unclaimed.map(finding(of:))
        findings += vhostUser.map { machine in
            let name = machine.name.map { "\($0) (pid \(machine.pid))" } ?? "pid \(machine.pid)"
            let count = machine.interfaces == 1 ? "1 interface" : "\(machine.interfaces) interfaces"
            return Finding(
                .warning, .uncovered, name,
                "\(count) by vhost-user: its frames go to the switch by shared memory, and the kernel "
                    + "never sees them",
                cure: "limit it in that switch (Open vSwitch with DPDK: ingress_policing_rate), or "
                    + "give it a tap")
        }
        findings += virtualFunctions.map { one in
            let passed = one.passedThrough > 0 ? ", \(one.passedThrough) handed to VMs" : ""
            return Finding(
                one.passedThrough > 0 ? .warning : .note, .uncovered, one.device,
                "\(one.count) virtual functions (SR-IOV)\(passed): what they send goes by the NIC alone",
                cure:
                    "limit them in the NIC (ip link set \(one.device) vf N max_tx_rate MBIT), or give "
                    + "the VMs taps")
        }
        findings += offloadingDevices.map { name in
            Finding(
                .note, .uncovered, name.description,
                "hw-tc-offload is on: what a switch offloads from a port to this NIC does not come to "
                    + "our filters",
                cure: "ethtool -K \(name) hw-tc-offload off, where ports are offloaded to it")
        }
        if hiddenProcesses > 0 {
            findings.append(
                Finding(
                    .note, .uncovered, "vhost-user",
                    "the command lines of \(hiddenProcesses) processes could not be read",
                    cure: Self.asRoot))
        }
        if findings.isEmpty {
            findings = [
                Finding(
                    .ok, .uncovered, "none",
                    "no unclaimed tap, no macvtap, no vhost-user, no virtual function, no offload")
            ]
        }
        return findings
    }

    private func finding(of link: UnclaimedLink) -> Finding {
        switch link.kind {
        case .tap:
            Finding(
                .warning, .uncovered, link.name.description,
                "a tap that no class claims: it is neither watched nor limited",
                cure: "add a pattern for its name to class.vm.names, if it is a VM's")
        case .macvtap, .ipvtap:
            Finding(
                .warning, .uncovered, link.name.description,
                "a \(link.kind.rawValue): its VM's frames leave through the device below, and its "
                    + "directions are those of the host",
                cure: "give the VM a tap on a bridge")
        }
    }
}
