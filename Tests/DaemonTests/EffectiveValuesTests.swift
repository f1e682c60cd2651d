// What holds of each key, and who says so.
import Lab
import LinuxSystem
import Mitigation
import Testing

@testable import Settings

@Suite struct EffectiveValuesTests {
    /// Guards against: a key that is left out, or told with another value than the one that holds, read
    /// back from what was told.
    @Test func whatIsToldHolds() throws {
        let told = try ExplainedConfiguration(parsing: [], file: "empty").values
        #expect(told.allSatisfy { $0.line == nil })
        let optional = ["control.group", "control.operators"]
        let text = told.filter {
            !optional.contains($0.key) && !$0.key.hasPrefix("cloudspace.together")
        }
        .map { "\($0.key) = \($0.value)\n" }.joined()
        let again = try Configuration(parsing: Array(text.utf8), file: "told")
        #expect(again == (try Configuration(parsing: [], file: "empty")))
        // Sections have no value of their own, a class's mode and guards hold where they are written.
        let values = Set(told.map(\.key))
        let single = Configuration.knownKeys.filter { key in
            !Configuration.knownKeys.contains { $0.hasPrefix(key + ".") }
        }
        let silent = [
            "port", "guard", "class.vm.mode", "class.router.mode", "class.vtep.mode",
            "class.backend.mode",
        ]
        #expect(Set(single).subtracting(values).sorted() == silent.sorted())
        #expect(told.count == values.count)
    }

    private static let text = """
        mode = "observe"
        [trip]
        sustain = "2s"
        [class.vm]
        mode = "enforce"
        from = { packets = "40kpps" }
        [class.router]
        from = { packets = "1mpps" }
        [port."vm-1-00df"]
        to = { bits = "off" }
        [guard."vm-<num>-<netid>"]
        switches = ["no-ra"]

        """

    /// Guards against: a line that is another's, a port's own section that hides its class's marks, and
    /// keys of other classes among a port's.
    @Test func whoSaysSo() throws {
        let explained = try ExplainedConfiguration(parsing: Array(Self.text.utf8), file: "x")
        let name = try #require(PortName(escaped: "vm-1-00df"))
        let values = try #require(explained.values(for: name))
        func value(_ key: String) -> EffectiveValue? { values.first { $0.key == key } }
        #expect(value("trip.sustain")?.line == 3 && value("trip.sustain")?.value == "\"2s\"")
        #expect(value("trip.fast_sustain")?.line == nil)
        #expect(value("mode") == nil && value("class.vm.mode")?.value == "\"enforce\"")
        #expect(value("class.vm.from.packets")?.line == 6)
        #expect(value("class.vm.from.bits")?.value == "\"1gbit\"")
        #expect(value("class.vm.to.bits") == nil)
        #expect(value("port.vm-1-00df.to.bits")?.value == "\"off\"")
        #expect(value("port.vm-1-00df.to.bits")?.line == 10)
        #expect(
            !values.contains { $0.key.hasPrefix("class.router") || $0.key.hasPrefix("control") })
        let other = try #require(PortName(escaped: "vm-2-00df"))
        #expect(explained.values(for: other)?.contains { $0.key.hasPrefix("port.") } == false)
        #expect(explained.values(for: try #require(PortName(escaped: "eth0"))) == nil)
        #expect(throws: ConfigurationError.self) {
            try ExplainedConfiguration(parsing: Array("mod = 1".utf8), file: "x")
        }
    }
}
