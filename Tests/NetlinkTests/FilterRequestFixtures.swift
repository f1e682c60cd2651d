// Captured bytes: what tc of iproute2 6.1 sends to the kernel (its sendmsg(2), on the loopback of
// an empty network namespace, interface 1). Sequence and port are zeroed; each field has its
// comment.

extension Fixture {
    /// `tc filter replace dev lo ingress pref 13 handle 0x7a01 protocol all bpf bytecode
    /// 2,40 0 0 12,6 0 0 4294967295 action police pkts_rate 300 pkts_burst 30
    /// conform-exceed drop/pipe cookie 736c7569636501020304050607080910 action police rate
    /// 4mbit burst 70000 mtu 65535 overhead 14 conform-exceed drop/continue cookie
    /// 736c7569636501020304050607080911`
    static let police = Fixture(
        """
        44050000 # nlmsg_len 1348
        2c00 # nlmsg_type RTM_NEWTFILTER
        0504 # nlmsg_flags 0x405
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        18050200 # nla_len 1304, TCA_OPTIONS
        f8040100 # nla_len 1272, TCA_BPF_ACT
        84000100 # nla_len 132, action 1
        0b000100 # nla_len 11, TCA_ACT_KIND
        706f6c69636500 # "police"
        00 # padding
        60000280 # nla_len 96, TCA_ACT_OPTIONS | NLA_F_NESTED
        3c000100 # nla_len 60, TCA_POLICE_TBF
        00000000 # index 0
        02000000 # action 2
        00000000 # limit 0
        00000000 # burst, ticks 0
        00000000 # mtu 0
        0000000000000000 # cell_log 0, linklayer 0, overhead 0, cell_align 0, mpu 0
        00000000 # rate 0
        000000000000000000000000 # no peak rate
        000000000000000000000000 # refcnt 0, bindcnt 0, capab 0
        08000500 # nla_len 8, TCA_POLICE_RESULT
        03000000 # TC_ACT_* 3
        0c000a00 # nla_len 12, TCA_POLICE_PKTRATE64
        2c01000000000000 # 300
        0c000b00 # nla_len 12, TCA_POLICE_PKTBURST64
        84d7170000000000 # 1562500
        14000600 # nla_len 20, TCA_ACT_COOKIE
        736c7569636501020304050607080910 # cookie
        70040200 # nla_len 1136, action 2
        0b000100 # nla_len 11, TCA_ACT_KIND
        706f6c69636500 # "police"
        00 # padding
        4c040280 # nla_len 1100, TCA_ACT_OPTIONS | NLA_F_NESTED
        3c000100 # nla_len 60, TCA_POLICE_TBF
        00000000 # index 0
        02000000 # action 2
        00000000 # limit 0
        ec602100 # burst, ticks 2187500
        ffff0000 # mtu 65535
        08010e00ffff0000 # cell_log 8, linklayer 1, overhead 14, cell_align -1, mpu 0
        20a10700 # rate 500000
        000000000000000000000000 # no peak rate
        000000000000000000000000 # refcnt 0, bindcnt 0, capab 0
        04040200 # nla_len 1028, TCA_POLICE_RATE
        401f0000803e0000c05d0000007d0000409c000080bb0000c0da000000fa000040190100 # 256 cells
        80380100c0570100007701004096010080b50100c0d4010000f401004013020080320200
        c0510200007102004090020080af0200c0ce020000ee0200400d0300802c0300c04b0300
        006b0300408a030080a90300c0c8030000e803004007040080260400c045040000650400
        4084040080a30400c0c2040000e204004001050080200500c03f0500005f0500407e0500
        809d0500c0bc050000dc050040fb0500801a0600c0390600005906004078060080970600
        c0b6060000d6060040f5060080140700c0330700005307004072070080910700c0b00700
        00d0070040ef0700800e0800c02d0800004d0800406c0800808b0800c0aa080000ca0800
        40e9080080080900c0270900004709004066090080850900c0a4090000c4090040e30900
        80020a00c0210a0000410a0040600a00807f0a00c09e0a0000be0a0040dd0a0080fc0a00
        c01b0b00003b0b00405a0b0080790b00c0980b0000b80b0040d70b0080f60b00c0150c00
        00350c0040540c0080730c00c0920c0000b20c0040d10c0080f00c00c00f0d00002f0d00
        404e0d00806d0d00c08c0d0000ac0d0040cb0d0080ea0d00c0090e0000290e0040480e00
        80670e00c0860e0000a60e0040c50e0080e40e00c0030f0000230f0040420f0080610f00
        c0800f0000a00f0040bf0f0080de0f00c0fd0f00001d1000403c1000805b1000c07a1000
        009a100040b9100080d81000c0f71000001711004036110080551100c074110000941100
        40b3110080d21100c0f111000011120040301200804f1200c06e1200008e120040ad1200
        80cc1200c0eb1200000b1300402a130080491300c06813000088130040a7130080c61300
        c0e51300000514004024140080431400c06214000082140040a1140080c01400c0df1400
        00ff1400401e1500803d1500c05c1500007c1500409b150080ba1500c0d9150000f91500
        4018160080371600c0561600007616004095160080b41600c0d3160000f3160040121700
        80311700c050170000701700408f170080ae1700c0cd170000ed1700400c1800802b1800
        c04a1800006a18004089180080a81800c0c7180000e718004006190080251900c0441900
        006419004083190080a21900c0c1190000e1190040001a00801f1a00c03e1a00005e1a00
        407d1a00809c1a00c0bb1a0000db1a0040fa1a0080191b00c0381b0000581b0040771b00
        80961b00c0b51b0000d51b0040f41b0080131c00c0321c0000521c0040711c0080901c00
        c0af1c0000cf1c0040ee1c00800d1d00c02c1d00004c1d00406b1d00808a1d00c0a91d00
        00c91d0040e81d0080071e00c0261e0000461e0030651e0080841e00b0a31e0000c31e00
        40e21e0080011f00c0201f0000401f00
        08000500 # nla_len 8, TCA_POLICE_RESULT
        ffffffff # TC_ACT_* -1
        14000600 # nla_len 20, TCA_ACT_COOKIE
        736c7569636501020304050607080911 # cookie
        06000400 # nla_len 6, TCA_BPF_OPS_LEN
        0200 # 2 instructions
        0000 # padding
        14000500 # nla_len 20, TCA_BPF_OPS
        280000000c000000 # code 0x28, jt 0, jf 0, k 0xc
        06000000ffffffff # code 0x6, jt 0, jf 0, k 0xffffffff
        """)

