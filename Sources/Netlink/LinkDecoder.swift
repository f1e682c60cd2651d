// Reading RTM_NEWLINK and RTM_NEWSTATS.
internal import CNetlink

extension Link {
    /// Reads an RTM_NEWLINK payload (`struct ifinfomsg` and IFLA_*). Nil where it is too short, or
    /// has no name.
    init?(payload: RawSpan) {
        guard let header = payload.load(ifinfomsg.self) else { return nil }
        var link = Link(
            index: header.ifi_index, name: [], hardwareType: header.ifi_type, mtu: 0,
            flags: header.ifi_flags)
        payload.forEachAttribute(from: aligned(MemoryLayout<ifinfomsg>.size)) { type, value in
            switch type {
            case IFLA_IFNAME: link.name = value.textBytes
            case IFLA_IFALIAS: link.alias = value.textBytes
            case IFLA_ADDRESS: link.address = value.copied
            case IFLA_MTU: link.mtu = value.load(UInt32.self) ?? link.mtu
            case IFLA_MASTER: link.master = value.load(Int32.self)
            case IFLA_NUM_TX_QUEUES:
                link.txQueueCount = value.load(UInt32.self) ?? link.txQueueCount
            case IFLA_QDISC: link.qdisc = value.text
            case IFLA_CARRIER: link.hasCarrier = value.load(UInt8.self) != 0
            case IFLA_LINKINFO:
                value.forEachAttribute { type, value in
                    switch type {
                    case IFLA_INFO_KIND: link.kind = value.text
                    case IFLA_INFO_SLAVE_KIND: link.portKind = value.text
                    default: break
                    }
                }
            default: break
            }
        }
        guard !link.name.isEmpty else { return nil }
        self = link
    }
}

extension LinkStatistics {
    /// Reads the leading part of `struct rtnl_link_stats64`; the kernel appends to the structure
    /// over time. Nil where it is too short.
    @inline(__always)
    init?(stats64 value: RawSpan, at offset: Int = 0) {
        typealias Counters = (UInt64, UInt64, UInt64, UInt64)
        guard let counters = value.load(Counters.self, at: offset) else { return nil }
        self.init(
            rxPackets: counters.0, txPackets: counters.1, rxBytes: counters.2,
            txBytes: counters.3)
    }
}

/// Reads an RTM_NEWSTATS payload (`struct if_stats_msg` and IFLA_STATS_LINK_64). Nil where it has
/// no such counters.
@inline(__always)
func decodeStatistics(_ payload: RawSpan) -> LinkSample? {
    guard let header = payload.load(if_stats_msg.self) else { return nil }
    var position = MemoryLayout<if_stats_msg>.size
    while let attribute = payload.load(nlattr.self, at: position) {
        let length = Int(attribute.nla_len)
        guard length >= MemoryLayout<nlattr>.size, length <= payload.byteCount - position
        else { return nil }
        if Int(attribute.nla_type & 0x3fff) == IFLA_STATS_LINK_64 {
            let start = position + MemoryLayout<nlattr>.size
            guard
                let statistics = LinkStatistics(
                    stats64: payload.extracting(start..<(position + length)))
            else { return nil }
            return LinkSample(
                index: Int32(truncatingIfNeeded: header.ifindex), statistics: statistics)
        }
        position += aligned(length)
    }
    return nil
}

/// Reads an RTM_NEWROUTE payload: the interfaces that a default route of the main table leaves
/// through; none for any other route.
func decodeDefaultRoute(_ payload: RawSpan) -> [Int32] {
    guard let header = payload.load(rtmsg.self), header.rtm_dst_len == 0,
        Int(header.rtm_type) == RTN_UNICAST, header.rtm_flags & UInt32(RTM_F_CLONED) == 0
    else { return [] }
    var table = UInt32(header.rtm_table)
    var interfaces: [Int32] = []
    payload.forEachAttribute(from: aligned(MemoryLayout<rtmsg>.size)) { type, value in
        switch type {
        case Int(RTA_TABLE.rawValue): table = value.load(UInt32.self) ?? table
        case Int(RTA_OIF.rawValue):
            if let index = value.load(Int32.self) { interfaces.append(index) }
        case Int(RTA_MULTIPATH.rawValue):
            var position = 0
            while let hop = value.load(rtnexthop.self, at: position),
                Int(hop.rtnh_len) >= MemoryLayout<rtnexthop>.size
            {
                interfaces.append(hop.rtnh_ifindex)
                position += aligned(Int(hop.rtnh_len))
            }
        default: break
        }
    }
    return table == UInt32(RT_TABLE_MAIN.rawValue) ? interfaces : []
}
