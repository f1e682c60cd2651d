// The guards' programs over tables of frames and over noise: what passes, what is refused and why.
// Pure: no kernel.
import Mitigation
import Netlink
import Testing

@testable import TrafficControl

/// The frames that are refused for one reason, as a program that matches exactly those.
private struct GuardRule {
    var reason: GuardReason
    /// Classic BPF: -1 for a frame that is refused, 0 for all others.
    var program: [ClassicInstruction]
}

extension Guards {
    /// What is put for them: rules, in the order of `GuardReason`.
    fileprivate var rules: [GuardRule] {
        let code = GuardCode(
            self, enforcer: .actGact,
            parts: KernelParts(hasActPolice: true, hasBPF: false, hasNetem: true, hasIFB: true))
        return code.compiled.filters(at: .ingress).compactMap { wanted in
            guard case .rule(let digest, _) = wanted.match,
                let reason = Ownership.guardReason(of: wanted.handle)
            else { return nil }
            return GuardRule(reason: reason, program: code.program(digest))
        }
    }
}

@Suite struct GuardTableTests {
    private static func verdicts(_ rules: [GuardRule], _ frame: [UInt8]) -> [GuardReason]? {
        var reasons: [GuardReason] = []
        for rule in rules {
            switch ClassicInterpreter.run(rule.program, frame) {
            case .max?: reasons.append(rule.reason)
            case 0?: break
            default: return nil
            }
        }
        return reasons
    }

    /// Guards against: a forged frame that passes, an honest one that is refused, one that is
    /// counted twice or under another's name; with no tag, one and two.
    @Test(arguments: GuardTable.all) func everyFrameHasItsVerdict(_ table: GuardTable) {
        let rules = table.guards.rules
        for (number, row) in table.rows.enumerated() {
            for tags in GuardTable.tags {
                for length in [0, table.length(of: number)] {
                    let frame = row.frame.bytes(tags: tags, length: length)
                    let told = Self.verdicts(rules, frame)
                    let wanted = row.refused.map { [$0] } ?? []
                    #expect(told == wanted, "\(row.name), \(tags.count) tags, \(length) bytes")
                }
            }
        }
        report(table, rules)
    }

    private func report(_ table: GuardTable, _ rules: [GuardRule]) {
        let passing = table.rows.count { $0.refused == nil }
        let sizes = rules.map { "\($0.reason.rawValue) \($0.program.count)" }
        print(
            "\(table.name): \(passing) rows pass, \(table.rows.count - passing) are refused; "
                + "instructions: \(sizes.joined(separator: ", "))")
    }

    /// Guards against: a table that shrinks, and two rows of one name.
    @Test(arguments: GuardTable.profiles) func tablesAreLongEnough(_ table: GuardTable) {
        #expect(table.rows.count >= 40)
        #expect(Set(table.rows.map(\.name)).count == table.rows.count)
        #expect(Set(table.rows.map(\.frame)).count == table.rows.count)
    }

    /// Guards against: a third tag in the payload that hides what is behind it.
    @Test func moreTagsThanAreReadAreRefused() {
        for table in GuardTable.profiles {
            let rules = table.guards.rules
            for row in table.rows {
                let frame = row.frame.bytes(tags: [0x88a8, 0x8100, 0x8100])
                let wanted: [GuardReason] =
                    row.refused == .sourceMAC ? [.sourceMAC] : [.unreadable]
                #expect(Self.verdicts(rules, frame) == wanted, "\(row.name)")
            }
        }
    }

    /// Guards against: a tag of the kind that was used before 802.1ad, and what it hides.
    @Test(arguments: GuardTable.all) func oldTagsAreSeenThrough(_ table: GuardTable) {
        let rules = table.guards.rules
        for row in table.rows {
            let wanted = row.refused.map { [$0] } ?? []
            #expect(Self.verdicts(rules, row.frame.bytes(tags: [0x9100])) == wanted, "\(row.name)")
        }
    }

    /// Guards against: a load beyond a frame, which the kernel takes for "no match", and a frame
    /// with two reasons: every row cut at every length, and with bytes changed at random.
    @Test(arguments: GuardTable.all) func noFrameEndsAProgramEarly(_ table: GuardTable) {
        let rules = table.guards.rules
        var generator = SystemRandomNumberGenerator()
        for row in table.rows {
            let whole = row.frame.bytes(
                tags: GuardTable.tags.randomElement(using: &generator) ?? [])
            for length in 14...whole.count {
                var frame = Array(whole.prefix(length))
                #expect((Self.verdicts(rules, frame)?.count ?? 9) <= 1, "\(row.name), \(length)")
                for _ in 0..<3 {
                    let place = Int.random(in: 12..<length + 0, using: &generator)
                    frame[place] =
                        [0, 1, 6, 17, 44, 58, 60, .max].randomElement(using: &generator) ?? 0
                }
                #expect((Self.verdicts(rules, frame)?.count ?? 9) <= 1, "\(frame)")
            }
        }
    }