    /// `tc filter replace dev lo ingress pref 13 handle 0x7a01 protocol all bpf bytecode
    /// 1,6 0 0 4294967295 action police rate 80gbit burst 1000000 mtu 65535 conform-exceed
    /// drop/continue`
    static let policeFast = Fixture(
        """
        b0040000 # nlmsg_len 1200
        2c00 # nlmsg_type RTM_NEWTFILTER
        0504 # nlmsg_flags 0x405
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        84040200 # nla_len 1156, TCA_OPTIONS
        6c040100 # nla_len 1132, TCA_BPF_ACT
        68040100 # nla_len 1128, action 1
        0b000100 # nla_len 11, TCA_ACT_KIND
        706f6c69636500 # "police"
        00 # padding
        58040280 # nla_len 1112, TCA_ACT_OPTIONS | NLA_F_NESTED
        3c000100 # nla_len 60, TCA_POLICE_TBF
        00000000 # index 0
        02000000 # action 2
        00000000 # limit 0
        1a060000 # burst, ticks 1562
        ffff0000 # mtu 65535
        08010000ffff0000 # cell_log 8, linklayer 1, overhead 0, cell_align -1, mpu 0
        ffffffff # rate 4294967295
        000000000000000000000000 # no peak rate
        000000000000000000000000 # refcnt 0, bindcnt 0, capab 0
        04040200 # nla_len 1028, TCA_POLICE_RATE
        000000000000000000000000000000000000000000000000000000000000000000000000 # 256 cells
        000000000000000000000000000000000000000000000000000000000000000000000000
        000000000000000000000000000000000000000000000000000000000000000000000000
        000000000000000000000000000000000000000000000000000000000000000000000000
        0000000000000000000000000f0000000f0000000f0000000f0000000f0000000f000000
        0f0000000f0000000f0000000f0000000f0000000f0000000f0000000f0000000f000000
        0f0000000f0000000f0000000f0000000f0000000f0000000f0000000f0000000f000000
        0f0000000f0000000f0000000f0000000f0000000f0000000f0000000f0000000f000000
        0f0000000f0000000f0000000f0000000f0000000f0000001f0000001f0000001f000000
        1f0000001f0000001f0000001f0000001f0000001f0000001f0000001f0000001f000000
        1f0000001f0000001f0000001f0000001f0000001f0000001f0000001f0000001f000000
        1f0000001f0000001f0000001f0000001f0000001f0000001f0000001f0000001f000000
        1f0000001f0000001f0000001f0000001f0000001f0000001f0000001f0000001f000000
        2e0000002e0000002e0000002e0000002e0000002e0000002e0000002e0000002e000000
        2e0000002e0000002e0000002e0000002e0000002e0000002e0000002e0000002e000000
        2e0000002e0000002e0000002e0000002e0000002e0000002e0000002e0000002e000000
        2e0000002e0000002e0000002e0000002e0000002e0000002e0000002e0000002e000000
        2e0000002e0000002e0000003e0000003e0000003e0000003e0000003e0000003e000000
        3e0000003e0000003e0000003e0000003e0000003e0000003e0000003e0000003e000000
        3e0000003e0000003e0000003e0000003e0000003e0000003e0000003e0000003e000000
        3e0000003e0000003e0000003e0000003e0000003e0000003e0000003e0000003e000000
        3e0000003e0000003e0000003e0000003e0000003e0000004e0000004e0000004e000000
        4e0000004e0000004e0000004e0000004e0000004e0000004e0000004e0000004e000000
        4e0000004e0000004e0000004e0000004e0000004e0000004e0000004e0000004e000000
        4e0000004e0000004e0000004e0000004e0000004e0000004e0000004e0000004e000000
        4e0000004e0000004e0000004e0000004e0000004e0000004e0000004e0000004e000000
        5d0000005d0000005d0000005d0000005d0000005d0000005d0000005d0000005d000000
        5d0000005d0000005d0000005d0000005d0000005d0000005d0000005d0000005d000000
        5d0000005d0000005d0000005d000000
        0c000800 # nla_len 12, TCA_POLICE_RATE64
        00e40b5402000000 # 10000000000
        08000500 # nla_len 8, TCA_POLICE_RESULT
        ffffffff # TC_ACT_* -1
        06000400 # nla_len 6, TCA_BPF_OPS_LEN
        0100 # 1 instructions
        0000 # padding
        0c000500 # nla_len 12, TCA_BPF_OPS
        06000000ffffffff # code 0x6, jt 0, jf 0, k 0xffffffff
        """)

