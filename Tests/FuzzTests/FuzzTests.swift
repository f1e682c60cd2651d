// Every fuzz target on seeded mutations, for a moment; `make fuzz` gives them more.
import Fuzz
import Seeded
import Testing

@Suite struct FuzzTests {
    /// Guards against: bytes of a stranger that trap, are taken for what they are not, or break what
    /// this target's readers promise.
    @Test(arguments: FuzzTarget.all.map(\.name)) func mutations(_ name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let seeds = try target.seeds()
        var generator = SplitMix(seed: 0x51_00ce)
        var read = 0
        for round in 0..<target.rounds {
            let input = mutate(seeds[round % seeds.count], with: &generator)
            do {
                read += try target.read(input) ? 1 : 0
            } catch {
                Issue.record("\(name), round \(round): \(error); the input is \(input)")
                return
            }
        }
        // The mutations are gentle enough that the readers are reached at all.
        #expect(read > target.rounds / 10, "\(name)")
    }
}
