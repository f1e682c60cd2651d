// Captured bytes: how Linux 6.1 (User-Mode Linux) lists what tc made (recvmsg(2) of `tc -s show`,
// on the loopback, interface 1; ifb7 is interface 2). Sequence and port are zeroed; each field has
// its comment.

extension Fixture {
    /// `tc qdisc add dev lo root handle 7a01: tbf rate 16mbit burst 20000 limit 1000000`
    static let tbfReply = Fixture(
        """
        c8000000 # nlmsg_len 200
        2400 # nlmsg_type RTM_NEWQDISC
        0200 # nlmsg_flags 0x2
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        0000017a # tcm_handle 7a010000
        ffffffff # tcm_parent ffffffff
        02000000 # tcm_info 00000002
        08000100 # nla_len 8, TCA_KIND
        74626600 # "tbf"
        2c000200 # nla_len 44, TCA_OPTIONS
        28000100 # nla_len 40, TCA_TBF_PARMS
        0001000000000000 # cell_log 0, linklayer 1, overhead 0, cell_align 0, mpu 0
        80841e00 # rate 2000000
        000000000000000000000000 # no peak rate
        40420f005a62020000000000 # limit 1000000 bytes, buffer 156250 ticks, mtu 0
        05000c00 # nla_len 5, TCA_HW_OFFLOAD
        00
        000000 # padding
        04000900 # nla_len 4, TCA_PAD
        38000700 # nla_len 56, TCA_STATS2
        04000600 # nla_len 4, TCA_STATS_PAD
        14000100 # nla_len 20, TCA_STATS_BASIC
        4c020000000000000600000000000000 # 588 bytes, 6 packets
        04000600 # nla_len 4, TCA_STATS_PAD
        18000300 # nla_len 24, TCA_STATS_QUEUE
        03000000 # qlen 3
        26010000 # backlog 294
        00000000 # drops 0
        00000000 # requeues 0
        00000000 # overlimits 0
        2c000300 # nla_len 44, TCA_STATS
        4c0200000000000006000000000000000000000000000000000000000300000026010000
        00000000
        """)

    /// `tc qdisc add dev lo parent 7a01:1 handle 7a02: netem delay 200ms limit 2040`
    static let netemReply = Fixture(
        """
        10010000 # nlmsg_len 272
        2400 # nlmsg_type RTM_NEWQDISC
        0200 # nlmsg_flags 0x2
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        0000027a # tcm_handle 7a020000
        0100017a # tcm_parent 7a010001
        01000000 # tcm_info 00000001
        0a000100 # nla_len 10, TCA_KIND
        6e6574656d00 # "netem"
        0000 # padding
        70000200 # nla_len 112, TCA_OPTIONS
        08af2f00 # latency, ticks 3125000
        f8070000 # limit 2040
        00000000 # loss 0
        00000000 # gap 0
        00000000 # duplicate 0
        00000000 # jitter 0
        0c000a00 # nla_len 12, TCA_NETEM_LATENCY64
        00c2eb0b00000000 # 200000000
        0c000b00 # nla_len 12, TCA_NETEM_JITTER64
        0000000000000000
        10000100 # nla_len 16, TCA_NETEM_CORR
        000000000000000000000000
        0c000300 # nla_len 12, TCA_NETEM_REORDER
        0000000000000000
        0c000400 # nla_len 12, TCA_NETEM_CORRUPT
        0000000000000000
        14000600 # nla_len 20, TCA_NETEM_RATE
        00000000000000000000000000000000
        05000c00 # nla_len 5, TCA_HW_OFFLOAD
        00
        000000 # padding
        04000900 # nla_len 4, TCA_PAD
        38000700 # nla_len 56, TCA_STATS2
        04000600 # nla_len 4, TCA_STATS_PAD
        14000100 # nla_len 20, TCA_STATS_BASIC
        4c020000000000000600000000000000 # 588 bytes, 6 packets
        04000600 # nla_len 4, TCA_STATS_PAD
        18000300 # nla_len 24, TCA_STATS_QUEUE
        03000000 # qlen 3
        26010000 # backlog 294
        00000000 # drops 0
        00000000 # requeues 0
        00000000 # overlimits 0
        2c000300 # nla_len 44, TCA_STATS
        4c0200000000000006000000000000000000000000000000000000000300000026010000
        00000000
        """)