    /// `tc filter replace dev lo ingress pref 13 handle 0x7a01 protocol all bpf bytecode
    /// 1,6 0 0 4294967295 action mirred egress redirect dev lo cookie
    /// 736c7569636501020304050607080912`
    static let redirect = Fixture(
        """
        90000000 # nlmsg_len 144
        2c00 # nlmsg_type RTM_NEWTFILTER
        0504 # nlmsg_flags 0x405
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        64000200 # nla_len 100, TCA_OPTIONS
        4c000100 # nla_len 76, TCA_BPF_ACT
        48000100 # nla_len 72, action 1
        0b000100 # nla_len 11, TCA_ACT_KIND
        6d697272656400 # "mirred"
        00 # padding
        24000280 # nla_len 36, TCA_ACT_OPTIONS | NLA_F_NESTED
        20000200 # nla_len 32, TCA_MIRRED_PARMS
        00000000 # index 0
        00000000 # capab 0
        04000000 # action 4
        00000000 # refcnt 0
        00000000 # bindcnt 0
        01000000 # eaction 1
        01000000 # ifindex 1
        14000600 # nla_len 20, TCA_ACT_COOKIE
        736c7569636501020304050607080912 # cookie
        06000400 # nla_len 6, TCA_BPF_OPS_LEN
        0100 # 1 instructions
        0000 # padding
        0c000500 # nla_len 12, TCA_BPF_OPS
        06000000ffffffff # code 0x6, jt 0, jf 0, k 0xffffffff
        """)

