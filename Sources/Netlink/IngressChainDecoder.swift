// Reading NFT_MSG_NEWCHAIN.
internal import CNetlink

extension IngressChain {
    /// Reads an NFT_MSG_NEWCHAIN payload (`struct nfgenmsg` and NFTA_CHAIN_*). Nil where it is no
    /// base chain of an ingress hook.
    init?(payload: RawSpan) {
        guard let header = payload.load(nfgenmsg.self),
            let family = Self.families[Int(header.nfgen_family)]
        else { return nil }
        var chain = IngressChain(family: family.name, table: "", name: "", devices: [])
        var hook: UInt32?
        payload.forEachAttribute(from: aligned(MemoryLayout<nfgenmsg>.size)) { type, value in
            switch UInt32(type) {
            case NFTA_CHAIN_TABLE.rawValue: chain.table = value.text
            case NFTA_CHAIN_NAME.rawValue: chain.name = value.text
            case NFTA_CHAIN_HOOK.rawValue: hook = chain.readHook(value)
            default: break
            }
        }
        guard hook == family.hook, !chain.devices.isEmpty else { return nil }
        self = chain
    }

    /// The families that have an ingress hook, and its number in each.
    private static let families: [Int: (name: String, hook: UInt32)] = [
        SLUICE_NFPROTO_NETDEV: ("netdev", UInt32(SLUICE_NF_NETDEV_INGRESS)),
        SLUICE_NFPROTO_INET: ("inet", UInt32(SLUICE_NF_INET_INGRESS)),
    ]

    /// Reads NFTA_CHAIN_HOOK; gives the hook's number. A chain of one device is told twice, as
    /// NFTA_HOOK_DEV and in NFTA_HOOK_DEVS.
    private mutating func readHook(_ value: RawSpan) -> UInt32? {
        var number: UInt32?
        var devices: [Device] = []
        func add(_ device: Device?) {
            if let device, !devices.contains(device) { devices.append(device) }
        }
        value.forEachAttribute { type, value in
            switch UInt32(type) {
            case NFTA_HOOK_HOOKNUM.rawValue:
                number = value.load(UInt32.self).map { UInt32(bigEndian: $0) }
            case NFTA_HOOK_DEV.rawValue: add(Device(name: value))
            case NFTA_HOOK_DEVS.rawValue:
                value.forEachAttribute { type, value in
                    if type == Int(NFTA_DEVICE_NAME.rawValue) {
                        add(Device(name: value))
                    } else if type == SLUICE_NFTA_DEVICE_PREFIX {
                        add(.startingWith(value.textBytes))
                    }
                }
            default: break
            }
        }
        self.devices = devices
        return number
    }
}

extension IngressChain.Device {
    /// Kernels 6.16 and 6.17 tell a prefix by the missing NUL. Nil for no name at all.
    fileprivate init?(name: RawSpan) {
        let bytes = name.copied
        guard !bytes.isEmpty else { return nil }
        self = bytes.contains(0) ? .named(name.textBytes) : .startingWith(bytes)
    }
}
