// The words of the socket, as they stand on the wire.

import ControlAPI
import FoundationEssentials
import Testing

@Suite struct ControlAPITests {
    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    /// Guards against: a key that is renamed under the operators' scripts.
    @Test func portOnTheWire() throws {
        let load = Load(packetsPerSecond: 1, bitsPerSecond: 2)
        let loads = Loads(from: load, to: nil)
        let port = PortStatus(
            name: "vm-1-ff", index: 7, portClass: "vm", pattern: "vm-<num>-<netid>", netid: "00ff",
            rung: "shape",
            onRungSeconds: 3, incident: 4, isVictim: true, offered: loads, delivered: loads,
            lane: loads, cap: loads, delayMilliseconds: 200, enforcement: "ifb+tbf", problem: "p",
            advisories: ["a"], path: [PathLeg(port: "vm-1-ff", load: load)], companion: "spc-ff",
            limitedFor: ["x"])
        let flow = #"{"from":{"bits_per_second":2,"packets_per_second":1}}"#
        #expect(
            try json(port)
                == #"{"advisories":["a"],"cap":\#(flow),"class":"vm","companion":"spc-ff","#
                + #""delay_milliseconds":200,"#
                + #""delivered":\#(flow),"enforcement":"ifb+tbf","incident":4,"index":7,"#
                + #""lane":\#(flow),"limited_for":["x"],"name":"vm-1-ff","netid":"00ff","offered":\#(flow),"#
                + #""on_rung_seconds":3,"#
                + #""path":[{"load":{"bits_per_second":2,"packets_per_second":1},"port":"vm-1-ff"}],"#
                + #""pattern":"vm-<num>-<netid>","problem":"p","rung":"shape","victim":true}"#)
        let decoded = try JSONDecoder().decode(PortStatus.self, from: Data(try json(port).utf8))
        #expect(decoded == port)
    }

    /// Guards against: a release of all that is said by leaving something out.
    @Test func release() throws {
        #expect(try json(ReleaseRequest(port: "x")) == #"{"port":"x"}"#)
        #expect(try json(ReleaseRequest(all: true)) == #"{"all":true}"#)
        #expect(
            try json(ReleaseReply(released: ["a"], failed: ["b": "c"]))
                == #"{"failed":{"b":"c"},"released":["a"]}"#)
        #expect(try json(Problem(error: "e", cure: "c")) == #"{"cure":"c","error":"e"}"#)
    }
}
