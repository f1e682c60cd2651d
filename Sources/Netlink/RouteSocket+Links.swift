// Interfaces: listing them, making and deleting an ifb, up and down, the default routes.
internal import CNetlink

/// The owner of one `struct rtnl_link`, libnl-route's description of an interface.
@safe
private struct RouteLink: ~Copyable {
    private let pointer: OpaquePointer

    init() throws(NetlinkError) {
        guard let pointer = unsafe rtnl_link_alloc() else {
            throw NetlinkError(operation: "describe an interface", code: ENOMEM)
        }
        unsafe self.pointer = pointer
    }

    deinit { unsafe rtnl_link_put(pointer) }

    func withPointer<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        unsafe body(pointer)
    }
}

extension Message {
    /// Takes what one of libnl-route's build functions gave.
    fileprivate static func built(
        _ operation: String, _ build: (UnsafeMutablePointer<OpaquePointer?>) -> Int32
    ) throws(NetlinkError) -> Message {
        var pointer: OpaquePointer?
        let result = unsafe build(&pointer)
        guard result >= 0, let pointer = unsafe pointer else {
            let text = unsafe nl_geterror(result).map { unsafe String(cString: $0) }
            throw NetlinkError(operation: operation, code: EINVAL, kernelSentence: text)
        }
        return unsafe Message(adopting: pointer)
    }

    /// RTM_NEWLINK for an ifb with one transmit queue. Calls rtnl_link_build_add_request.
    static func createIFB(
        name: String, alias: String, mtu: UInt32?, operation: String
    ) throws(NetlinkError) -> Message {
        let link = try RouteLink()
        unsafe link.withPointer { link in
            unsafe rtnl_link_set_name(link, name)
            if let mtu { unsafe rtnl_link_set_mtu(link, mtu) }
            unsafe rtnl_link_set_ifalias(link, alias)
            unsafe rtnl_link_set_num_tx_queues(link, 1)
            _ = unsafe rtnl_link_set_type(link, "ifb")
        }
        return try unsafe built(operation) { result in
            unsafe link.withPointer {
                unsafe rtnl_link_build_add_request($0, NLM_F_CREATE | NLM_F_EXCL, result)
            }
        }
    }

    /// RTM_NEWLINK for a pair of Ethernet interfaces that lead to each other. Calls
    /// rtnl_link_veth_get_peer and rtnl_link_build_add_request.
    static func createPair(
        _ name: String, _ other: String, operation: String
    ) throws(NetlinkError) -> Message {
        let link = try RouteLink()
        unsafe link.withPointer { link in
            unsafe rtnl_link_set_name(link, name)
            guard unsafe rtnl_link_set_type(link, "veth") == 0,
                let peer = unsafe rtnl_link_veth_get_peer(link)
            else { return }
            unsafe rtnl_link_set_name(peer, other)
            unsafe rtnl_link_put(peer)
        }
        return try unsafe built(operation) { result in
            unsafe link.withPointer {
                unsafe rtnl_link_build_add_request($0, NLM_F_CREATE | NLM_F_EXCL, result)
            }
        }
    }

    /// RTM_NEWLINK that changes an interface: its alias, or up and down. Calls
    /// rtnl_link_build_change_request.
    static func changeLink(
        _ index: Int32, alias: String? = nil, up: Bool? = nil, operation: String
    ) throws(NetlinkError) -> Message {
        let link = try RouteLink()
        let changes = try RouteLink()
        unsafe link.withPointer { unsafe rtnl_link_set_ifindex($0, index) }
        unsafe changes.withPointer { changes in
            if let alias { unsafe rtnl_link_set_ifalias(changes, alias) }
            if up == true { unsafe rtnl_link_set_flags(changes, UInt32(IFF_UP)) }
            if up == false { unsafe rtnl_link_unset_flags(changes, UInt32(IFF_UP)) }
        }
        return try unsafe built(operation) { result in
            unsafe link.withPointer { link in
                unsafe changes.withPointer { changes in
                    unsafe rtnl_link_build_change_request(link, changes, 0, result)
                }
            }
        }
    }

    /// RTM_DELLINK. Calls rtnl_link_build_delete_request.
    static func deleteLink(_ index: Int32, operation: String) throws(NetlinkError) -> Message {
        let link = try RouteLink()
        unsafe link.withPointer { unsafe rtnl_link_set_ifindex($0, index) }
        return try unsafe built(operation) { result in
            unsafe link.withPointer { unsafe rtnl_link_build_delete_request($0, result) }
        }
    }

    /// RTM_GETLINK without counters (IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS).
    static func getLink(index: Int32, flags: Int32) throws(NetlinkError) -> Message {
        var message = try Message(type: RTM_GETLINK, flags: flags)
        var header = ifinfomsg()
        header.ifi_index = index
        message.append(header)
        message.put(IFLA_EXT_MASK, UInt32(RTEXT_FILTER_SKIP_STATS))
        return message
    }
}

