// Requests that go to the running kernel together, in a private network namespace.
import CNetlink
import Lab
import LabTesting
import Testing

@testable import Netlink

@Suite struct KernelBatchTests {
    /// A filter of ours on the loopback's ingress.
    private static func filter(
        _ preference: UInt16, _ program: [ClassicInstruction] = [end]
    ) -> Filter {
        Filter(
            parent: .clsactIngress, preference: preference, handle: 0x7a01,
            match: .classicBPF(program), actions: [])
    }

    private static let end = ClassicInstruction(code: 6, k: 0)

    @Test(
        "each of a batch is answered by itself, and what is behind a refused one is done",
        .needs(.clsact, .bpfClassifier))
    func answers() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            var batch = socket.emptyBatch
            for _ in 1...2 {
                try batch.add(.clsact, to: 1, parent: .ingress, handle: .ingressQdisc)
            }
            try batch.put(Self.filter(13), on: 1)
            try batch.getLink(index: 9_999)
            try batch.getLink(name: Array("lo".utf8))
            try batch.getQdisc(of: 1, parent: .root)
            try batch.put(Self.filter(14), on: 9_999)
            let answers = socket.run(batch)
            #expect(try answers[0].qdisc()?.kind == "clsact")
            #expect(
                answers[1].refusal.map { ($0.code, $0.operation) } ?? (0, "")
                    == (EEXIST, "add clsact qdisc ffff: on interface 1"))
            #expect(try answers[2].filter()?.preference == 13)
            #expect(try answers[3].link() == nil)
            #expect(try answers[4].link()?.index == 1)
            #expect(try answers[5].askedQdisc()?.kind == "noqueue")
            #expect(answers[6].refusal?.isNoInterface == true)
            #expect(
                answers[6].refusal?.operation
                    == "put filter 14/7a01 on interface 9999 parent ffff:fff2")
            let standing = try socket.filters(of: 1, parent: .clsactIngress)
            #expect(standing.filter { $0.handle != 0 }.map(\.preference) == [13])
        }
    }

    @Test("more answers than are received at once come in their order, and none is left over")
    func manyAnswers() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            var batch = socket.emptyBatch
            for place in 0..<100 { try batch.getLink(index: place % 3 == 0 ? 1 : 9_999) }
            let answers = socket.run(batch)
            #expect(
                try answers.map { try $0.link()?.index }
                    == (0..<100).map { $0 % 3 == 0 ? 1 : nil })
            #expect(socket.run(socket.emptyBatch).isEmpty)
            #expect(try socket.links().map(\.index) == [1])
        }
    }

    @Test("a full batch is sent and answered whole", .needs(.clsact, .bpfClassifier))
    func fullBatch() async throws {
        try await Namespace.run {
            var socket = try RouteSocket.open()
            try socket.add(.clsact, to: 1, parent: .ingress, handle: .ingressQdisc)
            // As much as any kernel tells of a change: one page.
            let long = [ClassicInstruction](
                repeating: ClassicInstruction(code: 0, k: 1), count: 400)
            let program = long + [Self.end]
            var batch = socket.emptyBatch
            while !batch.isFull {
                try batch.put(Self.filter(UInt16(batch.count + 1), program), on: 1)
            }
            let most = (0..<4_095).map { ClassicInstruction(code: 0, k: UInt32($0)) }
            try batch.put(Self.filter(99, most + [Self.end]), on: 1)
            let answers = socket.run(batch)
            #expect(answers.count == 7 && answers.allSatisfy { $0.refusal == nil })
            for (place, answer) in answers.dropLast().enumerated() {
                let told = try #require(try answer.filter())
                #expect(told.classicBPF == program && Int(told.preference) == place + 1)
            }
        }
    }

    @Test("what is malformed is refused before anything is sent")
    func malformed() async throws {
        try await Namespace.run {
            let socket = try RouteSocket.open()
            var batch = socket.emptyBatch
            let headless = failure { () throws(NetlinkError) in
                try batch.put(Self.filter(0), on: 1)
            }
            #expect(headless?.code == EINVAL)
            let endless = [ClassicInstruction](repeating: Self.end, count: 60_000)
            let tooLong = failure { () throws(NetlinkError) in
                try batch.put(Self.filter(1, endless), on: 1)
            }
            #expect(tooLong?.code == EMSGSIZE)
            #expect(batch.count == 0)
        }
    }
}
