// The requests of traffic control, byte for byte as tc sends them but where a comment says so.
// Invariants: pure (nothing is sent here); every number is checked before it is narrowed.
internal import CNetlink

extension tcmsg {
    /// A header for an object of an interface.
    init(index: Int32, handle: Handle, parent: Handle, info: UInt32 = 0) {
        self.init()
        tcm_family = UInt8(AF_UNSPEC)
        tcm_ifindex = index
        tcm_handle = handle.rawValue
        tcm_parent = parent.rawValue
        tcm_info = info
    }
}

extension tc_ratespec {
    /// A rate in bytes per second; those that need 64 bits stand as the largest number beside a
    /// RATE64 attribute. Linklayer Ethernet: without it the kernel asks for a rate table.
    init(
        bytesPerSecond: UInt64, cellLog: UInt8 = 3, overhead: UInt16 = 0, minimum: UInt16 = 0
    ) {
        self.init()
        guard bytesPerSecond > 0 else { return }
        cell_log = cellLog
        linklayer = UInt8(TC_LINKLAYER_ETHERNET.rawValue)
        self.overhead = overhead
        mpu = minimum
        cell_align = -1
        rate = UInt32(clamping: bytesPerSecond)
    }
}

/// Whether a rate needs its RATE64 attribute.
func needs64Bits(_ bytesPerSecond: UInt64) -> Bool { bytesPerSecond > UInt64(UInt32.max) }

extension Message {
    /// A request about a qdisc.
    static func qdisc(
        _ type: Int, flags: Int32, _ qdisc: Qdisc, index: Int32, parent: Handle, handle: Handle,
        clock: SchedulerClock
    ) throws(NetlinkError) -> Message {
        var message = try Message(type: type, flags: flags)
        switch qdisc {
        case .ingress, .clsact:
            // Never another handle: with handle 0 a REPLACE takes a foreign ingress away.
            message.append(
                tcmsg(index: index, handle: .ingressQdisc, parent: .ingress))
            message.put(TCA_KIND, string: qdisc.kind)
        case .tokenBucket(let bucket):
            message.append(tcmsg(index: index, handle: handle, parent: parent))
            message.put(TCA_KIND, string: qdisc.kind)
            message.put(bucket, clock: clock)
        case .netem(let netem):
            message.append(tcmsg(index: index, handle: handle, parent: parent))
            message.put(TCA_KIND, string: qdisc.kind)
            message.put(netem, clock: clock)
        case .packetQueue(let limit):
            message.append(tcmsg(index: index, handle: handle, parent: parent))
            message.put(TCA_KIND, string: qdisc.kind)
            message.put(TCA_OPTIONS, tc_fifo_qopt(limit: limit))
        case .htb(let defaultClass, let rateToQuantum):
            message.append(tcmsg(index: index, handle: handle, parent: parent))
            message.put(TCA_KIND, string: qdisc.kind)
            message.nest(TCA_OPTIONS) { options in
                options.put(
                    TCA_HTB_INIT,
                    tc_htb_glob(
                        version: UInt32(TC_HTB_PROTOVER), rate2quantum: rateToQuantum,
                        defcls: defaultClass, debug: 0, direct_pkts: 0))
            }
        }
        return message
    }

    /// tbf's options. The burst goes in bytes (TCA_TBF_BURST), exact at any rate. tc adds
    /// TCA_TBF_RTAB, 1,024 bytes that the kernel has not read since 3.12.
    private mutating func put(_ bucket: TokenBucket, clock: SchedulerClock) {
        let rate = bucket.bytesPerSecond
        var parameters = tc_tbf_qopt()
        parameters.rate = tc_ratespec(
            bytesPerSecond: rate, minimum: bucket.minimumPacketBytes)
        parameters.limit = bucket.limitBytes
        parameters.buffer = UInt32(
            clamping: clock.ticks(amount: UInt64(bucket.burstBytes), perSecond: rate))
        nest(TCA_OPTIONS) { options in
            options.put(TCA_TBF_PARMS, parameters)
            options.put(TCA_TBF_BURST, bucket.burstBytes)
            if needs64Bits(rate) { options.put(TCA_TBF_RATE64, rate) }
        }
    }

    /// netem's options: a structure, and after it attributes. tc sends the delay in ticks alone;
    /// ours adds TCA_NETEM_LATENCY64, exact to the nanosecond and beyond 274 s.
    private mutating func put(_ netem: Netem, clock: SchedulerClock) {
        var parameters = tc_netem_qopt()
        parameters.latency = UInt32(clamping: clock.ticks(nanoseconds: netem.delayNanoseconds))
        parameters.limit = netem.limitPackets
        nest(TCA_OPTIONS) { options in
            options.append(parameters)
            options.put(TCA_NETEM_LATENCY64, Int64(clamping: netem.delayNanoseconds))
        }
    }

    /// A request about a class. tc leaves the quantum to the kernel, and adds TCA_HTB_CTAB and TCA_HTB_RTAB, which the kernel has not
    /// read since 3.12.
    static func htbClass(
        flags: Int32, _ htb: HTBClass, index: Int32, parent: Handle, classID: Handle,
        clock: SchedulerClock
    ) throws(NetlinkError) -> Message {
        var message = try Message(type: RTM_NEWTCLASS, flags: flags)
        message.append(tcmsg(index: index, handle: classID, parent: parent))
        message.put(TCA_KIND, string: "htb")
        var parameters = tc_htb_opt()
        parameters.rate = tc_ratespec(
            bytesPerSecond: htb.bytesPerSecond, minimum: htb.minimumPacketBytes)
        parameters.ceil = tc_ratespec(
            bytesPerSecond: htb.ceilBytesPerSecond, minimum: htb.minimumPacketBytes)
        parameters.buffer = UInt32(
            clamping: clock.ticks(
                amount: UInt64(htb.burstBytes), perSecond: htb.bytesPerSecond))
        parameters.cbuffer = UInt32(
            clamping: clock.ticks(
                amount: UInt64(htb.ceilBurstBytes), perSecond: htb.ceilBytesPerSecond))
        // What the kernel would take by itself (the rate over rate2quantum), said aloud: else it logs
        // a warning for each class over 16 Mbit/s.
        parameters.quantum = UInt32(min(max(htb.bytesPerSecond / 10, 1_000), 200_000))
        message.nest(TCA_OPTIONS) { options in
            if needs64Bits(htb.bytesPerSecond) {
                options.put(TCA_HTB_RATE64, htb.bytesPerSecond)
            }
            if needs64Bits(htb.ceilBytesPerSecond) {
                options.put(TCA_HTB_CEIL64, htb.ceilBytesPerSecond)
            }
            options.put(TCA_HTB_PARMS, parameters)
        }
        return message
    }

    /// A request to delete a qdisc.
    static func deleteQdisc(
        index: Int32, parent: Handle, handle: Handle, kind: String?
    ) throws(NetlinkError) -> Message {
        var message = try Message(type: RTM_DELQDISC, flags: 0)
        message.append(tcmsg(index: index, handle: handle, parent: parent))
        if let kind { message.put(TCA_KIND, string: kind) }
        return message
    }

    /// A request to delete a class.
    static func deleteClass(index: Int32, classID: Handle) throws(NetlinkError) -> Message {
        var message = try Message(type: RTM_DELTCLASS, flags: 0)
        message.append(tcmsg(index: index, handle: classID, parent: .unspecified))
        return message
    }
}
