// What stands in a network namespace, as lines that can be compared: links, qdiscs, classes, filters.
// Invariant: what only counts, or follows the carrier a while later, is no part of it.
internal import Netlink

/// A picture of a namespace.
struct KernelPicture: Hashable, Sendable {
    private var lines: Set<String> = []

    /// Takes it, of the caller's namespace.
    static func take() throws(NetlinkError) -> KernelPicture {
        var socket = try RouteSocket.open()
        var picture = KernelPicture()
        let links = try socket.links()
        for link in links {
            let name = "\(link.index) \(text(link.name)) \(link.kind ?? "-")"
            let alias = link.alias.map(text) ?? "-"
            picture.lines.insert("link \(name) \(link.isUp ? "up" : "down") \(alias)")
            for parent in [Handle.clsactIngress, .clsactEgress] {
                for filter in try socket.filters(of: link.index, parent: parent) {
                    picture.lines.insert(
                        "filter \(name) \(parent) pref \(filter.preference) handle "
                            + "\(filter.handle) \(filter.kind)")
                }
            }
            for one in try socket.classes(of: link.index) {
                picture.lines.insert("class \(name) \(one.kind) \(one.classID)")
            }
        }
        for qdisc in try socket.qdiscs() {
            picture.lines.insert(
                "qdisc \(qdisc.index) \(qdisc.kind) \(qdisc.handle) parent \(qdisc.parent)")
        }
        return picture
    }

    /// What stands only here (`+`), and what only in the earlier one (`-`).
    func difference(from earlier: KernelPicture) -> [String] {
        lines.subtracting(earlier.lines).map { "+\($0)" }.sorted()
            + earlier.lines.subtracting(lines).map { "-\($0)" }.sorted()
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
