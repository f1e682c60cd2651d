// The TOML reader: places, bounds, and no trap on any bytes.

import Seeded
import TOML
import Testing

@testable import Daemon
@testable import Settings

@Suite struct ConfigurationTOMLTests {
    /// Guards against: a place that is lost or off by one, and keys in another order.
    @Test func places() throws {
        let entries = try parse(
            Array("b = 1\n[a.c]\n  'é' = [true, \"x\"]\nz = { y = 1.5 }\n".utf8))
        #expect(entries.map(\.key) == ["b", "a"])
        #expect(entries[0].position == Position(line: 1, column: 1))
        #expect(entries[0].value == Value(.integer(1), at: Position(line: 1, column: 5)))
        guard case .table(let a) = entries[1].value.content,
            case .table(let c) = try #require(a.first).value.content
        else {
            Issue.record("no tables")
            return
        }
        #expect(c.map(\.key) == ["é", "z"])
        #expect(c[0].position == Position(line: 3, column: 3))
        #expect(
            c[0].value.content
                == .array([
                    Value(.boolean(true), at: Position(line: 3, column: 10)),
                    Value(.string("x"), at: Position(line: 3, column: 16)),
                ]))
        #expect(
            c[1].value.content
                == .table([
                    Entry(
                        key: "y", at: Position(line: 4, column: 7),
                        value: Value(.float(1.5), at: Position(line: 4, column: 11)))
                ]))
    }

    /// Guards against: text cut at a NUL, or a date taken for text.
    @Test func contents() throws {
        let entries = try parse(Array("a = \"x\\u0000y\"\nb = 1979-05-27\n".utf8))
        #expect(entries.map(\.value.content) == [.string("x\u{0}y"), .moment])
    }

    /// Guards against: a stack that overflows, in the parser or when its tree is freed.
    @Test func depth() {
        let deep = 100_000
        let key = Array(repeating: "a", count: deep).joined(separator: ".")
        for text in [
            "\(key) = 1", "[\(key)]", "x = {\(key) = 1}", "x = [\"#\", {\(key) = 1}]",
            "x = [\"\"\"\n\"a\\\"\"\"\"\", {\(key) = 1}]", "x = ['''\n''', {\(key) = 1}]",
            "x = " + String(repeating: "[", count: deep),
            "x = " + String(repeating: "{a=", count: deep),
        ] {
            #expect(throws: SyntaxError.self) { try parse(Array(text.utf8)) }
        }
        #expect(throws: Never.self) {
            try parse(Array("# ................................................\nx = 1".utf8))
        }
    }

    /// Guards against: memory without a bound.
    @Test func size() {
        let comment = [UInt8(ascii: "#")] + [UInt8](repeating: 0x61, count: largestDocument - 1)
        #expect(throws: Never.self) { try parse(comment) }
        #expect(throws: SyntaxError.self) { try parse(comment + [0x61]) }
    }

    /// Guards against: a cure that is given for something else, or not at all.
    @Test(arguments: [
        ("a = 52:54:00:12:34:56", "a hardware address is text: write \"52:54:00:12:34:56\""),
        ("a = 10kpps # c", "a value with a unit is text: write \"10kpps\""),
        ("a = 20%", "a value with a unit is text: write \"20%\""),
        ("a = observe", "text stands in quotes: write \"observe\""),
        ("a = /run/x", "text stands in quotes: write \"/run/x\""),
        ("a = [1", nil), ("a =", nil), ("[a", nil),
    ])
    func hints(_ text: String, _ hint: String?) throws {
        let error = try #require(throws: SyntaxError.self) { try parse(Array(text.utf8)) }
        #expect(error.hint == hint)
    }

    /// Guards against: an assertion of toml++ that ends the daemon: 3.3 has one for these.
    @Test(arguments: [("[=]", 1, 2), ("a = 1\n[\n", 2, 2), ("[é\u{2028}", 1, 2)])
    func unexpected(_ text: String, _ line: Int, _ column: Int) throws {
        let error = try #require(throws: SyntaxError.self) { try parse(Array(text.utf8)) }
        #expect(error.position == Position(line: line, column: column))
    }

    /// Guards against: a trap on bytes that are no configuration. Seeded, to be repeated.
    @Test(arguments: [1, 2, 3] as [UInt64]) func mutated(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let whole = try ConfigurationTests.documentedFile()
        let lines = whole.split(separator: 0x0a)
        let alphabet = Array("[]{}=.,\"'#\\\n\r\t -+:0_9aeinfux%\u{7f}\u{0}é".utf8) + [0xff, 0x80]
        var accepted = 0
        for _ in 0..<1500 {
            let start = Int(random.next() % UInt64(lines.count))
            var bytes = Array(lines[start...].prefix(12).joined(separator: [0x0a]))
            for _ in 0..<(random.next() % 6) where !bytes.isEmpty {
                let at = Int(random.next() % UInt64(bytes.count))
                let byte = alphabet[Int(random.next() % UInt64(alphabet.count))]
                switch random.next() % 4 {
                case 0: bytes[at] = byte
                case 1: bytes.insert(byte, at: at)
                case 2: bytes.remove(at: at)
                default: bytes.removeSubrange(at...)
                }
            }
            do throws(ConfigurationError) {
                _ = try Configuration(parsing: bytes, file: "fuzz")
                accepted += 1
            } catch {
                let lines = error.problems.map(\.description)
                #expect(lines.allSatisfy { $0.hasPrefix("fuzz:") }, "seed \(seed)")
            }
        }
        #expect(accepted > 0 && accepted < 1500, "seed \(seed)")
    }
}