    /// `tc qdisc add dev lo clsact`
    static let clsactReply = Fixture(
        """
        a0000000 # nlmsg_len 160
        2400 # nlmsg_type RTM_NEWQDISC
        0200 # nlmsg_flags 0x2
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        0000ffff # tcm_handle ffff0000
        f1ffffff # tcm_parent fffffff1
        01000000 # tcm_info 00000001
        0b000100 # nla_len 11, TCA_KIND
        636c7361637400 # "clsact"
        00 # padding
        04000200 # nla_len 4, TCA_OPTIONS
        05000c00 # nla_len 5, TCA_HW_OFFLOAD
        00
        000000 # padding
        38000700 # nla_len 56, TCA_STATS2
        04000600 # nla_len 4, TCA_STATS_PAD
        14000100 # nla_len 20, TCA_STATS_BASIC
        4c020000000000000600000000000000 # 588 bytes, 6 packets
        04000600 # nla_len 4, TCA_STATS_PAD
        18000300 # nla_len 24, TCA_STATS_QUEUE
        00000000 # qlen 0
        00000000 # backlog 0
        00000000 # drops 0
        00000000 # requeues 0
        00000000 # overlimits 0
        2c000300 # nla_len 44, TCA_STATS
        4c0200000000000006000000000000000000000000000000000000000000000000000000
        00000000
        """)

    /// `tc qdisc add dev ifb7 root handle 7a03: htb default 0x30`
    static let htbReply = Fixture(
        """
        c0000000 # nlmsg_len 192
        2400 # nlmsg_type RTM_NEWQDISC
        0200 # nlmsg_flags 0x2
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        02000000 # tcm_ifindex 2
        0000037a # tcm_handle 7a030000
        ffffffff # tcm_parent ffffffff
        02000000 # tcm_info 00000002
        08000100 # nla_len 8, TCA_KIND
        68746200 # "htb"
        24000200 # nla_len 36, TCA_OPTIONS
        18000200 # nla_len 24, TCA_HTB_INIT
        11000300 # version 196625
        0a000000 # rate2quantum 10
        30000000 # defcls 48
        00000000 # debug 0
        00000000 # direct_pkts 0
        08000500 # nla_len 8, TCA_HTB_DIRECT_QLEN
        20000000 # 0x20
        05000c00 # nla_len 5, TCA_HW_OFFLOAD
        00
        000000 # padding
        04000900 # nla_len 4, TCA_PAD
        38000700 # nla_len 56, TCA_STATS2
        04000600 # nla_len 4, TCA_STATS_PAD
        14000100 # nla_len 20, TCA_STATS_BASIC
        26010000000000000300000000000000 # 294 bytes, 3 packets
        04000600 # nla_len 4, TCA_STATS_PAD
        18000300 # nla_len 24, TCA_STATS_QUEUE
        00000000 # qlen 0
        00000000 # backlog 0
        00000000 # drops 0
        00000000 # requeues 0
        00000000 # overlimits 0
        2c000300 # nla_len 44, TCA_STATS
        260100000000000003000000000000000000000000000000000000000000000000000000
        00000000
        """)

    /// `tc class add dev ifb7 parent 7a03: classid 7a03:30 htb rate 16mbit burst 20000 ceil 40gbit
    /// cburst 30000`
    static let htbClassReply = Fixture(
        """
        0c010000 # nlmsg_len 268
        2800 # nlmsg_type RTM_NEWTCLASS
        0200 # nlmsg_flags 0x2
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        02000000 # tcm_ifindex 2
        3000037a # tcm_handle 7a030030
        ffffffff # tcm_parent ffffffff
        00000000 # tcm_info 00000000
        08000100 # nla_len 8, TCA_KIND
        68746200 # "htb"
        44000200 # nla_len 68, TCA_OPTIONS
        30000100 # nla_len 48, TCA_HTB_PARMS
        0001000000000000 # rate: cell_log 0, linklayer 1, overhead 0, cell_align 0, mpu 0
        80841e00 # rate 2000000
        0001000000000000 # ceil: cell_log 0, linklayer 1, overhead 0, cell_align 0, mpu 0
        ffffffff # rate 4294967295
        5a620200 # buffer, ticks 156250
        5d000000 # cbuffer, ticks 93
        400d0300 # quantum 200000
        00000000 # level 0
        00000000 # prio 0
        04000800 # nla_len 4, TCA_HTB_PAD
        0c000700 # nla_len 12, TCA_HTB_CEIL64
        00f2052a01000000 # 5000000000
        04000900 # nla_len 4, TCA_PAD
        50000700 # nla_len 80, TCA_STATS2
        04000600 # nla_len 4, TCA_STATS_PAD
        14000100 # nla_len 20, TCA_STATS_BASIC
        4c020000000000000600000000000000 # 588 bytes, 6 packets
        04000600 # nla_len 4, TCA_STATS_PAD
        18000300 # nla_len 24, TCA_STATS_QUEUE
        00000000 # qlen 0
        00000000 # backlog 0
        00000000 # drops 0
        00000000 # requeues 0
        00000000 # overlimits 0
        18000400 # nla_len 24, TCA_STATS_APP
        0600000000000000000000005c5f02005c000000
        2c000300 # nla_len 44, TCA_STATS
        4c0200000000000006000000000000000000000000000000000000000000000000000000
        00000000
        04000900 # nla_len 4, TCA_PAD
        18000400 # nla_len 24, TCA_XSTATS
        0600000000000000000000005c5f02005c000000
        """)

