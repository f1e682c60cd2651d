// What makes an interface a port: patterns of names for each class, matched over raw bytes.
// Invariants: a pattern matches a whole name; names are at most 15 bytes, patterns hold at most one
// <num>, one <netid> and two `*`, so that a match takes bounded work on any bytes.

package import Mitigation

/// The name patterns of all classes.
package struct PortNames: Hashable, Sendable {
    /// The patterns of each class; a class without patterns claims no interface.
    package var patterns: [PortClass: [NamePattern]]

    /// Patterns for each class.
    package init(patterns: [PortClass: [NamePattern]]) {
        self.patterns = patterns
    }

    /// The operators' names: `vm-<num>-<netid>`, the router's `spc-`, `pub-` and `gwm-<netid>`, the
    /// tenant's `vx-<netid>`, and `vxbackend`.
    package static var `default`: PortNames {
        PortNames(patterns: [
            .vm: [NamePattern(parts: [.bytes("vm-"), .num, .bytes("-"), .netid])],
            .router: [
                NamePattern(parts: [.bytes("spc-"), .netid]),
                NamePattern(parts: [.bytes("pub-"), .netid]),
                NamePattern(parts: [.bytes("gwm-"), .netid]),
            ],
            .vtep: [NamePattern(parts: [.bytes("vx-"), .netid])],
            .backend: [NamePattern(parts: [.bytes("vxbackend")])],
        ])
    }

    /// The first class (in the order vm, router, vtep, backend) one of whose patterns matches the
    /// whole name, the patterns in the order of the file; nil where none does.
    package func match(_ name: PortName) -> PortMatch? {
        for portClass in PortClass.allCases {
            for pattern in patterns[portClass] ?? [] {
                guard let found = pattern.match(name.bytes) else { continue }
                return PortMatch(
                    name: name, portClass: portClass, pattern: pattern, numText: found.num,
                    netidText: found.netid)
            }
        }
        return nil
    }
}

/// An interface that a class claims, with the parts of its name.
package struct PortMatch: Hashable, Sendable {
    /// Its whole name.
    package var name: PortName
    /// The class that claims it.
    package var portClass: PortClass
    /// The pattern by which it does.
    package var pattern: NamePattern
    /// What `<num>` matched, as it stands in the name; nil where the pattern has none.
    package var numText: String?
    /// What `<netid>` matched, as it stands in the name; nil where the pattern has none.
    package var netidText: String?

    /// The cloudspace's number; nil where the pattern has no `<netid>`.
    package var netid: UInt32? { netidText.flatMap { UInt32($0, radix: 16) } }
}

