// The port that is limited, and the picture of all that traffic control and the links show.
import Lab
import Netlink

/// A tap that lives until it is deleted.
struct TestPort {
    let name = "vm-1-00aa"
    let other = "elsewhere"
    private let batch: String

    /// Makes it, up. `folder` holds the list of what a picture shows.
    init(in folder: String) throws {
        batch = folder + "/picture"
        try writeFile(
            """
            qdisc show
            filter show dev \(name) ingress
            filter show dev \(name) egress
            filter show dev \(name)
            class show dev \(name)
            actions list action police
            actions list action mirred
            actions list action gact

            """, to: batch)
        try make()
        // Nobody reads a tap of ours; the kernel tells so a moment later (linkwatch).
        try wait(for: "the loss of the carrier", within: .seconds(5)) {
            try readFile("/sys/class/net/\(name)/operstate") == "down\n"
        }
    }

    /// Another interface of the same name.
    func renew() throws {
        for each in [name, other] { _ = try? Tool.run("ip", "link", "del", each) }
        try make()
    }

    private func make() throws {
        try Tool.run("ip", "tuntap", "add", "dev", name, "mode", "tap")
        try Tool.run("ip", "link", "set", name, "address", "52:54:00:00:00:01", "up")
    }

    /// Its interface index; 0 where it is not there.
    var index: Int32 {
        let text = try? readFile("/sys/class/net/\(name)/ifindex")
        return text.flatMap { Int32($0.prefix { $0.isNumber }) } ?? 0
    }

    /// What `tc` prints of the namespace, and its links, without the numbers that the kernel gives
    /// anew to each object.
    func picture() throws -> String {
        let (_, traffic) = try Tool.status("tc", ["-force", "-batch", batch])
        var socket = try RouteSocket.open()
        let links = try socket.links().map(describe).sorted()
        return withoutNumbers(traffic) + links.joined()
    }

    /// The kernel lists links in no order that lasts, and gives an ifb a random address.
    private func describe(_ link: Link) -> String {
        let texts = [link.name, link.alias ?? []].map { String(decoding: $0, as: UTF8.self) }
        let address = link.kind == "ifb" ? [] : link.address
        return "link \(texts) \(link.kind ?? "-") \(address) mtu \(link.mtu) flags \(link.flags) "
            + "master \(link.master ?? 0) queues \(link.txQueueCount) \(link.qdisc ?? "-")\n"
    }

    /// The picture once it has stood still for a moment.
    func settledPicture() throws -> String {
        var last = try picture()
        while true {
            measure(for: .milliseconds(100))
            let next = try picture()
            guard next != last else { return next }
            last = next
        }
    }

    /// The picture once it is the expected one, or after two seconds: the kernel frees the actions of
    /// a deleted filter a moment later.
    func picture(expecting wanted: String) throws -> String {
        let deadline = Moment.now + .seconds(2)
        while true {
            let now = try picture()
            guard now != wanted, Moment.now < deadline else { return now }
        }
    }

    /// Without actions' indexes, programs' numbers, the incident's number in our marks (an incident
    /// that died before its first rung was never told, and the next one has another number), and
    /// what is only known after a first dump.
    private func withoutNumbers(_ text: String) -> String {
        var lines = text.split(separator: "\n").filter { !$0.contains("used_hw_stats") }
        // Filters show their actions; of the lists of all actions only the sums have an order.
        let lists = lines.firstIndex { $0.hasPrefix("total acts") } ?? lines.endIndex
        let sums = lines[lists...].filter { $0.hasPrefix("total acts") }
        lines.replaceSubrange(lists..., with: sums)
        // Qdiscs come in the order of the links; the lines of a filter belong together.
        let sorted =
            lines.filter { $0.hasPrefix("qdisc ") }.sorted()
            + lines.filter { !$0.hasPrefix("qdisc ") }
        return sorted.map { line in
            var words = line.split { $0 == " " || $0 == "\t" }.map(withoutIncident)
            for word in ["index", "police", "id"] {
                while let place = words.firstIndex(of: Substring(word)), place + 1 < words.count {
                    words.removeSubrange(place...(place + 1))
                }
            }
            return words.joined(separator: " ") + "\n"
        }.joined()
    }

    /// `sluice/1/<index>/<incident>/...`, and the last four bytes of a cookie of ours.
    private func withoutIncident(_ word: Substring) -> Substring {
        if word.hasPrefix("sluice/") {
            var parts = word.split(separator: "/")
            if parts.count > 3 { parts[3] = "-" }
            return Substring(parts.joined(separator: "/"))
        }
        return word.hasPrefix("736c6331") ? word.dropLast(8) : word
    }
}

/// The lines in which a picture differs from the one that was expected.
func difference(_ picture: String, from wanted: String) -> String {
    picture.split(separator: "\n").difference(from: wanted.split(separator: "\n")).map { change in
        switch change {
        case .insert(_, let line, _): "+\(line)"
        case .remove(_, let line, _): "-\(line)"
        }
    }.joined(separator: "\n")
}

/// A picture without our marks: a lane's filter bears the rung at which it was put.
func withoutMarks(_ picture: String) -> String {
    picture.split(separator: "\n").map { line in
        line.split(separator: " ").filter { !$0.hasPrefix("sluice/") && !$0.hasPrefix("736c6331") }
            .joined(separator: " ") + "\n"
    }.joined()
}