    /// The head of a preference, which every listing of filters starts with.
    static let filterHeadReply = Fixture(
        """
        34000000 # nlmsg_len 52
        2c00 # nlmsg_type RTM_NEWTFILTER
        0200 # nlmsg_flags 0x2
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        00000000 # tcm_handle 00000000
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        08000b00 # nla_len 8, TCA_CHAIN
        00000000 # 0x0
        """)

    /// `tc filter replace dev lo ingress pref 13 handle 0x7a01 protocol all bpf bytecode
    /// 2,40 0 0 12,6 0 0 4294967295 action police pkts_rate 300 pkts_burst 30
    /// conform-exceed drop/pipe cookie 736c7569636501020304050607080910 action police rate
    /// 4mbit burst 70000 mtu 65535 overhead 14 conform-exceed drop/continue cookie
    /// 736c7569636501020304050607080911`
    static let policeReply = Fixture(
        """
        54020000 # nlmsg_len 596
        2c00 # nlmsg_type RTM_NEWTFILTER
        0200 # nlmsg_flags 0x2
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        08000b00 # nla_len 8, TCA_CHAIN
        00000000 # 0x0
        20020200 # nla_len 544, TCA_OPTIONS
        06000400 # nla_len 6, TCA_BPF_OPS_LEN
        0200 # 2 instructions
        0000 # padding
        14000500 # nla_len 20, TCA_BPF_OPS
        280000000c000000 # code 0x28, jt 0, jf 0, k 0xc
        06000000ffffffff # code 0x6, jt 0, jf 0, k 0xffffffff
        f8010100 # nla_len 504, TCA_BPF_ACT
        04010100 # nla_len 260, action 1
        0b000100 # nla_len 11, TCA_ACT_KIND
        706f6c69636500 # "police"
        00 # padding
        50000400 # nla_len 80, TCA_ACT_STATS
        04000600 # nla_len 4, TCA_STATS_PAD
        14000100 # nla_len 20, TCA_STATS_BASIC
        fc000000000000000300000000000000 # 252 bytes, 3 packets
        04000600 # nla_len 4, TCA_STATS_PAD
        14000700 # nla_len 20, TCA_STATS_BASIC_HW
        00000000000000000000000000000000
        04000600 # nla_len 4, TCA_STATS_PAD
        18000300 # nla_len 24, TCA_STATS_QUEUE
        00000000 # qlen 0
        00000000 # backlog 0
        00000000 # drops 0
        00000000 # requeues 0
        00000000 # overlimits 0
        14000600 # nla_len 20, TCA_ACT_COOKIE
        736c7569636501020304050607080910 # cookie
        08000a00 # nla_len 8, TCA_ACT_IN_HW_COUNT
        00000000 # 0x0
        88000200 # nla_len 136, TCA_ACT_OPTIONS
        0c000a00 # nla_len 12, TCA_POLICE_PKTRATE64
        2c01000000000000 # 300
        04000700 # nla_len 4, TCA_POLICE_PAD
        0c000b00 # nla_len 12, TCA_POLICE_PKTBURST64
        84d7170000000000 # 1562500
        3c000100 # nla_len 60, TCA_POLICE_TBF
        01000000 # index 1
        02000000 # action 2
        00000000 # limit 0
        00000000 # burst, ticks 0
        ffffffff # mtu -1
        0000000000000000 # cell_log 0, linklayer 0, overhead 0, cell_align 0, mpu 0
        00000000 # rate 0
        000000000000000000000000 # no peak rate
        010000000100000000000000 # refcnt 1, bindcnt 1, capab 0
        08000500 # nla_len 8, TCA_POLICE_RESULT
        03000000 # TC_ACT_* 3
        24000600 # nla_len 36, TCA_POLICE_TM
        2f000000000000000b0000000000000000000000000000000f00000000000000
        f0000200 # nla_len 240, action 2
        0b000100 # nla_len 11, TCA_ACT_KIND
        706f6c69636500 # "police"
        00 # padding
        04000500 # nla_len 4, TCA_ACT_PAD
        50000400 # nla_len 80, TCA_ACT_STATS
        04000600 # nla_len 4, TCA_STATS_PAD
        14000100 # nla_len 20, TCA_STATS_BASIC
        fc000000000000000300000000000000 # 252 bytes, 3 packets
        04000600 # nla_len 4, TCA_STATS_PAD
        14000700 # nla_len 20, TCA_STATS_BASIC_HW
        00000000000000000000000000000000
        04000600 # nla_len 4, TCA_STATS_PAD
        18000300 # nla_len 24, TCA_STATS_QUEUE
        00000000 # qlen 0
        00000000 # backlog 0
        00000000 # drops 0
        00000000 # requeues 0
        00000000 # overlimits 0
        14000600 # nla_len 20, TCA_ACT_COOKIE
        736c7569636501020304050607080911 # cookie
        08000a00 # nla_len 8, TCA_ACT_IN_HW_COUNT
        00000000 # 0x0
        70000200 # nla_len 112, TCA_ACT_OPTIONS
        3c000100 # nla_len 60, TCA_POLICE_TBF
        02000000 # index 2
        02000000 # action 2
        00000000 # limit 0
        ec602100 # burst, ticks 2187500
        ffff0000 # mtu 65535
        00010e0000000000 # cell_log 0, linklayer 1, overhead 14, cell_align 0, mpu 0
        20a10700 # rate 500000
        000000000000000000000000 # no peak rate
        010000000100000000000000 # refcnt 1, bindcnt 1, capab 0
        08000500 # nla_len 8, TCA_POLICE_RESULT
        ffffffff # TC_ACT_* -1
        04000700 # nla_len 4, TCA_POLICE_PAD
        24000600 # nla_len 36, TCA_POLICE_TM
        2f000000000000000b0000000000000000000000000000000f00000000000000
        08000900 # nla_len 8, TCA_BPF_FLAGS_GEN
        08000000 # 0x8
        """)

