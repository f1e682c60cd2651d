// One HTTP request over a Unix socket, as `curl --unix-socket` would make it.

internal import CLab
internal import ControlAPI
internal import FoundationEssentials
internal import Glibc

/// A client for one request at a time, each on a connection of its own.
struct ControlClient {
    let path: String

    /// `GET /v1/status`.
    ///
    /// - Throws: `LabError` where nobody answers or the answer is not that of the contract.
    func status() throws(LabError) -> Status {
        let body = try request("GET", "/v1/status", body: "")
        do {
            return try JSONDecoder().decode(Status.self, from: Data(body.utf8))
        } catch {
            throw LabError("decode the status", detail: "\(error): \(body.prefix(300))")
        }
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// - Returns: the body of a 2xx answer.
    /// - Throws: `LabError` where nobody answers within 5 s or the answer is not 2xx.
    func request(_ method: String, _ target: String, body: String) throws(LabError) -> String {
        let answer = try ask(method, target, body: body)
        guard answer.status / 100 == 2 else {
            throw LabError("\(method) \(target)", detail: "\(answer.status): \(answer.body)")
        }
        return answer.body
    }

    /// Sends a request and reads the answer to its end, whatever it says.
    ///
    /// - Throws: `LabError` where nobody answers within 5 s, or not in HTTP.
    func ask(_ method: String, _ target: String, body: String) throws(LabError) -> ControlAnswer {
        let what = "\(method) \(target)"
        let connection = try Descriptor(unsafe clab_unix_connect_stream(path, 5_000), what)
        let text = """
            \(method) \(target) HTTP/1.1\r
            Host: sluice\r
            Connection: close\r
            Content-Type: application/json\r
            Content-Length: \(body.utf8.count)\r
            \r
            \(body)
            """
        let bytes = Array(text.utf8)
        let sent = unsafe send(
            connection.number, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        guard sent == bytes.count || errno == EPIPE else { throw LabError(what, errno: errno) }
        return try answer(to: what, from: try receiveAll(connection.number, what))
    }

    private func receiveAll(_ descriptor: Int32, _ what: String) throws(LabError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe recv(descriptor, &chunk, chunk.count, 0)
            // Closed with bytes of ours unread: what came before stands.
            if count < 0, errno == ECONNRESET { return bytes }
            guard count >= 0 else { throw LabError(what, errno: errno) }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
        }
    }

    private func answer(to what: String, from bytes: [UInt8]) throws(LabError) -> ControlAnswer {
        guard !bytes.isEmpty else { return ControlAnswer(status: 0, body: "") }
        let end = Array("\r\n\r\n".utf8)
        guard let position = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else {
            throw LabError(what, detail: "no HTTP answer: \(bytes.count) bytes")
        }
        let head = String(decoding: bytes[..<position], as: UTF8.self).lowercased()
        var body = bytes[(position + end.count)...]
        if head.contains("transfer-encoding: chunked") { body = joinChunks(body)[...] }
        let code = head.split(separator: " ").dropFirst().first ?? ""
        return ControlAnswer(status: Int(code) ?? 0, body: String(decoding: body, as: UTF8.self))
    }

    private func joinChunks(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var rest = bytes
        var body: [UInt8] = []
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let digits = String(decoding: rest[..<end], as: UTF8.self).prefix { $0.isHexDigit }
            guard let count = Int(digits, radix: 16), count > 0 else { break }
            body += rest.dropFirst(end + 1 - rest.startIndex).prefix(count)
            rest = rest.dropFirst(end + 1 - rest.startIndex + count + 2)
        }
        return body
    }
}
