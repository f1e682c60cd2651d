// What the kernel has of what the rungs are made of, and who brings what it lacks.
internal import ControlAPI
internal import Settings
internal import TrafficControl

extension HostFacts {
    /// Of the kernel.
    var kernelFindings: [Finding] {
        var findings: [Finding] = []
        switch kernel {
        case .hidden(let why):
            findings.append(
                Finding(.note, .kernel, "parts", "not looked at: \(why)", cure: Self.asRoot))
        case .seen(let parts): findings += self.findings(of: parts)
        }
        if case .answers(let status, _) = daemon {
            let daemonNotes = Set(status.kernelNotes).subtracting(kernel.value?.notes ?? [])
            findings += status.kernelNotes.filter(daemonNotes.contains).map {
                Finding(.note, .kernel, "as the daemon has it", $0)
            }
        }
        if let clockSource, Self.slowClocks.contains(clockSource) {
            findings.append(
                Finding(
                    .warning, .kernel, "clock",
                    "the clock source is \(clockSource), which is slow to read",
                    cure: "see why the kernel does not use tsc or kvm-clock (dmesg)"))
        }
        return findings
    }

    static let asRoot = "run this as root"
    private static let slowClocks: Set<String> = ["hpet", "acpi_pm", "pit", "jiffies"]

    private func findings(of parts: KernelParts) -> [Finding] {
        var findings = [rungs(parts)]
        findings += [
            part(
                parts.hasActPolice, "act_police", "limits packets and bytes",
                without: parts.hasBPF ? .note : .warning),
            part(
                parts.hasBPF, "bpf(2)", "loads a token bucket, where there is no act_police",
                without: parts.hasActPolice ? .note : .warning),
            part(parts.hasIFB, "ifb", "takes what is shaped", without: .problem),
            part(parts.hasNetem, "sch_netem", "delays what is shaped", without: .warning),
            part(
                parts.hasActGact, "act_gact", "drops and counts what guards refuse",
                without: parts.hasBPF ? .note : .warning),
            part(
                parts.hasActBPF, "act_bpf", "tells how many Ethernet sources are forged",
                without: .note),
            part(
                parts.followsConnections, "act_ct, cls_flower",
                "lets a management guard follow connections", without: .note),
        ]
        return findings
    }

    private func rungs(_ parts: KernelParts) -> Finding {
        guard let policer = parts.policer(configured: configuration.enforcement.policer) else {
            return Finding(
                .problem, .kernel, "rungs",
                "none: " + parts.refusal(of: configuration.enforcement.policer),
                cure: configuration.enforcement.policer == nil
                    ? Self.cure("ifb, act_police") : "engine = \"auto\" in [police]")
        }
        let queue = policer == .ifb ? "htb" : "tbf"
        let shape = "ifb+\(queue)" + (parts.hasNetem ? "+netem" : "")
        let police = "\(release): police by \(policer.rawValue)"
        guard parts.hasIFB else {
            return Finding(
                .problem, .kernel, "rungs", "\(police), shut down by the link; none between",
                cure: Self.cure("ifb"))
        }
        return Finding(
            .ok, .kernel, "rungs",
            "\(police), shape and tighten by \(shape), shut down by the link")
    }

    private func part(
        _ isThere: Bool, _ name: String, _ purpose: String, without: FindingState
    ) -> Finding {
        guard !isThere else { return Finding(.ok, .kernel, name, purpose) }
        // The kernel's own sentence stands in the note on this part.
        let bare = name.split(separator: ",").first.map(String.init) ?? name
        let word = bare.replacing("sch_", with: "")
        let note = kernel.value?.notes.first {
            $0.hasPrefix("no \(word) ") || bare == "bpf(2)" && $0.hasPrefix("no eBPF")
        }
        let fact = note ?? "no \(name), which \(purpose)"
        let cure =
            bare == "bpf(2)"
            ? "allow bpf(2) where act_police is not to be had (CONFIG_BPF_SYSCALL)"
            : Self.cure(name)
        return Finding(without, .kernel, name, fact, cure: cure)
    }

    private static func cure(_ modules: String) -> String {
        "modprobe \(modules.replacing(",", with: "")); Debian's linux-image-amd64 and Ubuntu's "
            + "linux-modules-extra have it"
    }
}
