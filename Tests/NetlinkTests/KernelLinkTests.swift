// Interfaces, on the running kernel, in a private network namespace.
import CNetlink
import Lab
import LabTesting
import Testing

@testable import Netlink

/// Makes `count` veth pairs, a0 and b0 first.
func addPairs(_ count: Int) throws {
    let line = "echo link add a$i type veth peer b$i"
    try Tool.run(
        "sh", "-c", "for i in $(seq 0 \(count - 1)); do \(line); done | ip -batch -")
}

@Suite struct KernelLinkTests {
    @Test("a pair of interfaces that lead to each other; a name that is taken is refused")
    func pair() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            let (near, far) = try socket.createPair(name: "slc0", other: "slc1")
            let links = try socket.links().filter { $0.kind == "veth" }
            #expect(links.map(\.index).sorted() == [near, far].sorted())
            #expect(try socket.link(index: near)?.name == Array("slc0".utf8))
            #expect(try socket.link(index: far)?.name == Array("slc1".utf8))
            #expect(throws: NetlinkError.self) {
                try socket.createPair(name: "slc2", other: "slc1")
            }
            try socket.deleteLink(far)
            #expect(try socket.link(index: near) == nil)
        }
    }

    @Test(
        "an ifb: one queue, its alias, down; up, found by index and name, deleted; no other made",
        .needs(.ifb))
    func ifb() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            let before = try socket.links().map(\.index)
            let index = try socket.createIFB(name: "slc12", alias: "sluice vm-1 7").index
            let link = try #require(try socket.link(index: index))
            #expect(link.name == Array("slc12".utf8) && link.kind == "ifb")
            #expect(link.alias == Array("sluice vm-1 7".utf8))
            #expect(link.txQueueCount == 1 && !link.isUp && link.master == nil)
            #expect(link.address.count == 6 && link.hardwareType == 1)
            #expect(Set(try socket.links().map(\.index)) == Set(before + [index]))
            try socket.setLink(index, up: true)
            #expect(try socket.link(name: Array("slc12".utf8))?.isUp == true)
            #expect(try Tool.run("ip", "link", "show", "slc12").contains("UP"))
            try socket.setLink(index, up: false)
            #expect(try socket.link(index: index)?.isUp == false)
            try socket.deleteLink(index)
            #expect(try socket.link(index: index) == nil)
            #expect(try socket.link(name: Array("slc12".utf8)) == nil)
        }
    }

    @Test(
        "a name or an alias that libnl would cut off is refused, and a taken name is left alone",
        .needs(.ifb))
    func refusals() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            for (name, alias) in [
                ("sixteen-letters-", ""), ("", ""), ("ok", String(repeating: "x", count: 255)),
            ] {
                var code: Int32 = 0
                do throws(NetlinkError) {
                    _ = try socket.createIFB(name: name, alias: alias)
                } catch { code = error.code }
                #expect(code == EINVAL)
            }
            let index = try socket.createIFB(
                name: "slc1", alias: String(repeating: "y", count: 254)
            ).index
            var taken: NetlinkError?
            do throws(NetlinkError) {
                _ = try socket.createIFB(name: "slc1", alias: "other")
            } catch { taken = error }
            #expect(taken?.code == EEXIST && taken?.operation == "add ifb slc1")
            #expect(try socket.link(index: index)?.alias?.count == 254)
            #expect(try socket.link(index: 0) == nil && socket.link(index: -1) == nil)
            #expect(try socket.link(name: Array("no-such-interface-at-all".utf8)) == nil)
            var gone: NetlinkError?
            do throws(NetlinkError) { try socket.setLink(9999, up: true) } catch { gone = error }
            #expect(gone?.isNoInterface == true)
        }
    }

    @Test("400 interfaces in one listing: no datagram cuts one off")
    func manyLinks() async throws {
        try await Namespace.run {
            try addPairs(200)
            var socket = try RouteSocket.open()
            let names = Set(try socket.links().map { String(decoding: $0.name, as: UTF8.self) })
            #expect(names.count == 401)
            #expect((0..<200).allSatisfy { names.contains("a\($0)") && names.contains("b\($0)") })
        }
    }

    @Test("default routes: IPv4, IPv6 and every hop of one; other routes are none")
    func defaultRoutes() async throws {
        try await Namespace.run {
            for command in [
                "link add d0 type veth peer d1", "link set d0 up", "link set d1 up",
                "addr add 10.1.0.1/24 dev d0", "addr add 10.2.0.1/24 dev d1",
            ] { try Tool.run("ip", command.split(separator: " ").map { String($0) }) }
            var socket = try RouteSocket.open()
            #expect(try socket.defaultRouteInterfaces().isEmpty)
            let left = try #require(try socket.link(name: Array("d0".utf8))).index
            let right = try #require(try socket.link(name: Array("d1".utf8))).index
            try Tool.run("ip", "route", "add", "default", "via", "10.1.0.9")
            try Tool.run("ip", "route", "add", "default", "dev", "d1", "table", "77")
            #expect(try socket.defaultRouteInterfaces() == [left])
            try Tool.run("ip", "route", "del", "default")
            try Tool.run("ip", "-6", "route", "add", "default", "dev", "d1")
            #expect(try socket.defaultRouteInterfaces() == [right])
            let hops = "route add default nexthop via 10.1.0.9 nexthop via 10.2.0.9"
            try Tool.run("ip", hops.split(separator: " ").map { String($0) })
            try Tool.run("ip", "-6", "route", "del", "default", "dev", "d1")
            #expect(try socket.defaultRouteInterfaces() == [left, right])
        }
    }
}
