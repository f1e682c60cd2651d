// Names of interfaces: which class claims them, and what of them reaches a program.

import Mitigation
import Testing

@testable import Daemon
@testable import Settings

@Suite struct ConfigurationNameTests {
    /// Guards against: an operators' name that no class or the wrong class claims.
    @Test(
        arguments: [
            ("vm-4519-00df", PortClass.vm, 0xdf), ("vm-0-DEADBEEF", .vm, 0xdead_beef),
            ("spc-00da", .router, 0xda), ("pub-00da", .router, 0xda), ("gwm-00da", .router, 0xda),
            ("vx-00df", .vtep, 0xdf), ("vxbackend", .backend, nil),
        ] as [(String, PortClass, UInt32?)])
    func claimed(_ name: String, _ portClass: PortClass, _ netid: UInt32?) throws {
        let found = try Self.match(name)
        #expect(found.portClass == portClass)
        #expect(found.netid == netid)
    }

    /// Guards against: an interface of somebody else's that is policed.
    @Test(arguments: [
        "", "eth0", "vm-", "vm--00df", "vm-12", "vm-12-", "vm-x-00df", "vm-12-00dg", "xvm-1-1",
        "vm-1-123456789", "vxbackend0", "vx-", "VM-1-1", "vm-1-1\n", "vm-12345678901-1",
    ])
    func unclaimed(_ name: String) {
        #expect(PortNames.default.match(PortName(name)) == nil)
    }

    /// Guards against: bytes that are no text, taken for other bytes or as a reason to trap.
    @Test func rawBytes() throws {
        let names = try Configuration(
            parsing: Array(
                "shutdown.enabled = false\nclass.vm.names = [\"t*-<netid>\", \"é\"]".utf8),
            file: ""
        ).names
        #expect(names.match(PortName(bytes: [0x74, 0xff, 0xfe, 0x2d, 0x31]))?.netid == 1)
        #expect(names.match(PortName(bytes: [0xc3, 0xa9]))?.portClass == .vm)
        // The same Swift String, other bytes.
        #expect(names.match(PortName(bytes: [0x65, 0xcc, 0x81])) == nil)
    }

    /// Guards against: a star that swallows what a later part needs, and unbounded work.
    @Test func stars() throws {
        let pattern = try NamePattern("*<num>*-<netid>")
        #expect(pattern.match(Array("tap12x-ab".utf8)) == .init(num: "2", netid: "ab"))
        #expect(pattern.match(Array("tapx-ab".utf8)) == nil)
        #expect(pattern.match([UInt8](repeating: 0x31, count: 15)) == nil)
    }

    private static func match(_ name: String) throws -> PortMatch {
        try #require(PortNames.default.match(PortName(name)))
    }

    /// A command whose arguments are text.
    private func texts(
        _ hook: ShutdownHook, _ template: [String], for match: PortMatch
    ) throws -> [String] {
        try hook.command(template, for: match).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Guards against: the wrong domain being destroyed.
    @Test func commands() throws {
        var hook = ShutdownHook()
        let match = try Self.match("vm-4519-00df")
        #expect(try texts(hook, hook.gentle, for: match) == ["virsh", "shutdown", "vm-4519"])
        #expect(try texts(hook, hook.hard, for: match) == ["virsh", "destroy", "vm-4519"])
        hook.domain = "routeros_{netid}"
        let router = try Self.match("spc-00da")
        #expect(try texts(hook, hook.hard, for: router) == ["virsh", "destroy", "routeros_00da"])
        #expect(
            try texts(hook, ["stop", "a {port}{num}; b"], for: match)
                == ["stop", "a vm-4519-00df4519; b"])
    }

    /// Guards against: a name made by a guest's owner that is read as an option or as another name.
    @Test func hostileNames() throws {
        let hook = ShutdownHook()
        func named(_ bytes: [UInt8]) -> PortMatch {
            PortMatch(
                name: PortName(bytes: bytes), portClass: .vm, pattern: NamePattern(parts: [.any]),
                numText: nil, netidText: nil)
        }
        #expect(throws: ShutdownHook.ExpansionError.option(argument: "{port}")) {
            try hook.command(["stop", "{port}"], for: named(Array("--help".utf8)))
        }
        let raw = try hook.command(["stop", "x{port}"], for: named([0xff, 0x0a]))
        #expect(raw == [Array("stop".utf8), [0x78, 0xff, 0x0a]])
        let missing = ShutdownHook.ExpansionError.missing(placeholder: "num", argument: "vm-{num}")
        #expect(throws: missing) {
            try hook.command(hook.gentle, for: named(Array("tap0".utf8)))
        }
        let shell = named(Array("$(id);`id`".utf8))
        #expect(try texts(hook, ["stop", "{port}"], for: shell) == ["stop", "$(id);`id`"])
        // What a name brings is not filled in again.
        let braces = named(Array("{domain}{num}".utf8))
        #expect(try texts(hook, ["stop", "{port}"], for: braces) == ["stop", "{domain}{num}"])
    }
}
