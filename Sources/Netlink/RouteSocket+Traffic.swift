// Traffic control: qdiscs, classes and filters, each written alone (`RequestBatch` writes several),
// and listed as the kernel has them.
internal import CNetlink

extension RouteSocket {
    // MARK: qdiscs

    /// The qdiscs of one interface. `tc qdisc show dev D`. The kernel lists those of all
    /// interfaces, and silently misses some while others are deleted: missing from one listing is
    /// not gone.
    public mutating func qdiscs(of index: Int32) throws(NetlinkError) -> [QdiscRecord] {
        try listQdiscs { $0 == index }
    }

    /// The qdiscs of all interfaces, in one dump.
    public mutating func qdiscs() throws(NetlinkError) -> [QdiscRecord] {
        try listQdiscs { _ in true }
    }

    /// The qdisc at one place of an interface, asked for alone: what a dump of all costs does not grow
    /// into it, and it is never silently missed. Nil where there is none, or one that the kernel does not
    /// list (`noop`, a class's own queue).
    ///
    /// Everyone who listens to RTNLGRP_TC is told of it like of a new one (qdisc_get_notify), which is
    /// why NLM_F_ECHO is needed to be answered at all: not for what is done again and again.
    public mutating func qdisc(
        of index: Int32, parent: Handle
    ) throws(NetlinkError) -> QdiscRecord? {
        try runOne { (batch) throws(NetlinkError) in
            try batch.getQdisc(of: index, parent: parent)
        }.askedQdisc()
    }

    private mutating func listQdiscs(
        _ isWanted: (Int32) -> Bool
    ) throws(NetlinkError) -> [QdiscRecord] {
        var message = try Message(type: RTM_GETQDISC, flags: NLM_F_DUMP)
        message.append(tcmsg(index: 0, handle: .unspecified, parent: .unspecified))
        return try dump(message, "list qdiscs") { type, payload in
            guard Int(type) == RTM_NEWQDISC, let header = payload.load(tcmsg.self),
                isWanted(header.tcm_ifindex)
            else { return nil }
            return QdiscRecord(payload: payload)
        }
    }

    /// Adds a qdisc; never replaces one. `ingress` and `clsact` have their own place whatever
    /// `parent` and `handle` say. `tc qdisc add dev D parent P handle H …`
    ///
    /// Gives it as the kernel tells it then; so does all that adds or changes one object here.
    /// - Throws: EEXIST where there is one with this handle or at this place; ENOENT where the
    ///   parent or the kind is unknown; ENODEV where the interface is gone.
    @discardableResult
    public mutating func add(
        _ qdisc: Qdisc, to index: Int32, parent: Handle, handle: Handle
    ) throws(NetlinkError) -> QdiscRecord? {
        try runOne { (batch) throws(NetlinkError) in
            try batch.add(qdisc, to: index, parent: parent, handle: handle)
        }.qdisc()
    }

    /// Puts a root qdisc in the place of whatever is there, in one request, so that the interface
    /// never is without one; where the kernel refuses it, what is there stays.
    /// `tc qdisc replace dev D root handle H …`
    public mutating func replaceRoot(
        with qdisc: Qdisc, of index: Int32, handle: Handle
    ) throws(NetlinkError) {
        try transact(
            try .qdisc(
                RTM_NEWQDISC, flags: NLM_F_CREATE | NLM_F_REPLACE, qdisc, index: index,
                parent: .root, handle: handle, clock: clock),
            "put \(qdisc.kind) qdisc \(handle) at the root of interface \(index)")
    }

    /// Changes a qdisc in place, without a gap and without losing what waits in it.
    /// `tc qdisc change dev D parent P handle H …`
    /// - Throws: ENOENT where there is none; EINVAL where it is of another kind.
    @discardableResult
    public mutating func change(
        _ qdisc: Qdisc, of index: Int32, parent: Handle, handle: Handle
    ) throws(NetlinkError) -> QdiscRecord? {
        try runOne { (batch) throws(NetlinkError) in
            try batch.change(qdisc, of: index, parent: parent, handle: handle)
        }.qdisc()
    }

    /// Deletes a qdisc and what hangs on it; with `kind`, only if it is of that kind.
    /// `tc qdisc del dev D parent P handle H KIND`
    /// - Throws: ENOENT or EINVAL where there is none; EINVAL where the handle is another's, or the
    ///   kind is another.
    public mutating func deleteQdisc(
        of index: Int32, parent: Handle, handle: Handle, kind: String? = nil
    ) throws(NetlinkError) {
        try transact(
            try .deleteQdisc(index: index, parent: parent, handle: handle, kind: kind),
            "delete qdisc \(handle) of interface \(index)")
    }

