// Decides about a frame: goes on, or is refused, and why. Written once; emitted as one classic BPF
// program for each reason, and as one eBPF program for all.
//
// Invariants: the reasons are disjoint; every load is preceded by a check of the frame's length,
// because a load beyond it ends a program with 0, which lets the frame pass; every jump leads
// forward; what cannot be read to the end is refused, never passed.
//
//   Ethernet source -> up to two tags -> ARP, RARP     sender, addresses asked for
//                                     -> IPv4          source, then ports (GuardVersion4)
//                                     -> IPv6          source, then headers, then ports, types
//                                     -> all else      refused by every profile
//
// The index holds where the header that is looked at begins, so that one body serves every depth
// of tags. At ingress the kernel has already moved the outer tag out of the frame (skb_vlan_untag
// in __netif_receive_skb_core), so that a third one is seen through there.

/// The decision of one port's guards.
struct GuardProgram: Sendable {
    private(set) var instructions: [GuardInstruction] = []
    let policy: GuardPolicy
    private var nextLocal = 0

    /// For these guards.
    init(_ guards: Guards) { self.init(GuardPolicy(guards)) }

    /// By this policy.
    init(_ policy: GuardPolicy) {
        self.policy = policy
        emitEthernet()
    }

    mutating func emit(_ instruction: GuardInstruction) { instructions.append(instruction) }

    mutating func branch(_ condition: GuardCondition, _ label: GuardLabel) {
        emit(.branch(condition, label))
    }

    mutating func makeLabel() -> GuardLabel {
        nextLocal += 1
        return .local(nextLocal)
    }

    // MARK: Ethernet

    private mutating func emitEthernet() {
        emit(.loadLength)
        branch(.less(14), .refuse(.unreadable))
        emitSourceMAC()
        let network = makeLabel()
        let most = policy.mostTags
        for depth in 0...most {
            let tagged = depth < most ? makeLabel() : .refuse(.unreadable)
            if depth > 0 {
                emit(.loadLength)
                branch(.less(14 + 4 * depth), .refuse(.unreadable))
            }
            emit(.setIndex(14 + 4 * depth))
            emit(.load(.half, at: 12 + 4 * depth))
            for tag in EtherType.everyTag { branch(.equal(tag), tagged) }
            if depth < most {
                emit(.jump(network))
                emit(.mark(tagged))
            }
        }
        emit(.mark(network))
        emitNetwork()
    }

    /// Remembers which of the port's addresses it is.
    private mutating func emitSourceMAC() {
        guard !policy.macs.isEmpty else { return }
        let known = makeLabel()
        for (index, mac) in policy.macs.prefix(Guards.mostMACs).enumerated() {
            let other = makeLabel()
            emit(.load(.word, at: 8))
            branch(.notEqual(UInt32(truncatingIfNeeded: mac.number)), other)
            emit(.load(.half, at: 6))
            branch(.notEqual(UInt32(mac.number >> 32)), other)
            emit(.loadConstant(1 << UInt32(index)))
            emit(.jump(known))
            emit(.mark(other))
        }
        emit(.jump(.refuse(.sourceMAC)))
        emit(.mark(known))
        emit(.store(.owner))
    }

    /// The accumulator holds the ethertype, the index where its payload begins.
    private mutating func emitNetwork() {
        let version4 = makeLabel()
        let version6 = makeLabel()
        let arp = makeLabel()
        let rarp = makeLabel()
        branch(.equal(EtherType.version4), version4)
        branch(
            .equal(EtherType.version6),
            policy.version6 == .refused ? .refuse(.ipv6) : version6)
        if policy.checksVersion4 {
            branch(.equal(EtherType.addressResolution), arp)
            branch(.equal(EtherType.reverseResolution), rarp)
        }
        emitOtherFrame()
        emit(.mark(arp))
        if policy.checksVersion4 { emitARP() }
        emit(.mark(rarp))
        if policy.checksVersion4 { emitReverseARP() }
        emit(.mark(version4))
        if policy.networks == nil { emitVersion4() } else { emitManagement() }
        emit(.mark(version6))
        if policy.version6 != .refused { emitVersion6() }
    }

    /// Some systems take IP behind LLC and SNAP (802.3, a length in place of the type) as if it
    /// stood behind Ethernet: CVE-2021-27854.
    private mutating func emitOtherFrame() {
        guard !policy.refusesOtherFrames else {
            emit(.jump(.refuse(.other)))
            return
        }
        let length = makeLabel()
        branch(.less(0x600), length)
        emit(.jump(.pass))
        emit(.mark(length))
        emit(.loadLength)
        emit(.subtractIndex)
        branch(.less(6), .pass)
        emit(.loadIndexed(.word, at: 0))
        branch(.notEqual(0xaaaa_0300), .pass)
        emit(.loadIndexed(.half, at: 4))
        branch(.equal(0), .refuse(.unreadable))
        emit(.jump(.pass))
    }

    // MARK: ARP

    private mutating func emitARP() {
        let refused = GuardLabel.refuse(.arp)
        let answer = makeLabel()
        let request = makeLabel()
        let own = makeLabel()
        emitARPHeader()
        emit(.loadIndexed(.half, at: 6))
        branch(.equal(1), request)
        branch(.notEqual(2), refused)
        emitEqualsSource(at: 8, else: refused)
        emitOwned4(at: 14, answer)
        emit(.jump(refused))
        emit(.mark(answer))
        emitAskedFor(refused)

        emit(.mark(request))
        emitEqualsSource(at: 8, else: refused)
        emitOwned4(at: 14, own)
        // A probe asks for its own address before it has one (RFC 5227).
        emit(.loadIndexed(.word, at: 14))
        branch(.notEqual(0), refused)
        emitOwned4(at: 24, .pass)
        emit(.jump(refused))
        emit(.mark(own))
        emitAskedFor(refused)
    }