    /// `tc filter replace dev lo ingress pref 13 handle 0x7a01 protocol all bpf bytecode
    /// 1,6 0 0 4294967295 action bpf bytecode 2,40 0 0 12,6 0 0 2 drop cookie
    /// 736c7569636501020304050607080913`
    static let actionBPF = Fixture(
        """
        a0000000 # nlmsg_len 160
        2c00 # nlmsg_type RTM_NEWTFILTER
        0504 # nlmsg_flags 0x405
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        74000200 # nla_len 116, TCA_OPTIONS
        5c000100 # nla_len 92, TCA_BPF_ACT
        58000100 # nla_len 88, action 1
        08000100 # nla_len 8, TCA_ACT_KIND
        62706600 # "bpf"
        38000280 # nla_len 56, TCA_ACT_OPTIONS | NLA_F_NESTED
        06000300 # nla_len 6, TCA_ACT_BPF_OPS_LEN
        0200 # 2 instructions
        0000 # padding
        14000400 # nla_len 20, TCA_ACT_BPF_OPS
        280000000c000000 # code 0x28, jt 0, jf 0, k 12
        0600000002000000 # code 0x6, jt 0, jf 0, k 2
        18000200 # nla_len 24, TCA_ACT_BPF_PARMS
        00000000 # index 0
        00000000 # capab 0
        02000000 # action 2
        00000000 # refcnt 0
        00000000 # bindcnt 0
        14000600 # nla_len 20, TCA_ACT_COOKIE
        736c7569636501020304050607080913 # cookie
        06000400 # nla_len 6, TCA_BPF_OPS_LEN
        0100 # 1 instructions
        0000 # padding
        0c000500 # nla_len 12, TCA_BPF_OPS
        06000000ffffffff # code 0x6, jt 0, jf 0, k 0xffffffff
        """)

    /// `tc filter replace dev lo ingress pref 13 handle 0x7a01 protocol all bpf bytecode
    /// 1,6 0 0 4294967295 action ct commit continue cookie 736c7569636501020304050607080914`
    static let actionConnection = Fixture(
        """
        8c000000 # nlmsg_len 140
        2c00 # nlmsg_type RTM_NEWTFILTER
        0504 # nlmsg_flags 0x405
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        60000200 # nla_len 96, TCA_OPTIONS
        48000100 # nla_len 72, TCA_BPF_ACT
        44000100 # nla_len 68, action 1
        07000100 # nla_len 7, TCA_ACT_KIND
        637400 # "ct"
        00 # padding
        24000280 # nla_len 36, TCA_ACT_OPTIONS | NLA_F_NESTED
        06000300 # nla_len 6, TCA_CT_ACTION
        0100 # TCA_CT_ACT_COMMIT
        0000 # padding
        18000100 # nla_len 24, TCA_CT_PARMS
        00000000 # index 0
        00000000 # capab 0
        ffffffff # action -1
        00000000 # refcnt 0
        00000000 # bindcnt 0
        14000600 # nla_len 20, TCA_ACT_COOKIE
        736c7569636501020304050607080914 # cookie
        06000400 # nla_len 6, TCA_BPF_OPS_LEN
        0100 # 1 instructions
        0000 # padding
        0c000500 # nla_len 12, TCA_BPF_OPS
        06000000ffffffff # code 0x6, jt 0, jf 0, k 0xffffffff
        """)

