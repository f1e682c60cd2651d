// Standard output and standard error: written whole, and never with control characters of others.

import FoundationEssentials
import Glibc
import LinuxSystem
import SystemPackage

/// Where lines go.
enum Terminal {
    /// Writes lines to standard output; a reader that left is no error.
    static func print(_ lines: [String]) {
        write(Array((lines.map(printable).joined(separator: "\n") + "\n").utf8))
    }

    /// Writes bytes to standard output as they are.
    static func write(_ bytes: [UInt8]) {
        _ = try? FileDescriptor.standardOutput.writeAll(bytes)
    }

    /// Writes a value as one line of JSON.
    static func printJSON(_ value: some Encodable) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        write(Array((try? encoder.encode(value)) ?? Data()) + [UInt8(ascii: "\n")])
    }

    /// The wall clock, in seconds since 1970.
    static var now: Double { Date().timeIntervalSince1970 }

    /// Whether what is shown on the terminal may be coloured: see no-color.org.
    static var wantsColour: Bool {
        Environment.all["NO_COLOR"]?.isEmpty ?? true
    }

    /// Waits.
    static func sleep(milliseconds: UInt32) { usleep(milliseconds * 1_000) }

    /// Writes one line to standard error.
    static func complain(_ line: String) {
        _ = try? FileDescriptor.standardError.writeAll((printable(line) + "\n").utf8)
    }

    /// The same, but for tabs.
    static func printableWithTabs(_ text: String) -> String {
        text.split(separator: "\t", omittingEmptySubsequences: false)
            .map { printable(String($0)) }.joined(separator: "\t")
    }

    /// Text with every byte that is not printable ASCII as `\xNN`: names come from strangers.
    static func printable(_ text: String) -> String {
        var printable = ""
        for byte in text.utf8 {
            if (0x20..<0x7f).contains(byte) {
                printable.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let hex = String(byte, radix: 16)
                printable += hex.count == 1 ? "\\x0\(hex)" : "\\x\(hex)"
            }
        }
        return printable
    }
}

/// This machine.
enum Machine {
    /// Its name, as uname(2) has it.
    static var name: String {
        let bytes = (try? WholeInput.read(path: "/proc/sys/kernel/hostname", limit: 4_096)) ?? []
        let name = String(decoding: bytes, as: UTF8.self).prefix { $0 != "\n" }
        return name.isEmpty ? "this host" : String(name)
    }
}
