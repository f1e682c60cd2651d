// The poller and the monitor, on the running kernel, in a private network namespace.
import CNetlink
import Lab
import LabTesting
import Testing

@testable import Netlink

/// A veth pair a0, b0 without addresses of its own, up, and at least 20 packets sent from a0 to
/// b0.
private func sendPackets() throws {
    // No router solicitations between a poll and what it is compared with.
    let switchOff = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 || true"
    try Tool.run("sh", "-c", switchOff)
    for command in [
        "link add a0 type veth peer b0",
        "link set b0 address 52:54:00:00:00:02", "link set a0 up", "link set b0 up",
        "addr add 10.9.0.1/24 dev a0", "neigh add 10.9.0.2 lladdr 52:54:00:00:00:02 dev a0",
    ] { try Tool.run("ip", command.split(separator: " ").map { String($0) }) }
    // What is sent before the kernel has seen the carrier is lost: so again, at most 30 times.
    for _ in 0..<30 where try counter("b0", "rx_packets") < 20 {
        // Nobody answers: ping ends with 1.
        _ = try? Tool.run("ping", "-q", "-c", "20", "-i", "0.002", "-W", "0.05", "10.9.0.2")
    }
}

/// A counter of /sys/class/net.
private func counter(_ interface: String, _ name: String) throws -> UInt64 {
    let text = try Tool.run("cat", "/sys/class/net/\(interface)/statistics/\(name)")
    return try #require(UInt64(text.filter(\.isNumber)))
}

@Suite struct KernelPollTests {
    @Test("the poller's counters are those of /sys, after real packets; every interface is there")
    func counters() async throws {
        try await Namespace.run {
            try sendPackets()
            var socket = try RouteSocket.open()
            var poller = try StatisticsPoller.open()
            var samples: [Int32: LinkStatistics] = [:]
            try poller.poll { samples[$0] = $1 }
            #expect(Set(samples.keys) == Set(try socket.links().map(\.index)))
            for name in ["a0", "b0"] {
                let link = try #require(try socket.link(name: Array(name.utf8)))
                let sample = try #require(samples[link.index])
                #expect(sample.rxPackets == (try counter(name, "rx_packets")))
                #expect(sample.txPackets == (try counter(name, "tx_packets")))
                #expect(sample.rxBytes == (try counter(name, "rx_bytes")))
                #expect(sample.txBytes == (try counter(name, "tx_bytes")))
                let packets = name == "a0" ? sample.txPackets : sample.rxPackets
                let bytes = name == "a0" ? sample.txBytes : sample.rxBytes
                // 20 echo requests of 98 bytes.
                #expect(packets >= 20 && bytes >= 20 * 98)
            }
        }
    }

    @Test("500 interfaces: none is missed, none stands twice; and a late answer ends the poll")
    func manyInterfaces() async throws {
        try await Namespace.run {
            try addPairs(250)
            var poller = try StatisticsPoller.open()
            for _ in 0..<3 {
                var seen: [Int32] = []
                try poller.poll { index, _ in seen.append(index) }
                #expect(seen.count == 501 && Set(seen).count == 501)
                // No time at all: the answer's second datagram is late. The next poll must not be
                // refused (EBUSY, the old dump still runs) nor take the old dump for its own.
                poller.timeoutMilliseconds = -1
                var code: Int32 = 0
                do throws(NetlinkError) { try poller.poll { _, _ in } } catch { code = error.code }
                #expect(code == ETIMEDOUT)
                poller.timeoutMilliseconds = 2_000
            }
        }
    }

    @Test(
        "the monitor tells of an interface's birth, names, rise and death, and of others' tc",
        .needs(.ifb, .clsact))
    func monitor() async throws {
        try await Namespace.run {
            var monitor = try LinkMonitor.open()
            var socket = try RouteSocket.open()
            let index = try socket.createIFB(name: "m0", alias: "").index
            try Tool.run("ip", "link", "set", "m0", "name", "m1")
            try socket.setLink(index, up: true)
            try Tool.run("tc", "qdisc", "add", "dev", "m1", "clsact")
            try socket.deleteLink(index)
            var names: [String] = []
            var rises = 0
            var touched = 0
            var gone: [Int32] = []
            var overruns = 0
            try monitor.drain { event in
                switch event {
                case .link(let link) where link.index == index:
                    names.append(String(decoding: link.name, as: UTF8.self))
                    if link.isUp { rises += 1 }
                case .link: break
                case .gone(let index): gone.append(index)
                case .tc(let tcIndex): if tcIndex == index { touched += 1 }
                case .overrun: overruns += 1
                }
            }
            #expect(names.first == "m0" && names.last == "m1")
            #expect(rises > 0 && touched > 0 && overruns == 0)
            #expect(gone == [index])
            var more = 0
            try monitor.drain { _ in more += 1 }
            #expect(more == 0)
        }
    }

    @Test("a port that leaves a bridge is told as a link without a master, never as gone")
    func bridge() async throws {
        try await Namespace.run {
            try Tool.run("ip", "link", "add", "br0", "type", "bridge")
            try Tool.run("ip", "link", "add", "v0", "type", "veth", "peer", "v1")
            try Tool.run("ip", "link", "set", "v0", "master", "br0")
            var monitor = try LinkMonitor.open()
            try Tool.run("ip", "link", "set", "v0", "nomaster")
            var masters: [Int32?] = []
            var gone = 0
            try monitor.drain { event in
                if case .link(let link) = event, link.name == Array("v0".utf8) {
                    masters.append(link.master)
                }
                if case .gone = event { gone += 1 }
            }
            #expect(gone == 0)
            #expect(masters.last == .some(nil))
        }
    }

    @Test("an overrun of the monitor's buffer is told, and what comes after it is read again")
    func overrun() async throws {
        try await Namespace.run {
            var monitor = try LinkMonitor.open()
            // The least buffer that the kernel gives: a few events.
            #expect(sluice_netlink_receive_buffer(monitor.descriptor, 1) == 0)
            var socket = try RouteSocket.open()
            for _ in 0..<50 {
                try socket.setLink(1, up: true)
                try socket.setLink(1, up: false)
            }
            var overruns = 0
            try monitor.drain { if $0 == .overrun { overruns += 1 } }
            #expect(overruns > 0)
            try socket.setLink(1, up: true)
            var rises = 0
            try monitor.drain { if case .link(let link) = $0, link.isUp { rises += 1 } }
            #expect(rises > 0)
        }
    }
}