/// A pattern for a whole interface name.
package struct NamePattern: Hashable, Sendable {
    /// One part of a pattern.
    package enum Part: Hashable, Sendable {
        /// These bytes and no others.
        case literal([UInt8])
        /// `<num>`: one or more decimal digits.
        case num
        /// `<netid>`: 1 to 8 hexadecimal digits of either case.
        case netid
        /// `*`: any bytes, or none.
        case any

        /// The UTF-8 bytes of this text and no others.
        static func bytes(_ text: String) -> Part { .literal(Array(text.utf8)) }
    }

    /// The parts, in their order; two literals never stand side by side.
    package var parts: [Part]

    init(parts: [Part]) { self.parts = parts }

    /// As it stands in a configuration: `vm-<num>-<netid>`.
    package var description: String {
        parts.map { part in
            switch part {
            case .literal(let bytes): PortName(bytes: bytes).description
            case .num: "<num>"
            case .netid: "<netid>"
            case .any: "*"
            }
        }.joined()
    }

    /// The kernel's longest name: IFNAMSIZ less the terminating NUL.
    package static let longestName = 15

    /// What `<num>` and `<netid>` matched.
    struct Found: Hashable {
        var num: String?
        var netid: String?
    }

    /// What the parts matched, each as long as it can be; nil where the whole name does not match.
    func match(_ name: [UInt8]) -> Found? {
        guard !name.isEmpty, name.count <= Self.longestName else { return nil }
        return Self.match(parts[...], name[...], Found())
    }

    private static func match(
        _ parts: ArraySlice<Part>, _ name: ArraySlice<UInt8>, _ found: Found
    ) -> Found? {
        guard let part = parts.first else { return name.isEmpty ? found : nil }
        let rest = parts.dropFirst()
        let longest: Int
        var shortest = 1
        switch part {
        case .literal(let bytes):
            guard name.starts(with: bytes) else { return nil }
            return match(rest, name.dropFirst(bytes.count), found)
        case .num: longest = name.prefix(while: isDecimal).count
        case .netid: longest = min(8, name.prefix(while: isHexadecimal).count)
        case .any:
            longest = name.count
            shortest = 0
        }
        var length = longest
        while length >= shortest {
            var next = found
            if part == .num { next.num = text(name.prefix(length)) }
            if part == .netid { next.netid = text(name.prefix(length)) }
            if let end = match(rest, name.dropFirst(length), next) { return end }
            length -= 1
        }
        return nil
    }

    private static func text(_ digits: ArraySlice<UInt8>) -> String {
        String(decoding: digits, as: UTF8.self)
    }

    private static func isDecimal(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        isDecimal(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(byte)
    }
}

// MARK: - From a configuration's text

extension NamePattern {
    /// Why a pattern is refused: what is wrong, and the cure.
    struct Refusal: Error, Hashable {
        var sentence: String
        var cure: String
    }

    /// The pattern of this text: `<num>`, `<netid>`, `*`, and literal bytes.
    ///
    /// - Throws: `Refusal` where it could match nothing, everything, or would take unbounded work.
    init(_ text: String) throws(Refusal) {
        var parts: [Part] = []
        var literal: [UInt8] = []
        func flush() {
            if !literal.isEmpty { parts.append(.literal(literal)) }
            literal = []
        }
        var rest = Array(text.utf8)[...]
        while let byte = rest.first {
            if byte == UInt8(ascii: "*") {
                flush()
                if parts.last != .any { parts.append(.any) }
                rest = rest.dropFirst()
            } else if byte == UInt8(ascii: "<") {
                let name = String(decoding: rest.prefix { $0 != UInt8(ascii: ">") }, as: UTF8.self)
                let isClosed = rest.dropFirst(name.utf8.count).first == UInt8(ascii: ">")
                guard isClosed, name == "<num" || name == "<netid" else {
                    throw Refusal(
                        sentence: "\"\(name)\(isClosed ? ">" : "")\" is no part of a name",
                        cure: "write <num> for decimal digits, <netid> for hexadecimal ones")
                }
                flush()
                parts.append(name == "<num" ? .num : .netid)
                rest = rest.dropFirst(name.utf8.count + 1)
            } else {
                literal.append(byte)
                rest = rest.dropFirst()
            }
        }
        flush()
        self.init(parts: parts)
        try refuseWhatCannotBe()
    }

    private func refuseWhatCannotBe() throws(Refusal) {
        var literals: [UInt8] = []
        for case .literal(let bytes) in parts { literals += bytes }
        let digits = parts.filter { $0 == .num || $0 == .netid }
        if literals.isEmpty {
            throw Refusal(
                sentence: "it would claim interfaces of every name",
                cure: "begin it with what only these interfaces have, as in \"vm-*\"")
        }
        if literals.count + digits.count > Self.longestName {
            throw Refusal(
                sentence: "no interface name is that long",
                cure: "the kernel's names have at most \(Self.longestName) bytes")
        }
        if literals.contains(where: { $0 <= 0x20 || $0 == UInt8(ascii: "/") || $0 == 0x3a }) {
            throw Refusal(
                sentence: "no interface name holds a blank, a slash or a colon",
                cure: "take it out")
        }
        if digits.count != Set(digits).count || parts.filter({ $0 == .any }).count > 2 {
            throw Refusal(
                sentence: "it holds <num> or <netid> twice, or more than two stars",
                cure: "use each of them once, and at most two stars")
        }
    }
}
