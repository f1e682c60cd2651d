// The units: ticks of the scheduler against what iproute2 6.1 computes for the same words.
import Testing

@testable import Netlink

@Suite struct SchedulerClockTests {
    let clock = SchedulerClock.standard

    @Test("tc's own bursts: a wrong tick makes every limit too small by a factor, silently")
    func burstsOfTC() {
        // tbf rate 16mbit burst 20000: buffer 0x0002625a
        #expect(clock.ticks(amount: 20_000, perSecond: 2_000_000) == 0x2625a)
        // police rate 4mbit burst 70000: burst 0x002160ec
        #expect(clock.ticks(amount: 70_000, perSecond: 500_000) == 0x2160ec)
        // police pkts_rate 300 pkts_burst 30: 0x17d784
        #expect(clock.ticks(amount: 30, perSecond: 300) == 0x17d784)
        // netem delay 200ms: latency 0x2faf08
        #expect(clock.ticks(nanoseconds: 200_000_000) == 0x2faf08)
    }

    @Test("over 2^32 bytes a second: tc rounds down to microseconds, ours loses no frame")
    func fastRates() {
        // police rate 80gbit burst 1000000: tc says 0x61a, 99.97 us of 100
        #expect(clock.ticks(amount: 1_000_000, perSecond: 10_000_000_000) == 0x61b)
        // tbf rate 100gbit burst 60000: tc says 0 (4.8 us is 4, and that 62.5 ticks)
        let ticks = clock.ticks(amount: 60_000, perSecond: 12_500_000_000)
        #expect(ticks == 75)
        #expect(clock.amount(ticks: ticks, perSecond: 12_500_000_000) >= 60_000)
    }

    @Test(
        "bursts survive the way into the kernel and back",
        arguments: [1, 125, 62_500, 2_000_000])
    func roundTrip(perSecond: UInt64) {
        for amount in stride(from: UInt64(1), through: 70_000, by: 337) {
            let ticks = clock.ticks(amount: amount, perSecond: perSecond)
            #expect(clock.amount(ticks: ticks, perSecond: perSecond) == amount)
        }
    }

    @Test("extremes saturate, none traps")
    func extremes() {
        let extremes: [UInt64] = [0, 1, 2, .max / 2, .max]
        for left in extremes {
            #expect(clock.ticks(amount: left, perSecond: 0) == 0)
            #expect(clock.amount(ticks: left, perSecond: 0) == 0)
            #expect(clock.nanoseconds(ticks: left) >= left)
            #expect(clock.ticks(nanoseconds: left) <= left)
        }
        #expect(clock.ticks(amount: .max, perSecond: 1) == .max)
        #expect(clock.ticks(amount: .max, perSecond: .max) == 15_625_000)
        #expect(clock.amount(ticks: .max, perSecond: .max) == .max)
    }

    @Test("/proc/net/psched as kernels write it, old and new, and what is none")
    func psched() throws {
        let modern = SchedulerClock(psched: Array("000003e8 00000040 000f4240 3b9aca00\n".utf8))
        #expect(modern == .standard)
        // A resolution of nanoseconds: 1,000 ticks a microsecond whatever the first number says.
        let fine = SchedulerClock(psched: Array("00000001 00000040 3b9aca00 3b9aca00\n".utf8))
        #expect(fine?.ticks(nanoseconds: 1_000) == 1_000)
        let none = ["", "000003e8", "000003e8 00000000 000f4240", "a b x", "-1 -1 -1", "0 0 0 0"]
        for text in none { #expect(SchedulerClock(psched: Array(text.utf8)) == nil) }
        let widest = try #require(SchedulerClock(psched: Array("ffffffff ffffffff fffffffe".utf8)))
        #expect(widest.ticks(amount: .max, perSecond: .max) > 0)
        #expect(widest.ticks(nanoseconds: .max) > 0)
    }

    @Test("the running kernel's clock is read, and no environment variable stands in for it")
    func running() {
        #expect(SchedulerClock.current() == .standard)
    }
}

extension SchedulerClock {
    /// Whether two bursts at a rate are one in the kernel's eyes: no more than two ticks apart,
    /// which is what the kernel's own fixed-point arithmetic and ours may differ by.
    func isSameBurst(_ left: UInt64, _ right: UInt64, perSecond: UInt64) -> Bool {
        let a = ticks(amount: left, perSecond: perSecond)
        let b = ticks(amount: right, perSecond: perSecond)
        return (a > b ? a - b : b - a) <= 2
    }
}
