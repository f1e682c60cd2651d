// Many taps, made in one namespace by ip(8).
import Lab

enum Ports {
    /// The name of a VM's tap; twenty make a cloudspace.
    static func name(_ number: Int) -> String {
        let netid = String(number / 20 + 1, radix: 16)
        return "vm-\(number)-" + String(repeating: "0", count: max(0, 4 - netid.count)) + netid
    }

    /// Makes taps, up, without anybody behind them, and without IPv6, so that nothing is sent.
    static func make(_ numbers: ClosedRange<Int>, in folder: borrowing ScratchFolder) throws {
        for scope in ["all", "default"] {
            try writeFile("1", to: "/proc/sys/net/ipv6/conf/\(scope)/disable_ipv6")
        }
        for first in stride(from: numbers.lowerBound, through: numbers.upperBound, by: 500) {
            let batch = (first...min(first + 499, numbers.upperBound)).map { number in
                "tuntap add dev \(name(number)) mode tap\nlink set \(name(number)) up\n"
            }
            try Tool.run("ip", "-batch", try folder.write(batch.joined(), to: "links"))
        }
    }
}