    /// Guards against: an honest frame that is cut short and then passes for something else.
    @Test func cutFramesOfATenantAreRefusedOrHarmless() {
        let rules = GuardTable.tenant.guards.rules
        let frame = GuardFrame.version6(
            Packet.version6(
                0, from: GuardIdentity.vm.linkLocal,
                Packet.options(58, Packet.router(134, mac: nil))), from: GuardIdentity.vm.mac
        ).bytes()
        for length in 15..<frame.count {
            #expect(Self.verdicts(rules, Array(frame.prefix(length)))?.count == 1, "\(length)")
        }
    }

    /// Guards against: a jump out of the eight bits of classic BPF with as many addresses as a port
    /// may have, and a program that the kernel would not take (BPF_MAXINSNS, 4,096).
    @Test func manyAddressesFit() {
        let own = TenantGuard(
            macs: (1...16).map { HardwareAddress(0x5254_0000_0000 + $0) },
            prefixes4: (1...32).map { AddressPrefix4(0x0a00_0000 + $0 * 256, length: 24) },
            prefixes6: (1...32).map { AddressPrefix6(0xfd00_0000_0000_0000 + $0, 0, length: 64) })
        let guards = Guards(profile: .tenant(own))
        #expect(guards.problems.isEmpty)
        let rules = guards.rules
        for rule in rules { #expect(rule.program.count <= 4_096, "\(rule.reason)") }
        let last = GuardFrame.version6(
            Packet.version6(
                58, from: AddressPrefix6(0xfd00_0000_0000_0020, 5), Packet.message(128)),
            from: HardwareAddress(0x5254_0000_0010))
        #expect(Self.verdicts(rules, last.bytes()) == [])
        var forged = last
        forged.payload[15] = 0x21
        #expect(Self.verdicts(rules, forged.bytes()) == [.sourceIPv6])
    }

    /// Guards against: a mistake in a configuration that makes a program of no use.
    @Test func mistakesAreTold() {
        let nobody = Guards(profile: .tenant(TenantGuard(macs: [])))
        #expect(nobody.problems.map(\.key) == ["mac"])
        let group = HardwareAddress(0x0100_5e00_0001)
        let wrong = Guards(
            profile: .tenant(
                TenantGuard(
                    macs: [group], prefixes4: [AddressPrefix4(0, length: 0)],
                    prefixes6: [AddressPrefix6.allNodes])))
        #expect(wrong.problems.map(\.key) == ["mac", "ipv4", "ipv6"])
        let leg = ManagementGuard(mac: GuardIdentity.vm.mac, addresses: [], networks: [])
        #expect(Guards(profile: .management(leg)).problems.map(\.key) == ["ipv4", "network"])
        #expect(Guards(switches: [.noRA]).problems.isEmpty)
        #expect(Guards().rules.isEmpty)
    }

    /// Guards against: addresses that are read as others than were written.
    @Test func addressesAreReadAsWritten() {
        #expect(HardwareAddress("52:54:00:AA:0:1")?.number == 0x5254_00aa_0001)
        #expect(HardwareAddress("52-54-00-aa-00-01")?.description == "52:54:00:aa:00:01")
        let strays = [
            "", "52:54:00:aa:00", "52:54:00:aa:00:01:02", "52:54:00:aa:00:+1", "g:0:0:0:0:0",
        ]
        for text in strays { #expect(HardwareAddress(text) == nil, "\(text)") }
        #expect(AddressPrefix4("10.0.9.0/28") == AddressPrefix4(0x0a00_0900, length: 28))
        #expect(AddressPrefix4("10.0.0.1")?.length == 32)
        for text in [
            "10.0.0", "10.0.0.256", "10.0.0.1/24", "10.0.0.0/33", "10.00.0.1", "10.0.0.0/",
        ] {
            #expect(AddressPrefix4(text) == nil, "\(text)")
        }
        #expect(AddressPrefix6("fd00::1") == GuardIdentity.vm.address6)
        #expect(AddressPrefix6("::")?.words.count == 4)
        #expect(AddressPrefix6("2001:db8:0:9::/64") == .init(0x2001_0db8_0000_0009, 0, length: 64))
        #expect(AddressPrefix6("::ffff:10.0.0.1") == .init(0, 0xffff_0a00_0001))
        #expect(
            AddressPrefix6("1:2:3:4:5:6:7:8") == .init(0x0001_0002_0003_0004, 0x0005_0006_0007_0008)
        )
        let broken = [
            "", ":", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8::", ":::1", "fd00::1/64", "g::",
        ]
        for text in broken { #expect(AddressPrefix6(text) == nil, "\(text)") }
        #expect(GuardIdentity.vm.linkLocal == AddressPrefix6("fe80::5054:ff:feaa:1"))
        #expect(
            AddressPrefix("fe80::/64") == .version6(.init(0xfe80_0000_0000_0000, 0, length: 64)))
    }
}
