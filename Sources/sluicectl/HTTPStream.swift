// An HTTP answer of lines that come as they happen: its head, then chunks (RFC 9112, section 7.1).
// Invariant: what is kept is one head, one chunk or one line, each of them bounded.

/// Takes an answer apart while it comes.
struct HTTPStream {
    private enum Part { case head, size, chunk(Int), end, whole(Int) }

    private static let mostBytes = 1 << 20
    private var part = Part.head
    private var raw: [UInt8] = []
    /// The body that was not taken yet.
    private(set) var rest: [UInt8] = []
    /// The HTTP status, once it is known.
    private(set) var status: Int?

    /// The last chunk has come, or as much as the head said.
    var isOver: Bool {
        switch part {
        case .end, .whole(0): true
        default: false
        }
    }

    /// More has come; false where it cannot be what it should.
    mutating func take(_ bytes: [UInt8]) -> Bool {
        raw += bytes
        while advance() {}
        return raw.count <= Self.mostBytes && rest.count <= Self.mostBytes && status != 0
    }

    /// The next whole line, without its end.
    mutating func next() -> [UInt8]? {
        guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        let line = Array(rest[..<end])
        rest.removeFirst(end + 1)
        return line
    }

    /// One part further; false where more has to come first.
    private mutating func advance() -> Bool {
        switch part {
        case .head:
            guard let end = raw.firstRange(of: Array("\r\n\r\n".utf8)) else { return false }
            let head = String(decoding: raw[..<end.lowerBound], as: UTF8.self).lowercased()
            raw.removeFirst(end.upperBound)
            let words = head.prefix { $0 != "\r\n" }.split(separator: " ")
            status = words.count > 1 && words[0].hasPrefix("http/1.") ? Int(words[1]) ?? 0 : 0
            if head.contains("transfer-encoding: chunked") {
                part = .size
            } else {
                let field = head.split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
                let length = field.flatMap { Int($0.drop { $0 != " " }.dropFirst()) }
                part = .whole(length.flatMap { $0 < 0 ? nil : $0 } ?? .max)
            }
            return true
        case .size:
            guard let end = raw.firstRange(of: Array("\r\n".utf8)) else { return false }
            let size = Int(String(decoding: raw[..<end.lowerBound], as: UTF8.self), radix: 16)
            raw.removeFirst(end.upperBound)
            guard let size, (0...Self.mostBytes).contains(size) else {
                status = 0
                return false
            }
            part = size == 0 ? .end : .chunk(size)
            return size > 0
        case .chunk(let size):
            guard raw.count >= size + 2 else { return false }
            rest += raw[..<size]
            raw.removeFirst(size + 2)
            part = .size
            return true
        case .whole(let left):
            let taken = min(left, raw.count)
            rest += raw[..<taken]
            raw.removeFirst(taken)
            part = .whole(left - taken)
            return false
        case .end: return false
        }
    }
}