    /// `tc filter replace dev lo egress pref 13 handle 0x7a01 protocol all bpf bytecode 1,6
    /// 0 0 4294967295 action mirred egress redirect dev ifb7 cookie
    /// 736c7569636501020304050607080912`
    static let redirectReply = Fixture(
        """
        1c010000 # nlmsg_len 284
        2c00 # nlmsg_type RTM_NEWTFILTER
        0200 # nlmsg_flags 0x2
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f3ffffff # tcm_parent fffffff3
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        08000b00 # nla_len 8, TCA_CHAIN
        00000000 # 0x0
        e8000200 # nla_len 232, TCA_OPTIONS
        06000400 # nla_len 6, TCA_BPF_OPS_LEN
        0100 # 1 instructions
        0000 # padding
        0c000500 # nla_len 12, TCA_BPF_OPS
        06000000ffffffff # code 0x6, jt 0, jf 0, k 0xffffffff
        c8000100 # nla_len 200, TCA_BPF_ACT
        c4000100 # nla_len 196, action 1
        0b000100 # nla_len 11, TCA_ACT_KIND
        6d697272656400 # "mirred"
        00 # padding
        50000400 # nla_len 80, TCA_ACT_STATS
        04000600 # nla_len 4, TCA_STATS_PAD
        14000100 # nla_len 20, TCA_STATS_BASIC
        4c020000000000000600000000000000 # 588 bytes, 6 packets
        04000600 # nla_len 4, TCA_STATS_PAD
        14000700 # nla_len 20, TCA_STATS_BASIC_HW
        00000000000000000000000000000000
        04000600 # nla_len 4, TCA_STATS_PAD
        18000300 # nla_len 24, TCA_STATS_QUEUE
        00000000 # qlen 0
        00000000 # backlog 0
        00000000 # drops 0
        00000000 # requeues 0
        00000000 # overlimits 0
        14000600 # nla_len 20, TCA_ACT_COOKIE
        736c7569636501020304050607080912 # cookie
        08000a00 # nla_len 8, TCA_ACT_IN_HW_COUNT
        00000000 # 0x0
        48000200 # nla_len 72, TCA_ACT_OPTIONS
        20000200 # nla_len 32, TCA_MIRRED_PARMS
        01000000 # index 1
        00000000 # capab 0
        04000000 # action 4
        01000000 # refcnt 1
        01000000 # bindcnt 1
        01000000 # eaction 1
        02000000 # ifindex 2
        24000100 # nla_len 36, TCA_MIRRED_TM
        2f00000000000000140000000000000000000000000000002c00000000000000
        08000900 # nla_len 8, TCA_BPF_FLAGS_GEN
        08000000 # 0x8
        """)

