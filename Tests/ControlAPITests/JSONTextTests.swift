// JSON as it is written in one pass, against what Foundation reads of it and writes.
import ControlAPI
import FoundationEssentials
import Seeded
import Testing

@Suite struct JSONTextTests {
    /// All that values are made of.
    private struct Sample: Codable, Hashable {
        enum Word: Codable, Hashable {
            case nothing
            case one(Int32)
            case some(first: String, secondOne: [UInt8])
        }

        struct Nothing: Codable, Hashable {}

        var isSet = false
        var text = ""
        var signed: [Int64] = []
        var unsignedOnes: [UInt64] = []
        var small: Int8?
        var fraction = 0.0
        var short: Float = 0
        var words: [Word] = []
        var nested: [[String?]] = []
        var byName: [String: UInt16] = [:]
        var byNumber: [Int: Bool] = [:]
        var nothing = Nothing()
        var duration = Duration.zero
        var inside: [Sample] = []

        init() {}

        init(_ random: inout SplitMix, depth: Int = 2) {
            func list<Element>(_ one: (inout SplitMix) -> Element) -> [Element] {
                (0..<Int.random(in: 0..<4, using: &random)).map { _ in one(&random) }
            }
            func text(_ random: inout SplitMix) -> String {
                let scalars = [
                    "a", "\"", "\\", "/", "\n", "\u{0}", "\u{1f}", "\u{7f}", "é", "🙂", " ",
                ]
                return (0..<Int.random(in: 0..<6, using: &random)).map { _ in
                    scalars[Int.random(in: 0..<scalars.count, using: &random)]
                }.joined()
            }
            isSet = Int.random(in: 0..<2, using: &random) == 0
            self.text = text(&random)
            signed = list { Int64(bitPattern: $0.next()) } + [.min, .max, 0]
            unsignedOnes = list { $0.next() } + [.max]
            small =
                Int.random(in: 0..<2, using: &random) == 0
                ? nil : Int8(truncatingIfNeeded: random.next())
            fraction = Double(bitPattern: random.next())
            if !fraction.isFinite { fraction = -1 }
            short = Float(Int.random(in: 0..<1_000, using: &random)) / 8
            words = list { random in
                switch Int.random(in: 0..<3, using: &random) {
                case 0: .nothing
                case 1: .one(Int32(truncatingIfNeeded: random.next()))
                default: .some(first: text(&random), secondOne: [0, 255])
                }
            }
            nested = [list { Int.random(in: 0..<2, using: &$0) == 0 ? nil : text(&$0) }, []]
            byName = Dictionary(list { (text(&$0), 7) }) { first, _ in first }
            byNumber = Dictionary(list { (Int.random(in: 0..<99, using: &$0), true) }) { first, _ in
                first
            }
            duration = .nanoseconds(Int64(Int.random(in: 0..<(1 << 40), using: &random)))
            if depth > 0 { inside = list { Sample(&$0, depth: depth - 1) } }
        }
    }

    /// Guards against: a value that is another one after it was written and read.
    @Test(arguments: [JSONText.Names.given, .snakeCase])
    func whatIsWrittenIsRead(_ names: JSONText.Names) throws {
        for seed in 0..<300 as Range<UInt64> {
            var random = SplitMix(seed: seed)
            var sample = Sample(&random)
            // Foundation leaves keys of dictionaries as they are.
            if names == .snakeCase { sample.byName = ["already_so": 1] }
            let decoder = JSONDecoder()
            if names == .snakeCase { decoder.keyDecodingStrategy = .convertFromSnakeCase }
            let text = try JSONText.line(of: sample, names: names)
            #expect(try decoder.decode(Sample.self, from: Data(text)) == sample, "seed \(seed)")
            #expect(text.firstIndex(of: UInt8(ascii: "\n")) == text.count - 1)
        }
    }

    /// Guards against: text that differs from Foundation's in more than the members' order.
    @Test func asFoundationWrites() throws {
        let values: [any Encodable] = [
            1.0, 0.1, -2.5, 1e300, true, "a/b\"\\\u{1}é", [Int?.none, 3], ["one": [1]], Int64.min,
        ]
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        for value in values {
            let text = String(decoding: try JSONText.line(of: value), as: UTF8.self)
            #expect(text == String(decoding: try encoder.encode(value), as: UTF8.self) + "\n")
        }
        #expect(try JSONText.line(of: Sample.Nothing()) == Array("{}\n".utf8))
    }

    /// Guards against: a number that no reader would take.
    @Test(arguments: [Double.nan, .infinity, -.infinity])
    func whatJSONCannotSayIsRefused(_ number: Double) throws {
        #expect(throws: EncodingError.self) { try JSONText.line(of: [number]) }
        #expect(throws: EncodingError.self) {
            try JSONText.line(of: Load(packetsPerSecond: 1, bitsPerSecond: number))
        }
    }
}
