// How many lines a second reach the log.
import Daemon
import Testing

@Suite struct LineLimiterTests {
    private static let second: UInt64 = 1_000_000_000

    /// Guards against: lines that are neither written nor counted, or counted twice, above all by the
    /// timer that asks ten times a second whether there is something to count.
    @Test func eachLineIsWrittenOrCountedOnce() {
        var limiter = LineLimiter()
        var (written, counted) = (0, 0)
        // 300 lines in a second, then a minute in which only the timer asks.
        for number in 0..<300 as Range<UInt64> {
            let now = Self.second + number * Self.second / 300
            if case .write(let suppressed) = limiter.take(nanoseconds: now) {
                written += 1
                counted += suppressed
            }
            if number % 30 == 0 { counted += limiter.takeSuppressed(nanoseconds: now) }
        }
        #expect((30...31).contains(written))
        for poll in 0..<600 as Range<UInt64> {
            counted += limiter.takeSuppressed(
                nanoseconds: 2 * Self.second + poll * Self.second / 10)
        }
        #expect(written + counted == 300)
        #expect(limiter.suppressedInAll == UInt64(counted))
    }
}
