// What a request to act means: the peer's rights, and the body.
//
// Invariant: whatever a reason holds, it is bounded, and of printable characters when it gets further.

import ControlAPI
import FoundationEssentials
import Mitigation
import NIOHTTP1

extension ControlRouter {
    /// What a request for `/v1/ACT` means; nil: there is no such act.
    func act(_ act: Substring, _ method: HTTPMethod, _ body: [UInt8]) -> ControlRoute? {
        let meaning: ([UInt8]) -> ControlRoute
        switch act {
        case "release": meaning = release
        case "import": meaning = takeIn
        case "hold": meaning = { order(.hold, $0) }
        case "exempt": meaning = { order(.exempt, $0) }
        case "disable": meaning = { order(.exempt, $0, hasTime: false) }
        case "enable": meaning = { ask($0) { .takeBackOrder($0, by: actor) } }
        case "escalate": meaning = { ask($0) { .escalate($0, by: actor) } }
        case "mode": meaning = mode
        case "reload": meaning = { _ in .ask(.reload(by: actor)) }
        default: return nil
        }
        guard method == .POST else {
            return .refuse(405, Problem(error: "this is an act", cure: "use POST"))
        }
        guard access >= .act else { return .refuse(403, Self.mayNot("\(act)")) }
        return meaning(body)
    }

    private func release(_ body: [UInt8]) -> ControlRoute {
        let request = try? JSONDecoder().decode(ReleaseRequest.self, from: Data(body))
        guard let request, (request.port != nil) != (request.all == true) else {
            return .refuse(
                400,
                Problem(
                    error: "the body does not say what to release",
                    cure: #"send {"port": "NAME"} or {"all": true}"#))
        }
        return .ask(.release(request, by: actor))
    }

    private func takeIn(_ body: [UInt8]) -> ControlRoute {
        do throws(JournalError) {
            return .ask(.importPort(try PortDocument(bytes: body), by: actor))
        } catch {
            return .refuse(
                400,
                Problem(
                    error: "this is no port's memory: \(error)",
                    cure: "send what sluicectl export PORT printed on the other host, unchanged"))
        }
    }

    private func order(_ order: PortOrder, _ body: [UInt8], hasTime: Bool = true) -> ControlRoute {
        ask(body) { request in
            var request = request
            if !hasTime { request.seconds = nil }
            return .order(order, request, by: actor)
        }
    }

    private func ask(
        _ body: [UInt8], _ meaning: (OrderRequest) -> ControlRequest
    ) -> ControlRoute {
        let request = try? JSONDecoder().decode(OrderRequest.self, from: Data(body))
        guard let request, !request.port.isEmpty else {
            return .refuse(
                400,
                Problem(
                    error: "the body does not say which port",
                    cure: #"send {"port": "NAME"}, with "seconds" and "reason" where you like"#))
        }
        if let seconds = request.seconds, !(1...OrderRequest.longestTime).contains(seconds) {
            return .refuse(
                400,
                Problem(
                    error: "nothing can be said for \(seconds) s",
                    cure: "write 1 s to \(OrderRequest.longestTime / 86_400) d"))
        }
        return Self.refusal(of: request.reason) ?? .ask(meaning(request))
    }

    private func mode(_ body: [UInt8]) -> ControlRoute {
        let request = try? JSONDecoder().decode(ModeRequest.self, from: Data(body))
        let modes = Mode.allCases.map(\.rawValue) + [ModeRequest.configured]
        guard let request, modes.contains(request.mode) else {
            return .refuse(
                400,
                Problem(
                    error: "the body does not say which mode",
                    cure: #"send {"mode": "MODE"}, one of "# + modes.joined(separator: ", ")))
        }
        var classes = PortClass.allCases
        if let name = request.portClass {
            guard let portClass = PortClass(rawValue: name) else {
                let known = classes.map(\.rawValue).joined(separator: ", ")
                return .refuse(
                    400, Problem(error: "there is no such class", cure: "write one of \(known)"))
            }
            classes = [portClass]
        }
        return Self.refusal(of: request.reason)
            ?? .ask(
                .mode(
                    Mode(rawValue: request.mode), of: classes, reason: request.reason, by: actor))
    }

    /// Nil where the reason may be kept and shown.
    private static func refusal(of reason: String?) -> ControlRoute? {
        guard let reason else { return nil }
        let isPlain = reason.unicodeScalars.allSatisfy { (" "..."~").contains($0) }
        guard reason.utf8.count > OrderRequest.longestReason || !isPlain else { return nil }
        return .refuse(
            400,
            Problem(
                error: "the reason is too long, or holds what not every log can show",
                cure: "write at most \(OrderRequest.longestReason) printable ASCII characters"))
    }
}
