// A port's guards: a file that an orchestrator drops in, from TOML to programs.

import LinuxSystem
import Netlink
import TOML

@testable import Daemon
@testable import Settings
@testable import TrafficControl

extension FuzzTarget {
    /// Any bytes give guards that come to programs which a kernel can take, or mistakes that are each
    /// told in a line. The first byte says whether the rest is a file, or edits of one that is whole:
    /// mutations of so short a file are hardly ever TOML.
    static let guards = FuzzTarget(
        name: "guards",
        seeds: {
            let edits: [[UInt8]] = [[0, 5], [1, 2, 3, 9], [4, 7, 5, 11, 6, 13, 9, 17]]
            return GuardSeeds.files.map { [0] + Array($0.utf8) }
                + GuardSeeds.files.indices.flatMap { file in
                    edits.map { [UInt8(file) * 2 + 1] + $0 }
                }
        }, rounds: 2_000,
        read: { bytes in
            var input = FuzzInput(bytes)
            let bytes = input.file(orOneOf: GuardSeeds.files.count) {
                GuardSeeds.edited($0, by: $1)
            }
            switch read(bytes) {
            case .success(let guards):
                try promise(try read(bytes).get() == guards, "the same text is read in two ways")
                try check(guards)
                return true
            case .failure(let error):
                try promise(!error.problems.isEmpty, "refused for nothing")
                for problem in error.problems { try check(problem) }
                // A file that is TOML and wrong was read to its end.
                return (try? TOML.parse(bytes)) != nil
            }
        })

    private static func read(_ bytes: [UInt8]) -> Result<Guards, ConfigurationError> {
        Result { () throws(ConfigurationError) in try Guards(parsing: bytes, file: "vm-1-1.toml") }
    }

    private static func check(_ guards: Guards) throws(BrokenPromise) {
        var parts = KernelParts(hasActPolice: true, hasBPF: true, hasNetem: true, hasIFB: true)
        parts.hasActBPF = true
        parts.followsConnections = true
        let code = GuardCode(guards, enforcer: .actGact, parts: parts)
        for hook in [Site.Hook.ingress, .clsact] {
            for case .rule(let digest, _) in code.compiled.filters(at: hook).map(\.match) {
                try check(code.program(digest))
            }
        }
        guard !guards.isEmpty else { return }
        let policy = GuardPolicy(guards)
        let program = GuardBytecode(
            GuardFlow(GuardProgram(policy)), policy: policy, mode: guards.mode, counters: 3)
        try promise(
            program.instructions.indices.allSatisfy { index in
                let instruction = program.instructions[index]
                // BPF_JMP, but for a call and the exit.
                guard instruction.code & 0x07 == 0x05, ![0x85, 0x95].contains(instruction.code)
                else { return true }
                let target = index + 1 + Int(instruction.offset)
                return target > index && target < program.instructions.count
            }, "an eBPF program jumps out of itself, or back")
    }

    /// What the kernel asks of classic BPF (bpf_check_classic): 1 to 4096 instructions (BPF_MAXINSNS),
    /// jumps inside, and a return at the end.
    private static func check(_ program: [ClassicInstruction]) throws(BrokenPromise) {
        try promise((1...4_096).contains(program.count), "\(program.count) instructions")
        try promise(program.last.map { $0.code & 0x07 == 0x06 } == true, "no return at the end")
        for (index, instruction) in program.enumerated() where instruction.code & 0x07 == 0x05 {
            let reach =
                instruction.code == 0x05
                ? Int(instruction.k) : Int(max(instruction.jt, instruction.jf))
            try promise(index + 1 + reach < program.count, "a jump out of the program")
        }
    }
}

private enum GuardSeeds {
    /// What may stand in quotes, right or wrong.
    private static let words = [
        "tenant", "public-router", "management", "enforce", "monitor", "no-ra", "no-ipv6",
        "no-dhcp-server", "", "0.0.0.0", "0.0.0.0/0", "255.255.255.255", "224.0.0.1", "10.0.0.0/33",
        "192.0.2.77", "127.0.0.1/8", "::", "::/0", "::1", "fe80::1", "ff02::1", "2001:db8::/33",
        "2001:db8::5/128", "::ffff:192.0.2.1", "1:2:3:4:5:6:7:8:9", "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00", "01:00:5e:00:00:01", "52:54:00:00:00:99", "52:54:00", "\\u0000",
    ]

    /// Each pair of bytes chooses words of the file, and what stands there instead: another word, or
    /// many of them where an array is.
    static func edited(_ file: Int, by edits: [UInt8]) -> [UInt8] {
        var text = files[file]
        for place in stride(from: 0, to: min(edits.count, 32), by: 2) {
            let (chosen, by) = (Int(edits[place]), Int(edits.dropFirst(place + 1).first ?? 0))
            let quoted = text.ranges(of: /"[^"]*"/)
            let range = quoted[chosen % quoted.count]
            let word = words[by % words.count]
            let isArray = text[..<range.lowerBound].reversed().first { !" \"".contains($0) } == "["
            guard isArray, chosen > 127 else {
                text.replaceSubrange(range, with: "\"\(word)\"")
                continue
            }
            let many = (0..<by * 8).map { "\"10.\($0 / 256).\($0 % 256).1\", " }.joined()
            text.replaceSubrange(range, with: many + text[range])
        }
        return Array(text.utf8)
    }

    /// One of each profile, and switches alone.
    static let files = [
        """
        profile = "tenant"
        mac = "52:54:00:12:34:56"
        ipv4 = ["192.0.2.5", "198.51.100.0/28"]
        ipv6 = ["2001:db8:0:5::/64"]
        allow = ["192.0.2.9", { ip = "192.0.2.10", mac = "00:00:5e:00:01:01" }]
        mode = "monitor"
        """,
        "profile = \"public-router\"\nmac = \"52:54:00:00:00:01\"\nipv4 = [\"192.0.2.1\"]\n",
        """
        profile = "management"
        mac = "52:54:00:00:00:02"
        ipv4 = "10.199.3.5"
        network = "10.199.0.0/22"
        """, "switches = [\"no-dhcp-server\", \"no-ra\", \"no-ipv6\"]\n",
    ]
}
