// How long a port is left to whoever changes it.
import Daemon
import Mitigation
import Testing

@Suite struct HeldPortTests {
    private static func instant(_ milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: milliseconds * 1_000_000)
    }

    private static func held(_ changes: [UInt64]) -> HeldPort {
        var port = HeldPort(
            advisories: [], repairs: RepairBudget(perMinute: 10))
        for change in changes { port.noteChange(at: instant(change)) }
        return port
    }

    /// Guards against: ours put back between two steps of another program, whose next step then
    /// fails; and a port that is never looked at while somebody goes on changing it.
    @Test func aChangeIsLetFinish() {
        #expect(!Self.held([]).isChanging(at: Self.instant(1_000)))
        let steps = Self.held([1_000, 1_150, 1_300])
        #expect(steps.isChanging(at: Self.instant(1_300)))
        #expect(steps.isChanging(at: Self.instant(1_599)))
        #expect(!steps.isChanging(at: Self.instant(1_600)))
        let endless = Self.held((0...40).map { 1_000 + $0 * 50 })
        #expect(endless.isChanging(at: Self.instant(2_999)))
        #expect(!endless.isChanging(at: Self.instant(3_000)))
        // Another one, later.
        let again = Self.held([1_000, 1_700])
        #expect(again.isChanging(at: Self.instant(1_999)))
        #expect(!again.isChanging(at: Self.instant(2_000)))
        var urgent = steps
        urgent.endChange()
        #expect(!urgent.isChanging(at: Self.instant(1_300)))
    }
}