    /// On a management leg, the address asked for, or answered to, is the router's own or in the
    /// management network; elsewhere any.
    private mutating func emitAskedFor(_ refused: GuardLabel) {
        if let networks = policy.networks {
            emitOwned4(at: 24, .pass)
            for network in networks { emitMatch4(network, at: 24, .pass) }
            emit(.jump(refused))
        } else {
            emit(.jump(.pass))
        }
    }

    /// Ethernet and IPv4.
    private mutating func emitARPHeader() {
        emit(.loadLength)
        emit(.subtractIndex)
        branch(.less(28), .refuse(.arp))
        emit(.loadIndexed(.word, at: 0))
        branch(.notEqual(0x0001_0800), .refuse(.arp))
        emit(.loadIndexed(.half, at: 4))
        branch(.notEqual(0x0604), .refuse(.arp))
    }

    /// What QEMU says after a migration, so that bridges learn where a machine is: a request for
    /// the address of its own MAC, from nowhere to nowhere.
    private mutating func emitReverseARP() {
        emitARPHeader()
        emit(.loadIndexed(.half, at: 6))
        branch(.notEqual(3), .refuse(.arp))
        emitEqualsSource(at: 8, else: .refuse(.arp))
        emitEqualsSource(at: 18, else: .refuse(.arp))
        for offset: UInt32 in [14, 24] {
            emit(.loadIndexed(.word, at: offset))
            branch(.notEqual(0), .refuse(.arp))
        }
        emit(.jump(.pass))
    }

    // MARK: Addresses

    /// Goes on where the six bytes at index + `offset` are the frame's Ethernet source.
    mutating func emitEqualsSource(at offset: UInt32, else label: GuardLabel) {
        emit(.storeIndex(.cursor))
        emit(.loadIndexed(.word, at: offset))
        emit(.store(.firstWord))
        emit(.loadIndexed(.half, at: offset + 4))
        emit(.store(.lastWord))
        emit(.load(.word, at: 6))
        emit(.toIndex)
        emit(.recall(.firstWord))
        branch(.notEqualToIndex, label)
        emit(.load(.half, at: 10))
        emit(.toIndex)
        emit(.recall(.lastWord))
        branch(.notEqualToIndex, label)
        emit(.recallIndex(.cursor))
    }

    /// Jumps where the four bytes at index + `offset` are an address of the port's.
    mutating func emitOwned4(at offset: UInt32, _ label: GuardLabel) {
        for owned in policy.prefixes4.prefix(Guards.mostPrefixes) {
            let other = makeLabel()
            let matched = makeLabel()
            emitMatch4(owned.prefix, at: offset, matched)
            emit(.jump(other))
            emit(.mark(matched))
            emitOwner(owned.owners, label)
            emit(.mark(other))
        }
    }

    mutating func emitMatch4(_ prefix: AddressPrefix4, at offset: UInt32, _ label: GuardLabel) {
        emit(.loadIndexed(.word, at: offset))
        if prefix.length < 32 { emit(.and(prefix.mask)) }
        branch(.equal(prefix.address), label)
    }

    /// Jumps where the sixteen bytes at index + `offset` are an address of the port's.
    mutating func emitOwned6(at offset: UInt32, _ label: GuardLabel) {
        for owned in policy.prefixes6.prefix(Guards.mostPrefixes + Guards.mostMACs) {
            let other = makeLabel()
            for (index, word) in owned.prefix.words.enumerated() {
                emit(.loadIndexed(.word, at: offset + 4 * UInt32(index)))
                if word.mask != .max { emit(.and(word.mask)) }
                branch(.notEqual(word.value), other)
            }
            emitOwner(owned.owners, label)
            emit(.mark(other))
        }
    }

    /// Jumps where the Ethernet source may send from the prefix that matched.
    private mutating func emitOwner(_ owners: UInt32, _ label: GuardLabel) {
        guard owners != policy.everyOwner else {
            emit(.jump(label))
            return
        }
        emit(.recall(.owner))
        branch(.anySet(owners), label)
    }

    // MARK: Lengths

    /// Takes where the packet ends from its own length field, `header` bytes of which are not in
    /// it; the index is the network header, and stays. A length of 0 means the whole frame, as it
    /// does behind segmentation offload.
    mutating func emitEnd(lengthAt offset: UInt32, header: UInt32, else label: GuardLabel) {
        let whole = makeLabel()
        let known = makeLabel()
        emit(.storeIndex(.network))
        emit(.loadIndexed(.half, at: offset))
        branch(.equal(0), whole)
        if header > 0 { emit(.add(header)) }
        emit(.addIndex)
        emit(.toIndex)
        emit(.storeIndex(.end))
        emit(.loadLength)
        branch(.lessThanIndex, label)
        emit(.jump(known))
        emit(.mark(whole))
        emit(.loadLength)
        emit(.store(.end))
        emit(.mark(known))
        emit(.recallIndex(.network))
    }

    /// Goes on where the packet has `count` bytes more at the index.
    mutating func emitRoom(_ count: UInt32, else label: GuardLabel) {
        emit(.recall(.end))
        emit(.subtractIndex)
        // An index behind the end: the difference is below zero.
        branch(.anySet(0x8000_0000), label)
        branch(.less(count), label)
    }
}

extension EtherType {
    static let reverseResolution: UInt32 = 0x8035
    /// 802.1Q, 802.1ad, and what was used before 802.1ad.
    static let everyTag: [UInt32] = [customerTag, serviceTag, 0x9100]
}