extension RouteSocket {
    /// All interfaces of the namespace. `ip -d link show`
    /// - Throws: EINTR where interfaces came and went during each of three dumps.
    public mutating func links() throws(NetlinkError) -> [Link] {
        try dump(try Message.getLink(index: 0, flags: NLM_F_DUMP), "list interfaces") {
            Int($0) == RTM_NEWLINK ? Link(payload: $1) : nil
        }
    }

    /// The interface with this index; nil where there is none (ENODEV is not an error here).
    public mutating func link(index: Int32) throws(NetlinkError) -> Link? {
        // The kernel takes index 0 without a name for a malformed request.
        guard index > 0 else { return nil }
        return try runOne { (batch) throws(NetlinkError) in
            try batch.getLink(index: index)
        }.link()
    }

    /// The interface with this name; nil where there is none.
    public mutating func link(name: [UInt8]) throws(NetlinkError) -> Link? {
        guard (1..<Int(IFNAMSIZ)).contains(name.count), !name.contains(0) else { return nil }
        return try runOne { (batch) throws(NetlinkError) in
            try batch.getLink(name: name)
        }.link()
    }

    /// Makes an ifb with one transmit queue, down.
    /// `ip link add NAME numtxqueues 1 type ifb; ip link set NAME alias ALIAS`
    ///
    /// The kernel loads the module where it is not loaded (`rtnl-link-ifb`); the module then makes
    /// ifb0 and ifb1 of its own unless /etc/modprobe.d says `options ifb numifbs=0`, which an
    /// installation should. No kernel so far takes an alias in the request that makes a link: it
    /// is set right after, and where that fails the new link is deleted again.
    /// - Throws: EEXIST where the name is taken; EINVAL for a name over 15 bytes or an alias over
    ///   254 (libnl sends its NUL too); EOPNOTSUPP where the kernel has no ifb.
    public mutating func createIFB(
        name: String, alias: String, mtu: UInt32? = nil
    ) throws(NetlinkError) -> Link {
        var batch = emptyBatch
        try batch.createIFB(name: name, alias: alias, mtu: mtu)
        try batch.getLink(name: Array(name.utf8))
        let answers = run(batch)
        try answers[0].confirm()
        guard var link = try answers[1].link() else {
            throw NetlinkError(operation: batch.operation(0), code: ENODEV)
        }
        if link.alias ?? [] == Array(alias.utf8) { return link }
        do {
            let operation = "set the alias of interface \(link.index)"
            try transact(
                try Message.changeLink(link.index, alias: alias, operation: operation), operation)
        } catch {
            try? deleteLink(link.index)
            throw error
        }
        link.alias = Array(alias.utf8)
        return link
    }

    /// Makes a pair of Ethernet interfaces that lead to each other, down, and gives their indexes.
    /// `ip link add NAME type veth peer name OTHER`
    /// - Throws: EEXIST where a name is taken; EOPNOTSUPP where the kernel has no veth.
    public mutating func createPair(
        name: String, other: String
    ) throws(NetlinkError) -> (Int32, Int32) {
        let operation = "add veth \(printable(name.utf8)) and \(printable(other.utf8))"
        try transact(try Message.createPair(name, other, operation: operation), operation)
        guard let link = try link(name: Array(name.utf8)),
            let peer = try self.link(name: Array(other.utf8))
        else { throw NetlinkError(operation: operation, code: ENODEV) }
        return (link.index, peer.index)
    }

    /// Sets an interface up or down. `ip link set dev D up`
    public mutating func setLink(_ index: Int32, up: Bool) throws(NetlinkError) {
        try runOne { (batch) throws(NetlinkError) in
            try batch.setLink(index, up: up)
        }.confirm()
    }

    /// Deletes an interface. `ip link del dev D`
    public mutating func deleteLink(_ index: Int32) throws(NetlinkError) {
        let operation = "delete interface \(index)"
        try transact(try Message.deleteLink(index, operation: operation), operation)
    }

    /// The interfaces that default routes of the main table leave through, IPv4 and IPv6, every
    /// hop of a multipath route. `ip route show default; ip -6 route show default`
    public mutating func defaultRouteInterfaces() throws(NetlinkError) -> Set<Int32> {
        var interfaces: Set<Int32> = []
        for family in [AF_INET, AF_INET6] {
            var message = try Message(type: RTM_GETROUTE, flags: NLM_F_DUMP)
            var header = rtmsg()
            header.rtm_family = UInt8(family)
            message.append(header)
            let found = try dump(message, "list default routes") { type, payload in
                Int(type) == RTM_NEWROUTE ? decodeDefaultRoute(payload) : nil
            }
            for indexes in found { interfaces.formUnion(indexes) }
        }
        return interfaces
    }
}
