// A port's kernel objects in tc's own words: the program of iproute2 that operators know.
// Invariants: only what reads; a program that hangs is killed; where tc is not installed, that is said.

import ControlAPI
import Dispatch
import FoundationEssentials
import LinuxSystem
import Subprocess
import Synchronization
import SystemPackage

/// One command and what it printed.
struct KernelListing: Encodable, Hashable {
    /// As an operator would type it.
    var command: String
    /// Its lines.
    var output: String

    /// Its lines, tabs as blanks.
    var lines: [String] {
        output.split(separator: "\n").map { $0.replacing("\t", with: "    ") }.map(String.init)
    }
}

/// Asks tc.
enum KernelObjects {
    private static let mostBytes = 1 << 20

    /// What stands on a port, and on the ifbs that its packets are redirected to.
    ///
    /// - Parameter index: the port's interface index.
    /// - Returns: listings that are not empty; nil where tc cannot be run.
    static func listings(port: String, index: Int32) -> [KernelListing]? {
        // The one command that needs tasks waits for them: a pool of threads for each of the others
        // would ask for more system calls than their units allow.
        let answer = Mutex<[KernelListing]?>(nil)
        let done = DispatchSemaphore(value: 0)
        Task.detached {
            let listings = await ask(port, index)
            answer.withLock { $0 = listings }
            done.signal()
        }
        done.wait()
        return answer.withLock { $0 }
    }

    private static func ask(_ port: String, _ index: Int32) async -> [KernelListing]? {
        var listings: [KernelListing] = []
        var own = [["qdisc", "show", "dev", port], ["filter", "show", "dev", port, "ingress"]]
        // On an ingress qdisc, which has none, tc prints those of the ingress once more.
        if await run(own[0])?.contains("qdisc clsact") == true {
            own.append(["filter", "show", "dev", port, "egress"])
        }
        let ifbs = ["ifb-f\(index)", "ifb-t\(index)"].flatMap { name in
            [["qdisc", "show", "dev", name], ["class", "show", "dev", name]]
        }
        for words in own + ifbs {
            let words = ["-s", "-d"] + words
            guard let output = await run(words) else { return nil }
            guard !output.isEmpty else { continue }
            listings.append(
                KernelListing(
                    command: (["tc"] + words).joined(separator: " "), output: output))
        }
        return listings
    }

    /// What tc prints; empty where it refuses, nil where it cannot be run.
    private static func run(_ words: [String]) async -> String? {
        await withTaskGroup(of: String?.self) { group in
            group.addTask {
                let result = try? await Subprocess.run(
                    .name("tc"), arguments: Arguments(words),
                    environment: .custom(["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]),
                    output: .string(limit: mostBytes), error: .discarded)
                return result.map { $0.terminationStatus.isSuccess ? $0.standardOutput : "" }
            }
            group.addTask {
                try? await Task.sleep(for: .seconds(5))
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }
}