    /// `nft add chain netdev f in { type filter hook ingress device tap9 priority 0; }`, as Linux
    /// 6.18 lists it.
    static let netdevChain = Fixture(
        """
        84000000 # nlmsg_len 132
        030a # nlmsg_type NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWCHAIN
        0200 # nlmsg_flags NLM_F_MULTI
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        05000006 # nfgen_family NFPROTO_NETDEV, version 0, res_id
        06000100 # nla_len 6, NFTA_CHAIN_TABLE
        66000000 # "f", padding
        07000300 # nla_len 7, NFTA_CHAIN_NAME
        696e0000 # "in", padding
        0c000200 # nla_len 12, NFTA_CHAIN_HANDLE
        0000000000000001
        30000400 # nla_len 48, NFTA_CHAIN_HOOK
        08000100 # nla_len 8, NFTA_HOOK_HOOKNUM
        00000000 # NF_NETDEV_INGRESS
        08000200 # nla_len 8, NFTA_HOOK_PRIORITY
        00000000
        10000400 # nla_len 16, NFTA_HOOK_DEVS
        09000100 # nla_len 9, NFTA_DEVICE_NAME
        7461703900000000 # "tap9", padding
        09000300 # nla_len 9, NFTA_HOOK_DEV
        7461703900000000 # "tap9", padding
        08000500 # nla_len 8, NFTA_CHAIN_POLICY
        00000001 # NF_ACCEPT
        0b000700 # nla_len 11, NFTA_CHAIN_TYPE
        66696c7465720000 # "filter", padding
        08000a00 # nla_len 8, NFTA_CHAIN_FLAGS
        00000001 # NFT_CHAIN_BASE
        08000600 # nla_len 8, NFTA_CHAIN_USE
        00000001
        """)

    /// `tc filter add dev t0 parent ffff: protocol all u32 match u32 0 0 police rate 125kbps burst
    /// 125kb mtu 64kb drop flowid :1`: libvirt's, with the policer asked for in the old way.
    static let oldPoliceReply = Fixture(
        """
        c0000000 # nlmsg_len 192
        2c00 # nlmsg_type RTM_NEWTFILTER
        0200 # nlmsg_flags NLM_F_MULTI
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        02000000 # tcm_ifindex 2
        00080080 # tcm_handle 800::800
        0000ffff # tcm_parent ffff:
        000300c0 # tcm_info: pref 49152, protocol all
        08000100 # nla_len 8, TCA_KIND
        75333200 # "u32"
        08000b00 # nla_len 8, TCA_CHAIN
        00000000
        8c000200 # nla_len 140, TCA_OPTIONS
        24000500 # nla_len 36, TCA_U32_SEL
        0001000100000000000000000000000000000000000000000000000000000000
        08000200 # nla_len 8, TCA_U32_HASH
        00000080
        08000100 # nla_len 8, TCA_U32_CLASSID
        01000000
        08000b00 # nla_len 8, TCA_U32_FLAGS
        08000000
        4c000600 # nla_len 76, TCA_U32_POLICE
        3c000100 # nla_len 60, TCA_POLICE_TBF
        01000000 # index 1
        02000000 # action TC_POLICE_SHOT
        00000000 # limit
        0024f400 # burst, in ticks
        00000100 # mtu
        000100000000000048e80100 # cell_log, linklayer 1, overhead, cell_align, mpu, rate 125000
        000000000000000000000000 # no peak rate
        0100000001000000 # refcnt, bindcnt
        00000000 # capab
        08000500 # nla_len 8, TCA_POLICE_RESULT
        00000000 # TC_POLICE_OK
        04000700 # nla_len 4, TCA_POLICE_PAD
        """)
}
