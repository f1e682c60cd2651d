// A BTF file made by hand. Reference: Documentation/bpf/btf.rst of the kernel.

/// A BTF file under construction.
struct TypeFile {
    private var strings: [UInt8] = [0]
    private var types: [UInt8] = []
    private var count: UInt32 = 0

    /// Appends a type and gives its number; `tail` is what follows `struct btf_type`.
    mutating func add(
        _ kind: UInt32, _ name: String = "", size: UInt32, parts: Int = 0,
        hasBitFields: Bool = false, _ tail: [UInt32] = []
    ) -> UInt32 {
        let info = kind << 24 | UInt32(parts) | (hasBitFields ? 1 << 31 : 0)
        for word in [text(name), info, size] + tail { append(word) }
        count += 1
        return count
    }

    /// A structure (4) or union (5) of fields: name, type, and offset in bits.
    mutating func structure(
        _ name: String, kind: UInt32 = 4, size: UInt32 = 64, hasBitFields: Bool = false,
        _ fields: [(String, UInt32, UInt32)]
    ) -> UInt32 {
        let tail = fields.flatMap { [text($0.0), $0.1, $0.2] }
        return add(kind, name, size: size, parts: fields.count, hasBitFields: hasBitFields, tail)
    }

    /// The whole file.
    var bytes: [UInt8] {
        var head = TypeFile()
        let length = UInt32(types.count)
        for word in [0x0001_eb9f, 24, 0, length, length, UInt32(strings.count)] {
            head.append(word)
        }
        return head.types + types + strings
    }

    private mutating func text(_ name: String) -> UInt32 {
        guard !name.isEmpty else { return 0 }
        let offset = strings.count
        strings += Array(name.utf8) + [0]
        return UInt32(offset)
    }

    private mutating func append(_ word: UInt32) {
        for shift in [0, 8, 16, 24] { types.append(UInt8(truncatingIfNeeded: word >> shift)) }
    }
}

extension TypeFile {
    /// Everything that a walk looks up, in an order of our own; without `missing`.
    static func kernel(missing: String? = nil, countersApart: Bool = false) -> TypeFile {
        var file = TypeFile()
        let word = file.add(1, "u64", size: 8, [64])
        let half = file.add(1, "u32", size: 4, [32])
        let byte = file.add(6, "netdev_stat_type", size: 4, parts: 1, [0, 0])
        let pointer = file.add(2, size: 0)
        // One of each other kind stands between those that are looked at, as in a kernel's file.
        for (kind, tail) in [
            7: 0, 9: 0, 10: 0, 11: 0, 13: 0, 14: 1, 15: 0, 16: 0, 17: 1, 18: 0, 19: 0,
        ] {
            _ = file.add(
                UInt32(kind), "other", size: pointer, [UInt32](repeating: 0, count: tail))
        }
        let counter = file.add(8, "u64_stats_t", size: word)
        let list = file.structure(
            "list_head", size: 16, [("next", pointer, 0), ("prev", pointer, 64)])
        var structures: [(String, [(String, UInt32, UInt32)])] = [
            ("task_struct", [("pid", half, 0), ("nsproxy", pointer, 512)]),
            ("nsproxy", [("net_ns", pointer, 320)]),
            ("ns_common", [("inum", half, 192)]),
        ]
        let order = ["rx_packets", "tx_packets", "rx_bytes", "tx_bytes"]
        let perCPU = file.structure(
            "pcpu_sw_netstats",
            order.enumerated().filter { $0.element != missing }.map {
                ($0.element, counter, UInt32($0.offset) * (countersApart ? 256 : 64))
            })
        let atomic = file.structure("", kind: 5, size: 8, [("rx_packets", word, 0)])
        let shared = file.structure(
            "net_device_stats",
            [
                ("", atomic, 0), ("tx_packets", word, 64), ("rx_bytes", word, 128),
                ("tx_bytes", word, 192),
            ])
        for (name, fields) in structures where name != missing {
            _ = file.structure(name, fields.filter { $0.0 != missing })
        }
        structures = [
            (
                "net",
                [("ns", half, 1_216), ("dev_base_head", list, 1_856), ("dev_base_seq", half, 96)]
            ),
            ("bpf_array", [("pptrs", file.add(3, size: 0, [pointer, half, 0]), 2_496)]),
        ]
        for (name, fields) in structures where name != missing {
            _ = file.structure(name, fields.filter { $0.0 != missing })
        }
        // `stats` lies in a group without a name, `pcpu_stat_type` is a bit-field.
        let group = file.structure("", size: 256, [("stats", shared, 128)])
        let device: [(String, UInt32, UInt32)] = [
            ("dev_list", list, 2_688), ("ifindex", half, 1_792), ("netdev_ops", pointer, 64),
            ("tstats", pointer, 1_280), ("", group, 4_096),
            ("pcpu_stat_type", byte, 8 << 24 | 10_720),
        ]
        if missing != "net_device" {
            _ = file.structure(
                "net_device", size: 2_496, hasBitFields: true, device.filter { $0.0 != missing })
        }
        _ = perCPU
        if missing != "bpf_rdonly_cast" { _ = file.add(12, "bpf_rdonly_cast", size: pointer) }
        return file
    }
}
