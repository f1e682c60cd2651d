// How ours is told from everyone else's in the kernel.
//
// Invariants: a filter is ours if it stands at one of our preferences, with our handle, and its
// action's cookie or its program's name says so; a qdisc tree is ours by its handle 7a01:; an ifb
// by its name, which is made of the port's index, and its alias. Nothing else is ever touched.
import Mitigation
public import Netlink

enum Ownership {
    /// The handle of all our filters.
    static let filterHandle: UInt32 = 0x7a01
    /// The root of our queue trees.
    static let rootHandle = Handle(major: 0x7a01, minor: 0)
    /// The root's `r2q` where it took the place of another owner's: a number that serves nothing
    /// else, since all our classes bring their quantum.
    static let replacingQuantum: UInt32 = 11
    /// The delay below it.
    static let delayHandle = Handle(major: 0x7a02, minor: 0)
    /// Where it hangs: at the general lane's class of an htb, or at the only one of a tbf.
    static func delayParent(below kind: String) -> Handle {
        Handle(
            major: rootHandle.major,
            minor: kind == "htb" ? UInt16(FrameLane.general.rawValue + 1) : 1)
    }
    /// The name under which bpf programs are listed (`bpftool prog`), at most 15 characters.
    static let programName = "sluice"

    /// A limit's filter of ours, by handle, preference, and cookie or name.
    static func isOurs(_ filter: FilterRecord) -> Bool {
        guard filter.handle == filterHandle, filter.chain == 0,
            FrameLane.allCases.contains(where: { $0.preference == filter.preference })
        else { return false }
        return tag(of: filter) != nil
    }

    /// The entry without a handle that the kernel lists before our filter at each preference.
    static func isOurHead(_ filter: FilterRecord) -> Bool {
        filter.handle == 0 && filter.chain == 0
            && filter.kind == (filter.preference == unansweringPreference ? "flower" : "bpf")
            && (guardPreferences.contains(filter.preference)
                || FrameLane.allCases.contains { $0.preference == filter.preference })
    }

    /// What a filter of ours says of itself; nil where it does not.
    static func tag(of filter: FilterRecord) -> Tag? {
        if let name = filter.bpfName { return Tag(name: name) }
        return filter.actions.lazy.compactMap { $0.cookie.flatMap(Tag.init(cookie:)) }.first
    }
}

/// What every object of ours carries: whose it is, and whether the hook it stands on is ours too.
struct Tag: Hashable, Sendable {
    /// The port's interface index.
    var index: Int32
    /// The incident that called for it.
    var incident: UInt32
    /// The rung of the limits.
    var rung: Rung
    /// Whether we made the `ingress` or `clsact` qdisc and so must remove it.
    var ownsHook: Bool

    private static let magic: [UInt8] = Array("slc1".utf8)

    init(index: Int32, incident: UInt32, rung: Rung, ownsHook: Bool) {
        self.index = index
        self.incident = incident
        self.rung = rung
        self.ownsHook = ownsHook
    }

    /// The 16 bytes of an action's cookie (TCA_ACT_COOKIE): magic, flags, rung, 2 zeros, index,
    /// incident.
    var cookie: [UInt8] {
        Self.magic + [ownsHook ? 1 : 0, rung.rawValue, 0, 0] + Self.bytes(UInt32(bitPattern: index))
            + Self.bytes(incident)
    }

    /// Nil where the cookie is not ours.
    init?(cookie: [UInt8]) {
        guard cookie.count == 16, cookie.starts(with: Self.magic) else { return nil }
        guard let rung = Rung(rawValue: cookie[5]) else { return nil }
        self.rung = rung
        ownsHook = cookie[4] & 1 == 1
        index = Int32(bitPattern: Self.number(cookie[8..<12]))
        incident = Self.number(cookie[12..<16])
    }

    /// The name of a guard's program: as a limit's, with the guard's label in place of ports.
    func name(guardLabel: String) -> String {
        name(last: guardLabel)
    }

    /// The name of a bpf filter: `sluice/1/<index>/<incident>/<rung>/<hook or ->/<tcp ports>`; the
    /// ports stand there because a loaded program cannot be compared with a wanted one.
    func name(tcpPorts: [UInt16]) -> String {
        name(last: tcpPorts.map(String.init).joined(separator: ","))
    }

    private func name(last: String) -> String {
        // Put together for every tree: an interpolation takes twice the time.
        var name = Self.head
        name.reserveCapacity(64)
        for number in [String(index), String(incident), String(rung.rawValue)] {
            name += number
            name += "/"
        }
        name += ownsHook ? "hook/" : "-/"
        name += last
        return name
    }

    /// Nil where the name is not ours.
    init?(name: String) {
        // Most filters are another owner's, and those of ours are looked at once a second.
        guard name.hasPrefix(Self.head) else { return nil }
        var rest = name.utf8.dropFirst(Self.head.utf8.count)
        /// What stands before the next stroke.
        func part() -> Substring? {
            guard let end = rest.firstIndex(of: UInt8(ascii: "/")) else { return nil }
            defer { rest = rest[rest.index(after: end)...] }
            return Substring(rest[..<end])
        }
        guard let index = part().flatMap({ Int32($0) }),
            let incident = part().flatMap({ UInt32($0) }),
            let rung = part().flatMap({ UInt8($0) }).flatMap(Rung.init(rawValue:)),
            let hook = part(), !rest.contains(UInt8(ascii: "/"))
        else { return nil }
        self.init(index: index, incident: incident, rung: rung, ownsHook: hook == "hook")
    }

    private static let head = "sluice/1/"

    private static func bytes(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }
}

/// The port, by interface index, whose packets this ifb of ours takes; nil where the link is none, by
/// kind, name and alias.
public func ownerOfIFB(_ link: Link) -> Int32? { IFBRole.owner(of: link)?.index }

/// Which of a port's two ifbs.
enum IFBRole: Int, CaseIterable, Hashable, Sendable {
    /// Takes what the VM sends.
    case from
    /// Takes what is sent to the VM.
    case to

    /// The fixed name, at most 15 bytes: `ifb-f12` for what interface 12 sends.
    func name(of index: Int32) -> String { (self == .from ? "ifb-f" : "ifb-t") + String(index) }

    /// The alias that names the port: `sluice/1 from vm-1-00aa 12`.
    func alias(of port: ControlledPort) -> String {
        "sluice/1 \(self == .from ? "from" : "to") \(port.name) \(port.index)"
    }

    /// Whether the link is an ifb whose maker ended before it had its alias. Nothing leads to it.
    static func isUnfinished(_ link: Link) -> Bool {
        link.isBareIFB && named(link) != nil
    }

    /// The port's index where the link is an ifb of ours; nil for all others.
    static func owner(of link: Link) -> (role: IFBRole, index: Int32)? {
        guard link.kind == "ifb", let alias = link.alias,
            alias.starts(with: Array("sluice/1 ".utf8))
        else { return nil }
        return named(link)
    }

    /// By its name alone.
    private static func named(_ link: Link) -> (role: IFBRole, index: Int32)? {
        for role in allCases {
            let prefix = role == .from ? "ifb-f" : "ifb-t"
            let name = String(decoding: link.name, as: UTF8.self)
            if name.hasPrefix(prefix), let index = Int32(name.dropFirst(prefix.count)) {
                return (role, index)
            }
        }
        return nil
    }
}

extension Link {
    /// Whether it is an ifb as it is made: down, and without an alias.
    var isBareIFB: Bool { kind == "ifb" && alias == nil && !isUp }
}
