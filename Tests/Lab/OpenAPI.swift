// The description of the daemon's socket (Configs/openapi.json), and what an answer has that it does
// not tell. Of JSON Schema only what that file uses.
import FoundationEssentials

/// Configs/openapi.json.
public struct OpenAPI: Sendable {
    private let document: JSON

    /// Reads the file.
    ///
    /// - Throws: where it is not there, or no JSON.
    public init() throws {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        let path = parts.dropLast(3).joined(separator: "/") + "/Configs/openapi.json"
        document = try JSONDecoder().decode(JSON.self, from: Data(contentsOf: URL(filePath: path)))
    }

    /// The paths with their methods in capitals, such as `GET /v1/ports/{name}`.
    public var operations: [String] {
        document["paths"].members.flatMap { path, methods in
            methods.members.keys.map { "\($0.uppercased()) \(path)" }
        }.sorted()
    }

    /// What is wrong with the body of the answer 200 to an operation; empty where nothing is.
    public func violations(of body: String, to operation: String) throws -> [String] {
        let words = operation.split(separator: " ").map(String.init)
        guard words.count == 2 else { return ["no operation: \(operation)"] }
        let answer = document["paths"][words[1]][words[0].lowercased()]["responses"]["200"]
        let schema = answer["content"]["application/json"]["schema"]
        guard case .object = schema else { return ["\(operation) is not described"] }
        let value = try JSONDecoder().decode(JSON.self, from: Data(body.utf8))
        return violations(of: value, by: schema, at: "body")
    }

    private func violations(of value: JSON, by schema: JSON, at place: String) -> [String] {
        if case .text(let reference) = schema["$ref"] {
            let name = reference.split(separator: "/").last.map(String.init) ?? ""
            return violations(of: value, by: document["components"]["schemas"][name], at: place)
        }
        if let first = schema["allOf"].elements.first {
            return violations(of: value, by: first, at: place)
        }
        switch (schema["type"], value) {
        case (.text("object"), .object(let members)):
            return violations(of: members, by: schema, at: place)
        case (.text("array"), .array(let elements)):
            return elements.enumerated().flatMap { index, element in
                violations(of: element, by: schema["items"], at: "\(place)[\(index)]")
            }
        case (.text("string"), .text(let text)):
            let words = schema["enum"].elements
            return words.isEmpty || words.contains(.text(text)) ? [] : ["\(place) is \(text)"]
        case (.text("integer"), .number(let number)):
            return number >= 0 && number == number.rounded() ? [] : ["\(place) is \(number)"]
        case (.text("number"), .number(let number)):
            return number >= 0 ? [] : ["\(place) is \(number)"]
        case (.text("boolean"), .flag): return []
        default: return ["\(place) is no \(schema["type"])"]
        }
    }

    private func violations(
        of members: [String: JSON], by schema: JSON, at place: String
    ) -> [String] {
        let known = schema["properties"].members
        let missing = schema["required"].elements.compactMap { name -> String? in
            guard case .text(let name) = name, members[name] == nil else { return nil }
            return "\(place).\(name) is missing"
        }
        return missing
            + members.sorted { $0.key < $1.key }.flatMap { name, member -> [String] in
                if let property = known[name] {
                    return violations(of: member, by: property, at: "\(place).\(name)")
                }
                switch schema["additionalProperties"] {
                case .flag(false): return ["\(place).\(name) is not described"]
                case .object: break
                default: return []
                }
                return violations(
                    of: member, by: schema["additionalProperties"], at: "\(place).\(name)")
            }
    }
}

/// Any JSON.
private enum JSON: Decodable, Hashable, Sendable {
    case null
    case flag(Bool)
    case number(Double)
    case text(String)
    case array([JSON])
    case object([String: JSON])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let flag = try? container.decode(Bool.self) {
            self = .flag(flag)
        } else if let number = try? container.decode(Double.self) {
            self = .number(number)
        } else if let text = try? container.decode(String.self) {
            self = .text(text)
        } else if let elements = try? container.decode([JSON].self) {
            self = .array(elements)
        } else {
            self = .object(try container.decode([String: JSON].self))
        }
    }

    /// A member of an object; null where there is none.
    subscript(name: String) -> JSON { members[name] ?? .null }

    var members: [String: JSON] {
        if case .object(let members) = self { members } else { [:] }
    }

    var elements: [JSON] {
        if case .array(let elements) = self { elements } else { [] }
    }
}