    /// `tc filter replace dev lo ingress pref 13 handle 0x7a01 protocol all flower ct_state +trk-rpl
    /// action drop cookie 736c7569636501020304050607080915`
    static let connection = Fixture(
        """
        90000000 # nlmsg_len 144
        2c00 # nlmsg_type RTM_NEWTFILTER
        0504 # nlmsg_flags 0x405
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        0b000100 # nla_len 11, TCA_KIND
        666c6f77657200 # "flower"
        00 # padding
        60000200 # nla_len 96, TCA_OPTIONS
        06005b00 # nla_len 6, TCA_FLOWER_KEY_CT_STATE
        0800 # TRACKED
        0000 # padding
        06005c00 # nla_len 6, TCA_FLOWER_KEY_CT_STATE_MASK
        2800 # TRACKED, REPLY
        0000 # padding
        44000300 # nla_len 68, TCA_FLOWER_ACT
        40000100 # nla_len 64, action 1
        09000100 # nla_len 9, TCA_ACT_KIND
        6761637400 # "gact"
        000000 # padding
        1c000280 # nla_len 28, TCA_ACT_OPTIONS | NLA_F_NESTED
        18000200 # nla_len 24, TCA_GACT_PARMS
        00000000 # index 0
        00000000 # capab 0
        02000000 # action 2
        00000000 # refcnt 0
        00000000 # bindcnt 0
        14000600 # nla_len 20, TCA_ACT_COOKIE
        736c7569636501020304050607080915 # cookie
        08001600 # nla_len 8, TCA_FLOWER_FLAGS
        00000000 # 0
        """)

    /// `tc filter replace dev lo parent 7a01: pref 13 handle 0x7a01 protocol all bpf
    /// bytecode 1,6 0 0 4294967295 flowid 7a01:30`
    static let classified = Fixture(
        """
        4c000000 # nlmsg_len 76
        2c00 # nlmsg_type RTM_NEWTFILTER
        0504 # nlmsg_flags 0x405
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        0000017a # tcm_parent 7a010000
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        20000200 # nla_len 32, TCA_OPTIONS
        08000300 # nla_len 8, TCA_BPF_CLASSID
        3000017a # 0x7a010030
        06000400 # nla_len 6, TCA_BPF_OPS_LEN
        0100 # 1 instructions
        0000 # padding
        0c000500 # nla_len 12, TCA_BPF_OPS
        06000000ffffffff # code 0x6, jt 0, jf 0, k 0xffffffff
        """)

    /// `tc filter replace dev lo ingress pref 13 handle 0x7a01 protocol all bpf
    /// direct-action object-pinned /sys/fs/bpf/sluice`
    static let extendedBPF = Fixture(
        """
        54000000 # nlmsg_len 84
        2c00 # nlmsg_type RTM_NEWTFILTER
        0504 # nlmsg_flags 0x405
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        28000200 # nla_len 40, TCA_OPTIONS
        08000600 # nla_len 8, TCA_BPF_FD
        04000000 # 0x4
        14000700 # nla_len 20, TCA_BPF_NAME
        736c756963653a5b2a66736f626a5d00 # "sluice:[*fsobj]"
        08000800 # nla_len 8, TCA_BPF_FLAGS
        01000000 # 0x1
        """)

    /// `tc filter del dev lo ingress pref 13 handle 0x7a01 protocol all bpf`
    static let filterDelete = Fixture(
        """
        2c000000 # nlmsg_len 44
        2d00 # nlmsg_type RTM_DELTFILTER
        0500 # nlmsg_flags 0x5
        0000000000000000 # nlmsg_seq, nlmsg_pid: zeroed
        00000000 # tcm_family, padding
        01000000 # tcm_ifindex 1
        017a0000 # tcm_handle 00007a01
        f2ffffff # tcm_parent fffffff2
        00030d00 # tcm_info 000d0300
        08000100 # nla_len 8, TCA_KIND
        62706600 # "bpf"
        """)
}
