// The kernel's types as it describes them itself (BTF): where a field lies in a structure of the
// running kernel. Reference: Documentation/bpf/btf.rst of the kernel, <linux/btf.h>.
//
// Invariants: pure; whatever the bytes are, nothing traps and every walk is bounded: what cannot be
// read is not found.

/// A field of a structure.
struct TypeField: Hashable, Sendable {
    /// Bytes from the structure's beginning.
    var offset: Int
    /// Bytes that it takes.
    var size: Int
}

/// The types of /sys/kernel/btf/vmlinux.
struct TypeInformation: Sendable {
    /// BTF_KIND_*, of those that are looked at.
    private enum Kind: UInt32 {
        case int = 1
        case pointer = 2
        case array = 3
        case structure = 4
        case union = 5
        case enumeration = 6
        case forward = 7
        case typedef = 8
        case volatile = 9
        case const = 10
        case restrict = 11
        case function = 12
        case prototype = 13
        case variable = 14
        case section = 15
        case float = 16
        case declarationTag = 17
        case typeTag = 18
        case enumeration64 = 19

        /// Bytes behind `struct btf_type`, by the number of parts.
        func tail(_ count: Int) -> Int {
            switch self {
            case .int, .variable, .declarationTag: 4
            case .array: 12
            case .structure, .union, .section, .enumeration64: 12 * count
            case .enumeration, .prototype: 8 * count
            case .pointer, .forward, .typedef, .volatile, .const, .restrict, .function, .float,
                .typeTag:
                0
            }
        }
    }

    /// `struct btf_type`.
    private struct Record {
        var name: Int
        var kind: Kind?
        var count: Int
        /// Of a structure: members' offsets hold a bit-field's size in their upper 8 bits.
        var hasBitFields: Bool
        /// A size in bytes, or another type's number.
        var sizeOrType: UInt32
    }

    private let bytes: [UInt8]
    /// Where each type begins; numbers count from 1.
    private var starts: [UInt32] = []
    private var strings = 0..<0

    private static let magic: UInt32 = 0xeb9f
    private static let recordSize = 12
    /// How many types are followed from one to the next, and how deep structures lie in one another.
    private static let longestChain = 16
    private static let deepest = 8

    /// Reads the bytes of a BTF file; nil where it is none, or of another byte order.
    init?(_ bytes: [UInt8]) {
        self.bytes = bytes
        guard let head = word(0), head & 0xffff == Self.magic, head >> 16 & 0xff == 1,
            let headerLength = word(4), let typeOffset = word(8), let typeLength = word(12),
            let stringOffset = word(16), let stringLength = word(20)
        else { return nil }
        let begin = Int(headerLength) + Int(typeOffset)
        let end = begin + Int(typeLength)
        let text = Int(headerLength) + Int(stringOffset)
        guard begin >= 24, end <= bytes.count, text + Int(stringLength) <= bytes.count else {
            return nil
        }
        strings = text..<(text + Int(stringLength))
        starts.reserveCapacity(Int(typeLength) / 20)
        var place = begin
        while place < end {
            guard let record = record(at: place), let kind = record.kind else { return nil }
            starts.append(UInt32(clamping: place))
            place += Self.recordSize + kind.tail(record.count)
        }
        guard place == end else { return nil }
    }

    /// The number of the structure of this name.
    func structure(_ name: String) -> UInt32? { find(name, .structure) }

    /// The number of the function of this name.
    func function(_ name: String) -> UInt32? { find(name, .function) }

    /// A field of a structure, or of a structure without a name inside it.
    func field(_ name: String, of structure: UInt32) -> TypeField? {
        field(Array(name.utf8), of: structure, depth: 0)
    }

    private func field(_ name: [UInt8], of type: UInt32, depth: Int) -> TypeField? {
        guard depth < Self.deepest, let (start, record) = resolve(type),
            record.kind == .structure || record.kind == .union
        else { return nil }
        for number in 0..<record.count {
            let place = start + Self.recordSize + 12 * number
            guard let nameOffset = word(place), let memberType = word(place + 4),
                let packed = word(place + 8)
            else { return nil }
            let bits = record.hasBitFields ? Int(packed & 0xff_ffff) : Int(packed)
            let width = record.hasBitFields ? Int(packed >> 24) : 0
            if isName(Int(nameOffset), name) {
                guard bits % 8 == 0, width % 8 == 0 else { return nil }
                return size(of: memberType).map {
                    TypeField(offset: bits / 8, size: width > 0 ? width / 8 : $0)
                }
            }
            if isName(Int(nameOffset), []),
                let inner = field(name, of: memberType, depth: depth + 1)
            {
                return TypeField(offset: bits / 8 + inner.offset, size: inner.size)
            }
        }
        return nil
    }

    /// Bytes of a type; nil where that is not simple.
    private func size(of type: UInt32) -> Int? {
        guard let (_, record) = resolve(type) else { return nil }
        switch record.kind {
        case .int, .structure, .union, .enumeration, .enumeration64, .float:
            return Int(record.sizeOrType)
        case .pointer: return 8
        // Its first element is all that is asked for.
        case .array: return 0
        default: return nil
        }
    }

    /// A type behind its other names and qualifiers.
    private func resolve(_ type: UInt32) -> (start: Int, record: Record)? {
        var type = type
        for _ in 0..<Self.longestChain {
            guard type > 0, Int(type) <= starts.count,
                let record = record(at: Int(starts[Int(type) - 1]))
            else { return nil }
            switch record.kind {
            case .typedef, .volatile, .const, .restrict, .typeTag: type = record.sizeOrType
            default: return (Int(starts[Int(type) - 1]), record)
            }
        }
        return nil
    }

    private func find(_ name: String, _ kind: Kind) -> UInt32? {
        let name = Array(name.utf8)
        for (place, start) in starts.enumerated() {
            guard let record = record(at: Int(start)), record.kind == kind,
                isName(record.name, name)
            else { continue }
            return UInt32(place) + 1
        }
        return nil
    }

    private func record(at place: Int) -> Record? {
        guard let name = word(place), let info = word(place + 4), let last = word(place + 8) else {
            return nil
        }
        return Record(
            name: Int(name), kind: Kind(rawValue: info >> 24 & 0x1f), count: Int(info & 0xffff),
            hasBitFields: info >> 31 == 1, sizeOrType: last)
    }

    /// Whether the string at `offset` is this one, to its end.
    private func isName(_ offset: Int, _ name: [UInt8]) -> Bool {
        let begin = strings.lowerBound + offset
        guard begin + name.count < strings.upperBound else { return false }
        for position in name.indices where bytes[begin + position] != name[position] {
            return false
        }
        return bytes[begin + name.count] == 0
    }

    private func word(_ place: Int) -> UInt32? {
        guard place >= 0, place + 4 <= bytes.count else { return nil }
        return UInt32(bytes[place]) | UInt32(bytes[place + 1]) << 8 | UInt32(bytes[place + 2]) << 16
            | UInt32(bytes[place + 3]) << 24
    }
}