    // MARK: classes

    /// Adds an htb class; never replaces one. `tc class add dev D parent P classid C htb …`
    @discardableResult
    public mutating func addClass(
        _ htb: HTBClass, to index: Int32, parent: Handle, classID: Handle
    ) throws(NetlinkError) -> ClassRecord? {
        try runOne { (batch) throws(NetlinkError) in
            try batch.addClass(htb, to: index, parent: parent, classID: classID)
        }.trafficClass()
    }

    /// Changes an htb class in place. `tc class change dev D parent P classid C htb …`
    @discardableResult
    public mutating func changeClass(
        _ htb: HTBClass, of index: Int32, parent: Handle, classID: Handle
    ) throws(NetlinkError) -> ClassRecord? {
        try runOne { (batch) throws(NetlinkError) in
            try batch.changeClass(htb, of: index, parent: parent, classID: classID)
        }.trafficClass()
    }

    /// Deletes a class. `tc class del dev D classid C`
    /// - Throws: EBUSY while a filter or a class refers to it.
    public mutating func deleteClass(of index: Int32, classID: Handle) throws(NetlinkError) {
        try transact(
            try .deleteClass(index: index, classID: classID),
            "delete class \(classID) of interface \(index)")
    }

    /// The classes of one interface. `tc class show dev D`
    public mutating func classes(of index: Int32) throws(NetlinkError) -> [ClassRecord] {
        var message = try Message(type: RTM_GETTCLASS, flags: NLM_F_DUMP)
        message.append(tcmsg(index: index, handle: .unspecified, parent: .unspecified))
        return try dump(
            message, "list classes of interface \(index)", ClassRecord.init(type:payload:))
    }

    // MARK: filters

    /// Puts a filter: adds it, or replaces the one with the same preference, protocol and handle in
    /// place. `tc filter replace dev D parent P pref N protocol PR handle H bpf …`
    /// - Throws: EINVAL for preference or handle 0, or more than 32 actions; ENOENT where the hook,
    ///   the classifier or an action's module is missing (the kernel's sentence says which).
    @discardableResult
    public mutating func put(
        _ filter: Filter, on index: Int32
    ) throws(NetlinkError) -> FilterRecord? {
        try runOne { (batch) throws(NetlinkError) in try batch.put(filter, on: index) }.filter()
    }

    /// Deletes one filter. `tc filter del dev D parent P pref N protocol PR handle H KIND`
    /// - Throws: EINVAL for preference or handle 0, which would delete those of others too; ENOENT
    ///   where there is none.
    public mutating func deleteFilter(
        on index: Int32, parent: Handle, preference: UInt16, proto: UInt16, handle: UInt32,
        kind: String
    ) throws(NetlinkError) {
        func operation() -> String {
            "delete filter \(preference)/\(String(handle, radix: 16)) of interface \(index) "
                + "parent \(parent)"
        }
        guard preference != 0, handle != 0 else {
            throw NetlinkError(operation: operation(), code: EINVAL)
        }
        try transact(
            try .deleteFilter(
                index: index, parent: parent, preference: preference, proto: proto,
                handle: handle, kind: kind),
            operation())
    }

    /// The filters of one hook or qdisc, all chains. `tc filter show dev D parent P`
    public mutating func filters(
        of index: Int32, parent: Handle
    ) throws(NetlinkError) -> [FilterRecord] {
        var message = try Message(type: RTM_GETTFILTER, flags: NLM_F_DUMP)
        message.append(tcmsg(index: index, handle: .unspecified, parent: parent))
        return try dump(
            message, "list filters of interface \(index) parent \(parent)",
            FilterRecord.init(type:payload:))
    }
}

extension ClassRecord {
    /// Nil for a message that tells of no class.
    fileprivate init?(type: UInt16, payload: RawSpan) {
        guard Int(type) == RTM_NEWTCLASS else { return nil }
        self.init(payload: payload)
    }
}

extension FilterRecord {
    /// Nil for a message that tells of no filter.
    fileprivate init?(type: UInt16, payload: RawSpan) {
        guard Int(type) == RTM_NEWTFILTER else { return nil }
        self.init(payload: payload)
    }
}
